"""Reads the values of a record. Each value is checked where it is read, so that pages, tables and resumed runs may trust it.

A record is a file of a run folder. It may come from somebody else, and then any value can be another thing: nothing, a list, a
text for a number, infinity, a number of 400 digits. A `RecordValue` knows its place in its file. When it is not what is asked
for, it raises a `StorageError` that names the file, the place, what was found and what was expected. A text of the record is
never quoted, because the record may be a link to a private file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from slimyolo.errors import StorageError
from slimyolo.shown_text import counted, one_shown_line
from slimyolo.storage.records import read_json

__all__ = ["RecordValue", "open_record"]

Read = TypeVar("Read")

LARGEST_WHOLE = 2**63 - 1
LARGEST_NUMBER = 1e100
MOST_ITEMS = 1_000_000
ROUNDING = 1e-6  # by which a sum of shares may exceed 1
MOST_LEVELS, MOST_FREE = 50, 200_000  # of values that are only shown, such as settings


class RecordValue:
    """One value of a record, and its place in the file. `again` is the sentence that says how a good record is made."""

    __slots__ = ("_again", "_file", "_place", "_plain")

    def __init__(self, plain: Any, file: Path, again: str, place: str = "") -> None:
        self._plain, self._file, self._again, self._place = plain, file, again, place

    def __getitem__(self, key: str) -> RecordValue:
        """The value of a key that must be there."""
        named = self._mapping()
        if key not in named:
            raise self.refusal(f"it lacks {_dotted(self._place, key)}")
        return self._part(named[key], key)

    def get(self, key: str) -> RecordValue | None:
        """The value of a key; None when the key is missing, or its value is null."""
        found = self._mapping().get(key)
        return None if found is None else self._part(found, key)

    def optional(self, key: str, read: Callable[[RecordValue], Read]) -> Read | None:
        """What `read` makes of the value of a key; None when the key is missing, or its value is null."""
        found = self.get(key)
        return None if found is None else read(found)

    def has(self, *keys: str) -> bool:
        """Whether this is a mapping with all these keys."""
        return isinstance(self._plain, dict) and all(key in self._plain for key in keys)

    def named(self) -> dict[str, RecordValue]:
        """The values of a mapping by their keys."""
        return {str(key): self._part(value, str(key)) for key, value in self._mapping().items()}

    def rows(self, most: int = MOST_ITEMS, count: int | None = None) -> list[RecordValue]:
        """The values of a list of at most `most` values; of exactly `count` values, if a count is given."""
        return [self._part(value, str(number)) for number, value in enumerate(self._list(most, count))]

    def text(self) -> str:
        """A text."""
        if not isinstance(self._plain, str):
            raise self._wrong("a text")
        return self._plain

    def texts(self, most: int = MOST_ITEMS) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(value.text() for value in self.rows(most))

    def truth(self) -> bool:
        """True or false."""
        if not isinstance(self._plain, bool):
            raise self._wrong("true or false")
        return self._plain

    def whole(self, least: int = 0, most: int = LARGEST_WHOLE) -> int:
        """A whole number from `least` to `most`."""
        value = self._plain
        if type(value) is not int or not least <= value <= most:
            raise self._wrong(f"a whole number from {least:,} to {most:,}")
        return value

    def wholes(self, count: int | None = None) -> tuple[int, ...]:
        """A list of whole numbers from 0."""
        return tuple(value.whole() for value in self.rows(count=count))

    def number(self, least: float = -LARGEST_NUMBER, most: float = LARGEST_NUMBER) -> float:
        """A finite number from `least` to `most`."""
        value = self._plain
        if type(value) not in (int, float) or not least <= value <= most:  # NaN is never between
            raise self._wrong(f"a number from {least:,g} to {most:,g}")
        return float(value)

    def numbers(self, count: int | None = None) -> tuple[float, ...]:
        """A list of finite numbers."""
        found = self._list(MOST_ITEMS, count)
        if all(type(one) in (int, float) and abs(one) <= LARGEST_NUMBER for one in found):  # no NaN among them
            return tuple(map(float, found))
        return tuple(value.number() for value in self.rows(count=count))  # to name the place

    def amount(self) -> float:
        """A finite number from 0: milliseconds, seconds, a ratio."""
        return self.number(least=0)

    def share(self) -> float:
        """A number from 0 to 1."""
        return self.number(-ROUNDING, 1 + ROUNDING)

    def settings(self) -> Mapping[str, Any]:
        """A mapping that is only shown, whatever it holds: plain data of at most 50 levels, with numbers of usual size."""
        self._mapping()
        left, waiting = MOST_FREE, [(self, 0)]
        while waiting:
            value, depth = waiting.pop()
            plain = value._plain
            left -= len(plain) if isinstance(plain, (dict, list)) else 0
            if depth > MOST_LEVELS or left < 0:
                raise self.refusal(
                    f"{self._place or 'it'} has more than {MOST_LEVELS} levels or more than {MOST_FREE:,} values"
                )
            if isinstance(plain, dict):
                waiting += [(part, depth + 1) for part in value.named().values()]
            elif isinstance(plain, list):
                waiting += [(part, depth + 1) for part in value.rows()]
            elif not _is_plain(plain):
                raise value._wrong("a text, a truth value or a number of usual size")
        return self._mapping()

    def refusal(self, why: str) -> StorageError:
        """The error that this record cannot be used; `why` is a clause."""
        return StorageError(f"{self._file} is not a record of this version ({why}). {self._again}")

    def _wrong(self, expected: str) -> StorageError:
        return self.refusal(f"{self._place or 'the whole of it'}: got {_kind(self._plain)}, expected {expected}")

    def _mapping(self) -> dict[Any, Any]:
        if not isinstance(self._plain, dict):
            raise self._wrong("a mapping")
        if not all(isinstance(key, str) for key in self._plain):
            raise self.refusal(f"{self._place or 'it'} has a key that is no text")
        return self._plain

    def _list(self, most: int, count: int | None) -> list[Any]:
        found = self._plain
        if not isinstance(found, list) or len(found) > most or (count is not None and len(found) != count):
            raise self._wrong(
                f"a list of at most {most:,} values" if count is None else f"a list of {counted(count, 'value')}"
            )
        return found

    def _part(self, value: Any, key: str) -> RecordValue:
        return RecordValue(value, self._file, self._again, _dotted(self._place, key))


def open_record(file: Path, again: str) -> RecordValue:
    """The content of a JSON file. `again` is the sentence that says how a good record is made.

    Raises `StorageError` when it cannot be read.
    """
    return RecordValue(read_json(file), file, again)


def _dotted(place: str, key: str) -> str:
    shown = one_shown_line(key[:40])
    return f"{place}.{shown}" if place else shown


def _is_plain(value: Any) -> bool:
    """Whether `value` is nothing, true or false, a text, or a number of a size that a command writes."""
    if isinstance(value, float):
        return abs(value) <= LARGEST_NUMBER  # never true for NaN
    return value is None or isinstance(value, (bool, str)) or (isinstance(value, int) and abs(value) <= LARGEST_WHOLE)


def _kind(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return f"a {'list' if isinstance(value, list) else 'mapping'} of {counted(len(value), 'value')}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) < 10**15 else "a number of many digits"
    return _KINDS.get(type(value), f"a value of the kind {type(value).__name__}")


_KINDS: dict[type, str] = {type(None): "nothing", bool: "true or false", str: "a text"}
