"""Table of cases: a file of a run number that does not exist is taken from the newest run, and only then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slimyolo.cli.reference import translate
from slimyolo.cli.reference_tables import SCRIPTS
from slimyolo.tasks.common.weights import same_file_of_newest_run


def _run(project: Path, name: str, age: int) -> Path:
    file = project / name / "weights" / "best.pt"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    os.utime(file, (1_000_000 - age, 1_000_000 - age))
    return file


def test_the_newest_run_is_taken_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _run(Path("runs/train"), "exp", age=20)
    _run(Path("runs/train"), "exp2", age=10)
    (Path("runs/train") / "exp7").mkdir()  # a run without a checkpoint
    script = SCRIPTS["prune_tools/prune.py"]
    settings, notes = translate(script, ["--weights", "runs/train/exp4/weights/best.pt", "--percent", "0.4"])
    assert settings.weights == Path("runs/train/exp2/weights/best.pt")  # type: ignore[attr-defined]
    assert notes[0].startswith("--weights runs/train/exp4/weights/best.pt does not exist; using runs/train/exp2/")


def test_a_file_that_exists_is_not_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _run(Path("runs/train"), "exp3", age=20)
    _run(Path("runs/train"), "exp4", age=10)
    settings, notes = translate(SCRIPTS["prune_tools/prune.py"], ["--weights", "runs/train/exp3/weights/best.pt"])
    assert settings.weights == Path("runs/train/exp3/weights/best.pt")  # type: ignore[attr-defined]
    assert not any("does not exist" in note for note in notes)


@pytest.mark.parametrize("path", ["yolov5n.pt", "runs/train/mine/weights/best.pt", "runs/train/exp3/weights/best.pt"])
def test_nothing_is_guessed_where_there_is_no_run(tmp_path: Path, path: str) -> None:
    assert same_file_of_newest_run(tmp_path / path) is None
