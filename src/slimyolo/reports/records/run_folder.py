"""Where the records of a run folder lie, and what all records say of their origin."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slimyolo.errors import StorageError
from slimyolo.storage import RecordValue

__all__ = ["WITHOUT", "provenance_in", "provenance_of", "refuse_links_out", "run_file"]

WITHOUT = "Move it away to make the report without it."


def run_file(folder: Path, name: str) -> Path | None:
    """The file `name` of a run folder; None without such a file. Raises `StorageError` when a link leads out of the folder."""
    path = folder / name
    if not os.path.isfile(path):
        return None
    refuse_links_out(path, folder)
    return path


def refuse_links_out(path: Path, folder: Path) -> None:
    """Raise `StorageError` when a link leads from `path` out of the run folder.

    Otherwise the page would hold a copy of a file that somebody else chose, and pages are sent to others.
    """
    if os.path.exists(path) and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise StorageError(
            f"{path} is a link that leads out of the run folder. Remove it to make the report without it."
        )


def provenance_in(record: RecordValue) -> Mapping[str, Any]:
    """Where a record comes from, as `run_provenance` wrote it; empty in records that do not say it.

    Everything in it is only shown. What a page looks into has the form that it expects.
    """
    about = record.get("provenance")
    return {} if about is None else provenance_of(about)


def provenance_of(about: RecordValue) -> Mapping[str, Any]:
    """The same for the value itself."""
    for key in ("settings", "machine"):
        if about.has(key):
            about[key].named()
    if about.has("data"):
        data = about["data"]
        if data.has("names"):
            data["names"].texts()
        for split in data["splits"].named().values() if data.has("splits") else ():
            split.named()
    return about.settings()
