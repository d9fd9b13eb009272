"""Table of cases: what a record becomes in JSON, and back."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slimyolo.errors import StorageError
from slimyolo.storage import read_json, to_plain, write_json


@dataclass(frozen=True)
class Cost:
    macs: int
    input_size_px: tuple[int, int]


@dataclass(frozen=True)
class Row:
    name: str
    map50: float
    cost: Cost
    per_class: dict[str, float]


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Row("base", 0.5, Cost(7, (320, 320)), {"face": 1.0}), None),  # nested records, see below
        (math.nan, None),  # JSON has no word for it
        ([math.inf, -math.inf, 1.5], [None, None, 1.5]),
        (np.float32(0.5), 0.5),  # numpy numbers
        (np.float64("nan"), None),  # a float by inheritance
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1.0, math.nan]), [1.0, None]),
        (torch.tensor([1.0, math.inf]), [1.0, None]),
        (Path("runs/exp"), "runs/exp"),
        ({1: "a", "b": (1, 2)}, {"1": "a", "b": [1, 2]}),  # keys are text
        (True, True),
        (None, None),
        ({}, {}),
    ],
)
def test_to_plain(value: Any, plain: Any) -> None:
    if isinstance(value, Row):
        plain = {
            "name": "base",
            "map50": 0.5,
            "cost": {"macs": 7, "input_size_px": [320, 320]},
            "per_class": {"face": 1.0},
        }
    assert to_plain(value) == plain
    json.dumps(to_plain(value), allow_nan=False)


@pytest.mark.parametrize("value", [object(), Row, lambda: None, b"bytes"])
def test_what_has_no_word_in_json_is_an_error(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be written as JSON"):
        to_plain({"key": [value]})


def test_a_record_survives_the_file(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "r.json", Row("γ", math.nan, Cost(1, (320, 640)), {}))
    text = (tmp_path / "new" / "r.json").read_text(encoding="utf-8")
    assert "γ" in text
    assert text.endswith("\n")
    assert read_json(tmp_path / "new" / "r.json")["map50"] is None


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(plain_values)
def test_to_plain_is_json_and_stays_as_it_is(value: Any) -> None:
    plain = to_plain(value)
    assert to_plain(plain) == plain
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_a_failed_write_leaves_the_old_record(tmp_path: Path) -> None:
    write_json(tmp_path / "r.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "r.json", {"a": object()})
    assert read_json(tmp_path / "r.json") == {"a": 1}


def test_a_missing_or_broken_record_is_answered(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"Cannot read .*none\.json: No such file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{'a': 1}")
    with pytest.raises(StorageError, match=r"bad\.json is not valid JSON"):
        read_json(tmp_path / "bad.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StorageError, match="is not valid JSON"):
        read_json(tmp_path / "binary.json")
