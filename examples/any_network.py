"""Prune a network that is no YOLO: train, score, cut, fine-tune, save, load and export a small residual network.

The data are scikit-learn's handwritten digits (1,797 pictures of 8 × 8 pixels), which the package ships. Run it with

    pip install slimyolo[export] scikit-learn
    python examples/any_network.py

It takes about a minute on two processor cores. `docs/any-network.md` explains each step.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from slimyolo.pruning import (
    DataImportance,
    MacsShare,
    PrunePlan,
    prune_module,
    reconstruct_,
    replay_plan,
)

Data = tuple[Tensor, Tensor]


class Residual(nn.Module):
    """Two convolutions beside a shortcut: [B, channels, H, W] → the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(x + self.second_norm(self.second(inner)))


def make_network() -> nn.Sequential:
    """Pictures [B, 1, 8, 8] → logits [B, 10]."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        Residual(32), Residual(32),
        nn.Conv2d(32, 64, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        Residual(64), Residual(64),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip  # one line for each stage of the network


def read_data() -> tuple[Data, Data]:
    """(pictures, classes) to train on and to measure on: 1,347 and 450 pictures, float [N, 1, 8, 8] in 0–1."""
    digits = load_digits()
    pictures = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    classes = torch.tensor(digits.target)
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))
    train, test = order[450:], order[:450]
    return (pictures[train], classes[train]), (pictures[test], classes[test])


def batches(data: Data, size: int, generator: torch.Generator) -> Iterator[Data]:
    """One epoch in random order."""
    pictures, classes = data
    for chosen in torch.randperm(len(classes), generator=generator).split(size):
        yield pictures[chosen], classes[chosen]


def train_(network: nn.Module, data: Data, epochs: int, lr: float, seed: int = 0) -> None:
    """Train `network` in place with SGD and a cosine schedule."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(network.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    network.train()
    for _ in range(epochs):
        for pictures, classes in batches(data, 64, generator):
            optimizer.zero_grad()
            functional.cross_entropy(network(pictures), classes).backward()
            optimizer.step()
        schedule.step()
    network.eval()


def accuracy(network: nn.Module, data: Data) -> float:
    """Share of the pictures whose class is found."""
    pictures, classes = data
    with torch.no_grad():
        return float((network(pictures).argmax(1) == classes).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--epochs", type=int, default=20, help="epochs of training")
    parser.add_argument("--finetune-epochs", type=int, default=10, help="epochs of fine-tuning")
    parser.add_argument("--macs", type=float, default=0.5, help="share of the MACs to keep")
    parser.add_argument("--output", type=Path, default=Path("any_network"), help="folder of what is written")
    options = parser.parse_args()
    torch.manual_seed(0)
    train_data, test_data = read_data()
    network = make_network()
    train_(network, train_data, options.epochs, lr=0.05)
    dense = copy.deepcopy(network)
    print(f"dense      accuracy {accuracy(network, test_data):.4f}")

    # Score: what does the loss lose without a channel? Measured on training data, the network is not changed.
    def loss(model: nn.Module, batch: Data) -> Tensor:
        pictures, classes = batch
        return functional.cross_entropy(model(pictures), classes, reduction="sum")

    samples = list(batches(train_data, 128, torch.Generator().manual_seed(1)))[:4]
    importance = DataImportance("fisher", samples, loss)

    # Plan and cut, in one call. Scores are divided by the MACs that a channel costs.
    pictures = [batch[0] for batch in samples]
    result = prune_module(
        network, pictures[0][:1], MacsShare(options.macs), importance=importance, per="macs", calibration=pictures
    )
    cut = result.model
    print(result.plan.summary())
    print(f"cut        accuracy {accuracy(cut, test_data):.4f}")

    # Repair without training: fit each layer to what it gave before the cut.
    reconstruct_(cut, dense, result.plan, pictures)
    print(f"repaired   accuracy {accuracy(cut, test_data):.4f}")

    # Fine-tune with the same loop: the cut network is made of ordinary modules.
    train_(cut, train_data, options.finetune_epochs, lr=0.01)
    print(f"fine-tuned accuracy {accuracy(cut, test_data):.4f}")

    # Save: the weights, and the plan that makes a freshly built network narrow enough to take them.
    options.output.mkdir(parents=True, exist_ok=True)
    torch.save(cut.state_dict(), options.output / "cut.pt")
    (options.output / "plan.json").write_text(result.plan.to_json())

    # Load.
    plan = PrunePlan.from_json((options.output / "plan.json").read_text())
    loaded = replay_plan(make_network().eval(), plan, pictures[0][:1]).model
    loaded.load_state_dict(torch.load(options.output / "cut.pt", weights_only=True))
    loaded.eval()
    assert torch.equal(loaded(test_data[0]), cut(test_data[0]))

    # Export: an ordinary network exports as any other.
    batch = {0: torch.export.Dim("batch")}
    torch.onnx.export(
        loaded, (pictures[0][:2],), options.output / "cut.onnx", dynamo=True, dynamic_shapes=(batch,), verbose=False
    )
    session = onnxruntime.InferenceSession(options.output / "cut.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: test_data[0].numpy()})
    difference = float((torch.from_numpy(logits) - loaded(test_data[0]).detach()).abs().max())
    print(f"exported   largest difference of a logit {difference:.1e}")
    print(f"written: {options.output}/cut.pt, plan.json, cut.onnx")


if __name__ == "__main__":
    main()
