"""Keeps what was read of a split, so that the next command need not open all its files again.

A reading depends on the list of images, on the `Stamp` of each image and of each label file that was looked for, and on the
names in the folders where label files may be. All of these are the `Evidence`. It is stored with the result in the user's
cache folder, never in the folders of the dataset. The next time the evidence is gathered again, which opens no file; when it
is the same to the last bit, so is the result. When anything differs, everything is read again.

Nothing is kept when a file could not be read (this may be different the next time), when a file was changed in the last
seconds before the reading (see `settled`), or when reading was quick. The stored file has a checksum; a damaged one, or
one of another version of slimyolo, of its code, of numpy or of OpenCV is ignored. It is replaced atomically, so several
commands may run at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from slimyolo import __version__
from slimyolo.data.dataset.dataset_yaml import DatasetSpec
from slimyolo.data.dataset.label_files import LabelFinder, labels_folder, listing_of
from slimyolo.data.dataset.labels import Defect, Polygon
from slimyolo.data.dataset.samples import Sample
from slimyolo.data.pictures.image_scan import cache_folder
from slimyolo.errors import StorageError
from slimyolo.file_stamps import Stamp, settled, stamp_of
from slimyolo.storage import write_bytes

__all__ = ["Evidence", "Reading", "find_reading", "keep_reading", "place_of_reading"]

_WORTH_KEEPING_S = 0.5
_MOST_BYTES = 2**30
_DAYS = 90  # after which the readings of datasets that nobody uses any more are deleted
_VERSION, _CHECKSUM = 32, 16  # bytes

Tables = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read of a list of images: the usable samples, the defects of images and labels, and the fingerprint."""

    samples: tuple[Sample, ...]
    defects: tuple[Defect, ...]
    fingerprint: str


@dataclass(eq=False)
class Evidence:
    """The state of the files when they were read. A stamp is taken before its file is opened.

    `labels` are all label files that were looked for, also those that do not exist. `lasting` is False when a file could
    not be read.
    """

    images: Sequence[str]
    started_ns: int = field(default_factory=time.time_ns)
    stamps: list[Stamp] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    label_stamps: list[Stamp] = field(default_factory=list)
    finder: LabelFinder = field(default_factory=LabelFinder)
    lasting: bool = True

    def __post_init__(self) -> None:
        self.stamps = [stamp_of(image) for image in self.images]

    def add_label(self, path: Path) -> None:
        """Note the label file `path`, which is going to be read."""
        self.labels.append(os.fspath(path))
        self.label_stamps.append(stamp_of(path))


def place_of_reading(spec: DatasetSpec, places: Sequence[Path], single_class: bool) -> Path | None:
    """The file that keeps the reading of these places with these settings; None where there is no cache folder."""
    about = [os.path.abspath(spec.root), *map(os.fspath, places), os.getcwd(), str(spec.source)]
    key = json.dumps([about, spec.names, spec.keypoints, single_class])
    try:
        return cache_folder() / f"split-{hashlib.sha256(key.encode()).hexdigest()[:20]}.reading"
    except RuntimeError:  # no home folder
        return None


def find_reading(file: Path | None, images: Sequence[str]) -> Reading | None:
    """The reading that `file` keeps of these images, if the evidence is still the same; else None."""
    loaded = None if file is None else _load(file)
    if loaded is None:
        return None
    header, tables = loaded
    if header["images"] != _joined(images) or not _equal(tables["stamps"], images):
        return None
    for folder, labels in header["labels_folders"]:
        if labels_folder(Path(folder)) != (None if labels is None else Path(labels)):
            return None
    if any(listing_of(Path(folder)) != listing for folder, listing in header["listings"]):
        return None
    folders = [os.path.join(folder, "") for folder in header["label_folders"]]
    named = zip(tables["label_folder_of"].tolist(), _split(tables["labels"]), strict=True)
    labels = [folders[number] + name for number, name in named]
    if not _equal(tables["label_stamps"], labels):
        return None
    defects = tuple(Defect(Path(file), *rest) for file, *rest in header["defects"])
    return Reading(_samples(tables, images, labels), defects, header["fingerprint"])


def keep_reading(file: Path | None, reading: Reading, evidence: Evidence) -> None:
    """Store `reading` in `file`, when that is worth it and the evidence is good."""
    quick = time.time_ns() - evidence.started_ns < _WORTH_KEEPING_S * 1e9
    if file is None or quick or not evidence.lasting:
        return
    if not settled((*evidence.stamps, *evidence.label_stamps), evidence.started_ns):
        return
    payload = _packed(reading, evidence)
    if len(payload) > _MOST_BYTES:
        return
    with contextlib.suppress(StorageError):  # it only saves time, so a read-only home folder does not matter
        write_bytes(file, _version() + hashlib.blake2b(payload, digest_size=_CHECKSUM).digest() + payload)
        _delete_old(file.parent)


def _load(file: Path) -> tuple[Mapping[str, Any], Tables] | None:
    """The header and the tables in `file`; None when it does not exist, is damaged, or was written by another version."""
    try:
        content = memoryview(bytearray(file.read_bytes()))  # of bytes that may be changed, as arrays are
    except OSError:
        return None
    version, checksum, payload = (
        content[:_VERSION],
        content[_VERSION : _VERSION + _CHECKSUM],
        content[_VERSION + _CHECKSUM :],
    )
    if version != _version() or checksum != hashlib.blake2b(payload, digest_size=_CHECKSUM).digest():
        return None
    first = 8 + int.from_bytes(payload[:8], "little")
    header = json.loads(bytes(payload[8:first]))
    tables = {}
    for name, kind, shape in header["tables"]:
        count = math.prod(shape)
        tables[name] = np.frombuffer(payload, kind, count, first).reshape(shape)
        first += _padded(tables[name].nbytes)
    return header, tables


