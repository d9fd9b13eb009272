"""Records as JSON. A record is a frozen dataclass with units in the names of its fields."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from slimyolo.errors import StorageError
from slimyolo.storage.atomic import write_text
from slimyolo.storage.user_files import read_user_file

__all__ = ["read_json", "to_plain", "write_json"]


def to_plain(value: Any) -> Any:
    """`value` as JSON-ready data: dataclasses and mappings → dicts, sequences and arrays → lists, paths → text.

    Numbers that JSON cannot write (NaN, ±inf) become null. Raises `TypeError` for any other value.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays, torch tensors
        return to_plain(value.tolist())
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def write_json(path: str | Path, value: Any) -> None:
    """Write a record, or any plain data, to `path` atomically as indented JSON."""
    write_text(path, json.dumps(to_plain(value), indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """The data in a JSON file. Raises `StorageError` when it is missing or not JSON."""
    try:
        return json.loads(read_user_file(path, "JSON file").decode("utf-8"))
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{path} is not valid JSON: {error}.") from error
