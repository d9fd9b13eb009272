"""A network as somebody writes it who has never heard of slimyolo: sizes in attributes, a buffer, tied weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

PICTURE = torch.zeros(1, 3, 8, 8)


class Split(nn.Module):
    """As C2f: the code divides its channels by a number that it keeps as an attribute."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c = width // 2
        self.parts = (width // 2, width // 2)
        self.enter = nn.Conv2d(width, width, 1)
        self.inner = nn.Conv2d(self.c, self.c, 3, padding=1)
        self.leave = nn.Conv2d(width + self.c, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, second = torch.split(functional.silu(self.enter(x)), self.parts, 1)
        return self.leave(torch.cat((first, second, functional.silu(self.inner(second))), 1))


class Theirs(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.depth = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.depth_norm = nn.GroupNorm(width // 2, width)
        self.split = Split(width)
        self.register_buffer("offset", torch.linspace(0, 1, width).reshape(1, width, 1, 1), persistent=False)
        self.wide, self.head = nn.Linear(width, 24, bias=False), nn.Linear(24, 5)
        self.again = self.wide

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.stem_norm(self.stem(x))) + self.offset
        x = functional.relu(self.depth_norm(self.depth(x)))
        return self.head(functional.relu(self.wide(self.split(x).mean((2, 3)))))
