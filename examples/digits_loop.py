"""Make networks smaller inside a plain training loop: half of the multiplications, in one training.

A ResNet and a MobileNet from timm (without pretrained weights) learn scikit-learn's handwritten digits (1,797 pictures of
8 × 8 pixels), once as they are and once with three lines of `slimyolo.slimming.Slimming` in the loop. Run it with

    pip install slimyolo scikit-learn timm
    python examples/digits_loop.py

`docs/your-own-loop.md` explains the lines and shows the numbers of `--seeds 3`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator

import timm
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from slimyolo.pruning import MacsShare
from slimyolo.slimming import Slimming

Data = tuple[Tensor, Tensor]

NETWORKS = ("test_resnet", "test_efficientnet")


def read_data(side: int = 16) -> tuple[Data, Data]:
    """(pictures, classes) to train on and to measure on: 1,347 and 450 pictures, float [N, 1, side, side] in 0–1."""
    digits = load_digits()
    pictures = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    pictures = functional.interpolate(pictures, size=(side, side), mode="bilinear")
    classes = torch.tensor(digits.target)
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))
    train, test = order[450:], order[:450]
    return (pictures[train], classes[train]), (pictures[test], classes[test])


def make_network(name: str, seed: int) -> nn.Module:
    """A timm network for pictures [B, 1, side, side] and ten classes, with random weights."""
    torch.manual_seed(seed)
    network: nn.Module = timm.create_model(name, pretrained=False, in_chans=1, num_classes=10)
    return network


def batches(data: Data, size: int, generator: torch.Generator) -> Iterator[Data]:
    """One epoch in random order, without the last, smaller batch."""
    pictures, classes = data
    for chosen in torch.randperm(len(classes), generator=generator).split(size):
        if len(chosen) == size:
            yield pictures[chosen], classes[chosen]


def train_(network: nn.Module, data: Data, epochs: int, seed: int, macs: float | None) -> Slimming[nn.Module] | None:
    """Train `network` in place. With `macs`, the share to keep, its channels fade meanwhile, and the `Slimming` is returned."""
    generator = torch.Generator().manual_seed(seed)
    size = 64
    steps = epochs * (len(data[1]) // size)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    slim = None if macs is None else Slimming(network, data[0][:1], MacsShare(macs), steps=steps)
    network.train()
    for _ in range(epochs):
        for pictures, classes in batches(data, size, generator):
            functional.cross_entropy(network(pictures), classes).backward()
            optimizer.step()
            if slim is not None:
                slim.step()
            optimizer.zero_grad()
            schedule.step()
    network.eval()
    return slim


def accuracy(network: nn.Module, data: Data) -> float:
    """Share of the pictures whose class is found."""
    network.eval()
    with torch.no_grad():
        return float((network(data[0]).argmax(1) == data[1]).float().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="names of timm networks")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of each training")
    parser.add_argument(
        "--side", type=int, default=16, help="pixels to which the pictures of 8 × 8 pixels are enlarged"
    )
    parser.add_argument("--macs", type=float, default=0.5, help="share of the MACs to keep")
    parser.add_argument("--seeds", type=int, default=1, help="how many trainings of each kind, with seeds 0, 1, …")
    options = parser.parse_args()
    train_data, test_data = read_data(options.side)
    for name in options.networks:
        found: dict[str, list[float]] = {"dense": [], "slimmed": [], "cut": []}
        for seed in range(options.seeds):
            start = time.perf_counter()
            dense = make_network(name, seed)
            train_(dense, train_data, options.epochs, seed, None)
            found["dense"].append(accuracy(dense, test_data))
            dense_seconds, start = time.perf_counter() - start, time.perf_counter()

            network = make_network(name, seed)
            slim = train_(network, train_data, options.epochs, seed, options.macs)
            assert slim is not None
            found["slimmed"].append(accuracy(network, test_data))
            result = slim.cut()
            found["cut"].append(accuracy(result.model, test_data))
            report = result.report
            print(
                f"{name} seed {seed}: accuracy dense {found['dense'][-1]:.4f}, slimmed {found['slimmed'][-1]:.4f}, after the "
                f"cut {found['cut'][-1]:.4f}; MACs {report.before.macs / 1e6:.2f} → {report.after.macs / 1e6:.2f} M, "
                f"parameters {report.before.params:,} → {report.after.params:,}; {dense_seconds:.0f} and "
                f"{time.perf_counter() - start:.0f} s",
                flush=True,
            )
        means = ", ".join(f"{kind} {statistics.mean(values):.4f}" for kind, values in found.items())
        print(f"{name} mean of {options.seeds}: {means}")


if __name__ == "__main__":
    main()
