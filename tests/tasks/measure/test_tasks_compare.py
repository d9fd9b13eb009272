"""Table of cases: `slimyolo compare` of files and of run folders, its record, its page and its errors."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

import slimyolo
from slimfaces import render_dataset
from slimyolo.checkpoints import save_checkpoint
from slimyolo.data import read_dataset_yaml, read_split
from slimyolo.detections import IOU_THRESHOLDS, DetectionMetrics, Estimate, Outcomes, metrics_from
from slimyolo.errors import CheckpointError, ConfigError, StorageError
from slimyolo.families import read_architecture
from slimyolo.geometry import Detections
from slimyolo.models import build_detector
from slimyolo.reports.comparison_page import render_comparison
from slimyolo.storage import write_json
from slimyolo.tasks.common.comparison.compared_models import ComparedModel
from slimyolo.tasks.measure.compare import (
    Sides,
    compare,
    compared,
    comparison_table,
    log_images,
    nothing_words,
    verdict,
)
from slimyolo.tasks.measure.compare_config import CompareConfig
from slimyolo.tasks.measure.compared_pictures import write_pictures
from slimyolo.tasks.measure.validate import validate
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.report import report
from slimyolo.tasks.report_config import ReportConfig

QUICK: dict[str, Any] = {"imgsz": 64, "workers": 0, "noplots": True}
IMAGES = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset ``data`` with 12 validation images, two untrained checkpoints of it, and one of three classes."""
    folder = tmp_path_factory.mktemp("compare")
    render_dataset(folder / "data", train=1, val=IMAGES, size=64, seed=1)
    for name, classes, seed in (("a.pt", 2, 0), ("b.pt", 2, 1), ("three.pt", 3, 0)):
        torch.manual_seed(seed)
        detector = build_detector(read_architecture("yolov5n").with_classes(classes), names=("x", "y", "z")[:classes])
        save_checkpoint(folder / name, detector)
    return folder


@pytest.fixture(scope="module")
def data(folder: Path) -> Path:
    return next(folder.glob("data/*.yaml"))


@pytest.fixture(scope="module")
def runs(folder: Path, data: Path) -> tuple[Path, Path]:
    """The folders of two validations; the second is compared with the first as well."""
    for name, against in (("a", None), ("b", folder / "runs" / "a")):
        validate(
            ValConfig(
                weights=folder / f"{name}.pt", data=data, against=against, project=folder / "runs", name=name, **QUICK
            )
        )
    return folder / "runs" / "a", folder / "runs" / "b"


def test_val_keeps_intervals_and_differences(runs: tuple[Path, Path]) -> None:
    first, second = (json.loads((run / "record.json").read_text()) for run in runs)
    assert first["intervals"]["resamples"] == 1000
    assert first["intervals"]["map50"]["value"] == pytest.approx(first["metrics"]["map50"], abs=1e-12)
    assert (first["against"], first["differences"], first["metrics"]["outcomes"]) == ("", None, None)
    assert second["against"] == str(runs[0])
    difference = second["metrics"]["recall"] - first["metrics"]["recall"]
    assert second["differences"]["recall"]["value"] == pytest.approx(difference, abs=1e-12)


def test_files_are_measured_and_runs_are_not(folder: Path, data: Path, runs: tuple[Path, Path], tmp_path: Path) -> None:
    files = compare(CompareConfig(first=folder / "a.pt", second=folder / "b.pt", data=data, project=tmp_path, **QUICK))
    stored = compare(CompareConfig(first=runs[0], second=runs[1], project=tmp_path))
    mixed = compare(CompareConfig(first=folder / "a.pt", second=runs[1], data=data, project=tmp_path, **QUICK))
    assert files.differences == stored.differences == mixed.differences
    assert (files.worse, files.better, files.changed) == (stored.worse, stored.better, stored.changed)
    assert files.first.size is not None
    assert (stored.first.size, stored.provenance.get("data")) == (None, None)
    assert {path.name for path in (tmp_path / "exp").iterdir()} == {"record.json", "report.html"}
    page = (tmp_path / "exp2" / "report.html").read_text()
    assert "There are no pictures: give the model files with --data" in page
    found = slimyolo.compare(folder / "a.pt", folder / "b.pt", data, imgsz=64)
    assert found == files.differences


