"""Networks as people write them by hand: attention, recurrence, sequences, weights computed on the way, odd outputs.

Each takes [B, 3, 24, 24].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pruning_networks import ConvBn
from torch import Tensor, nn

__all__ = ["OTHER_NETWORKS"]


class Functional(nn.Module):
    """No layers at all: parameters and functions."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.one_bias = nn.Parameter(torch.randn(16, 3, 3, 3) * 0.2), nn.Parameter(torch.randn(16))
        self.two, self.three = nn.Parameter(torch.randn(8, 16, 1, 1) * 0.2), nn.Parameter(torch.randn(5, 8) * 0.3)
        self.scale = nn.Parameter(torch.rand(1, 16, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(F.conv2d(x, self.one, self.one_bias, padding=1)) * self.scale
        return F.linear(F.conv2d(x, self.two).relu().mean((2, 3)), self.three)


class VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 32, 4, 4), nn.Parameter(torch.zeros(1, 1, 32))
        self.norm, self.qkv, self.proj = nn.LayerNorm(32), nn.Linear(32, 96), nn.Linear(32, 32)
        self.norm2, self.one, self.two = nn.LayerNorm(32), nn.Linear(32, 128), nn.Linear(128, 32)
        self.head, self.heads = nn.Linear(32, 4), 4

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        weights = ((q @ k.transpose(-2, -1)) * (c // self.heads) ** -0.5).softmax(-1)
        x = x + self.proj((weights @ v).transpose(1, 2).reshape(b, n, c))
        x = x + self.two(F.gelu(self.one(self.norm2(x))))
        return self.head(x[:, 0])


class Encoder(nn.Module):
    """torch's own transformer layers, which hide in one fused operation in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBn(3, 32, 4, 4)
        layer = nn.TransformerEncoderLayer(32, 4, 128, batch_first=True)
        self.body, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x).flatten(2).transpose(1, 2)).mean(1))


class PositionAttention(nn.Module):
    """The attention of recent YOLOs: keys narrower than values, split by sizes kept as attributes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.key_dim = 2, width // 2, width // 4
        self.scale = self.key_dim**-0.5
        self.qkv, self.proj = ConvBn(width, 2 * width, 1, act=nn.Identity), ConvBn(width, width, 1, act=nn.Identity)
        self.pe = ConvBn(width, width, 3, groups=width, act=nn.Identity)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        qkv = self.qkv(x).view(b, self.num_heads, self.key_dim * 2 + self.head_dim, h * w)
        q, k, v = qkv.split([self.key_dim, self.key_dim, self.head_dim], dim=2)
        weights = ((q.transpose(-2, -1) @ k) * self.scale).softmax(dim=-1)
        x = (v @ weights.transpose(-2, -1)).view(b, c, h, w) + self.pe(v.reshape(b, c, h, w))
        return self.proj(x)


class AttentiveYolo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.attention, self.mlp = ConvBn(3, 32, 3, 2), PositionAttention(32), ConvBn(32, 64, 1)
        self.out, self.head = ConvBn(64, 32, 1), nn.Conv2d(32, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.attention(x)
        return self.head(x + self.out(self.mlp(x)))


class SelfAttention(nn.Module):
    """The attention of SAGAN: queries and keys of their own width, a learned share of the result."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.last, self.head = ConvBn(3, 32, 3, 2), ConvBn(32, 16), nn.Conv2d(16, 2, 1)
        self.query, self.key, self.value = nn.Conv2d(32, 8, 1), nn.Conv2d(32, 8, 1), nn.Conv2d(32, 32, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        b, c, h, w = x.size()
        query, key = self.query(x).view(b, -1, h * w).permute(0, 2, 1), self.key(x).view(b, -1, h * w)
        weights = torch.softmax(torch.bmm(query, key), dim=-1)
        y = torch.bmm(self.value(x).view(b, -1, h * w), weights.permute(0, 2, 1)).view(b, c, h, w)
        return self.head(self.last(self.gamma * y + x))


class GlobalContext(nn.Module):
    """Softmax over places, fused maps with learned weights."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = ConvBn(3, 16), ConvBn(16, 16), ConvBn(16, 32)
        self.shares, self.mask, self.head = nn.Parameter(torch.rand(2)), nn.Conv2d(32, 1, 1), nn.Linear(32, 4)
        self.gate = nn.Sequential(nn.Conv2d(32, 8, 1), nn.LayerNorm([8, 1, 1]), nn.ReLU(), nn.Conv2d(8, 32, 1))

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        shares = F.relu(self.shares)
        shares = shares / (shares.sum() + 1e-4)
        y = self.three(shares[0] * one + shares[1] * self.two(one))
        b, c, h, w = y.shape
        places = self.mask(y).view(b, 1, h * w).softmax(2).unsqueeze(-1)
        return self.head(
            (y + self.gate(torch.matmul(y.view(b, c, h * w).unsqueeze(1), places).view(b, c, 1, 1))).mean((2, 3))
        )


class Recurrent(nn.Module):
    """Convolutions before an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvBn(3, 16), nn.MaxPool2d(2), ConvBn(16, 32))
        self.reader, self.head = nn.LSTM(32, 16, bidirectional=True, batch_first=True), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.reader(self.body(x).mean(2).transpose(1, 2))[0])


class Parametrised(nn.Module):
    """Weight norm, and weights computed from parameters (equalised learning rate)."""

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 16, 3, padding=1))
        self.two, self.norm = nn.Parameter(torch.randn(16, 16, 3, 3)), nn.BatchNorm2d(16)
        self.three, self.out = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(F.conv2d(F.relu(self.one(x)), self.two * 0.05, padding=1)))
        return self.out(F.relu(self.three(x)))


class Sequence(nn.Module):
    """Dilated one-dimensional convolutions, shifted shortcuts."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm = nn.Conv1d(3, 32, 3, padding=2, dilation=2), nn.BatchNorm1d(32)
        self.two, self.side, self.head = nn.Conv1d(32, 32, 3, padding=1), nn.Conv1d(32, 32, 1), nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.norm(self.one(x.mean(2))))
        return self.head((self.two(y)[:, :, :-1] + self.side(y)[:, :, 1:]).mean(-1))


class Volume(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two = (
            nn.Conv3d(3, 16, 3, padding=1),
            nn.BatchNorm3d(16),
            nn.Conv3d(16, 16, (1, 3, 3), padding=(0, 1, 1)),
        )
        self.still, self.head = nn.InstanceNorm3d(16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.one(torch.stack([x, x * 0.5, x.flip(-1)], 2))))
        return self.head(F.adaptive_avg_pool3d(F.elu(self.still(self.two(x))) + x, 1).flatten(1))


class Siamese(nn.Module):
    """One network on two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvBn(3, 16), ConvBn(16, 32, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.body(x), self.body(x.flip(-1))
        return self.head(torch.cat([torch.abs(one - two), one * two], 1))


@dataclass
class Predictions:
    scores: Tensor
    more: dict[str, Tensor]


class DataclassOutput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = ConvBn(3, 16), ConvBn(16, 32)
        self.head, self.side = nn.Conv2d(32, 2, 1), nn.Conv2d(16, 3, 1)

    def forward(self, x: Tensor) -> Predictions:
        one = self.one(x)
        return Predictions(self.head(self.two(one)), {"side": self.side(one)})


class Gated(nn.Module):
    """Gated linear units, a slope for each channel, halves that gate each other."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.slope, self.two = nn.Conv2d(3, 32, 3, padding=1), nn.PReLU(16), nn.Conv2d(16, 32, 3, padding=1)
        self.mix, self.head = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.slope(F.glu(self.one(x), dim=1))
        filters, gates = self.two(y).chunk(2, 1)
        return self.head(self.mix(torch.tanh(filters) * torch.sigmoid(gates) + y))


class FrozenNorm(nn.Module):
    """A batch norm written out with buffers, as detectors keep it."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = (
            nn.Conv2d(3, 16, 3, padding=1, bias=False),
            nn.Conv2d(16, 8, 3, padding=1),
            nn.Conv2d(8, 2, 1),
        )
        for name, values in {
            "weight": torch.rand(16),
            "bias": torch.randn(16),
            "mean": torch.randn(16),
            "var": torch.rand(16) + 0.5,
        }.items():
            self.register_buffer(name, values)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.var + 1e-5).rsqrt()
        x = self.one(x) * scale.reshape(1, -1, 1, 1) + (self.bias - self.mean * scale).reshape(1, -1, 1, 1)
        return self.out(F.relu(self.two(F.relu(x))))


class Einsum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = ConvBn(3, 16), ConvBn(16, 16), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.two(self.one(x))
        flat = y.flatten(2)
        weights = torch.einsum("bcn,bcm->bnm", flat, flat).softmax(-1)
        return self.head(torch.einsum("bnm,bcm->bcn", weights, flat).view_as(y) + y)


class Assigned(nn.Module):
    """A part of a tensor overwritten in place."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three, self.head = ConvBn(3, 16), ConvBn(16, 16), ConvBn(16, 16), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        one = self.one(x)
        two = self.two(one).clone()
        two[:, :8] = two[:, :8] + one[:, 8:]
        return self.head(self.three(two))


class Stages(nn.Module):
    """What the last round hands on is never used: code without an effect runs in the cut network, too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBn(3, 16, 3)
        self.bodies = nn.ModuleList(nn.Sequential(ConvBn(16, 24, 3), ConvBn(24, 16, 3)) for _ in range(2))
        self.heads = nn.ModuleList(nn.Conv2d(16, 5, 1) for _ in range(2))
        self.backs = nn.ModuleList(nn.Conv2d(5, 16, 1) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        x, found = self.stem(x), []
        for body, head, back in zip(self.bodies, self.heads, self.backs, strict=True):
            y = x + body(x)
            found.append(head(y))
            x = x + y + back(found[-1])
        return tuple(found)


# network -> largest share of the MACs that may be left when half of the prunable channels are asked for
OTHER_NETWORKS: dict[type[nn.Module], float] = {
    Functional: 0.5,
    VisionTransformer: 0.85,
    Encoder: 0.85,
    AttentiveYolo: 0.9,
    SelfAttention: 0.7,
    GlobalContext: 0.35,
    Recurrent: 0.6,
    Parametrised: 0.7,
    Sequence: 0.35,
    Volume: 0.45,
    Siamese: 0.45,
    DataclassOutput: 0.35,
    Gated: 0.5,
    FrozenNorm: 0.4,
    Einsum: 0.95,  # most of its MACs are products of two activations
    Assigned: 0.8,
    Stages: 0.4,
}
