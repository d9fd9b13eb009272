"""Turns the words that a user types into a device and a number format."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch

from slimyolo.costs import processor_flags
from slimyolo.errors import ConfigError
from slimyolo.tasks.common.option_types import Precision as PrecisionName

if TYPE_CHECKING:
    from slimyolo.training import Precision

__all__ = ["automatic_precision", "has_fast_bf16", "pick_device", "pick_precision"]

_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})  # instructions that multiply bf16; without them it is emulated


def pick_device(name: str) -> torch.device:
    """The device called `name`: ``auto`` (a GPU if there is one), ``cpu``, ``mps``, ``cuda`` or ``cuda:N``.

    Raises `ConfigError` when this machine does not have it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise ConfigError(f"--device {name}: this machine has {count} CUDA devices. Use --device cpu, or auto.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("--device mps: this machine has no Metal device. Use --device cpu, or auto.")
    return device


def pick_precision(name: PrecisionName, device: torch.device) -> Precision:
    """The number format of training. ``auto``: bf16 where the device is fast at it, otherwise fp16 on a GPU, else fp32."""
    from slimyolo.training import Autocast, Fp32  # not at the top: commands that do not train need not import it

    if name == "auto":
        name = automatic_precision(device)
    if name == "fp32":
        return Fp32()
    if name == "fp16" and device.type == "cpu":
        raise ConfigError(
            "--precision fp16 needs a GPU. On a processor use --precision fp32, or bf16 where it is fast."
        )
    return Autocast(device, torch.bfloat16 if name == "bf16" else torch.float16)


def automatic_precision(device: torch.device) -> PrecisionName:
    """The fastest number format that `device` computes in hardware."""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device.type == "cpu" and has_fast_bf16() else "fp32"


def has_fast_bf16(flags: Collection[str] | None = None, supported: bool | None = None) -> bool:
    """Whether this processor multiplies bf16 in hardware: its flags say so, and torch's kernels use it.

    Both must agree. torch alone already says yes on processors with AVX-512, where bf16 is emulated and several times
    slower than fp32. `flags` and `supported` replace the answers of the processor and of torch in tests.
    """
    if flags is None:
        flags = processor_flags()
    if supported is None:
        supported = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return supported and not _BF16_FLAGS.isdisjoint(flags)
