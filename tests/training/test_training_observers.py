"""Tables of cases: results.csv, the terminal, TensorBoard, checkpoints."""

from __future__ import annotations

import builtins
import csv
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from toy_run import layer_groups

from slimyolo.errors import StorageError, TrainingError
from slimyolo.sparsity import NoSparsity, ShareDriven, Sparsity
from slimyolo.training import (
    CSV_COLUMNS,
    CheckpointObserver,
    ConstantSchedule,
    CsvObserver,
    EpochReport,
    FirstBatchesObserver,
    GammaObserver,
    RichProgressObserver,
    RunReport,
    TensorBoardObserver,
    build_optimizer,
    csv_columns,
    fit,
)
from slimyolo.training.observers.gamma_file import GAMMA_BINS, gamma_counts

METRICS = {
    "metrics/precision": 0.5,
    "metrics/mAP_0.5": 0.25,
    "metrics/mAP_0.5:0.95": float("nan"),
    "val/box_loss": 0.125,
}


def train(toy: SimpleNamespace, observer: Any, *, sparse: bool = False, epochs: int = 3) -> None:
    model = toy.net()
    sparsity: Sparsity = ShareDriven(model, layer_groups(model), 0.5) if sparse else NoSparsity()
    fit(
        model,
        toy.batches(),
        toy.objective,
        build_optimizer(model),
        ConstantSchedule(0.01),
        epochs=epochs,
        sparsity=sparsity,
        validate=lambda module, epoch: (0.1, METRICS),
        observers=(observer,),
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_results_have_the_columns_of_another_loss(toy: SimpleNamespace, tmp_path: Path) -> None:
    train(toy, CsvObserver(tmp_path / "results.csv", ("obj", "dfl")))
    rows = rows_of(tmp_path / "results.csv")
    assert tuple(rows[0]) == csv_columns(("obj", "dfl"))
    assert tuple(rows[0])[:3] == ("epoch", "train/obj_loss", "train/dfl_loss")
    assert tuple(rows[0])[7:9] == ("val/obj_loss", "val/dfl_loss")
    assert rows[0]["train/obj_loss"]
    assert not rows[0]["train/dfl_loss"]


def test_results_have_the_columns_of_the_reference(toy: SimpleNamespace, tmp_path: Path) -> None:
    train(toy, CsvObserver(tmp_path / "run" / "results.csv"))
    rows = rows_of(tmp_path / "run" / "results.csv")
    assert tuple(rows[0]) == CSV_COLUMNS
    assert CSV_COLUMNS[:14] == (
        "epoch",
        "train/box_loss",
        "train/obj_loss",
        "train/cls_loss",
        "metrics/precision",
        "metrics/recall",
        "metrics/mAP_0.5",
        "metrics/mAP_0.5:0.95",
        "val/box_loss",
        "val/obj_loss",
        "val/cls_loss",
        "x/lr0",
        "x/lr1",
        "x/lr2",
    )
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    last = rows[-1]
    assert (last["metrics/precision"], last["val/box_loss"], last["x/lr2"]) == ("0.5", "0.125", "0.01")
    assert float(last["train/obj_loss"]) == pytest.approx(2 * float(last["train/box_loss"]), rel=1e-4)
    assert (last["train/cls_loss"], last["metrics/mAP_0.5:0.95"], last["sparsity/share"]) == ("", "", "")


def test_results_show_sparsity(toy: SimpleNamespace, tmp_path: Path) -> None:
    train(toy, CsvObserver(tmp_path / "results.csv"), sparse=True)
    last = rows_of(tmp_path / "results.csv")[-1]
    assert (last["sparsity/zero_channels"], last["sparsity/channels"], last["sparsity/share"]) == ("14", "28", "0.5")


def test_a_resumed_run_keeps_earlier_rows_and_replaces_later_ones(toy: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    train(toy, CsvObserver(path))
    observer = CsvObserver(path)
    observer.started(RunReport(epochs=3, first_epoch=2, steps_per_epoch=5))
    reports: list[EpochReport] = []
    train(toy, CheckpointObserver(reports.append))
    observer.epoch_done(reports[2])
    assert [row["epoch"] for row in rows_of(path)] == ["0", "1", "2"]
    train(toy, CsvObserver(path), epochs=1)  # a new run begins anew
    assert [row["epoch"] for row in rows_of(path)] == ["0"]


def test_another_programs_results_are_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(StorageError, match="is not a results file of this program"):
        CsvObserver(path).started(RunReport(3, 1, 5))
    missing = CsvObserver(tmp_path / "none.csv")
    missing.started(RunReport(3, 1, 5))


def test_plain_lines_where_there_is_no_terminal(toy: SimpleNamespace) -> None:
    out = io.StringIO()
    train(toy, RichProgressObserver(Console(file=out, width=300)), sparse=True)
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("epoch 1/3")
    assert lines[2].startswith("epoch 3/3")
    for part in ("img/s", "box 0.", "obj 0.", "mAP50 0.2500", "*best", "left", "zero 14/28 (50.0% of 50.0% wanted)"):
        assert part in lines[2]


def test_a_slow_epoch_speaks_between(toy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 100_000, 40))
    monkeypatch.setattr("slimyolo.training.observers.terminal.time.perf_counter", lambda: float(next(clock)))
    out = io.StringIO()
    train(toy, RichProgressObserver(Console(file=out, width=300)), epochs=1)
    assert "batch 3/5" in out.getvalue()


def test_a_live_line_on_a_terminal_that_is_given_back(toy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slimyolo.training.observers.terminal._REFRESH_SECONDS", 0.0)
    out = io.StringIO()
    train(toy, RichProgressObserver(Console(file=out, width=200, force_terminal=True)))
    assert "epoch 3/3" in out.getvalue()
    assert "\x1b[?25h" in out.getvalue()  # the cursor is shown again


def test_tensorboard_has_scalars_and_the_histogram(toy: SimpleNamespace, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(toy, TensorBoardObserver(tmp_path), sparse=True)
    events = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0, "scalars": 0})
    events.Reload()
    assert {"train/box_loss", "metrics/mAP_0.5", "x/lr0", "sparsity/zero_channels", "sparsity/share"} <= set(
        events.Tags()["scalars"]
    )
    assert [event.step for event in events.Histograms("bn_weights/hist")] == [0, 1, 2]
    assert events.Histograms("bn_weights/hist")[-1].histogram_value.num == 28
    assert events.Scalars("sparsity/zero_channels")[-1].value == 14


def test_tensorboard_has_hyperparameters_and_pictures(toy: SimpleNamespace, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    observer = TensorBoardObserver(tmp_path, {"lr0": 0.01, "cache": None, "freeze": (1, 2)})
    train(toy, observer)
    picture = np.full((4, 6, 3), 200, np.uint8)
    observer.add_pictures({"val": picture}, 3)  # after the run
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert (events.Images("val")[0].height, events.Images("val")[0].width) == (4, 6)
    assert events.SummaryMetadata("_hparams_/session_start_info").plugin_data.plugin_name == "hparams"
    assert len(events.Scalars("metrics/mAP_0.5")) == 3


def test_gammas_are_counted_after_every_epoch(toy: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "gammas.json"
    train(toy, GammaObserver(path), sparse=True)
    content = json.loads(path.read_text())
    assert len(content["edges"]) == GAMMA_BINS + 1
    assert [row["epoch"] for row in content["epochs"]] == [0, 1, 2]
    for row in content["epochs"]:
        assert row["zeros"] + sum(row["counts"]) + row["above"] == 28
        assert row["target_share"] == 0.5
    last = content["epochs"][-1]
    assert last["zeros"] == 14

    resumed = GammaObserver(path)
    resumed.started(RunReport(3, 2, 5))
    assert [row["epoch"] for row in resumed._epochs] == [0, 1]  # what came after is done again


def test_an_ordinary_training_has_no_gamma_file(toy: SimpleNamespace, tmp_path: Path) -> None:
    train(toy, GammaObserver(tmp_path / "gammas.json"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.0, 0.5], (2, [0, 1], 0)),  # zeros are counted apart; an edge belongs to the bin above it
        ([0.1, 0.49, 0.99], (0, [2, 1], 0)),
        ([1.0, 3.0], (0, [0, 0], 2)),
        ([], (0, [0, 0], 0)),
    ],
)
def test_gamma_counts(values: list[float], expected: tuple[int, list[int], int]) -> None:
    assert gamma_counts(torch.tensor(values), [0.0, 0.5, 1.0]) == expected


def test_the_first_batches_are_handed_over_once(toy: SimpleNamespace) -> None:
    seen: list[tuple[int, int]] = []
    train(toy, FirstBatchesObserver(lambda number, batch: seen.append((number, len(batch.paths)))))
    assert seen == [(0, 4), (1, 4), (2, 4)]


def test_tensorboard_that_is_missing_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if "tensorboard" in name:
            raise ImportError(name)
        return usual(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(TrainingError, match=r"pip install 'slimyolo\[tensorboard\]'"):
        TensorBoardObserver(tmp_path)


def test_checkpoints_get_state_that_is_plain(toy: SimpleNamespace, tmp_path: Path) -> None:
    def save(report: EpochReport) -> None:
        torch.save(report.training_state(), tmp_path / "state.pt")

    train(toy, CheckpointObserver(save), sparse=True)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["epoch"] == 3
    assert bool(state["sparsity"]["reached"])


@pytest.mark.parametrize("width", [200, 100, 80, 60])
def test_lines_fit_the_terminal(toy: SimpleNamespace, width: int) -> None:
    out = io.StringIO()
    train(toy, RichProgressObserver(Console(file=out, width=width, force_terminal=True)), sparse=True)
    lines = [
        line
        for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\n", out.getvalue()).splitlines()
        if line.startswith("epoch")
    ]
    assert lines
    assert all(len(line.rstrip()) <= width for line in lines)
    assert all("mAP50-95" in line for line in lines if "mAP50 " in line)
