"""Property: detectors without anchors are trained, resumed, sparsified, cut and fine-tuned as YOLOv5 is."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from slimyolo.families import load_checkpoint
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.prune import prune
from slimyolo.tasks.train.config import FinetuneConfig, SparsifyConfig, TrainConfig
from slimyolo.tasks.train.finetune import finetune
from slimyolo.tasks.train.resume import find_resumable, resumed_config
from slimyolo.tasks.train.saving import CheckpointWriter
from slimyolo.tasks.train.sparsify import sparsify
from slimyolo.tasks.train.train import train

QUICK: dict[str, Any] = {"imgsz": 64, "batch_size": 4, "workers": 0, "cache": "ram"}
FAMILIES = ("yolov8", "yolo11", "yolo26")


@pytest.fixture(params=FAMILIES)
def tiny_model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The layer table of a family with a sixteenth of the channels."""
    text = (Path(__file__).parents[3] / f"src/slimyolo/families/{request.param}/{request.param}.yaml").read_text()
    path = tmp_path / f"tiny_{request.param}.yaml"
    path.write_text(re.sub(r"n: \[[^]]*\]", "n: [0.33, 0.0625, 1024]", text, count=1))
    return path


def rows_of(folder: str) -> list[dict[str, float]]:
    with (Path(folder) / "results.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_the_loss_falls(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    config = TrainConfig(
        data=tiny_data,
        cfg=str(tiny_model),
        epochs=30,
        nominal_batch=4,
        optimizer="AdamW",
        close_mosaic=30,
        project=tmp_path,
        hyp_set=("lr0=0.01", "hsv_h=0", "hsv_s=0", "hsv_v=0", "fliplr=0", "scale=0", "translate=0"),
        noplots=True,
        noval=True,
        **QUICK,
    )
    record = train(config)
    rows = rows_of(record.folder)
    sides = "l1" if "26" in tiny_model.stem else "dfl"
    assert set(rows[0]) >= {"train/box_loss", "train/cls_loss", f"train/{sides}_loss"}
    # the terms are divided by the sum of the wanted scores, at least 1: before that is reached they are small
    for name in ("box", "cls", sides):
        values = [row[f"train/{name}_loss"] for row in rows]
        assert values[-1] < 0.8 * max(values)
    assert record.metrics.labels > 0


def test_a_killed_run_goes_on_bit_for_bit(
    tiny_model: Path, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimizer = "auto" if "11" in tiny_model.stem else "MuSGD"

    def config(name: str) -> TrainConfig:
        return TrainConfig(
            data=tiny_data,
            cfg=str(tiny_model),
            epochs=3,
            close_mosaic=1,
            optimizer=optimizer,
            project=tmp_path,
            name=name,
            noplots=True,
            **QUICK,
        )

    whole = train(config("whole"))
    assert [set(row) >= {"val/box_loss", "metrics/mAP_0.5"} for row in rows_of(whole.folder)] == [True] * 3
    original = CheckpointWriter.save

    def save_then_die(self: Any, report: Any) -> None:
        original(self, report)
        if report.epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(CheckpointWriter, "save", save_then_die)
    with pytest.raises(KeyboardInterrupt):
        train(config("killed"))
    monkeypatch.setattr(CheckpointWriter, "save", original)
    last = tmp_path / "killed" / "weights" / "last.pt"
    resumed = train(resumed_config(TrainConfig, find_resumable(last, tmp_path), {}))
    first, second = (load_checkpoint(record.last).tensors for record in (whole, resumed))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert rows_of(whole.folder) == rows_of(resumed.folder)


def test_sparsify_cut_and_learn_from_the_base(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> None:
    sparse = sparsify(
        SparsifyConfig(
            data=tiny_data,
            cfg=str(tiny_model),
            epochs=3,
            percent=0.3,
            floor=0.3,
            project=tmp_path,
            name="sparse",
            noplots=True,
            **QUICK,
        )
    )
    assert sparse.zero_share == pytest.approx(0.3, abs=0.05)
    cut = prune(PruneConfig(weights=sparse.best, percent=0.3, project=tmp_path, imgsz=64))
    assert cut.after.params < cut.before.params
    tuned = finetune(
        FinetuneConfig(
            data=tiny_data,
            weights=cut.weights,
            epochs=1,
            teacher=sparse.best,
            project=tmp_path,
            name="tuned",
            noplots=True,
            **QUICK,
        )
    )
    assert tuned.size.params == cut.after.params
