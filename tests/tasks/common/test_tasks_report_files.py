"""Table of cases: which files runs write for their report, with and without --noplots; the report command."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from slimyolo.data import image_size, read_dataset_yaml, read_split
from slimyolo.data.dataset.label_statistics import label_statistics
from slimyolo.errors import ConfigError
from slimyolo.geometry import Detections, Placement
from slimyolo.reports.plots.plot_files import PLOT_FILES
from slimyolo.reports.records.run_files import read_curves, read_gammas, read_labels, read_sample
from slimyolo.tasks.common.records import TrainRecord
from slimyolo.tasks.common.report_files import ValidationPictures, train_picture, write_evidence
from slimyolo.tasks.common.runs.provenance import machine, typed_command
from slimyolo.tasks.measure.validate import validate
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.report import report
from slimyolo.tasks.report_config import ReportConfig
from slimyolo.tasks.train.config import SparsifyConfig
from slimyolo.tasks.train.sparsify import sparsify

QUICK: dict[str, Any] = {"imgsz": 64, "batch_size": 4, "workers": 0, "cache": "ram", "noautoanchor": True}


def test_a_training_leaves_the_plots_of_the_reference(base_run: TrainRecord) -> None:
    folder = Path(base_run.folder)
    pictures = [*PLOT_FILES, "train_batch0.jpg", "train_batch1.jpg", "train_batch2.jpg"]
    pictures += ["val_batch0_labels.jpg", "val_batch0_pred.jpg"]
    for name in pictures:
        assert image_size((folder / name).read_bytes()) is not None, name
    sample, curves, labels = read_sample(folder), read_curves(folder), read_labels(folder)
    assert sample is not None
    assert 1 <= len(sample.images) <= 4
    assert all(len(image.truth) for image in sample.images)
    assert curves is not None
    assert len(curves.confidence) == 201
    assert [one.split for one in labels] == ["train", "val"]
    assert labels[0].images == 10


def test_tensorboard_has_pictures_and_hyperparameters(base_run: TrainRecord) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    events = EventAccumulator(base_run.folder)
    events.Reload()
    assert {"train_batch0", "val_batch0_labels", "val_batch0_pred"} <= set(events.Tags()["images"])
    assert events.Images("val_batch0_pred")[0].step == 2
    assert [one.step for one in events.Scalars("metrics/mAP_0.5")] == [0, 1]
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["lr0"].number_value == 0.01
    assert values["optimizer"].string_value == "SGD"
    assert values["imgsz"].number_value == 64


def test_noplots_leaves_records_only(base_run: TrainRecord, tiny_data: Path, tmp_path: Path) -> None:
    config = SparsifyConfig(
        data=tiny_data, weights=base_run.best, epochs=2, percent=0.3, noplots=True, project=tmp_path, **QUICK
    )
    folder = Path(sparsify(config).folder)
    assert {"results.csv", "gammas.json", "curves.json", "labels.json", "record.json"} <= {
        p.name for p in folder.iterdir()
    }
    assert not [path for path in folder.rglob("*") if path.suffix in (".png", ".jpg") or path.name == "sample.json"]
    gammas = read_gammas(folder)
    assert gammas is not None
    assert [epoch.epoch for epoch in gammas.epochs] == [0, 1]
    assert all(epoch.zeros + sum(epoch.counts) + epoch.above == 4752 for epoch in gammas.epochs)
    assert gammas.epochs[-1].zeros > 0
    page = report(ReportConfig(runs=(folder,))).page
    assert page == str(folder / "report.html")
    assert "|γ| over the epochs" in Path(page).read_text(encoding="utf-8")


def test_a_validation_fills_the_report_of_a_run(base_run: TrainRecord, tiny_data: Path, tmp_path: Path) -> None:
    record = validate(
        ValConfig(weights=base_run.best, data=tiny_data, imgsz=64, workers=0, project=tmp_path, name="val")
    )
    assert record.metrics.images == 4
    assert {"curves.json", "labels.json", "sample.json", "PR_curve.png", "val_batch0_pred.jpg"} <= {
        path.name for path in (tmp_path / "val").iterdir()
    }


def test_sample_boxes_are_relative_to_the_picture_without_its_border(tiny_data: Path, tmp_path: Path) -> None:
    split = read_split(read_dataset_yaml(tiny_data), "val")
    path = next(sample.image for sample in split.samples if len(sample.boxes))
    placement = Placement((0.5, 0.5), (8, 4), (48, 96), (32, 64))  # a source of 96 × 48 inside 64 × 32
    images = torch.full((1, 3, 32, 64), 114, dtype=torch.uint8)
    images[..., 4:28, 8:56] = 250
    batch = SimpleNamespace(
        images=images,
        targets=torch.zeros(0, 6),
        placements=[placement],
        paths=[path],
        truths=[np.asarray([[1, 0, 0, 96, 24]], np.float32)],
    )
    boxes = np.asarray([[24, 12, 48, 36], [0, 0, 9, 9]], np.float32)
    watch = ValidationPictures(split)
    watch.see(batch, [Detections(boxes, np.asarray([0.9, 0.2]), np.asarray([0, 1]))])
    pictures = watch.write(tmp_path)
    assert set(pictures) == {"val_batch0_labels", "val_batch0_pred"}
    sample = read_sample(tmp_path)
    assert sample is not None
    (image,) = sample.images
    assert (image.width, image.height) == (48, 24)
    assert image_size(image.jpeg.read_bytes()) == (24, 48)
    assert image.truth == ((1, 0, 0, 1, 0.5),)
    assert image.detections == ((0, 0.9, 0.25, 0.25, 0.5, 0.75),)  # the other one is under 0.25


def test_a_training_batch_is_drawn_with_its_boxes() -> None:
    targets = torch.tensor([[1, 0, 0.5, 0.5, 0.5, 0.5]])
    batch = SimpleNamespace(images=torch.zeros((2, 3, 64, 64), dtype=torch.uint8), targets=targets, paths=())
    picture = train_picture(batch, ("face",))
    assert picture.shape == (64, 128, 3)
    assert not picture[:, :64].any()
    assert picture[:, 64:].any()


def test_label_statistics_count_boxes_once(tiny_data: Path) -> None:
    split = read_split(read_dataset_yaml(tiny_data), "train")
    counted = label_statistics(split)
    assert np.sum(counted.centres) == np.sum(counted.sizes) == sum(counted.class_boxes) == split.boxes
    assert max(counted.class_images) <= counted.images == 10


def test_curves_of_a_model_that_finds_nothing(tmp_path: Path) -> None:
    from slimyolo.detections import MetricsAccumulator

    write_evidence(tmp_path, MetricsAccumulator(["a"]).compute())
    curves = read_curves(tmp_path)
    assert curves is not None
    assert curves.classes == ()
    assert curves.counts == ((0, 0), (0, 0))


def test_where_a_result_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/x/slimyolo/__main__.py", "train", "--data", "my data.yaml"])
    assert typed_command() == "slimyolo train --data 'my data.yaml'"
    monkeypatch.setattr("sys.argv", ["train.py", "--noplots"])
    assert typed_command() == "train.py --noplots"
    facts = machine()
    assert facts["processor"]
    assert int(facts["cores"]) >= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"runs": ()}, r"Give at least one run folder: slimyolo report runs/compress/exp"),
        ({"runs": ("a",), "images": -1}, r"--images: got -1, expected 0 or more"),
    ],
)
def test_wrong_report_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReportConfig(**settings)


def test_where_the_page_goes(base_run: TrainRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"--output .* is a folder: give the name of a file"):
        ReportConfig(runs=("a",), output=tmp_path)
    assert ReportConfig(runs=("a", "b")).page == Path("report.html")
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: bool(opened.append(address)))
    page = tmp_path / "some where" / "page.html"
    record = report(ReportConfig(runs=(base_run.folder,), output=page, open=True, images=1))
    assert opened == [page.resolve().as_uri()]
    assert record.size_bytes == page.stat().st_size < 1_000_000
    assert json.loads((Path(base_run.folder) / "record.json").read_text())["epochs_done"] == 2
