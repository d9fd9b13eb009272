"""Run folders that are written by hand: a report is tested without any training."""

from __future__ import annotations

from pathlib import Path

import pytest

from run_records import Records


@pytest.fixture
def records() -> type[Records]:
    """The class that writes records; it is made with class names."""
    return Records


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    """The folder of a whole chain."""
    return Records().chain(tmp_path / "chain")
