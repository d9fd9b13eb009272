"""Table of cases: what `inspect` prints fits the terminal, and nothing of the settings in a file is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import slimyolo
from slimyolo.checkpoints import save_checkpoint
from slimyolo.families import read_architecture
from slimyolo.models import build_detector
from slimyolo.tasks.inspect import describe, inspect
from slimyolo.tasks.inspect_config import InspectConfig

ARGUMENTS = {
    **{f"setting_{number}": number / 7 for number in range(90)},
    "source": None,
    "project": "",
    "copy mode": "flip a",
}
NESTED = {
    "splits": {
        "val": {
            "images": 12,
            "fingerprint": "0123456789abcdef" * 4,
            "note": "a sentence of many words, which no terminal of eighty columns can hold on one of its lines",
            "root": "/home/somebody/" + "datasets-of-the-year/" * 6,
        }
    }
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inspect") / "best.pt"
    detector = build_detector(read_architecture("yolov8n").with_classes(2), seed=0)
    save_checkpoint(path, detector, provenance={"train_args": ARGUMENTS, "data": NESTED})
    return path


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_settings_are_wrapped(file: Path, columns: int) -> None:
    text = describe(slimyolo.inspect(file), columns)
    assert max(len(line) for line in text.splitlines() if str(file) not in line) <= columns
    words = " ".join(text.split())
    assert "fingerprint 0123456789ab…" in words.replace("\N{NO-BREAK SPACE}", " ")
    assert "train_args setting_0 0, setting_1 0.1429," in words
    assert "copy mode flip a; without a value: source, project" in words
    assert all(f"setting_{number} " in words for number in range(90))
    line = next(line for line in text.splitlines() if "setting_40 " in line)
    assert "setting_40 5.714" in line  # a name and its value stay together


def test_json_holds_everything(file: Path) -> None:
    plain = json.loads(inspect(InspectConfig(file=file, json_output=True)))
    assert plain["provenance"]["train_args"] == pytest.approx(ARGUMENTS)
    assert plain["provenance"]["data"] == NESTED
