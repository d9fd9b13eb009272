"""Finds the weights that a user names, and loads the checkpoint. Nothing is ever downloaded.

Importing this module and finding nothing need no torch, so that a wrong path is answered at once.

A command that is given no image size asks the checkpoint for it, before its task loads the checkpoint. Large ones take a second
to read, so the first reading is kept for the task (`reading_once`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from slimyolo.errors import CheckpointError
from slimyolo.file_stamps import Stamp, stamp_of
from slimyolo.storage import in_home

if TYPE_CHECKING:
    from slimyolo.checkpoints import Checkpoint

__all__ = [
    "FROM_SCRATCH",
    "find_weights",
    "load_weights",
    "load_weights_ahead",
    "reading_once",
    "refuse_missing_weights",
    "same_file_of_newest_run",
    "weight_places",
]


FROM_SCRATCH = "To train without a checkpoint: --weights '' --cfg yolov5n."


def weight_places(name: str | Path) -> tuple[Path, ...]:
    """The paths tried for `name`, in order: as given, in ``weights/``, and under ``$SLIMYOLO_WEIGHTS``."""
    given = in_home(name)
    places = [given]
    if not given.is_absolute():
        places.append(Path("weights") / given.name)
        if folder := os.environ.get("SLIMYOLO_WEIGHTS"):
            places.append(in_home(folder) / given.name)
    return tuple(dict.fromkeys(places))


def find_weights(name: str | Path, *, otherwise: str = "") -> Path:
    """The first of `weight_places` that is a file, or the folder of an exported model.

    Raises `CheckpointError` that lists the places when there is none, and ends with the sentence `otherwise`.
    """
    places = weight_places(name)
    for place in places:
        if os.path.isfile(place) or (os.path.isdir(place) and _is_exported(place)):
            return place
    tried = "".join(f"\n  {place}" + (" (a folder)" if os.path.isdir(place) else "") for place in places)
    raise CheckpointError(
        f"There is no checkpoint {str(name)!r}. Looked for:{tried}\n"
        f"slimyolo downloads nothing: put the file there, or name its folder in $SLIMYOLO_WEIGHTS.{otherwise and ' '}{otherwise}"
    )


def refuse_missing_weights(name: str | Path, *, otherwise: str = "") -> None:
    """Raise what `find_weights` raises, when there is neither a file nor a folder in any of `weight_places`."""
    if not any(os.path.exists(place) for place in weight_places(name)):
        find_weights(name, otherwise=otherwise)


def load_weights(name: str | Path, *, otherwise: str = "") -> Checkpoint:
    """Load the checkpoint that `find_weights` finds. Raises `CheckpointError` when there is none, or it is damaged."""
    file = find_weights(name, otherwise=otherwise)
    return _kept(file) or _load(file)


def load_weights_ahead(file: Path) -> Checkpoint:
    """Load the checkpoint `file`, and keep it for the next `load_weights` of this file, if the block `reading_once` is open.

    Of several checkpoints the first is kept: one more in memory is what the task needs anyway when it loads the file.
    """
    stamp = stamp_of(file)
    checkpoint, kept = _load(file), _KEPT.get()
    if kept is not None and not kept:
        kept.append((file, stamp, checkpoint))
    return checkpoint


@contextmanager
def reading_once() -> Iterator[None]:
    """Inside the block, `load_weights` takes what `load_weights_ahead` read. At the end of the block it is forgotten."""
    token = _KEPT.set([])
    try:
        yield
    finally:
        _KEPT.reset(token)


def _kept(file: Path) -> Checkpoint | None:
    """The checkpoint that was read ahead, once, since its owner may change it; None for another file, or a changed one."""
    kept = _KEPT.get()
    if not kept or kept[0][0] != file:
        return None
    _, stamp, checkpoint = kept.pop()
    return checkpoint if stamp == stamp_of(file) else None


def _load(file: Path) -> Checkpoint:
    from slimyolo.families import load_checkpoint

    return load_checkpoint(file)


_KEPT: ContextVar[list[tuple[Path, Stamp, Checkpoint]] | None] = ContextVar(
    "checkpoint that was read ahead", default=None
)


def _is_exported(folder: Path) -> bool:
    from slimyolo.exporting import is_exported

    return is_exported(folder)


def same_file_of_newest_run(path: Path) -> Path | None:
    """The same file of the newest run, for a path such as ``runs/train/exp3/weights/best.pt`` that does not exist.

    None when no run ``runs/train/exp*`` has that file. The reference's instructions use the run numbers of its author; on
    another machine the same step has another number.
    """
    for depth, part in enumerate(path.parts[:-1]):
        numbered = re.fullmatch(r"(exp)\d*", part)
        if numbered is None:
            continue
        project, rest = Path(*path.parts[:depth]), Path(*path.parts[depth + 1 :])
        found = [run / rest for run in project.glob(f"{numbered[1]}*") if os.path.isfile(run / rest)]
        return max(found, key=lambda file: file.stat().st_mtime, default=None)
    return None
