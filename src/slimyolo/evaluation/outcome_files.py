"""Keeps the outcomes of a detector in a file of its run folder, so that it can be compared later without being run again.

``outcomes.npz`` holds the scores, classes and flags of all detections and the classes of all labels, image by image: about 5
bytes for a detection. Names of images are relative to the root of the dataset.
"""

from __future__ import annotations

import json
import lzma
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimyolo.detections import IOU_THRESHOLDS, RULES, MetricEstimates, Outcomes
from slimyolo.detections.outcomes import number_of_image
from slimyolo.errors import StorageError
from slimyolo.one_line import one_line_repr
from slimyolo.storage import RecordValue, atomic_file, open_user_file, to_plain

__all__ = [
    "OUTCOMES_FILE",
    "StoredOutcomes",
    "folder_differences",
    "outcomes_in_dataset",
    "read_outcomes",
    "write_outcomes",
]

OUTCOMES_FILE = "outcomes.npz"
VERSION = 1
AGAIN = "Measure the detector again: slimyolo val."
UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, MemoryError),
    *(
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
    ),  # RuntimeError: a password, a compression of another kind
)
"""What zipfile, NumPy, json and a part of another kind raise for a file that is no record."""
LARGEST = 2**30  # bytes when unpacked; 100 million detections


@one_line_repr
@dataclass(frozen=True, kw_only=True, eq=False)
class StoredOutcomes:
    """The outcomes of a detector with the `fingerprint` of the images and labels on which it was measured.

    `about` says which detector it was and how it was measured: plain values, for people.
    """

    outcomes: Outcomes
    fingerprint: str
    about: Mapping[str, Any] = field(default_factory=dict)


def outcomes_in_dataset(outcomes: Outcomes, root: Path) -> Outcomes:
    """The same outcomes, with names of images that are relative to the `root` of the dataset."""
    return replace(outcomes, images=tuple(Path(os.path.relpath(name, root)).as_posix() for name in outcomes.images))


def write_outcomes(path: Path, stored: StoredOutcomes) -> None:
    """Write `stored` to `path` atomically. Raises `StorageError` when it cannot be written."""
    own, images = stored.outcomes, len(stored.outcomes)
    header = {
        "version": VERSION,
        "names": own.names,
        "rule": own.rule,
        "images": own.images,
        "thresholds": IOU_THRESHOLDS,
        "fingerprint": stored.fingerprint,
        "about": stored.about,
    }
    with atomic_file(path) as file:
        np.savez_compressed(
            file,
            header=np.frombuffer(json.dumps(to_plain(header)).encode(), np.uint8),
            detections=np.bincount(own.image_of, minlength=images).astype(np.int32),
            labels=np.bincount(own.label_image, minlength=images).astype(np.int32),
            correct=np.packbits(own.correct, axis=1),
            scores=own.scores.astype(np.float32),
            classes=own.classes.astype(np.int32),
            label_classes=own.label_classes.astype(np.int32),
        )


def read_outcomes(path: Path) -> StoredOutcomes:
    """Read a file of `write_outcomes`. Raises `StorageError` when it is missing, damaged or of another version."""
    try:
        with open_user_file(path, "archive") as opened:
            with zipfile.ZipFile(opened) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > LARGEST:
                raise StorageError(f"{path} would unpack to {unpacked:,} bytes; no record of outcomes is that large.")
            opened.seek(0)
            with np.load(opened, allow_pickle=False) as file:
                tables = {name: file[name] for name in file.files}
        header = RecordValue(json.loads(tables["header"].tobytes()), path, AGAIN)
        version = header["version"].whole()
        if version != VERSION:
            raise StorageError(f"{path} has version {version}, but this slimyolo reads version {VERSION}. {AGAIN}")
        return StoredOutcomes(
            outcomes=_checked(header, tables),
            fingerprint=header["fingerprint"].text(),
            about=header["about"].settings(),
        )
    except FileNotFoundError:
        raise StorageError(f"There is no {path}. `slimyolo val` writes it when it measures a detector.") from None
    except UNREADABLE as error:
        raise StorageError(f"{path} is not a record of outcomes ({type(error).__name__}: {error}). {AGAIN}") from error


def folder_differences(first: Path, second: Path) -> MetricEstimates | None:
    """The metrics in the run folder `second` minus those in `first`, with intervals.

    None when a folder keeps no outcomes, or when they are of other images, other labels or another rule. Raises
    `StorageError` when a file is damaged.
    """
    files = [folder / OUTCOMES_FILE for folder in (first, second)]
    if first == second or not all(file.is_file() for file in files):
        return None
    one, other = (read_outcomes(file) for file in files)
    if one.fingerprint != other.fingerprint or one.outcomes.rule != other.outcomes.rule:
        return None
    from slimyolo.detections import metric_differences  # it imports torch, which the other functions do not need

    return metric_differences(one.outcomes, other.outcomes)


def _checked(header: RecordValue, tables: Mapping[str, npt.NDArray[Any]]) -> Outcomes:
    """The outcomes in a file. Raises `ValueError` when its parts do not fit together."""
    names, images = header["names"].texts(), header["images"].texts()
    rule = next((name for name in RULES if name == header["rule"].text()), None)
    found, labels = (
        number_of_image(_counts(tables[name], len(images), len(tables[of])))
        for name, of in (("detections", "classes"), ("labels", "label_classes"))
    )
    classes, label_classes = _integers(tables["classes"], len(found)), _integers(tables["label_classes"], len(labels))
    correct = np.unpackbits(tables["correct"], axis=1, count=len(IOU_THRESHOLDS)).astype(np.bool_)
    if tables["scores"].dtype.kind != "f":
        raise ValueError(f"expected numbers as scores, got {tables['scores'].dtype}")
    scores = np.asarray(tables["scores"], np.float32)
    numbers = np.concatenate([classes, label_classes])
    fits = (
        rule is not None
        and tables["correct"].shape == (len(found), -(-len(IOU_THRESHOLDS) // 8))
        and header["thresholds"].numbers() == tuple(IOU_THRESHOLDS)
        and scores.shape == (len(found),)
        and bool(np.isfinite(scores).all())
        and (not len(numbers) or (numbers.min() >= 0 and numbers.max() < len(names)))
    )
    if not fits or rule is None:
        raise ValueError("its parts do not fit together")
    return Outcomes(
        names=names,
        rule=rule,
        images=images,
        image_of=found,
        correct=correct,
        scores=scores,
        classes=classes,
        label_image=labels,
        label_classes=label_classes,
    )


def _counts(table: npt.NDArray[Any], images: int, total: int) -> npt.NDArray[np.int64]:
    """How many there are in each image, `total` together: numbers that a file states, before memory is taken for them."""
    counts = _integers(table, images)
    if (counts < 0).any() or int(counts.sum()) != total:
        raise ValueError(f"expected numbers with the sum {total}")
    return counts


def _integers(table: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    if table.shape != (count,) or table.dtype.kind != "i":
        raise ValueError(f"expected {count} whole numbers, got {table.dtype} {list(table.shape)}")
    return table.astype(np.int64)
