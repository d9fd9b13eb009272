"""Copies tensors from a checkpoint into another detector, and reports which of them fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slimyolo.checkpoints.checkpoint import Checkpoint
from slimyolo.models import Detector
from slimyolo.one_line import one_line_repr

__all__ = ["Mismatch", "TransferReport", "transfer_"]


@one_line_repr
@dataclass(frozen=True)
class Mismatch:
    """A tensor of the same name but another shape. The detector kept its own value."""

    name: str
    got: tuple[int, ...]
    expected: tuple[int, ...]


@one_line_repr
@dataclass(frozen=True)
class TransferReport:
    """What happened to each tensor, as lists of names.

    `matched` were copied; `missing` are only in the detector; `unexpected` are only in the checkpoint; `mismatched` are in
    both with different shapes; `excluded` were left out on purpose. `by_class` have one row for each class: the rows of the
    classes `known` were copied, those of the classes `new` keep their initial values.
    """

    matched: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    unexpected: tuple[str, ...]
    excluded: tuple[str, ...] = ()
    by_class: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    new: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every tensor of the detector, except the excluded ones, got a value from the checkpoint."""
        return not self.missing and not self.mismatched

    def summary(self, most: int = 8) -> str:
        """A few lines to print, with at most `most` names of each kind."""
        kinds = (self.matched, self.missing, self.mismatched, self.excluded, self.by_class)
        total = sum(len(kind) for kind in kinds)
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
        if self.by_class:
            count = len(self.known) + len(self.new)
            more = f" and {len(self.known) - most} more" if len(self.known) > most else ""
            lines.append(
                f"  {len(self.by_class)} with a row for each class: rows of {len(self.known)} of {count} classes taken by "
                f"name: {', '.join(self.known[:most])}{more}"
            )
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
    broadcast or truncated. Rows of a head that belong to classes (`Family.holds_classes`) are taken from the class of the
    same name, if `detector` and the checkpoint have the same kind of head; the rows of other classes keep their initial values.
    """
    given = checkpoint_or_tensors
    if exclude is None:
        exclude = detector.family.dataset_tensors if isinstance(detector, Detector) else ()
    tensors = given.best_tensors() if isinstance(given, Checkpoint) else given
    matched: list[str] = []
    missing: list[str] = []
    excluded: list[str] = []
    mismatched: list[Mismatch] = []
    by_class: list[str] = []
    rows = _class_rows(detector, given)
    own = detector.state_dict()
    with torch.no_grad():
        for name, target in own.items():
            if any(_covers(entry, name) for entry in exclude):
                excluded.append(name)
            elif name not in tensors:
                missing.append(name)
            elif rows and _has_classes(detector, name) and tensors[name].shape[1:] == target.shape[1:]:
                for place, source in rows.items():
                    target[place].copy_(tensors[name][source])
                by_class.append(name)
            elif tensors[name].shape != target.shape:
                mismatched.append(Mismatch(name, tuple(tensors[name].shape), tuple(target.shape)))
            else:
                target.copy_(tensors[name])
                matched.append(name)
    names = detector.names if by_class and isinstance(detector, Detector) else ()
    unexpected = tuple(name for name in tensors if name not in own)
    return TransferReport(
        matched=tuple(matched),
        missing=tuple(missing),
        mismatched=tuple(mismatched),
        unexpected=unexpected,
        excluded=tuple(excluded),
        by_class=tuple(by_class),
        known=tuple(name for place, name in enumerate(names) if place in rows),
        new=tuple(name for place, name in enumerate(names) if place not in rows),
    )


def _class_rows(detector: nn.Module, given: Checkpoint | Mapping[str, Tensor]) -> dict[int, int]:
    """Row of the detector → row of the checkpoint with the same class; empty where rows need not be moved.

    A class that was only renamed keeps its row, if the number of classes is the same.
    """
    if not isinstance(given, Checkpoint) or not isinstance(detector, Detector):
        return {}
    holds = detector.family.holds_classes
    if detector.names == given.names or holds is None or holds is not given.architecture.family.holds_classes:
        return {}
    places = {name: place for place, name in enumerate(given.names)}
    rows = {place: places[name] for place, name in enumerate(detector.names) if name in places}
    if len(detector.names) == len(given.names):
        rows |= {
            place: place for place, name in enumerate(given.names) if place not in rows and name not in detector.names
        }
    return dict(sorted(rows.items()))


def _has_classes(detector: nn.Module, name: str) -> bool:
    holds = detector.family.holds_classes if isinstance(detector, Detector) else None
    return holds is not None and isinstance(detector, Detector) and holds(detector.architecture, name)


def _covers(entry: str, name: str) -> bool:
    return name == entry or name.startswith(f"{entry}.") or name.endswith(f".{entry}")


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "scalar"
