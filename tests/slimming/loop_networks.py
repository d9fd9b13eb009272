"""Small networks and a plain training loop, for the tests of this folder. Each network takes pictures [B, 3, 8, 8]."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from slimyolo.slimming import Slimming

EXAMPLE = torch.zeros(1, 3, 8, 8)


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.second, self.second_norm = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.silu(self.first_norm(self.first(x)))
        return functional.silu(x + self.second_norm(self.second(inner)))


class Gate(nn.Module):
    """Squeeze and excitation: a channel at γ = 0 still emits a constant times a gate, which is no constant."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(width, 8, 1), nn.Conv2d(8, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.expand(functional.relu(self.reduce(x.mean((2, 3), keepdim=True)))))


class Mixer(nn.Module):
    """A block as in ConvNeXt: a norm over channels, which keeps them whole, and a wide inner layer, which does not."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm(x.permute(0, 2, 3, 1))
        return x + self.narrow(functional.gelu(self.wide(inner))).permute(0, 3, 1, 2)


def ending(width: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5)]


def residual() -> nn.Module:
    start = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.SiLU()]
    return nn.Sequential(*start, Residual(16), Residual(16), *ending(16))


def gated() -> nn.Module:
    start = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.Hardswish(), Gate(16)]
    more = [nn.Conv2d(16, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU()]
    return nn.Sequential(*start, *more, *ending(24))


def without_norms() -> nn.Module:
    start = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.GELU()]
    return nn.Sequential(*start, nn.ConvTranspose2d(16, 12, 2, stride=2), nn.ReLU(), *ending(12))


def group_norms() -> nn.Module:
    start = [nn.Conv2d(3, 16, 3, padding=1), nn.GroupNorm(8, 16), nn.ReLU()]
    more = [nn.Conv2d(16, 32, 3, padding=1), nn.InstanceNorm2d(32, affine=True), nn.ReLU()]
    return nn.Sequential(*start, *more, *ending(32))


def layer_norms() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), Mixer(12), Mixer(12), *ending(12))


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 24), nn.Tanh(), nn.Linear(24, 5)
    )  # fmt: skip  # one line


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    one.__name__: one for one in (residual, gated, without_norms, group_norms, layer_norms, perceptron)
}


def made(maker: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return maker()


def data(seed: int, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """`count` batches of 16 pictures and classes."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        yield torch.rand(16, 3, 8, 8, generator=generator), torch.randint(5, (16,), generator=generator)


def train_(
    network: nn.Module,
    slim: Slimming[nn.Module],
    optimizer: torch.optim.Optimizer,
    *,
    first: int = 0,
    last: int,
    after: Callable[[], object] | None = None,
) -> None:
    """The plain loop over batches `first` to `last` (not included); `after` is called before each `slim.step()`."""
    network.train()
    for number, (pictures, classes) in enumerate(data(7, last)):
        if number < first:
            continue
        optimizer.zero_grad()
        functional.cross_entropy(network(pictures), classes).backward()
        optimizer.step()
        if after is not None:
            after()
        slim.step()


def sgd(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)


def adam(network: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
