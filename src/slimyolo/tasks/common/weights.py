"""Finds the weights that a user names, and loads the checkpoint. Nothing is ever downloaded.

Importing this module and finding nothing need no torch, so that a wrong path is answered at once.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from slimyolo.errors import CheckpointError
from slimyolo.storage import in_home

if TYPE_CHECKING:
    from slimyolo.checkpoints import Checkpoint

__all__ = [
    "FROM_SCRATCH",
    "find_weights",
    "load_weights",
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
    from slimyolo.families import load_checkpoint

    return load_checkpoint(find_weights(name, otherwise=otherwise))


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
