"""Slimming in Lightning: a callback that makes a network smaller while the Trainer trains it.

Copy `SlimmingCallback`. The rest trains a small network on scikit-learn's handwritten digits with it. Run it with

    pip install slimyolo lightning scikit-learn
    python examples/lightning_callback.py
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from slimyolo.pruning import MacsShare, Target
from slimyolo.slimming import Slimming


class SlimmingCallback(pl.Callback):
    """Slims the network that a LightningModule holds under the name `network`; ``.slim.cut()`` gives the smaller one.

    `example` are inputs of the network; `options` are those of `Slimming`. Checkpoints of the Trainer hold its state.
    """

    def __init__(self, example: Any, target: Target, network: str = "network", **options: Any) -> None:
        self.example, self.target, self.network, self.options = example, target, network, options
        self.slim: Slimming[nn.Module]
        self._saved: dict[str, Any] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        steps = trainer.estimated_stepping_batches  # optimizer steps, with accumulation and several processes
        if not math.isfinite(steps):
            raise ValueError("Slimming needs to know how long the run is: give the Trainer max_epochs or max_steps.")
        network = pl_module.get_submodule(self.network)
        self.slim = Slimming(network, self.example, self.target, steps=int(steps), **self.options)
        if self._saved is not None:
            self.slim.load_state_dict(self._saved)
        self._seen = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *batch: Any) -> None:
        if trainer.global_step > self._seen:  # with accumulation, most batches end without an optimizer step
            self._seen = trainer.global_step
            self.slim.step()
            pl_module.log("slimming/gone", self.slim.status.gone)

    def state_dict(self) -> dict[str, Any]:
        return self.slim.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = state_dict


class Digits(pl.LightningModule):
    """Learns the digits with any network from pictures [B, 1, 8, 8] to logits [B, 10]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return functional.cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=3e-3)


def make_network() -> nn.Module:
    """Pictures [B, 1, 8, 8] → logits [B, 10]."""
    layers: list[nn.Module] = []
    for before, after, stride in ((1, 32, 1), (32, 64, 2), (64, 64, 1)):
        layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def accuracy(network: nn.Module, pictures: Tensor, classes: Tensor) -> float:
    """Share of the pictures whose class is found."""
    with torch.no_grad():
        return float((network.eval()(pictures).argmax(1) == classes).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    pl.seed_everything(0)
    digits = load_digits()
    pictures = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    classes = torch.tensor(digits.target)
    loader = DataLoader(TensorDataset(pictures[450:], classes[450:]), batch_size=32, shuffle=True)

    module = Digits(make_network())
    slimming = SlimmingCallback(pictures[:1], MacsShare(0.5))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(
        max_epochs=options.epochs, accelerator="cpu", callbacks=[slimming], enable_checkpointing=False, **quiet
    )
    trainer.fit(module, loader)
    print(slimming.slim.status)
    result = slimming.slim.cut()
    print(f"MACs {result.report.before.macs:,} → {result.report.after.macs:,}")
    print(f"accuracy before the cut {accuracy(module.network, pictures[:450], classes[:450]):.4f}")
    print(f"accuracy after the cut {accuracy(result.model, pictures[:450], classes[:450]):.4f}")


if __name__ == "__main__":
    main()
