"""From the word a user types to a device and a number format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from slimyolo.errors import ConfigError
from slimyolo.tasks.configs import Precision as PrecisionName

if TYPE_CHECKING:
    from slimyolo.training import Precision

__all__ = ["pick_device", "pick_precision"]


def pick_device(name: str) -> torch.device:
    """``auto`` (a GPU if there is one), ``cpu``, ``mps``, ``cuda`` or ``cuda:N``. Raises `ConfigError` when absent."""
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
    """The number format of training. ``auto``: bf16 or fp16 on a GPU, fp32 elsewhere.

    Processors are asked for nothing but fp32 by ``auto``: bf16 without matrix units is several times slower there.
    """
    from slimyolo.training import Autocast, Fp32  # the loop: commands that do not train need not wait for it

    if name == "auto":
        name = "fp32" if device.type != "cuda" else ("bf16" if torch.cuda.is_bf16_supported() else "fp16")
    if name == "fp32":
        return Fp32()
    if name == "fp16" and device.type == "cpu":
        raise ConfigError(
            "--precision fp16 needs a GPU. On a processor use --precision fp32, or bf16 where it is fast."
        )
    return Autocast(device, torch.bfloat16 if name == "bf16" else torch.float16)
