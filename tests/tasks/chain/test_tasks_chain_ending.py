"""Table of cases: how a chain ends: exported files, times, tables for the terminal, warnings, budgets that are refused."""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import slimyolo
from slimyolo.cli.commands import COMMANDS
from slimyolo.errors import ConfigError, ExportError
from slimyolo.models import Detector
from slimyolo.reports import StageRow, stage_table_markdown
from slimyolo.reports.drawn_table import drawn_comparison, drawn_stages
from slimyolo.storage import write_json
from slimyolo.tasks.chain import exports, reachable
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.doubts import base_doubt, chain_doubts, disturbed_times, missed_budgets
from slimyolo.tasks.chain.ending import ChainRecord, ended_chain
from slimyolo.tasks.chain.exports import Ending, check_formats, end
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.chain.last_lines import as_typed_here, next_commands
from slimyolo.tasks.chain.reachable import refuse_unreachable
from slimyolo.tasks.chain.stages import Stages
from slimyolo.tasks.common.records import CutRecord, LatencyOutcome, TrainRecord
from slimyolo.tasks.common.stored_size import stored_size
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.prune import prune


def row(stage: str, **changes: Any) -> StageRow:
    facts: dict[str, Any] = {
        "precision": 0.8,
        "recall": 0.7,
        "map50": 0.787,
        "map50_95": 0.478,
        "params": 1_766_623,
        "macs": 515_000_000,
        "imgsz": 64,
        "epochs": 45,
        "minutes": 12.34,
        "weights": f"runs/{stage}/best.pt",
    }
    return StageRow(stage=stage, **{**facts, **changes})


def settings(base_run: TrainRecord, data: Path, **changes: Any) -> CompressConfig:
    given: dict[str, Any] = {
        "data": data,
        "weights": base_run.best,
        "epochs": 0,
        "percent": 0.3,
        "imgsz": 64,
        "workers": 0,
    }
    return CompressConfig(**{**given, **changes})


# -- the exported files and the times ------------------------------------------------------------------------------------


