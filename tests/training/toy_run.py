"""A toy run: a small network with batch normalisation, seeded batches, and a loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from slimyolo.sparsity import ScaleGroup
from slimyolo.training import Progress


@dataclass(frozen=True)
class ToyBatch:
    images: Tensor
    targets: Tensor
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class ToyLoss:
    total: Tensor
    items: Mapping[str, Tensor]


@dataclass(frozen=True)
class ToyBatches:
    """`length` batches an epoch of `size` images; `poison` is an (epoch, step) whose targets are NaN."""

    length: int = 5
    size: int = 4
    poison: tuple[int, int] | None = None
    gives: int | None = None

    def __len__(self) -> int:
        return self.length

    def epoch(self, epoch: int) -> Iterator[ToyBatch]:
        for step in range(self.length if self.gives is None else self.gives):
            generator = torch.Generator().manual_seed(epoch * 1000 + step)
            images = torch.randint(0, 256, (self.size, 3, 12, 12), generator=generator, dtype=torch.uint8)
            targets = images.float().mean(dim=(2, 3)) / 255
            if (epoch, step) == self.poison:
                targets = targets * float("nan")
            yield ToyBatch(images, targets, tuple(Path(f"{epoch}-{step}-{i}.jpg") for i in range(self.size)))


def toy_net(seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.SiLU(),
        nn.Conv2d(12, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    with torch.no_grad():
        for module in model:
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.3, 1.5)
    return model


def toy_objective(model: nn.Module, images: Tensor, targets: Tensor, progress: Progress | None = None) -> ToyLoss:
    error = (model(images).float() - targets).square().mean()
    return ToyLoss(error * len(images), {"box": error.detach(), "obj": error.detach() * 2})


def layer_groups(model: nn.Module) -> tuple[ScaleGroup, ...]:
    """One group for each batch normalisation that has scales."""
    norms = {name: part for name, part in model.named_modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)}
    return tuple(
        ScaleGroup(name, ((f"{name}.weight", f"{name}.bias", torch.arange(norm.num_features)),))
        for name, norm in norms.items()
        if norm.affine
    )
