"""Our own format: plain data and tensors, without any code.

It is a dict written by `torch.save` (readable with ``torch.load(path, weights_only=True)``), of version 1 or 2::

    format        "slimyolo.checkpoint"
    version       1 for YOLOv5, which slimyolo 0.1 can read too; 2 for other families. A reader refuses newer versions
    architecture  Architecture.to_plain()
    widths        widths_to_plain(), or None for a detector that was never pruned
    names         list of class names
    anchors       float32 [nl, na, 2], (width, height) in network pixels; only in families with anchors
    tensors       state_dict of the detector, with floating-point values in float32
    ema           the EMA weights in the same form, or None
    training      state to resume from (optimizer, epoch, random generators …), or None
    provenance    where the detector comes from (data, command, metrics, versions)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import PurePath
from typing import IO, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from slimyolo.checkpoints.checkpoint import dense_widths
from slimyolo.errors import CheckpointError
from slimyolo.models import FIRST_FAMILY, Detector, widths_of, widths_to_plain
from slimyolo.storage import atomic_file

__all__ = ["FORMAT", "VERSION", "save_checkpoint"]

FORMAT = "slimyolo.checkpoint"
VERSION = 2


def save_checkpoint(
    path: str | os.PathLike[str],
    detector: Detector,
    *,
    ema: nn.Module | None = None,
    training: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write `detector` and the other arguments to `path` atomically.

    `ema` is the copy with the EMA weights; it has the same tensors. `training` and `provenance` hold plain data (numbers,
    text, lists, dicts) and tensors. Paths become text, and numpy numbers become Python numbers; any other value raises
    `CheckpointError` that names its place. Tensors of `training` keep their dtype and strides, so that resuming is exact.
    Raises `StorageError` when `path` cannot be written.
    """
    widths, dense = widths_of(detector), dense_widths(detector.architecture)
    if widths.keys() != dense.keys():
        raise CheckpointError(
            "The layers of this detector differ from its architecture (was it fused?). Save the detector from before `fused()`."
        )
    tensors = _model_tensors(detector)
    averaged = None if ema is None else _model_tensors(ema)
    if averaged is not None and {k: v.shape for k, v in averaged.items()} != {k: v.shape for k, v in tensors.items()}:
        raise CheckpointError(
            "The tensors of `ema` differ from those of the detector. Give an EMA that was made from this detector."
        )
    about = {"slimyolo": _installed_version(), "torch": str(torch.__version__), "saved": _now(), **(provenance or {})}
    if detector.imgsz is not None and "settings" not in about:  # saved by a program: no command says the size
        about.setdefault("imgsz", list(detector.imgsz))
    content = {
        "format": FORMAT,
        "version": 1 if detector.family.name == FIRST_FAMILY else VERSION,
        "architecture": detector.architecture.to_plain(),
        "widths": None if widths == dense else widths_to_plain(widths),
        "names": list(detector.names),
        **_anchors(detector),
        "tensors": tensors,
        "ema": averaged,
        "training": None if training is None else _plain("training", training),
        "provenance": _plain("provenance", about),
    }
    with atomic_file(path) as file:
        _write(content, file)


def _anchors(detector: Detector) -> dict[str, Tensor]:
    if detector.family.anchors_of is None:
        return {}
    return {"anchors": detector.anchors.detach().to("cpu", torch.float32).contiguous()}


def _write(content: Mapping[str, Any], file: IO[bytes]) -> None:
    """As `torch.save`, but a full disk raises the system's error; torch's own message would be "unexpected pos"."""
    watched = _WatchedFile(file)
    try:
        torch.save(content, cast(IO[bytes], watched))
    except RuntimeError:
        if watched.error is not None:
            raise watched.error from None
        raise


class _WatchedFile:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return self._file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _model_tensors(module: nn.Module) -> dict[str, Tensor]:
    tensors = {}
    for name, tensor in module.state_dict().items():
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        tensors[name] = _compact(tensor.detach().to("cpu", dtype).contiguous())
    return tensors


def _compact(tensor: Tensor) -> Tensor:
    """`tensor`, copied when it is a view of a larger storage, because torch would write the whole storage."""
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size() else tensor


def _plain(place: str, value: Any) -> Any:
    if isinstance(value, np.generic):  # tested before float, because numpy's float64 is a float
        return _plain(place, value.item())
    if value is None or isinstance(value, bool):
        return value
    kinds: tuple[type[Any], ...] = (str, int, float, bytes)
    for kind in kinds:  # only the plain value of a subclass is kept (torch's version text, an enum)
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Tensor):
        return _compact(value.detach().cpu())
    if isinstance(value, Mapping):
        return {_plain_key(place, key): _plain(f"{place}.{key}", item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = [_plain(f"{place}[{index}]", item) for index, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, np.ndarray):
        return _plain(place, torch.from_numpy(value.copy()))
    raise CheckpointError(
        f"{place} is a {type(value).__name__}, but a checkpoint holds only plain data and tensors. "
        "Give its state as numbers, text, lists, dicts or tensors."
    )


def _plain_key(place: str, key: Any) -> Any:
    if isinstance(key, np.generic):
        key = key.item()
    if not isinstance(key, (str, int)):
        raise CheckpointError(f"{place} has a {type(key).__name__} as a key, expected text or whole numbers.")
    return key


def _installed_version() -> str:
    try:
        return metadata.version("slimyolo")
    except metadata.PackageNotFoundError:  # run from a source tree
        return "unknown"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