def test_a_chain_ends_with_files_and_times(
    base_run: TrainRecord,
    tiny_data: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("INFO", logger="slimyolo")
    monkeypatch.setattr(exports, "SECONDS", 0.2)
    cut = prune(PruneConfig(weights=base_run.best, percent=0.3, project=tmp_path, name="pruned", imgsz=64))
    first, last = row("base", weights=base_run.best), row("pruned", weights=cut.weights, map50=0.3)
    config = settings(base_run, tiny_data, export="torchscript", project=tmp_path, name="chain")
    stages = Stages.begun(config, "chain.json", "chain")
    stages.rows |= {"base": first, "pruned": last}
    record = ended_chain(config, stages, first, last, cut=tmp_path / "pruned")
    folder = Path(record.folder)
    assert record.ending.files == {"torchscript": folder / "exported" / "slim.torchscript"}
    assert record.ending.failures == ()
    table = {one["stage"]: one for one in json.loads((folder / "table.json").read_text())}
    for stage, name in (("base", "base"), ("pruned", "slim")):
        bytes_ = os.path.getsize(folder / "exported" / f"{name}.torchscript")
        assert table[stage]["megabytes"] == {"torchscript": bytes_ / 1e6}
        assert table[stage]["milliseconds"]["torch"] > 0
    assert "torchscript (MB) | torch (ms) |" in (folder / "table.md").read_text()
    assert "64 x 64 pixels (height x width), 2 threads, both networks in turn" in (folder / "table.md").read_text()
    assert "**Warning:** The last model has lost most" in (folder / "table.md").read_text()
    plain = json.loads((folder / "ending.json").read_text())
    assert plain["ending"]["megabytes"] == table["pruned"]["megabytes"]
    assert plain["warnings"] == list(record.warnings)
    lines = [line for line in caplog.text.splitlines() if line.startswith("  slimyolo ")]
    assert [shlex.split(line)[1] for line in lines[-3:]] == ["predict", "serve", "bench"]
    assert all(
        Path(word).exists() for line in lines[-3:] for word in shlex.split(line) if word.startswith(str(tmp_path))
    )
    written = (folder / "exported" / "slim.torchscript").stat().st_mtime_ns
    again = end(config, folder, first, last)  # --resume of a chain that has ended
    assert (folder / "exported" / "slim.torchscript").stat().st_mtime_ns == written
    assert again.milliseconds == record.ending.milliseconds
    (folder / "exported" / "slim.torchscript").unlink()
    assert end(config, folder, first, last).files == record.ending.files


def test_a_file_that_nobody_asked_for_may_be_missing(
    base_run: TrainRecord,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def missing(row: object, simplify: bool = False) -> None:
        raise ExportError(
            "Writing onnx needs onnx, which this Python does not have. Type: pip install 'slimyolo[export]'"
        )

    monkeypatch.setattr(exports, "require_packages", missing)
    silent, asked = settings(base_run, tiny_data), settings(base_run, tiny_data, export=("onnx",))
    check_formats(silent)
    assert "ends without an exported file unless this is done before its end" in caplog.text
    with pytest.raises(ExportError, match="Writing onnx needs onnx"):
        check_formats(asked)
    first, last = row("base", weights=base_run.best), row("finetuned", weights=base_run.best)
    found = end(silent, tmp_path, first, last)
    assert found.failures == ()
    assert "Writing onnx needs onnx" in found.not_installed[0]
    assert "Writing onnx needs onnx" in end(asked, tmp_path, first, last).failures[0]


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"built": False, "unchecked": ["No engine was built:", "why."]}, ["tensorrt: No engine was built: why."]),
        ({"built": False, "unchecked": 3}, ["tensorrt: it was not built, which needs another machine."]),
        ({"built": True, "unchecked": []}, []),
        ({}, []),  # a record of an older version
    ],
)
def test_what_this_machine_cannot_build_is_a_failure(facts: dict[str, Any], said: list[str], tmp_path: Path) -> None:
    file = tmp_path / "exported" / "slim_tensorrt.onnx"
    file.parent.mkdir()
    file.write_bytes(b"x")
    row = {"model": "slim", "format": "tensorrt", "bytes": 1, "path": str(file), **facts}
    write_json(file.with_name("record.json"), {"files": [row]})
    config = CompressConfig(data="d.yaml", cfg="yolov5n", export="engine")
    assert exports._Exports(config, tmp_path, {"slim": str(tmp_path / "none.pt")}).unbuilt() == said


def test_a_failed_export_is_said_and_not_raised(base_run: TrainRecord, tiny_data: Path, tmp_path: Path) -> None:
    config = settings(base_run, tiny_data, export="torchscript", imgsz=96)
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"no checkpoint")
    found = end(config, tmp_path, row("base", weights=base_run.best), row("finetuned", weights=str(broken)))
    assert found.failures[0].startswith("slim, torchscript: ")
    assert not found.files
    assert not found.milliseconds


def test_no_export() -> None:
    config = CompressConfig(data="d.yaml", weights="w.pt", export="none")
    assert end(config, Path("nowhere"), row("base"), row("finetuned")) == Ending()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("onnx,openvino", ("onnx", "openvino")),
        (["onnx", "openvino,ncnn"], ("onnx", "openvino", "ncnn")),
        ("ONNX", ("onnx",)),
        ("none", ()),
        ([], ()),
        (None, ()),
    ],
)
def test_how_formats_are_written(given: Any, expected: tuple[str, ...]) -> None:
    assert CompressConfig(data="d.yaml", weights="w.pt", export=given).export == expected


def test_formats_that_cannot_be_meant(tiny_data: Path, base_run: TrainRecord) -> None:
    with pytest.raises(ConfigError, match=r"none stands alone. Give formats such as onnx,openvino, or none"):
        CompressConfig(data="d.yaml", weights="w.pt", export="none,onnx")
    with pytest.raises(ExportError, match=r"--export onx: there is no such format. Did you mean 'onnx'"):
        check_formats(settings(base_run, tiny_data, export="onx"))


