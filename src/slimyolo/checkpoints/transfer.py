"""Copies tensors from a checkpoint into another detector, and reports which of them fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slimyolo.checkpoints.checkpoint import Checkpoint
from slimyolo.models import Detector

__all__ = ["Mismatch", "TransferReport", "transfer_"]


@dataclass(frozen=True)
class Mismatch:
    """A tensor of the same name but another shape. The detector kept its own value."""

    name: str
    got: tuple[int, ...]
    expected: tuple[int, ...]


@dataclass(frozen=True)
class TransferReport:
    """What happened to each tensor, as lists of names.

    `matched` were copied; `missing` are only in the detector; `unexpected` are only in the checkpoint; `mismatched` are in
    both with different shapes; `excluded` were left out on purpose.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    unexpected: tuple[str, ...]
    excluded: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every tensor of the detector, except the excluded ones, got a value from the checkpoint."""
        return not self.missing and not self.mismatched

    def summary(self, most: int = 8) -> str:
        """A few lines to print, with at most `most` names of each kind."""
        total = len(self.matched) + len(self.missing) + len(self.mismatched) + len(self.excluded)
        lines = [f"{len(self.matched)} of {total} tensors taken from the checkpoint"]
        shapes = [f"{item.name} {_shape(item.got)} → {_shape(item.expected)}" for item in self.mismatched]
        for title, names in (
            ("of another shape, initial value kept", shapes),
            ("not in the checkpoint, initial value kept", list(self.missing)),
            ("only in the checkpoint, not used", list(self.unexpected)),
            ("left out on purpose", list(self.excluded)),
        ):
            if names:
                more = f" and {len(names) - most} more" if len(names) > most else ""
                lines.append(f"  {len(names)} {title}: {', '.join(names[:most])}{more}")
        return "\n".join(lines)


def transfer_(
    detector: nn.Module,
    checkpoint_or_tensors: Checkpoint | Mapping[str, Tensor],
    *,
    exclude: Sequence[str] | None = None,
) -> TransferReport:
    """Copy every tensor of the same name and shape into `detector`, and report all others.

    The EMA weights of a `Checkpoint` are used when it has them. `exclude` lists tensors that stay untouched: whole names, or
    whole dotted parts at the start or end of names. None means the tensors that belong to a dataset
    (`Family.dataset_tensors`, in YOLOv5 the anchors). Values are converted to the detector's dtype and device. Nothing is
    broadcast or truncated: a head for other classes keeps its initial values.
    """
    given = checkpoint_or_tensors
    if exclude is None:
        exclude = detector.family.dataset_tensors if isinstance(detector, Detector) else ()
    tensors = given.best_tensors() if isinstance(given, Checkpoint) else given
    matched: list[str] = []
    missing: list[str] = []
    excluded: list[str] = []
    mismatched: list[Mismatch] = []
    own = detector.state_dict()
    with torch.no_grad():
        for name, target in own.items():
            if any(_covers(entry, name) for entry in exclude):
                excluded.append(name)
            elif name not in tensors:
                missing.append(name)
            elif tensors[name].shape != target.shape:
                mismatched.append(Mismatch(name, tuple(tensors[name].shape), tuple(target.shape)))
            else:
                target.copy_(tensors[name])
                matched.append(name)
    unexpected = tuple(name for name in tensors if name not in own)
    return TransferReport(
        matched=tuple(matched),
        missing=tuple(missing),
        mismatched=tuple(mismatched),
        unexpected=unexpected,
        excluded=tuple(excluded),
    )


def _covers(entry: str, name: str) -> bool:
    return name == entry or name.startswith(f"{entry}.") or name.endswith(f".{entry}")


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"