def test_what_does_not_fit_is_refused(folder: Path, data: Path, runs: tuple[Path, Path], tmp_path: Path) -> None:
    other = render_dataset(tmp_path / "other", train=1, val=2, size=64, seed=2)
    elsewhere = tmp_path / "runs" / "c"
    validate(ValConfig(weights=folder / "a.pt", data=other, project=elsewhere.parent, name="c", **QUICK))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"first": folder / "a.pt", "second": runs[1]}, r"a\.pt has to be measured: add --data YAML"),
        (
            {"first": runs[0], "second": elsewhere},
            "measured different images or labels. Give the model files and --data",
        ),
        (
            {"first": folder / "a.pt", "second": elsewhere, "data": data},
            "measured other images or labels than the val split",
        ),
        (
            {"first": folder / "a.pt", "second": folder / "three.pt", "data": data},
            r"three\.pt detects 3 classes \(x, y, z\)",
        ),
    ]
    for given, message in cases:
        with pytest.raises(ConfigError, match=message):
            compare(CompareConfig(**given, project=tmp_path / "none", **QUICK))
    with pytest.raises(CheckpointError, match=r"There is no checkpoint 'none\.pt'"):  # before what is said about --data
        compare(CompareConfig(first=folder / "a.pt", second="none.pt", **QUICK))
    assert not (tmp_path / "none").exists()
    for given, message in (
        ({"against": elsewhere}, "measured other images or labels than the val split has now. Give the model file"),
        (
            {"against": runs[0], "rule": "coco"},
            "by the rule yolov5, not coco. Add --rule yolov5, or give the model file",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            validate(ValConfig(weights=folder / "a.pt", data=data, project=tmp_path / "none", **given, **QUICK))


def outcomes_for(images: tuple[str, ...], labels: Any, found: list[tuple[int, float, bool]]) -> Outcomes:
    """One class; `found` are (image, score, correct at all thresholds)."""
    rows = sorted(found, key=lambda row: (row[0], -row[1]))
    return Outcomes(
        names=("face", "face_mask"),
        rule="coco",
        images=images,
        image_of=np.array([row[0] for row in rows], np.int64),
        correct=np.array([[row[2]] * len(IOU_THRESHOLDS) for row in rows], bool).reshape(-1, len(IOU_THRESHOLDS)),
        scores=np.array([row[1] for row in rows], np.float32),
        classes=np.zeros(len(rows), np.int64),
        label_image=np.asarray(labels),
        label_classes=np.zeros(len(labels), np.int64),
    )


@pytest.fixture
def sides(data: Path) -> Sides:
    """One label in each image. The first finds all; the second misses one, has a wrong box elsewhere."""
    split = read_split(read_dataset_yaml(data), "val")
    images = tuple(sample.image.relative_to(split.root).as_posix() for sample in split.samples)
    every = [(image, 0.9, True) for image in range(IMAGES)]
    found = (every, [*every[:3], *every[4:], (5, 0.95, False)])
    box = Detections(
        np.array([[5, 5, 30, 30]], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int64), frame="source"
    )
    models = []
    for name, rows in zip(("<one>.pt", "two.pt"), found, strict=True):
        outcomes = outcomes_for(images, np.arange(IMAGES), rows)
        shown = {sample.image: box for sample in split.samples}
        models.append(
            ComparedModel(
                path=Path(name), outcomes=outcomes, metrics=metrics_from(outcomes), fingerprint="f", shown=shown
            )
        )
    return Sides(*models, split)


def config_of(**given: Any) -> CompareConfig:
    return CompareConfig(first="one.pt", second="two.pt", resamples=100, **given)


def test_images_that_changed_are_listed_and_pictured(sides: Sides, tmp_path: Path) -> None:
    record = compared(sides, config_of())
    images = sides.first.outcomes.images
    assert [(one.image, one.missed, one.wrong, one.change) for one in record.worse] == [
        (images[3], (0, 1), (0, 0), 1.0),
        (images[5], (0, 0), (0, 1), 1.0),
    ]
    assert (record.better, record.changed) == ((), (2, 0))
    assert compared(dataclasses.replace(sides, first=sides.second, second=sides.first), config_of()).changed == (0, 2)
    write_json(tmp_path / "record.json", record)
    assert sides.split is not None
    write_pictures(tmp_path, sides.split, (sides.first, sides.second), record.worse)
    page = render_comparison(tmp_path, version="1", made="now")
    assert page.count("data:image/jpeg;base64,") == 2
    assert page.count('class="photo"') == 6  # truth, first and second of two images
    assert "&lt;one&gt;.pt" in page
    assert "<one>.pt" not in page
    assert page.count('<table class="stacked') == page.count("<table") - 1  # all but the names of the models
    assert '<td data-label="second − first">' in page  # what a phone shows beside each cell
    assert "−.083 (" in page
    assert images[3] in page
    again = report(ReportConfig(runs=(tmp_path,), output=tmp_path / "again.html"))
    assert Path(again.page).read_text().count('class="photo"') == 6
    with pytest.raises(ConfigError, match="is a comparison of two models, which has a page of its own"):
        report(ReportConfig(runs=(tmp_path, tmp_path)))


def test_the_list_of_images_says_what_it_counts(sides: Sides, caplog: pytest.LogCaptureFixture) -> None:
    record = compared(sides, config_of())
    caplog.set_level("INFO", "slimyolo")
    log_images(record)
    first, *lines = [one.getMessage() for one in caplog.records]
    assert first == "Errors of an image are its missed labels and wrong detections, as a mean over IoU 0.5 to 0.95."
    changes = [line for line in lines if line.startswith("  ")]
    assert len(changes) == len(record.worse) + len(record.better) > 0
    assert all(line.split(": ")[1][0] in "+−" and " errors; at IoU 0.5 missed " in line for line in changes)


def test_the_table_says_how_certain_a_difference_is(sides: Sides) -> None:
    record = compared(sides, config_of(level="90%"))
    text = comparison_table(record)
    row = next(line for line in text.splitlines() if line.split()[0] == "R")
    assert row.split()[1:4] == ["1.000", ".917", "−.083"]
    assert row.rstrip().endswith(")")
    assert "In brackets: 90% intervals, from 100 resamples of the 12 images." in text
    assert "face_mask" in text
    assert "lower mAP50-95 than <one>.pt" in record.verdict or "No difference of mAP50-95 is certain" in record.verdict
    same = compared(dataclasses.replace(sides, second=sides.first), config_of())
    assert same.verdict == "Both models have the same mAP50-95 on these images, and on every resample of them."


def test_two_models_that_find_nothing_are_not_compared() -> None:
    some, little, nothing, unlabelled = (
        cast(DetectionMetrics, SimpleNamespace(map50=value)) for value in (0.3, 0.0004, 0.0, math.nan)
    )
    for pair in ((nothing, nothing), (little, nothing)):
        assert nothing_words(*pair).startswith("Neither model finds the labelled objects on these images (mAP50 .000)")
    for pair in ((some, nothing), (nothing, some), (unlabelled, unlabelled)):
        assert nothing_words(*pair) == ""


def test_a_difference_of_less_than_three_decimals_is_none(sides: Sides) -> None:
    differences = compared(sides, config_of()).differences
    tiny = dataclasses.replace(differences, map50_95=Estimate(0.0001, -0.0002, 0.0003))
    assert verdict(tiny, Path("a"), Path("b")) == (
        "Both models have the same mAP50-95 up to 0.0005, on these images and, with a confidence of 95%, on others of this kind."
    )


def test_few_images_say_nothing_about_others(data: Path) -> None:
    few = outcomes_for(("a", "b"), [0, 1], [(0, 0.9, True)])
    one = ComparedModel(path=Path("a.pt"), outcomes=few, metrics=metrics_from(few), fingerprint="f")
    record = compared(Sides(one, one), config_of())
    assert record.verdict == (
        "No intervals: fewer than 6 of the 2 images have labels: nothing can be said about other images."
    )


def test_a_page_needs_a_whole_record(tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", {"first": 1})
    with pytest.raises(
        StorageError, match=r"record\.json is not a record of this version \(it lacks differences\).* slimyolo compare"
    ):
        render_comparison(tmp_path)


def test_models_of_two_branches_are_compared_by_the_same_one(folder: Path, data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    detector = build_detector(read_architecture("yolo26n").with_classes(2), names=("x", "y"), seed=0)
    for one in detector.modules():
        if isinstance(one, torch.nn.Conv2d) and one.bias is not None and one.out_channels == 2:
            torch.nn.init.normal_(one.bias)  # other scores in the two branches
    save_checkpoint(tmp_path / "26.pt", detector)
    file = tmp_path / "26.pt"
    asked = ValConfig(weights=file, data=data, against=file, one2many=True, project=tmp_path, name="val", **QUICK)
    differences = validate(asked).differences
    assert differences is not None
    assert (differences.map50.value, differences.map50.low, differences.map50.high) == (0, 0, 0)
    shared = {**QUICK, "data": data, "one2many": True, "project": tmp_path}
    record = compare(CompareConfig(first=file, second=folder / "a.pt", name="mixed", **shared))
    assert record.differences is not None
    with pytest.raises(ConfigError, match="--one2many: no model that has to be measured has a head with two branches"):
        compare(CompareConfig(first=folder / "a.pt", second=folder / "b.pt", name="none", **shared))
