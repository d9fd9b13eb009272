"""Networks as people write them by hand, for images: what the table of timm architectures does not hold.

Each takes [B, 3, 24, 24] and is written in the style it is usually found in, sizes in the code included.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from pruning_networks import ConvBn
from torch import Tensor, nn

__all__ = ["IMAGE_NETWORKS"]


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> ConvBn:
    return ConvBn(inputs, outputs, kernel, stride, groups, act=lambda: nn.ReLU(inplace=True))


class UNet(nn.Module):
    """Transposed convolutions, padding to the skip's size, outputs in a dictionary with a list."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = conv(3, 16), conv(16, 32), conv(32, 64)
        self.up_two, self.down_two = nn.ConvTranspose2d(64, 32, 2, 2), conv(64, 32)
        self.up_one, self.down_one = nn.ConvTranspose2d(32, 16, 2, 2), conv(32, 16)
        self.out, self.side = nn.Conv2d(16, 2, 1), nn.Conv2d(32, 2, 1)

    def forward(self, x: Tensor) -> dict[str, object]:
        one = self.one(x)
        two = self.two(F.max_pool2d(one, 2))
        y = self.up_two(self.three(F.max_pool2d(two, 2)))
        high = two.size(2) - y.size(2)
        y = F.pad(y, [0, two.size(3) - y.size(3), high // 2, high - high // 2])
        y = self.down_two(torch.cat([two, y], 1))
        return {"out": self.out(self.down_one(torch.cat([one, self.up_one(y)], 1))), "sides": [self.side(y)]}


class Cbam(nn.Module):
    """A perceptron used twice, gates expanded over channels and over space, means over channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.last = conv(3, 32), conv(32, 32), conv(32, 48)
        self.gate = nn.Sequential(nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, 32))
        self.where, self.head = nn.Conv2d(2, 1, 7, padding=3), nn.Linear(48, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.stem(x))
        b, c, _, _ = x.size()
        mean, most = F.adaptive_avg_pool2d(x, 1).view(b, c), F.adaptive_max_pool2d(x, 1).view(b, c)
        x = x * torch.sigmoid(self.gate(mean) + self.gate(most)).view(b, c, 1, 1).expand_as(x)
        y = torch.cat([x.mean(1, keepdim=True), torch.max(x, 1, keepdim=True)[0]], 1)
        x = self.last(x * torch.sigmoid(self.where(y)).expand_as(x))
        return self.head(x.mean((2, 3)))


class SharedHead(nn.Module):
    """One head on two levels of a pyramid."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.next = conv(3, 24), conv(24, 24, 3, 2)
        self.fine, self.coarse = nn.Conv2d(24, 16, 1), nn.Conv2d(24, 16, 1)
        self.head = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 4, 3, padding=1))

    def forward(self, x: Tensor) -> list[Tensor]:
        fine = self.stem(x)
        return [self.head(self.fine(fine)), self.head(self.coarse(self.next(fine)))]


class Vgg(nn.Module):
    """Flattened maps before the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv(3, 16), nn.MaxPool2d(2), conv(16, 32), nn.AdaptiveAvgPool2d((3, 3)))
        self.classifier = nn.Sequential(
            nn.Linear(32 * 9, 64), nn.ReLU(True), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(True), nn.Linear(64, 10)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.classifier(x.view(x.size(0), -1))


class LiteralView(nn.Module):
    """A size written in the code: its channels stay."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Sequential(conv(3, 16), conv(16, 32), nn.AdaptiveAvgPool2d(1)), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).view(-1, 32))


class SegNet(nn.Module):
    """Unpooling to the places that pooling took."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three, self.out = (
            conv(3, 16),
            conv(16, 32),
            conv(32, 16),
            nn.Conv2d(16, 3, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x, places = F.max_pool2d(self.one(x), 2, return_indices=True)
        return self.out(F.max_unpool2d(self.three(self.two(x)), places, 2))


class ChannelsFirstNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).pow(2).mean(1, keepdim=True)
        return (x - mean) / torch.sqrt(variance + 1e-6) * self.weight[:, None, None] + self.bias[:, None, None]


class ConvNext(nn.Module):
    """Layer norms with channels first and last, a layer scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 24, 4, 4), ChannelsFirstNorm(24)
        self.depthwise, self.last_norm = nn.Conv2d(24, 24, 7, padding=3, groups=24), nn.LayerNorm(24)
        self.one, self.two, self.gamma = nn.Linear(24, 96), nn.Linear(96, 24), nn.Parameter(torch.ones(24))
        self.head = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x))
        y = self.last_norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.two(F.gelu(self.one(y))) * self.gamma
        return self.head((x + y.permute(0, 3, 1, 2)).mean([-2, -1]))


