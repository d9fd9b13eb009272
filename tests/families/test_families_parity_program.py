"""Golden: benchmarks/parity.py agrees on the fixtures kept here, and says so when a number is off or nothing is there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def parity(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "parity.py"), str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture
def kept(data_folder: Path, tmp_path: Path) -> Path:
    """A folder with the small fixtures of losses and metrics."""
    folder = tmp_path / "fixtures"
    folder.mkdir()
    for name in ("d12_loss_small", "d14_metrics", "d4_metrics"):
        for ending in ("json", "npz"):
            shutil.copy(data_folder / f"{name}.{ending}", folder)
    return folder


def test_all_agree_and_each_comparison_is_a_line(kept: Path) -> None:
    result = parity(kept, "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0, result.stderr
    assert len(lines) > 50
    assert all(line["ok"] and line["difference"] <= line["tolerance"] for line in lines)
    assert {line["name"].split("/")[0] for line in lines} == {"d12", "d14"}


def test_a_number_that_is_off_is_named(kept: Path) -> None:
    path = kept / "d12_loss_small.json"
    numbers = json.loads(path.read_text())
    numbers["v8_nc3_untrained"]["items"]["box_loss"] *= 1.01
    path.write_text(json.dumps(numbers))
    result = parity(kept, "--only", "d12")
    assert result.returncode == 1
    assert "d12/v8_nc3_untrained/box_loss: 0.0099 is above 1e-05" in result.stdout


def test_what_cannot_be_compared_fails(kept: Path) -> None:
    (kept / "d14_metrics.npz").unlink()
    result = parity(kept, "--only", "d14", "--json")
    (line,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 1
    assert line["difference"] is None
    assert "FileNotFoundError" in line["note"]


def test_nothing_to_compare_and_no_folder(tmp_path: Path) -> None:
    assert parity(tmp_path).returncode == 2
    assert "is not a folder" in parity(tmp_path / "none").stderr