# -- a run in an existing folder -----------------------------------------------------------------------------------------


def test_exist_ok_does_not_take_over_stages_of_the_earlier_run(
    base_run: TrainRecord, tiny_data: Path, tmp_path: Path
) -> None:
    config = settings(base_run, tiny_data, project=tmp_path, exist_ok=True)
    stages = Stages.begun(config, "chain.json", "chain")
    write_json(stages.folder / "table.json", [])
    stages.rows["base"] = row("base")
    stages.add_measured("base", {}, {}, ())
    for name in ("base/record.json", "base/opt.yaml", "base/weights/best.pt", "mine/record.json"):
        (stages.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (stages.folder / name).write_text("{}")
    again = Stages.begun(config, "chain.json", "chain")
    assert again.rows == {}
    left = sorted(str(path.relative_to(again.folder)) for path in again.folder.rglob("*") if path.is_file())
    assert left == ["base/weights/best.pt", "chain.json", "mine/record.json"]
    resumed = Stages.begun(config.changed(resume=again.folder), "chain.json", "chain")
    assert resumed.folder == again.folder


# -- the lines on the terminal -------------------------------------------------------------------------------------------

FIRST = row("base", megabytes={"onnx": 7.08}, milliseconds={"onnxruntime": 20.0})
LAST = row(
    "finetuned",
    params=280_000,
    macs=257_500_000,
    map50=0.801,
    map50_95=0.486,
    megabytes={"onnx": 1.3},
    milliseconds={"onnxruntime": 10.0},
)


def test_drawn_tables() -> None:
    assert drawn_stages([FIRST, LAST], 80) == "\n".join(
        (
            "╭───────────┬────────┬───────┬──────────┬─────────────┬─────────────┬─────────╮",
            "│ stage     │ epochs │ mAP50 │ mAP50-95 │  params (M) │  GFLOPs @64 │ minutes │",
            "├───────────┼────────┼───────┼──────────┼─────────────┼─────────────┼─────────┤",
            "│ base      │     45 │  .787 │     .478 │ 1.77 (100%) │ 1.03 (100%) │    12.3 │",
            "│ finetuned │     45 │  .801 │     .486 │  0.28 (16%) │  0.52 (50%) │    12.3 │",
            "╰───────────┴────────┴───────┴──────────┴─────────────┴─────────────┴─────────╯",
        )
    )
    text = drawn_comparison(FIRST, LAST, 80)
    for words in (
        "│ onnx file (MB)   │  7.08 │      1.30 │           18% │",
        "│ onnxruntime (ms) │ 20.00 │     10.00 │ 2.00 × as fast │",
    ):
        assert " ".join(words.split()) in " ".join(text.split())


@pytest.mark.parametrize("width", [200, 80, 60, 40])
def test_drawn_tables_fit_the_terminal(width: int) -> None:
    rows = [FIRST, *(row(f"round {number} cut") for number in range(1, 4)), LAST]
    for text in (drawn_stages(rows, width), drawn_comparison(FIRST, LAST, width)):
        assert max(map(len, text.splitlines())) <= width
    assert "base" in drawn_stages(rows, width)


def test_the_markdown_table_has_the_costs_of_the_stages_that_were_exported() -> None:
    text = stage_table_markdown([FIRST, row("pruned"), LAST], ["Notes stand below."])
    assert "| onnx (MB) | onnxruntime (ms) | minutes |" in text
    assert "| 7.08 (100%) | 20.00 (100%) | 12.3 |" in text
    assert "|  |  | 12.3 |" in text
    assert "| 1.30 (18%) | 10.00 (50%) | 12.3 |" in text
    assert text.endswith("\n\nNotes stand below.\n")


def test_next_commands_can_be_pasted(tiny_data: Path) -> None:
    ending = Ending(files={"onnx": Path("my runs/slim.onnx")}, milliseconds={"onnxruntime": 1.0, "openvino": 2.0})
    predict, serve, bench = next_commands(FIRST, LAST, ending, tiny_data)
    words = shlex.split(predict)
    assert words[:4] == ["slimyolo", "predict", "--weights", "my runs/slim.onnx"]
    assert Path(words[5]).is_file()
    assert serve == "slimyolo serve --weights runs/base/best.pt runs/finetuned/best.pt"
    assert bench.endswith("--weights runs/base/best.pt runs/finetuned/best.pt --runtime onnxruntime,openvino")
    assert next_commands(FIRST, LAST, Ending(), Path("gone.yaml"))[0].endswith(
        "--weights runs/finetuned/best.pt --source photo.jpg"
    )


def test_next_commands_name_files_as_a_person_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "best.pt").write_bytes(b"x")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "runs")
    assert as_typed_here(tmp_path / "elsewhere" / ".." / "runs" / "best.pt") == "best.pt"
    assert as_typed_here("../runs/best.pt") == "best.pt"
    assert as_typed_here("../elsewhere") == str(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "runs" / "deep").mkdir()
    (tmp_path / "runs" / "deep" / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert as_typed_here("deep/link/../runs") == "deep/link/../runs"  # "deep/runs" does not exist


def test_a_next_command_says_what_it_lacks(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else found(name))
    lines = next_commands(FIRST, LAST, Ending(), tiny_data)
    assert [line.partition("    # ")[2] for line in lines] == ["", "first: pip install 'slimyolo[serve]'", ""]


def test_next_commands_keep_the_image_size_of_the_chain(base_run: TrainRecord, tiny_data: Path) -> None:
    assert stored_size(base_run.best) == (64, 64)
    given = replace(FIRST, weights=str(base_run.best), imgsz=128)
    _, serve, bench = next_commands(given, LAST, Ending(), tiny_data)
    assert serve.endswith("runs/finetuned/best.pt --imgsz 128")
    assert bench.endswith("runs/finetuned/best.pt --imgsz 128")
    _, serve, _ = next_commands(replace(given, imgsz=64), LAST, Ending(), tiny_data)
    assert serve.endswith("runs/finetuned/best.pt")


# -- what makes a result doubtful ----------------------------------------------------------------------------------------


def test_doubts(tmp_path: Path) -> None:
    good, weak = row("base"), row("base", map50=0.02)
    assert base_doubt(good) == ""
    assert disturbed_times(tmp_path) == []
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "record.json").write_text('{"warnings": ["One.", "Two."]}')
    assert disturbed_times(tmp_path / "bench") == ["The milliseconds in the table are doubtful. One. Two."]
    assert "Train longer (--epochs)" in base_doubt(weak)
    assert "trained for the classes of this dataset" in base_doubt(row("base", map50=0.02, epochs=0))
    cut = tmp_path / "pruned"
    assert chain_doubts(tmp_path, [good], good, LAST, cut) == ()
    splits = {"train": {"boxes": 60, "wrong_classes": 30}, "val": {"boxes": 9, "wrong_classes": 0}, "old": {"boxes": 9}}
    write_json(tmp_path / "base" / "record.json", {"provenance": {"data": {"file": "d.yaml", "splits": splits}}})
    latency = {"asked_ms": 5.0, "dense_ms": 60.0, "predicted_ms": 7.0, "measured_ms": 8.0, "reached": False}
    write_json(cut / "record.json", {"latency": latency, "notes": []})
    found = chain_doubts(tmp_path, [weak], weak, weak, cut)
    assert [one.split(":")[0] for one in found] == [
        "The model that went in has learnt next to nothing",
        "train",
        "--latency was not reached",
    ]
    assert "30 of 90 labels (33%) have a class number" in found[1]
    assert "5.00 ms were asked for, the cut network takes 8.00 ms (60.00 ms before the cut)" in found[2]
    write_json(
        cut / "record.json",
        {"notes": ["The budget for MACs could not be reached: every remaining channel is kept by a floor."]},
    )
    assert len(missed_budgets(cut)) == 1
    assert chain_doubts(tmp_path, [good], good, row("x", map50=0.3), cut)[1:] == (
        "The budget for MACs could not be reached: every remaining channel is kept by a floor. Lower --floor, or ask for less.",
        (
            "The last model has lost most of what the first one could do: mAP50 0.787 → 0.300. Ask for a smaller cut, or train "
            "longer after it."
        ),
    )


