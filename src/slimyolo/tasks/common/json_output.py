"""``--json [FILE]`` of the commands that measure: writes the record to a file, or prints only it on standard output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slimyolo.shown_text import shown
from slimyolo.storage import to_plain, write_json

__all__ = ["STANDARD_OUTPUT", "give_json"]

STANDARD_OUTPUT = Path("-")


def give_json(file: Path | None, record: Any) -> None:
    """Write `record` to `file`; print it if `file` is ``-``; do nothing if `file` is None. Raises `StorageError`."""
    if file is None:
        return
    if file == STANDARD_OUTPUT:
        print(shown(json.dumps(to_plain(record), indent=2, ensure_ascii=False)))
    else:
        write_json(file, record)
