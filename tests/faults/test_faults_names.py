"""Table of cases: names that are not UTF-8, and names with control characters, in every output that names are written to."""

from __future__ import annotations

import csv
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from slimyolo.checkpoints import save_checkpoint
from slimyolo.cli.main import run_command_line, run_safely
from slimyolo.data import read_dataset_yaml
from slimyolo.exporting import FileMetadata
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.models import build_detector
from slimyolo.shown_text import one_shown_line, shown, storable
from slimyolo.storage import read_json, write_json, write_text
from slimyolo.tasks.common.speaking import speak

EVIL = os.fsdecode(b"a\xfe\x1b]0;title\x07[red]\x9b")
CLASS = "m\x1b[31m[bold]k\ud800"
UNSEEN = ("\x1b", "\x07", "\x9b", "\u202e")


@pytest.mark.parametrize(
    ("name", "stored", "on_terminal", "on_one_line"),
    [
        ("plain ü 猫", None, None, None),
        ("a\udcffb", "a\\udcffb", "a\\udcffb", "a\\udcffb"),
        ("\x1b[31m", None, "\\u001b[31m", "\\u001b[31m"),
        ("a\nb\tc", None, None, "a\\u000ab\\u0009c"),
        ("\x9b2J\x7f\r", None, "\\u009b2J\\u007f\\u000d", "\\u009b2J\\u007f\\u000d"),
        ("gpj.\u202eexe", None, "gpj.\\u202eexe", "gpj.\\u202eexe"),
        ("[bold]", None, None, None),  # nothing prints with markup
    ],
)
def test_the_three_forms(name: str, stored: str | None, on_terminal: str | None, on_one_line: str | None) -> None:
    assert storable(name) == (name if stored is None else stored)
    assert shown(name) == (name if on_terminal is None else on_terminal)
    assert one_shown_line(name) == (name if on_one_line is None else on_one_line)


def test_json_and_yaml_give_the_same_name_back(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"path": Path(EVIL), EVIL: [EVIL]})
    assert read_json(tmp_path / "a.json") == {"path": EVIL, EVIL: [EVIL]}
    write_text(tmp_path / "a.yaml", yaml.safe_dump({"data": EVIL}, allow_unicode=True))
    assert yaml.safe_load((tmp_path / "a.yaml").read_text()) == {"data": EVIL}
    write_text(tmp_path / "a.txt", EVIL)
    assert "\\udcfe" in (tmp_path / "a.txt").read_text(encoding="utf-8")


def test_logged_names_are_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    speak()
    log = logging.getLogger("slimyolo")
    log.info("%s: %d", Path(EVIL + "\nforged"), 1)
    log.warning("%s", EVIL)
    log.info("two\nlines")
    seen = capsys.readouterr()
    assert not any(sign in seen.out + seen.err for sign in UNSEEN)
    assert "\\u000aforged: 1" in seen.out
    assert "two\nlines" in seen.out


def test_class_names_with_half_characters_become_writable(tmp_path: Path, small_cfg: str) -> None:
    (tmp_path / "data.yaml").write_text('train: .\nnames: ["m\\e[31m[bold]k\\ud800", b]\n')
    wanted = (CLASS.replace("\ud800", "\\ud800"), "b")
    assert read_dataset_yaml(tmp_path / "data.yaml").names == wanted
    texts = {"names": json.dumps([CLASS, "b"]), "stride": "32", "imgsz": "[64, 64]", "slimyolo": "1"}
    assert FileMetadata.from_text(texts, "a.onnx").names == wanted
    detector = build_detector(read_architecture(small_cfg).with_classes(2), names=[CLASS, "b"], seed=0)
    save_checkpoint(tmp_path / "a.pt", detector)
    assert load_checkpoint(tmp_path / "a.pt").detector().names == wanted


@pytest.fixture(scope="module")
def evil_set(tiny_data: Path, small_cfg: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder, pictures, labels and classes whose names are not UTF-8 or control a terminal."""
    root = tmp_path_factory.mktemp("names") / EVIL
    shutil.copytree(tiny_data.parent, root)
    for part in ("images/train", "images/val", "labels/train", "labels/val"):
        for file in (root / part).iterdir():
            file.rename(file.with_name(f"{EVIL}{file.name}"))
    (root / "data.yaml").write_text(
        'train: images/train\nval: images/val\nnames: ["m\\e[31m[bold]k\\ud800", "c\\u202e$x$"]\n'
    )
    detector = build_detector(
        read_architecture(small_cfg).with_classes(2), names=read_dataset_yaml(root / "data.yaml").names, seed=0
    )
    save_checkpoint(root / "a.pt", detector)
    return root


def _ran(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    status = run_safely(lambda: run_command_line(words))
    seen = capsys.readouterr()
    assert status == 0, seen.err
    assert not any(sign in seen.out + seen.err for sign in UNSEEN)
    (seen.out + seen.err).encode()  # what a terminal in UTF-8 takes
    return seen.out


def test_the_outputs_of_predict(
    evil_set: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(evil_set)
    words = [
        "predict",
        "--weights",
        "a.pt",
        "--source",
        "images/val",
        "--imgsz",
        "64",
        "--conf",
        "0.0001",
        "--max-det",
        "5",
    ]
    outputs = ["--save-txt", "--save-json", "--save-csv", "--save-crop", "--device", "cpu"]
    _ran([*words, *outputs], capsys)
    printed: Any = json.loads(_ran([*words, "--json", "-", "--nosave"], capsys))
    run = evil_set / "runs" / "predict" / "exp"
    names = sorted(str(Path("images/val") / file.name) for file in (evil_set / "images" / "val").iterdir())
    for document in (printed, read_json(run / "detections.json")):
        assert sorted(one["image"] for one in document["images"]) == names
    with (run / "detections.csv").open(encoding="utf-8", newline="") as file:
        assert {row["image"] for row in csv.DictReader(file)} == {storable(name) for name in names}
    assert len(list((run / "labels").iterdir())) == 4
    assert len([file for file in run.iterdir() if file.suffix == ".png" or file.suffix == ".jpg"]) == 4


@pytest.mark.slow
def test_the_outputs_of_val_and_of_data_check(
    evil_set: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(evil_set)
    assert "m\\u001b[31m[bold]k\\ud800" in _ran(["data", "check", "data.yaml"], capsys)
    assert json.loads(_ran(["data", "check", "data.yaml", "--json"], capsys))
    words = ["val", "--weights", "a.pt", "--data", "data.yaml", "--imgsz", "64", "--workers", "0", "--device", "cpu"]
    assert json.loads(_ran([*words, "--save-txt", "--save-json", "--json", "-"], capsys))
    run = evil_set / "runs" / "val" / "exp"
    assert len(list((run / "labels").iterdir())) > 0
    assert list(run.glob("*.png"))
    _ran(["report", "runs/val/exp"], capsys)
    (run / "report.html").read_text(encoding="utf-8")


def test_messages_show_names_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_safely(lambda: run_command_line(["predict", "--weights", EVIL, "--source", EVIL])) == 2
    assert run_safely(lambda: run_command_line([EVIL])) == 2
    seen = capsys.readouterr().err
    assert "\\udcfe" in seen
    assert not any(sign in seen for sign in UNSEEN)