MISSED = "The budget for MACs could not be reached: every remaining channel is kept by a floor."
SLOW = LatencyOutcome(
    asked_ms=5.0, dense_ms=60.0, predicted_ms=7.0, measured_ms=8.0, round_to=8, reached=False, attempts=()
)


@pytest.mark.parametrize(
    ("latency", "notes", "status"),
    [
        (None, (), 0),
        (None, ("a carrier was kept",), 0),
        (None, (MISSED,), 1),
        (SLOW, (), 1),
        (replace(SLOW, reached=True), (), 0),
    ],
)
def test_a_missed_budget_is_the_exit_status(latency: Any, notes: tuple[str, ...], status: int) -> None:
    commands = {command.name: command for command in COMMANDS}
    missed = CutRecord.missed_budget.fget(SimpleNamespace(latency=latency, notes=notes))  # type: ignore[attr-defined]
    assert commands["prune"].ending(None, SimpleNamespace(missed_budget=missed)) == status
    record = ChainRecord("runs/x", (), "runs/x/best.pt", missed=(MISSED,) if missed else ())
    assert commands["compress"].ending(None, record) == commands["iterate"].ending(None, record) == status


# -- budgets that no cut can reach ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detector(base_run: TrainRecord) -> Detector:
    return slimyolo.load(base_run.best)


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (
            {"percent": 0.95},
            r"--percent 0.95 cannot be reached: .* 10.6% of the channels of this network stay. Give at most 0.89",
        ),
        (
            {"macs": 0.01},
            r"--macs 0.01 cannot be reached: with at least 0.1 of each layer .* of the MACs .* Give at least 0.0",
        ),
        ({"params": 0.01}, r"--params 0.01 cannot be reached: .* of the parameters of this network stay"),
        ({"macs": 0.05}, None),
    ],
)
def test_unreachable_budgets_are_refused_before_training(
    base_run: TrainRecord, tiny_data: Path, detector: Detector, budget: dict[str, float], message: str | None
) -> None:
    config = settings(base_run, tiny_data, **{"percent": None, **budget})
    if message is None:
        refuse_unreachable(detector, config)
        return
    with pytest.raises(ConfigError, match=message):
        refuse_unreachable(detector, config)


