"""Property: ``slimyolo data synth`` renders a dataset without defects, and ``data check`` reports defects."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slimyolo.cli.main import run_command_line
from slimyolo.errors import DataError


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    assert run_command_line(["data", "synth", str(tmp_path / "set"), "--train", "2", "--val", "1", "--size", "96"]) == 0
    return tmp_path / "set" / "data.yaml"


def test_a_rendered_dataset_is_clean(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    assert run_command_line(["data", "check", str(dataset), "--strict", "--json", str(report)]) == 0
    assert "Nothing else is wrong." in capsys.readouterr().out
    assert [split["images"] for split in json.loads(report.read_text())["splits"]] == [2, 1]


def test_a_missing_val_is_said_at_the_end_and_by_the_status(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = dataset.read_text()
    assert run_command_line(["data", "check", str(dataset)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "A training with this dataset would start."
    dataset.write_text("".join(line for line in text.splitlines(keepends=True) if not line.startswith("val:")))
    record = tmp_path / "report.json"
    assert run_command_line(["data", "check", str(dataset), "--json", str(record)]) == 1
    offer = capsys.readouterr().out.splitlines()[-1]
    assert offer == f"  slimyolo data convert {dataset} NEW_FOLDER --split 0.8/0.2"
    assert json.loads(record.read_text())["obstacles"] == [f"{dataset} names no val images."]
    words = offer.replace("NEW_FOLDER", str(tmp_path / "new")).replace("0.8/0.2", "0.5/0.5").split()
    assert run_command_line(words[1:]) == 0
    assert run_command_line(["data", "check", str(tmp_path / "new" / "data.yaml")]) == 0


def test_defects_are_listed_by_file_and_line(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    label = sorted((dataset.parent / "labels" / "train").glob("*.txt"))[0]
    label.write_text("9 0.5 0.5 0.1 0.1\n0 0.5 0.5 x 0.1\n0 0.5 0.5 0.1 0.1\n")
    assert run_command_line(["data", "check", str(dataset)]) == 0
    assert capsys.readouterr().out.count(f"{label}:1") == 1
    assert run_command_line(["data", "check", str(dataset), "--strict", "--limit", "1"]) == 1
    printed = capsys.readouterr().out
    assert f"{label}:2" not in printed.partition("Defects")[2]
    assert "and 1 more (--limit 0 shows all)" in printed


def test_a_split_that_cannot_be_used_is_explained_once(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset.write_text(dataset.read_text().replace("images/val", "images/none"))
    assert run_command_line(["data", "check", str(dataset)]) == 1
    printed = capsys.readouterr().out
    assert printed.count("do not exist") == 1
    assert "  val cannot be used, as said above." in printed


def test_a_dataset_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.yaml"):
        run_command_line(["data", "check", str(tmp_path / "none.yaml")])
