"""Networks and images filled by the rule of the fixtures d11 and d12: numbers from numpy, by key and shape."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["fill_by_rule_", "image_by_rule", "values_by_rule"]


def values_by_rule(key: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """The float32 values of one parameter."""
    random = np.random.RandomState((zlib.crc32(key.encode()) + seed) % 2**32)
    if len(shape) == 4:
        values = random.standard_normal(shape) * math.sqrt(2 / (shape[1] * shape[2] * shape[3]))
    elif key.endswith((".gamma", ".weight")):
        values = random.uniform(0.5, 1.5, shape)
    else:
        values = 0.1 * random.standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32))


def fill_by_rule_(module: nn.Module, statistics: Mapping[str, Any]) -> None:
    """Parameters by the rule; running statistics from `statistics`, all layers one after another in the order of the state."""
    used = {"running_mean": 0, "running_var": 0}
    for key, value in module.state_dict().items():
        kind = key.rpartition(".")[2]
        if kind in used:
            start = used[kind]
            used[kind] = start + value.numel()
            value.copy_(torch.from_numpy(statistics[kind][start : used[kind]]))
        elif kind != "num_batches_tracked" and not key.endswith("dfl.conv.weight"):
            value.copy_(values_by_rule(key, tuple(value.shape)))
    assert used == {kind: len(statistics[kind]) for kind in used}


def image_by_rule(seed: int, shape: tuple[int, int, int, int]) -> Tensor:
    """Coarse squares and fine noise, float32 ``[B, 3, H, W]``."""
    random = np.random.RandomState(seed)
    batch, _, height, width = shape
    coarse = random.uniform(0, 1, (batch, 3, height // 16, width // 16))
    fine = random.uniform(0, 1, shape)
    return torch.from_numpy((0.7 * coarse.repeat(16, 2).repeat(16, 3) + 0.3 * fine).astype(np.float32))
