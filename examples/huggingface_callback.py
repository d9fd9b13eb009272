"""Slimming in Hugging Face's Trainer: a callback that makes a model smaller while the Trainer trains it.

Copy `SlimmingCallback`. The rest trains a small ResNet of transformers, from random weights, on scikit-learn's handwritten
digits with it. Run it with

    pip install slimyolo transformers accelerate scikit-learn
    python examples/huggingface_callback.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from slimyolo.pruning import MacsShare, Target
from slimyolo.slimming import Slimming


class SlimmingCallback(TrainerCallback):
    """Slims the model that the Trainer trains; ``.slim.cut()`` gives the smaller one.

    `example` is a dictionary of inputs of the model without labels; `options` are those of `Slimming`. Its state is saved
    in the Trainer's checkpoints, and read when the Trainer resumes.
    """

    def __init__(self, example: dict[str, Tensor], target: Target, **options: Any) -> None:
        self.example, self.target, self.options = example, target, options
        self.slim: Slimming[nn.Module]

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, *, model: nn.Module, **kwargs: Any
    ) -> None:
        self.slim = Slimming(model, self.example, self.target, steps=state.max_steps, **self.options)
        if state.global_step > 0:  # the Trainer resumes
            self.slim.load_state_dict(torch.load(self._file(args, state), weights_only=True))

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.slim.step()

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            torch.save(self.slim.state_dict(), self._file(args, state))

    def _file(self, args: TrainingArguments, state: TrainerState) -> Path:
        return Path(args.output_dir or ".") / f"checkpoint-{state.global_step}" / "slimming.pt"


def make_model() -> nn.Module:
    """Pictures [B, 1, 8, 8] → logits [B, 10] and, with labels, the loss."""
    config = ResNetConfig(
        num_channels=1,
        embedding_size=32,
        hidden_sizes=[32, 64],
        depths=[1, 1],
        layer_type="basic",
        downsample_in_first_stage=False,
        num_labels=10,
    )
    return ResNetForImageClassification(config)


def accuracy(model: nn.Module, pictures: Tensor, classes: Tensor) -> float:
    """Share of the pictures whose class is found."""
    with torch.no_grad():
        return float((model.eval()(pixel_values=pictures).logits.argmax(1) == classes).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    torch.manual_seed(0)
    digits = load_digits()
    pictures = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    classes = torch.tensor(digits.target)
    training = [{"pixel_values": p, "labels": c} for p, c in zip(pictures[450:], classes[450:], strict=True)]

    model = make_model()
    slimming = SlimmingCallback({"pixel_values": pictures[:1]}, MacsShare(0.5))
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=options.epochs,
            per_device_train_batch_size=32,
            learning_rate=3e-3,
            use_cpu=True,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
        )
        Trainer(model, arguments, train_dataset=training, callbacks=[slimming]).train()
    print(slimming.slim.status)
    result = slimming.slim.cut()
    print(f"MACs {result.report.before.macs:,} → {result.report.after.macs:,}")
    print(f"accuracy before the cut {accuracy(model, pictures[:450], classes[:450]):.4f}")
    print(f"accuracy after the cut {accuracy(result.model, pictures[:450], classes[:450]):.4f}")


if __name__ == "__main__":
    main()