class ShuffleUnit(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.branch = nn.Sequential(
            conv(half, half, 1),
            nn.Conv2d(half, half, 3, 1, 1, groups=half, bias=False),
            nn.BatchNorm2d(half),
            conv(half, half, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        one, two = x.chunk(2, dim=1)
        y = torch.cat((one, self.branch(two)), 1)
        b, c, h, w = y.size()
        return y.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, -1, h, w)


class ShuffleNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = conv(3, 24), conv(24, 64, 3, 2)
        self.units = nn.Sequential(*[ShuffleUnit(64) for _ in range(4)])
        self.last, self.head = conv(64, 96, 1), nn.Linear(96, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.units(self.down(self.stem(x)))).mean([2, 3]))


class SuperResolution(nn.Module):
    """Pixel shuffle in the middle and at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 32, 5, padding=2), nn.Conv2d(32, 64, 3, padding=1), conv(16, 12)
        self.shuffle, self.out = nn.PixelShuffle(2), nn.Conv2d(12, 12, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.shuffle(F.relu(self.two(F.relu(self.one(x))))))
        return self.shuffle(self.out(self.three(y)))


class Generator(nn.Module):
    """A linear layer read as maps, then transposed convolutions with stride."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 32
        self.start = nn.Linear(3 * 24 * 24, 32 * 16)
        self.body = nn.Sequential(
            nn.BatchNorm2d(32),
            nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(True),
            nn.ConvTranspose2d(16, 16, 4, 2, 1, groups=16),
            nn.ReLU(True),
            nn.ConvTranspose2d(16, 3, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.start(x.flatten(1)).view(-1, self.width, 4, 4))


class Deformed(nn.Module):
    """A spatial transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Sequential(conv(3, 8), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 6))
        self.one, self.two, self.out = conv(3, 16), conv(16, 16), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        grid = F.affine_grid(self.places(x).view(-1, 2, 3) * 0.1, y.size(), align_corners=False)
        return self.out(self.two(F.grid_sample(y, grid, align_corners=False)))


class ZeroPaddedShortcut(nn.Module):
    """The shortcut of CIFAR ResNets: every second pixel, new channels of zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three, self.head = conv(3, 16), conv(16, 32, 3, 2), conv(32, 32), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        x = self.two(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8))
        return self.head(self.three(x).mean((2, 3)))


class Checked(nn.Module):
    """Its code insists on a width."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = 16
        self.one, self.two, self.three, self.out = conv(3, 16), conv(16, 16), conv(16, 24), nn.Conv2d(24, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        assert x.shape[1] == self.wanted
        x = self.two(x)
        return self.out(self.three(x))


class Blurred(nn.Module):
    """A fixed filter, expanded over the channels, and one kept for each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = conv(3, 16), conv(16, 16), nn.Conv2d(16, 2, 3, padding=1)
        self.register_buffer("filter", torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])[None, None] / 16)
        self.register_buffer("filters", torch.full((16, 1, 3, 3), 1 / 9))

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), self.filter.expand(x.shape[1], 1, 3, 3), groups=x.shape[1])
        x = self.two(x)
        return self.out(F.conv2d(x, self.filters, stride=2, padding=1, groups=x.shape[1]))


class NamedParts(nn.Module):
    """GroupNorm, Hardswish, InstanceNorm, parallel heads in an ordered dictionary and a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            OrderedDict(
                one=nn.Conv2d(3, 32, 3, padding=1),
                norm=nn.GroupNorm(8, 32),
                act=nn.Hardswish(),
                two=nn.Conv2d(32, 32, 3, padding=1, padding_mode="circular"),
                still=nn.InstanceNorm2d(32),
                last=nn.PReLU(32),
            )
        )
        self.heads = nn.ModuleDict({"boxes": nn.Conv2d(32, 4, 1), "scores": nn.Conv2d(32, 2, 3, padding="same")})

    def forward(self, x: Tensor) -> tuple[OrderedDict[str, Tensor], Tensor]:
        y = self.body(x)
        return OrderedDict((name, head(y)) for name, head in self.heads.items()), F.interpolate(
            self.heads["boxes"](y), size=7
        )


# network -> largest share of the MACs that may be left when half of the prunable channels are asked for
IMAGE_NETWORKS: dict[type[nn.Module], float] = {
    UNet: 0.4,
    Cbam: 0.5,
    SharedHead: 0.45,
    Vgg: 0.45,
    LiteralView: 0.6,
    SegNet: 0.4,
    ConvNext: 0.7,
    ShuffleNet: 0.35,
    SuperResolution: 0.4,
    Generator: 0.5,
    Deformed: 0.45,
    ZeroPaddedShortcut: 0.45,
    Checked: 0.4,
    Blurred: 0.4,
    NamedParts: 0.5,
}
