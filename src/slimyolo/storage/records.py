"""Records as JSON. A record is a frozen dataclass with units in the names of its fields."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any

from slimyolo.errors import StorageError
from slimyolo.storage.atomic import write_text
from slimyolo.storage.user_files import read_user_file

__all__ = ["read_json", "read_table", "to_plain", "write_json"]

MOST_COLUMNS, MOST_ROWS = 1_000, 100_000  # of results.csv, which has a row for each epoch


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
    """The data in a JSON file, also with a byte-order mark. Raises `StorageError` when it is missing or not JSON."""
    try:
        return json.loads(read_user_file(path, "JSON file").decode("utf-8-sig"))
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{path} is not valid JSON: {error}.") from error


def read_table(path: str | Path) -> list[list[str]]:
    """The rows of a CSV file in UTF-8, also with a byte-order mark: the first names the columns. Blank lines are left out.

    Raises `StorageError` when it is missing, is no CSV, or has more than `MOST_COLUMNS` columns or `MOST_ROWS` rows.
    """
    rows: list[list[str]] = []
    try:
        text = read_user_file(path, "table").decode("utf-8-sig")
        for row in csv.reader(io.StringIO(text, newline="")):
            if len(row) > MOST_COLUMNS or len(rows) > MOST_ROWS:
                raise StorageError(
                    f"{path} has more than {MOST_COLUMNS:,} columns or more than {MOST_ROWS:,} rows, so no training wrote it."
                )
            if row:
                rows.append(row)
    except OSError as error:
        raise StorageError(f"Cannot read {path}: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        why = "it is not in UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise StorageError(f"{path} is not a table: {why}.") from error
    return rows
