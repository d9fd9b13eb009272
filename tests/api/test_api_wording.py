"""Table of cases: a message names options on the command line, and the same message names keywords in Python."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import slimyolo
from slimyolo.api.wording import in_keywords, naming_keywords
from slimyolo.cli.main import run_command_line, run_safely
from slimyolo.errors import ConfigError, ExportError, LossNotFiniteError, SlimyoloError
from slimyolo.pruning import MacsShare, ParamsBudget
from slimyolo.tasks.common.config import Config
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.measure.bench_config import BenchConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.train.config import TrainConfig

SENTENCES = [
    (TrainConfig, "--batch-size: got 0. Use --batch-size 16.", "batch_size: got 0. Use batch_size=16."),
    (TrainConfig, "--img 100 is odd.", "imgsz=100 is odd."),  # another name of the option
    (BenchConfig, "--json: or --imgsz 64 96.", "json_file: or imgsz=(64, 96)."),
    (PruneConfig, "--latency 8ms: add --runtime onnxruntime here.", "latency='8ms': add runtime='onnxruntime' here."),
    (PruneConfig, "--times times.json: with --weights runs/a/last.pt.", "times='times.json': with weights='runs/a/last.pt'."),
    (PruneConfig, "add --times FILE, or lower --floor.", "add times=…, or lower floor."),
    (ExportConfig, "add --one2many, or leave --nms out.", "add one2many=True, or leave nms out."),
    (ExportConfig, "--format onx: no.", "format onx: no."),
    (ExportConfig, "Leave --max-drop out.", "Leave max_drop out."),  # an option of a stage
    (ExportConfig, "pip install --upgrade slimyolo, then --half.", "pip install --upgrade slimyolo, then half."),
    (ExportConfig, "--no-such-thing stays", "--no-such-thing stays"),
    (PruneConfig, "add --trust-code (in Python: trust_code=True).", "add trust_code=True."),
    (PruneConfig, "--names a b (in Python: names=(...)).", "names=(...)."),
    (
        PruneConfig,
        "Type: slimyolo data check --data a.yaml --limit 3. Or --data b.yaml.",
        "Type: slimyolo data check --data a.yaml --limit 3. Or data='b.yaml'.",
    ),
    (PruneConfig, "(slimyolo prune … --data YAML --reconstruct), --floor", "(slimyolo prune … --data YAML --reconstruct), floor"),
    (PruneConfig, "\n  slimyolo val --data d\n--floor", "\n  slimyolo val --data d\nfloor"),
    (PruneConfig, "the slimyolo that wrote it, or give --weights.", "the slimyolo that wrote it, or give weights."),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "option", "keyword"), SENTENCES, ids=[row[1][:30] for row in SENTENCES])
def test_options_become_keywords_and_command_lines_stay(kind: type[Config], option: str, keyword: str) -> None:
    assert in_keywords(option, kind) == keyword
    assert in_keywords(keyword, kind) == keyword


TASKS: list[tuple[Any, list[str], str, str]] = [
    (lambda w: slimyolo.export(weights=w, format="onx"), ["export", "--format", "onx"], "format onx:", "--format onx:"),
    (lambda w: slimyolo.export(weights=w, imgsz=100), ["export", "--imgsz", "100"], "Use imgsz=96.", "Use --imgsz 96."),
    (lambda w: slimyolo.prune(weights=w, imgsz=100), ["prune", "--imgsz", "100"], "Use imgsz=96.", "Use --imgsz 96."),
    (lambda w: slimyolo.prune(w, MacsShare(0.5), imgsz=100), ["prune", "--imgsz", "100"], "Use imgsz=96.", "Use --imgsz 96."),
    (lambda w: slimyolo.predict(w, "none.jpg"), ["predict", "--source", "none.jpg"], " source takes a", " --source takes a"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "words", "keyword", "option"), TASKS, ids=[" ".join(row[1]) for row in TASKS])
def test_a_task_answers_each_face_in_its_words(
    call: Any, words: list[str], keyword: str, option: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SlimyoloError) as raised:
        call(checkpoint)
    assert keyword in str(raised.value)
    assert "--" not in str(raised.value)
    assert run_safely(lambda: run_command_line([words[0], "--weights", str(checkpoint), *words[1:]])) == 2
    assert option in capsys.readouterr().err


def test_warnings_are_translated_and_the_kind_of_an_error_stays(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("slimyolo")
    path = Path("a --floor b")
    with naming_keywords(PruneConfig):
        log.warning("--floor %d: %s, %s, %s", 3, "lower --floor", ConfigError("give --cap"), path)
    log.warning("--floor")
    assert caplog.messages == ["floor 3: lower floor, give cap, a --floor b", "--floor"]
    with pytest.raises(LossNotFiniteError, match=r"^lower floor$") as raised, naming_keywords(PruneConfig):
        raise LossNotFiniteError("lower --floor", 1, 2)
    assert (raised.value.epoch, raised.value.step) == (1, 2)
    with pytest.raises(ExportError, match=r"^$"), naming_keywords(PruneConfig):
        raise ExportError


def test_a_cut_in_memory_warns_as_the_command_does(checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    detector = slimyolo.load(checkpoint)
    pruned = slimyolo.prune(detector)
    assert caplog.messages[0].startswith("no target was given: 40 % of the channels are removed")
    assert "removed channels were not at zero" in caplog.messages[-1]
    assert "slimyolo.prune(weights=…, data=…, importance='taylor', reconstruct=True)" in caplog.messages[-1]
    assert caplog.messages[-1] in pruned.report.notes
    caplog.clear()
    slimyolo.prune(detector, ParamsBudget(10))
    assert any("could not be reached" in one and "Lower floor" in one for one in caplog.messages)
    assert not any("no target" in one for one in caplog.messages)
    assert {one.levelname for one in caplog.records} == {"WARNING"}


@pytest.mark.parametrize("source", [[], (), iter(()), np.zeros((0, 64, 64, 3), np.uint8)])
def test_no_picture_is_said(source: Any, checkpoint: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert slimyolo.predict(checkpoint, source) == []
    assert caplog.messages == ["there was no picture to detect in: the source is empty, and so is the list of results"]
