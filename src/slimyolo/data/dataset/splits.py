"""Reads and checks a split of a dataset: its samples and its defects."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slimyolo.collection_pause import collection_paused
from slimyolo.data.dataset.dataset_yaml import DatasetSpec
from slimyolo.data.dataset.kept_reading import Evidence, Reading, find_reading, keep_reading, place_of_reading
from slimyolo.data.dataset.keypoint_hints import keypoint_hints
from slimyolo.data.dataset.labels import SKIPPED_IMAGE, Defect, LabelFile, label_path, parse_labels
from slimyolo.data.dataset.listing import list_images
from slimyolo.data.dataset.samples import NO_BOXES, Sample
from slimyolo.data.pictures.image_scan import look_at_images
from slimyolo.errors import DataError
from slimyolo.shown_text import counted
from slimyolo.storage import read_user_file

__all__ = ["SplitData", "read_split"]


@dataclass(frozen=True, eq=False, kw_only=True)
class SplitData:
    """The usable images of a split, in a stable order.

    `names` are the class names. `fingerprint` is a SHA-256 of the class names, the image names (relative to the root of
    the dataset) and the labels, so it is the same for the same data in any folder.
    """

    name: str
    root: Path
    names: tuple[str, ...]
    samples: tuple[Sample, ...]
    defects: tuple[Defect, ...]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"SplitData({self.summary()[0]}; {counted(len(self.defects), 'defect')})"

    @property
    def nc(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def boxes(self) -> int:
        """Number of boxes in all images."""
        return sum(len(sample.boxes) for sample in self.samples)

    @property
    def backgrounds(self) -> int:
        """Number of images without any box."""
        return sum(len(sample.boxes) == 0 for sample in self.samples)

    @property
    def unlabelled(self) -> int:
        """Number of images without a label file; these count as backgrounds."""
        return sum(sample.label_file is None for sample in self.samples)

    @property
    def wrong_classes(self) -> int:
        """Number of label rows that were skipped because the dataset YAML has no class of their number."""
        return sum(defect.kind == "class" for defect in self.defects)

    def class_counts(self) -> npt.NDArray[np.int64]:
        """Number of boxes ``[nc]`` of each class."""
        classes = np.concatenate([NO_BOXES[:, 0], *(sample.boxes[:, 0] for sample in self.samples)]).astype(np.int64)
        return np.bincount(classes, minlength=self.nc).astype(np.int64)

    def summary(self, limit: int = 10) -> tuple[str, ...]:
        """Lines to print: the counts, then the defects, with at most `limit` examples of each kind."""
        empty = f"{counted(self.backgrounds, 'image')} without objects ({self.unlabelled} of them without a label file)"
        lines = [f"{self.name}: {counted(len(self), 'image')}, {counted(self.boxes, 'box', 'boxes')}, {empty}"]
        for kind, count in Counter(defect.kind for defect in self.defects).items():
            shown = [str(defect) for defect in self.defects if defect.kind == kind][:limit]
            lines += [f"{kind}: {count}", *(f"  {line}" for line in shown)]
            if count > len(shown):
                lines.append(f"  … and {count - len(shown)} more")
        return tuple(lines)


def read_split(spec: DatasetSpec, split: str, *, single_class: bool = False) -> SplitData:
    """Read the split ``train``, ``val`` or ``test``: list its images, open each of them, read its labels.

    A wrong file becomes a `Defect` (see `slimyolo.data.dataset.labels`), and an image that cannot be used is left out.
    Nothing is written into the folders of the dataset. With `single_class` all objects have the same class, which is called
    ``object``, or has the name of the only class of the dataset.

    Raises `DataError` when the split is not named, does not exist, has no usable image or no label file, or when the
    training split has no box.
    """
    with collection_paused():
        return _read_split(spec, split, single_class)


def _read_split(spec: DatasetSpec, split: str, single_class: bool) -> SplitData:
    places = spec.split(split)
    listed = list_images(places, spec.root)
    if not listed.images and not listed.defects:
        raise DataError(
            f"There is no image in {_join(places)}. Put the {split} images there, or correct {spec.source}."
        )
    kept = place_of_reading(spec, places, single_class)
    reading = find_reading(kept, listed.images)
    if reading is None:
        evidence = Evidence(listed.images)
        reading = _read(evidence, spec, single_class)
        keep_reading(kept, reading, evidence)
    samples, defects = reading.samples, (*listed.defects, *reading.defects)
    if not samples:
        raise DataError(
            f"No image of the {split} split in {_join(places)} can be used. "
            f"The first problem: {defects[0]}. See all of them with: slimyolo data check {spec.source}"
        )
    _refuse_unlabelled(split, samples, spec)
    return SplitData(
        name=split,
        root=spec.root,
        names=_names(spec, single_class),
        samples=samples,
        defects=defects,
        fingerprint=reading.fingerprint,
    )


def _names(spec: DatasetSpec, single_class: bool) -> tuple[str, ...]:
    return spec.names if not single_class or spec.nc == 1 else ("object",)


def _read(evidence: Evidence, spec: DatasetSpec, single_class: bool) -> Reading:
    """Open all images and their label files."""
    samples: list[Sample] = []
    defects: list[Defect] = []
    for name, look in zip(evidence.images, look_at_images(evidence.images, evidence.stamps), strict=True):
        image = Path(name)  # one after the other: many of them take more memory than all the rest
        if look.size is None:
            evidence.lasting &= look.lasting
            defects.append(Defect(image, None, "image", look.problem, SKIPPED_IMAGE))
            continue
        found = evidence.finder.find(image)
        path = found.path or label_path(image)
        for file in (path, *found.others):
            evidence.add_label(file)
        defects += [_not_used(file, found.path) for file in found.unused()]
        labels = _read_labels(path, spec)
        if labels is None:
            samples.append(Sample(name, None, look.size, NO_BOXES))
            continue
        evidence.lasting &= labels.lasting
        defects += labels.defects
        if labels.usable:
            boxes = labels.boxes
            if single_class:
                boxes = boxes.copy()
                boxes[:, 0] = 0
            samples.append(Sample(name, path, look.size, boxes, labels.polygons))
    defects += keypoint_hints(samples, spec)
    fingerprint = _fingerprint(_names(spec, single_class), samples, spec.root)
    return Reading(tuple(samples), tuple(defects), fingerprint)


def _not_used(file: Path, used: Path | None) -> Defect:
    return Defect(file, None, "second label file", f"is not read, because the image's labels are in {used}", "not used")


def _read_labels(path: Path, spec: DatasetSpec) -> LabelFile | None:
    try:
        return parse_labels(read_user_file(path, "label file"), path, spec.nc, spec.keypoints)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        defect = Defect(path, None, "unreadable", f"cannot be read: {error.strerror}", SKIPPED_IMAGE)
        return LabelFile(NO_BOXES, (), (defect,), usable=False, lasting=False)


def _refuse_unlabelled(split: str, samples: Sequence[Sample], spec: DatasetSpec) -> None:
    if all(sample.label_file is None for sample in samples):
        image = samples[0].image
        expected, beside = label_path(image), image.with_suffix(".txt")
        places = f"{expected}" if expected == beside else f"{expected} (or {beside})"
        raise DataError(
            f"None of the {len(samples)} {split} images of {spec.source} has a label file. For {image} it would be {places}. "
            "Put the labels there (an empty file means that there is no object)."
        )
    if split == "train" and not any(len(sample.boxes) for sample in samples):
        raise DataError(
            f"The {len(samples)} train images of {spec.source} have label files, but not a single box, so there is nothing "
            f"to learn. See what was found with: slimyolo data check {spec.source}"
        )


def _fingerprint(names: Sequence[str], samples: Sequence[Sample], root: Path) -> str:
    digest = hashlib.sha256("\0".join(names).encode())
    for sample in samples:
        digest.update(b"\0" + os.fsencode(os.path.relpath(sample.image_file, root)) + b"\0")
        digest.update(np.ascontiguousarray(sample.boxes, "<f4").tobytes())
        for polygon in sample.polygons:
            digest.update(b"-" if polygon is None else np.ascontiguousarray(polygon, "<f4").tobytes())
    return digest.hexdigest()


def _join(places: Sequence[Path]) -> str:
    return ", ".join(str(place) for place in places)