class FakePrice:
    """A runtime on which the dense network takes 60 ms and every cut one 7.2."""

    dense_ms = 60.0
    device = None

    def __call__(self, plan: object) -> float:
        return 7.2

    def measured_share(self, plan: object) -> float | None:
        return 0.12

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("latency", "message"),
    [
        ("5ms", r"--latency 5ms cannot be reached: .* the network still takes 7.20 ms of 60.00. Give a longer time"),
        ("10%", r"--latency 10% cannot be reached"),
        ("70ms", r"--latency 70ms: the network takes only 60.00 ms without a cut"),
        ("7ms", None),  # too near to be sure
    ],
)
def test_unreachable_times(
    base_run: TrainRecord,
    tiny_data: Path,
    detector: Detector,
    monkeypatch: pytest.MonkeyPatch,
    latency: str,
    message: str | None,
) -> None:
    monkeypatch.setattr(reachable, "open_price", lambda *_: FakePrice())
    config = settings(base_run, tiny_data, percent=None, latency=latency, runtime="onnxruntime")
    if message is None:
        refuse_unreachable(detector, config)
        return
    with pytest.raises(ConfigError, match=message):
        refuse_unreachable(detector, config)


def test_several_rounds_reach_more_than_one(base_run: TrainRecord, tiny_data: Path, detector: Detector) -> None:
    config = IterateConfig(weights=base_run.best, data=tiny_data, macs=0.02, imgsz=64)
    with pytest.raises(ConfigError, match=r"cannot be reached: with at least 0.1 of each layer"):
        refuse_unreachable(detector, config)
    refuse_unreachable(detector, config, rounds=3)
