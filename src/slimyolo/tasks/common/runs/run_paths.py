"""Paths in the settings of an earlier run, seen from another working directory or after the run's folder was moved."""

from __future__ import annotations

import os
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimyolo.tasks.common.config import Config

__all__ = ["STARTED_IN", "inside_run", "same_value", "seen_from_here"]

STARTED_IN = "started_in"
"""The key of the working directory beside the settings that a run keeps in its folder."""
OUTPUT_FIELDS = ("project", "json_file", "plan_out", "resume")
TEXT_FIELDS = ("cfg",)  # a path or a name


def seen_from_here(settings: Mapping[str, Any], kind: type[Config], started_in: str | None) -> dict[str, Any]:
    """`settings` of a run that was started in the folder `started_in`, with paths that lead to the same files from here.

    A relative path that does not exist here but does exist from `started_in` becomes absolute. Everything else stays.
    """
    if not started_in:
        return dict(settings)
    fields = [name for name, field in kind.model_fields.items() if _holds_path(field.annotation)]
    found = dict(settings)
    for name in (*fields, *TEXT_FIELDS):
        if name in OUTPUT_FIELDS or name not in found:
            continue
        value = found[name]
        found[name] = [_seen(one, started_in) for one in value] if isinstance(value, list) else _seen(value, started_in)
    return found


def inside_run(path: str, folder: Path) -> Path:
    """The file `path`, which an earlier part of the run in `folder` wrote, wherever both are now.

    When `path` does not exist, the longest end of it that exists in `folder` is taken.
    """
    file = Path(path)
    parts = file.parts
    ends = (folder.joinpath(*parts[start:]) for start in range(1, len(parts)))
    return file if file.is_file() else next((end for end in ends if end.is_file()), file)


def same_value(one: Any, other: Any) -> bool:
    """Whether two values of a setting are equal, or are paths of the same file."""
    if one == other:
        return True
    if isinstance(one, (str, Path)) and isinstance(other, (str, Path)):
        return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
    return False


def _holds_path(annotation: Any) -> bool:
    return annotation is Path or any(_holds_path(part) for part in typing.get_args(annotation))


def _seen(value: Any, started_in: str) -> Any:
    if not isinstance(value, str) or not value or os.path.isabs(value) or os.path.exists(value):
        return value
    there = os.path.normpath(os.path.join(started_in, value))
    return there if os.path.exists(there) else value
