"""The number formats in which a detector can be evaluated. The given detector is never changed."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from slimyolo.errors import ConfigError, nearest_name_hint

__all__ = [
    "NUMBER_KINDS",
    "NumberKind",
    "check_number_kind",
    "evaluation_mode",
    "forward_numbers",
    "image_dtype",
    "prepared",
    "to_float",
]

NumberKind = Literal["float32", "float16", "bfloat16", "autocast"]
NUMBER_KINDS: tuple[NumberKind, ...] = get_args(NumberKind)

_WEIGHTS: dict[str, torch.dtype] = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def check_number_kind(kind: str) -> None:
    """Raise `ConfigError` for a kind that is not one of `NUMBER_KINDS`."""
    if kind not in NUMBER_KINDS:
        raise ConfigError(
            f"Unknown precision {kind!r}; expected one of {', '.join(NUMBER_KINDS)}."
            f"{nearest_name_hint(kind, NUMBER_KINDS)}"
        )


def image_dtype(kind: NumberKind) -> torch.dtype:
    """The type of the images that go into a model prepared for `kind`."""
    return _WEIGHTS.get(kind, torch.float32)


def prepared(module: nn.Module, kind: NumberKind, device: torch.device) -> nn.Module:
    """`module` itself when it already is on `device` in the format of `kind`, else such a copy of it."""
    floats = [tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()]
    dtype = image_dtype(kind)
    if all(tensor.dtype == dtype and tensor.device == device for tensor in floats):
        return module
    return copy.deepcopy(module).to(device=device, dtype=dtype)


@contextlib.contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """A context in eval mode. Afterwards every submodule has its former mode again, also frozen batch norms."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def forward_numbers(kind: NumberKind, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """A context with autocast for ``autocast`` (float16 on a GPU, bfloat16 on a CPU), and an empty one for other kinds."""
    if kind != "autocast":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.float16 if device.type == "cuda" else torch.bfloat16)


def to_float(images: Tensor, kind: NumberKind, device: torch.device, order: torch.memory_format) -> Tensor:
    """uint8 images ``[B, 3, H, W]`` → values in 0–1 in the format of `kind`, on `device`, in the `order` in memory."""
    placed = images.to(device, non_blocking=True).contiguous(memory_format=order)
    floats = placed.to(image_dtype(kind))
    # in place, because new memory of this size costs more than the division; but never in the images of the caller
    return floats / 255 if floats is images else floats.div_(255)