def _packed(reading: Reading, evidence: Evidence) -> bytes:
    """The length of a JSON header in 8 bytes, the header, and the tables that it lists; each part is padded to 8 bytes."""
    tables = {name: np.ascontiguousarray(table) for name, table in _tables(reading, evidence).items()}
    listed = [(name, table.dtype.str, table.shape) for name, table in tables.items()]
    header = json.dumps({**_header(reading, evidence), "tables": listed}).encode()
    header = header.ljust(_padded(len(header)))
    contents = (table.tobytes().ljust(_padded(table.nbytes), b"\0") for table in tables.values())
    return b"".join([len(header).to_bytes(8, "little"), header, *contents])


def _padded(length: int) -> int:
    return -(-length // 8) * 8


def _version() -> bytes:
    """What decides how a dataset is read: the versions of slimyolo, numpy and OpenCV, and the state of our code."""
    ours = Path(__file__).parents[2]
    files = sorted(file for room in ("data", "storage") for file in (ours / room).rglob("*.py"))
    code = [(os.fspath(file), *stamp_of(file)[:2]) for file in files]
    return hashlib.sha256(repr((__version__, np.__version__, cv2.__version__, code)).encode()).digest()


def _header(reading: Reading, evidence: Evidence) -> dict[str, Any]:
    folders = evidence.finder.labels_folders()
    return {
        "images": _joined(evidence.images),
        "labels_folders": [
            (str(folder), None if labels is None else str(labels)) for folder, labels in folders.items()
        ],
        "listings": [(str(folder), listing) for folder, listing in evidence.finder.listings.items()],
        "label_folders": list(_label_folders(evidence)),
        "defects": [(str(one.file), one.line, one.kind, one.message, one.outcome) for one in reading.defects],
        "fingerprint": reading.fingerprint,
    }


def _label_folders(evidence: Evidence) -> dict[str, int]:
    """The folders of all label files → their places in the header."""
    return {folder: place for place, folder in enumerate(dict.fromkeys(map(os.path.dirname, evidence.labels)))}


def _tables(reading: Reading, evidence: Evidence) -> dict[str, npt.NDArray[Any]]:
    samples, folder_of = reading.samples, _label_folders(evidence)
    number_of = {image: number for number, image in enumerate(evidence.images)}
    label_of = {path: number for number, path in enumerate(evidence.labels)}
    outlines = [outline for sample in samples for outline in sample.polygons]
    points = [outline for outline in outlines if outline is not None]
    return {
        "stamps": np.array(evidence.stamps, np.int64).reshape(-1, 4),
        "labels": np.frombuffer(os.fsencode("\0".join(map(os.path.basename, evidence.labels))), np.uint8),
        "label_folder_of": np.array([folder_of[os.path.dirname(path)] for path in evidence.labels], np.int64),
        "label_stamps": np.array(evidence.label_stamps, np.int64).reshape(-1, 4),
        "image_of": np.array([number_of[sample.image_file] for sample in samples], np.int64),
        "label_of": np.array([-1 if one.label_file is None else label_of[one.label_file] for one in samples], np.int64),
        "sizes": np.array([sample.size for sample in samples], np.int64).reshape(-1, 2),
        "counts": np.array([len(sample.boxes) for sample in samples], np.int64),
        "boxes": np.concatenate([np.zeros((0, 5), np.float32), *(sample.boxes for sample in samples)]),
        "outlined": np.array([bool(sample.polygons) for sample in samples], np.bool_),
        "corners": np.array([-1 if one is None else len(one) for one in outlines], np.int64),
        "points": np.concatenate([np.zeros((0, 2), np.float32), *points]),
    }


def _samples(tables: Tables, images: Sequence[str], labels: Sequence[str]) -> tuple[Sample, ...]:
    boxes, first, outlines = tables["boxes"], 0, iter(_outlines(tables))
    columns = (tables[name].tolist() for name in ("image_of", "label_of", "sizes", "counts", "outlined"))
    samples = []
    for image, label, (height, width), count, outlined in zip(*columns, strict=True):
        polygons = tuple(next(outlines) for _ in range(count)) if outlined else ()
        path = None if label < 0 else labels[label]
        samples.append(Sample(images[image], path, (height, width), boxes[first : first + count], polygons))
        first += count
    return tuple(samples)


def _outlines(tables: Tables) -> list[Polygon | None]:
    points, first, outlines = tables["points"], 0, []
    for corners in tables["corners"].tolist():
        outlines.append(None if corners < 0 else points[first : first + corners])
        first += max(corners, 0)
    return outlines


def _joined(names: Sequence[str]) -> str:
    """A checksum of the paths and their order."""
    return hashlib.sha256(os.fsencode("\0".join(names))).hexdigest()


def _split(names: npt.NDArray[Any]) -> list[str]:
    return os.fsdecode(names.tobytes()).split("\0") if len(names) else []


def _equal(kept: npt.NDArray[Any], names: Sequence[str]) -> bool:
    """Whether the files still have their stamps."""
    return np.array_equal(kept, np.array([stamp_of(name) for name in names], np.int64).reshape(-1, 4))


def _delete_old(folder: Path) -> None:
    limit = time.time() - _DAYS * 24 * 3600
    for file in folder.glob("split-*.reading"):
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < limit:
                file.unlink()
