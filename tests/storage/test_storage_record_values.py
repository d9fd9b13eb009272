"""Table of cases: the values of a record, what is read of each, and what is said when it is another thing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slimyolo.errors import StorageError
from slimyolo.storage import RecordValue, open_record, read_table

Read = Callable[[RecordValue], Any]

RIGHT: list[tuple[Any, Read, Any]] = [
    ("ab", RecordValue.text, "ab"),
    (["a", ""], RecordValue.texts, ("a", "")),
    (True, RecordValue.truth, True),
    (0, RecordValue.whole, 0),
    (2**63 - 1, RecordValue.whole, 2**63 - 1),
    ([1, 2], RecordValue.wholes, (1, 2)),
    (3, RecordValue.number, 3.0),
    ([1, -2.5], RecordValue.numbers, (1.0, -2.5)),
    ([], RecordValue.numbers, ()),
    (0.0, RecordValue.amount, 0.0),
    (1 + 1e-9, RecordValue.share, 1 + 1e-9),
    ({"a": 1}, lambda value: value["a"].whole(), 1),
    ({"a": None}, lambda value: value.get("a"), None),
    ({}, lambda value: value.optional("a", RecordValue.whole), None),
    ({"a": 4}, lambda value: value.optional("a", RecordValue.whole), 4),
    ({"a": 1, "b": 2}, lambda value: value.has("a", "b"), True),
    ([], lambda value: value.has("a"), False),
    ({"a": 1}, lambda value: {key: one.whole() for key, one in value.named().items()}, {"a": 1}),
    ([[1, 2]], lambda value: [one.whole() for one in value.rows()[0].rows(count=2)], [1, 2]),
    ({"a": [None, True, "x", 1, 0.5, {}]}, RecordValue.settings, {"a": [None, True, "x", 1, 0.5, {}]}),
]
WRONG: list[tuple[Any, Read, str]] = [
    (None, RecordValue.text, r"the whole of it: got nothing, expected a text"),
    ({"a": {"b": [0, 5]}}, lambda value: value["a"]["b"].rows()[1].text(), r"a\.b\.1: got 5, expected a text"),
    ("yes", RecordValue.truth, r"got a text, expected true or false"),
    (True, RecordValue.whole, r"got true or false, expected a whole number from 0 to 9,223,372,036,854,775,807"),
    (2.0, RecordValue.whole, r"got 2, expected a whole number"),
    (-1, RecordValue.whole, r"got -1, expected a whole number from 0"),
    (10**400, RecordValue.whole, r"got a number of many digits, expected a whole number"),
    (0, lambda value: value.whole(least=1, most=9), r"got 0, expected a whole number from 1 to 9"),
    ("3", RecordValue.number, r"got a text, expected a number from -1e\+100 to 1e\+100"),
    (10**400, RecordValue.number, r"got a number of many digits, expected a number"),
    (float("nan"), RecordValue.number, r"got nan, expected a number"),
    ([1, float("inf")], RecordValue.numbers, r"1: got inf, expected a number"),
    ([1, True], RecordValue.numbers, r"1: got true or false, expected a number"),
    ([1, None], RecordValue.wholes, r"1: got nothing, expected a whole number"),
    (-0.5, RecordValue.amount, r"got -0\.5, expected a number from 0"),
    (1.1, RecordValue.share, r"got 1\.1, expected a number from -1e-06 to 1"),
    ([1], lambda value: value["a"], r"got a list of 1 value, expected a mapping"),
    ({"b": {}}, lambda value: value["b"]["a"], r"it lacks b\.a"),
    ({1: 2}, RecordValue.named, r"has a key that is no text"),
    ({"a": 1}, RecordValue.rows, r"got a mapping of 1 value, expected a list of at most 1,000,000 values"),
    ([1, 2, 3], lambda value: value.rows(most=2), r"got a list of 3 values, expected a list of at most 2 values"),
    ([1, 2, 3], lambda value: value.rows(count=2), r"got a list of 3 values, expected a list of 2 values"),
    ({"a": b""}, RecordValue.settings, r"a: got a value of the kind bytes, expected a text, a truth value or a number"),
    ({"a": 1e200}, RecordValue.settings, r"a: got 1e\+200, expected a text, a truth value or a number"),
    ([], RecordValue.settings, r"got a list of 0 values, expected a mapping"),
]


def value_of(plain: Any) -> RecordValue:
    return RecordValue(plain, Path("run/record.json"), "Do it again.")


@pytest.mark.parametrize("place", range(len(RIGHT)))
def test_right_values(place: int) -> None:
    plain, read, expected = RIGHT[place]
    found = read(value_of(plain))
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("place", range(len(WRONG)))
def test_wrong_values(place: int) -> None:
    plain, read, message = WRONG[place]
    with pytest.raises(
        StorageError, match=rf"^run/record\.json is not a record of this version \(.*{message}.*\)\. Do it"
    ):
        read(value_of(plain))


def test_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('\ufeffa,"b\nc"\r\n\r\n1\n', encoding="utf-8")
    assert read_table(tmp_path / "a.csv") == [["a", "b\nc"], ["1"]]
    with pytest.raises(StorageError, match=r"Cannot read .*b\.csv: No such file"):
        read_table(tmp_path / "b.csv")
    with pytest.raises(StorageError, match=r"Cannot read .*b\.json: No such file"):
        open_record(tmp_path / "b.json", "Do it again.")
