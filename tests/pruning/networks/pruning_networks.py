"""Small networks with every structure the engine knows; used by the tests of this folder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slimyolo.pruning import ChannelGraph, scale_groups


class ConvBn(nn.Sequential):
    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        act: type[nn.Module] = nn.SiLU,
    ):
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            act(),
        )


class Residual(nn.Module):
    def __init__(self, width: int, act: type[nn.Module] = nn.SiLU):
        super().__init__()
        self.one, self.two = ConvBn(width, width, 1, act=act), ConvBn(width, width, 3, act=act)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(self.one(x))


class PostResidual(nn.Module):
    """ResNet's order: the activation after the addition."""

    def __init__(self, width: int):
        super().__init__()
        self.one, self.two = ConvBn(width, width, 3, act=nn.ReLU), nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.two(self.one(x))))


class C2f(nn.Module):
    def __init__(self, width: int, by_size: bool = False):
        super().__init__()
        self.c = width // 2
        self.by_size = by_size
        self.first, self.last = ConvBn(width, width, 1), ConvBn(width // 2 * 4, width, 1)
        self.blocks = nn.ModuleList(Residual(width // 2) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        y = list(self.first(x).split((self.c, self.c), 1) if self.by_size else self.first(x).chunk(2, 1))
        for block in self.blocks:
            y.append(block(y[-1]))
        return self.last(torch.cat(y, 1))


class Spp(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first, self.last = ConvBn(width, width // 2, 1), ConvBn(width * 2, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = F.max_pool2d(x, 5, 1, 2)
        z = F.max_pool2d(y, 5, 1, 2)
        return self.last(torch.cat([x, y, z, F.max_pool2d(z, 5, 1, 2)], 1))


class Inverted(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            ConvBn(width, width * 2, 1, act=nn.ReLU6),
            ConvBn(width * 2, width * 2, 3, groups=width * 2, act=nn.ReLU6),
            nn.Conv2d(width * 2, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class SqueezeExcite(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.first = ConvBn(width, width, 3, act=nn.Hardswish)
        self.down, self.up = nn.Conv2d(width, 4, 1), nn.Conv2d(4, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        gate = self.up(F.relu(self.down(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class Shuffle(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            ConvBn(width // 2, width // 2, 1, act=nn.ReLU),
            ConvBn(width // 2, width // 2, 3, groups=width // 2, act=nn.ReLU),
        )

    def forward(self, x: Tensor) -> Tensor:
        one, two = x.chunk(2, 1)
        y = torch.cat([one, self.body(two)], 1)
        b, c, h, w = y.shape
        return y.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


class UpDown(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.down, self.side = ConvBn(width, width, 3, 2), ConvBn(width, width, 3, 2)
        self.up, self.last = nn.ConvTranspose2d(width, width, 2, 2, bias=False), ConvBn(width * 3, width, 3)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.down(x)
        z = F.interpolate(self.side(x), scale_factor=2.0, mode="nearest")
        return self.last(torch.cat([x, self.norm(self.up(y)), z], 1))


class Dense(nn.Module):
    """Pre-activation on concatenated features; a convolution without norm behind it."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(width), nn.Conv2d(width, 8, 3, padding=1)
        self.norm2, self.last = nn.BatchNorm2d(width + 8), nn.Conv2d(width + 8, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)
        return self.last(F.relu(self.norm2(y)))


class Grouped(nn.Module):
    def __init__(self, width: int, groups: int):
        super().__init__()
        self.body = nn.Sequential(
            ConvBn(width, width, 1, act=nn.ReLU),
            ConvBn(width, width, 3, groups=groups, act=nn.ReLU),
            ConvBn(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Attention(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, width * 3), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width * 2), nn.GELU(), nn.Linear(width * 2, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        t = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(t)).reshape(b, h * w, 3, 2, c // 2).permute(2, 0, 3, 1, 4).unbind(0)
        t = t + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, h * w, c))
        t = t + self.mlp(t)
        return t.transpose(1, 2).reshape(b, c, h, w)


class PaddedPool(nn.Module):
    """Explicit zero padding and counted average pooling in front of convolutions without padding of their own."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = ConvBn(width, width, 3), ConvBn(width, width, 1, act=nn.LeakyReLU)
        self.conv, self.last = nn.Conv2d(width, width, 3, bias=False), nn.Conv2d(width, width, 1)
        self.norm, self.scale = nn.GroupNorm(4, width), nn.Parameter(torch.rand(width, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(F.pad(self.first(x), (1, 1, 1, 1))))
        return self.last(F.avg_pool2d(self.second(x), 3, 1, 1)) * self.scale + y


BLOCKS = {
    "residual": Residual,
    "post_residual": PostResidual,
    "c2f": C2f,
    "c2f_by_size": lambda width: C2f(width, by_size=True),
    "spp": Spp,
    "inverted": Inverted,
    "squeeze_excite": SqueezeExcite,
    "shuffle": Shuffle,
    "up_down": UpDown,
    "dense": Dense,
    "grouped2": lambda width: Grouped(width, 2),
    "grouped8": lambda width: Grouped(width, 8),
    "attention": Attention,
    "padded_pool": PaddedPool,
}


class Network(nn.Module):
    """A stem, blocks by name, a padded convolution and a linear head."""

    def __init__(self, blocks: tuple[str, ...], width: int = 16, act: type[nn.Module] = nn.SiLU):
        super().__init__()
        self.stem = ConvBn(3, width, 3, act=act)
        self.blocks = nn.Sequential(*[BLOCKS[name](width) for name in blocks])
        self.neck = ConvBn(width, width, 3, act=act)
        self.head = nn.Linear(width, 5)
        self.map = nn.Conv2d(width, 2, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.neck(self.blocks(self.stem(x)))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1)), self.map(x)


def randomise_(module: nn.Module, seed: int, zero: float = 0.0) -> nn.Module:
    """Random γ, β and statistics, so that constants matter; a share `zero` of the γ exactly zero. Eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, (nn.BatchNorm2d, nn.GroupNorm)):
                count = part.weight.numel()
                part.weight.copy_(torch.rand(count, generator=generator) + 0.5)
                part.weight[torch.rand(count, generator=generator) < zero] = 0.0
                part.bias.copy_(torch.randn(count, generator=generator) * 0.5)
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.copy_(torch.randn(count, generator=generator) * 0.3)
                part.running_var.copy_(torch.rand(count, generator=generator) + 0.5)
    return module.eval()


def zero_half_of_every_group_(model: nn.Module, graph: ChannelGraph, seed: int) -> None:
    """γ = 0 for half of the channels of every group of `graph` (of this model, or one with the same layers)."""
    generator = torch.Generator().manual_seed(seed)
    tensors = dict(model.named_parameters())
    with torch.no_grad():
        for scale in scale_groups(graph):
            chosen = torch.randperm(scale.width, generator=generator)[: scale.width // 2]
            for gamma, _, index in scale.members:
                tensors[gamma][index[chosen]] = 0.0
