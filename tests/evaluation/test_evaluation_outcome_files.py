"""Table of cases: the file that keeps the outcomes of a detector, whole, damaged, and of another version."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimyolo.detections import IOU_THRESHOLDS, Outcomes
from slimyolo.errors import StorageError
from slimyolo.evaluation import OUTCOMES_FILE, StoredOutcomes, outcomes_in_dataset, read_outcomes, write_outcomes


def some_outcomes(detections: int = 5) -> Outcomes:
    generator = np.random.default_rng(0)
    return Outcomes(
        names=("face", "mask"),
        rule="coco",
        images=("a.jpg", "b/ü.jpg", "c.jpg"),
        image_of=np.sort(generator.integers(0, 3, detections)),
        correct=generator.random((detections, len(IOU_THRESHOLDS))) < 0.5,
        scores=generator.random(detections, np.float32),
        classes=generator.integers(0, 2, detections),
        label_image=np.array([0, 2, 2]),
        label_classes=np.array([1, 0, 0]),
    )


@pytest.mark.parametrize("detections", [0, 5])
def test_what_is_written_is_read(tmp_path: Path, detections: int) -> None:
    written = StoredOutcomes(outcomes=some_outcomes(detections), fingerprint="f", about={"weights": Path("best.pt")})
    write_outcomes(tmp_path / OUTCOMES_FILE, written)
    found = read_outcomes(tmp_path / OUTCOMES_FILE)
    assert (found.fingerprint, found.about) == ("f", {"weights": "best.pt"})
    for part in dataclasses.fields(Outcomes):
        np.testing.assert_array_equal(getattr(found.outcomes, part.name), getattr(written.outcomes, part.name))


def test_no_images(tmp_path: Path) -> None:
    nothing = dataclasses.replace(
        some_outcomes(0), images=(), label_image=np.zeros(0, int), label_classes=np.zeros(0, int)
    )
    write_outcomes(tmp_path / OUTCOMES_FILE, StoredOutcomes(outcomes=nothing, fingerprint=""))
    assert len(read_outcomes(tmp_path / OUTCOMES_FILE).outcomes) == 0


def test_names_become_relative_to_the_dataset() -> None:
    named = dataclasses.replace(some_outcomes(), images=("/data/val/a.jpg", "/data/b.jpg", "/other/c.jpg"))
    assert outcomes_in_dataset(named, Path("/data")).images == ("val/a.jpg", "b.jpg", "../other/c.jpg")


def changed(path: Path, **tables: Any) -> None:
    """Write the file again with other `tables`; a dictionary is the header."""
    with np.load(path) as file:
        kept = dict(file)
    for name, table in tables.items():
        kept[name] = np.frombuffer(json.dumps(table).encode(), np.uint8) if isinstance(table, dict) else table
    np.savez_compressed(path, **kept)


def test_files_that_are_not_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / OUTCOMES_FILE
    with pytest.raises(StorageError, match=r"There is no .*outcomes\.npz\. `slimyolo val` writes it"):
        read_outcomes(path)
    write_outcomes(path, StoredOutcomes(outcomes=some_outcomes(), fingerprint="f"))
    whole = path.read_bytes()
    with np.load(path) as file:
        header = json.loads(file["header"].tobytes())
    cases: list[dict[str, Any]] = [
        {"scores": np.ones(4, np.float32)},
        {"scores": np.full(5, np.nan, np.float32)},
        {"classes": np.full(5, 2, np.int32)},
        {"label_classes": np.full(3, -1, np.int32)},
        {"detections": np.array([1, 1], np.int32)},
        {"detections": np.array([1.0, 2.0, 2.0])},
        {"correct": np.zeros((5, 1), np.uint8)},
        {"header": {**header, "rule": "x"}},
        {"header": {**header, "thresholds": [0.5]}},
        {"header": {"version": 1}},
        {"header": {}},
    ]
    for case in cases:
        path.write_bytes(whole)
        changed(path, **case)
        with pytest.raises(
            StorageError,
            match=r"is not a record of (outcomes|this version) .* Measure the detector again: slimyolo val",
        ):
            read_outcomes(path)
    for content in (b"", b"no archive", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(StorageError, match="is not a record of outcomes"):
            read_outcomes(path)
    path.write_bytes(whole)
    changed(path, header={**header, "version": 2})
    with pytest.raises(StorageError, match=r"has version 2, but this slimyolo reads version 1\. Measure"):
        read_outcomes(path)


def test_a_file_that_would_fill_the_memory_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / OUTCOMES_FILE
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scores.npy", bytes(2**20))
    monkeypatch.setattr("slimyolo.evaluation.outcome_files.LARGEST", 2**19)
    with pytest.raises(StorageError, match=r"would unpack to 1,048,576 bytes"):
        read_outcomes(path)
