"""Checks a dataset: counts what it holds, and lists what is wrong with it, as a record."""

from __future__ import annotations

import hashlib
import shlex
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slimyolo.data.dataset.dataset_yaml import DatasetSpec
from slimyolo.data.dataset.doubts import empty_classes_words, few_images_words, shared_images_words
from slimyolo.data.dataset.label_files import LabelFinder
from slimyolo.data.dataset.labels import Defect, label_path
from slimyolo.data.dataset.samples import Sample
from slimyolo.data.dataset.splits import SplitData, read_split
from slimyolo.errors import DataError
from slimyolo.one_line import one_line_repr
from slimyolo.shown_text import counted
from slimyolo.storage import read_user_file

__all__ = ["ClassCount", "DatasetReport", "DuplicateImages", "SplitReport", "check_dataset"]

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_LOST_BELOW_PX = 2.0  # training drops boxes with a shorter side
_NO_LABEL_NAMES = {"classes.txt", "labels.txt", "readme.txt", "notes.txt"}


@dataclass(frozen=True)
class ClassCount:
    """How often a class occurs: `images` that show it, `boxes`, and `box_share` of the split's boxes (0–1)."""

    name: str
    images: int
    boxes: int
    box_share: float


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class SplitReport:
    """The numbers of one split.

    `image_long_sides_px` are the smallest, the median and the largest longer side. `box_sides_px` are the 5, 25, 50, 75
    and 95 % quantiles of the square root of the box area, when the longer side of the image is the report's `imgsz`.
    `tiny_boxes` counts boxes with a side of 2 px or less at that size. `orphan_labels` are label files without an image,
    `shared_labels` are label files that belong to several images. `error` says why the split cannot be used; then all
    numbers are 0.
    """

    name: str
    images: int = 0
    boxes: int = 0
    backgrounds: int = 0
    unlabelled: int = 0
    classes: tuple[ClassCount, ...] = ()
    image_long_sides_px: tuple[int, ...] = ()
    box_sides_px: tuple[float, ...] = ()
    tiny_boxes: int = 0
    defects: tuple[Defect, ...] = ()
    orphan_labels: tuple[Path, ...] = ()
    shared_labels: tuple[Path, ...] = ()
    fingerprint: str = ""
    summary: tuple[str, ...] = ()
    error: str = ""


@one_line_repr
@dataclass(frozen=True)
class DuplicateImages:
    """Files with the same bytes, or one file of several splits, and the `splits` they are in.

    When a file is in train and in val, metrics look too good.
    """

    images: tuple[Path, ...]
    splits: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DatasetReport:
    """What `check_dataset` found. Sizes in pixels are for the input size `imgsz`."""

    source: Path
    root: Path
    names: tuple[str, ...]
    imgsz: int
    splits: tuple[SplitReport, ...]
    duplicates: tuple[DuplicateImages, ...]

    def __repr__(self) -> str:
        splits = ", ".join(f"{one.name} {counted(one.images, 'image')}" for one in self.splits)
        state = "nothing is wrong" if self.clean else "with defects" if self.usable else "cannot be used"
        return f"DatasetReport('{self.source}': {counted(len(self.names), 'class', 'classes')}; {splits}; {state})"

    @property
    def usable(self) -> bool:
        """Whether every split that the YAML names can be used."""
        return not any(split.error for split in self.splits)

    @property
    def clean(self) -> bool:
        """Whether there is nothing in the report that a person should look at."""
        return (
            self.usable
            and not self.leaks
            and not self.doubts
            and not any(split.defects or split.orphan_labels or split.shared_labels for split in self.splits)
        )

    @property
    def obstacles(self) -> tuple[str, ...]:
        """Why a training with this dataset would not start, one sentence each. It needs usable train and val images."""
        found = {split.name: split for split in self.splits}
        return tuple(
            f"{self.source} names no {name} images." if name not in found else f"{name}: {found[name].error}"
            for name in ("train", "val")
            if name not in found or found[name].error
        )

    @property
    def verdict(self) -> str:
        """Whether a training would start; if not, why, and what to type."""
        if not self.obstacles:
            return "A training with this dataset would start."
        unusable = [split.name for split in self.splits if split.error]
        reasons = [
            f"{name} cannot be used, as said above." if name in unusable else f"{self.source} names no {name} images."
            for name in ("train", "val")
            if name in unusable or name not in {split.name for split in self.splits}
        ]
        lines = ["A training with this dataset would not start:", *(f"  {reason}" for reason in reasons)]
        usable = [split.name for split in self.splits if not split.error]
        if "train" in usable and "val" not in usable:
            lines += [
                "Take a part of the train images as val images, in a new folder that holds links to the same pictures:",
                f"  slimyolo data convert {shlex.quote(str(self.source))} NEW_FOLDER --split 0.8/0.2",
            ]
        return "\n".join(lines)

    @property
    def leaks(self) -> tuple[DuplicateImages, ...]:
        """Duplicates that are in more than one split."""
        return tuple(group for group in self.duplicates if len(group.splits) > 1)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What a training would learn less of than the names and the metrics promise, one sentence each."""
        found = {split.name: split for split in self.splits if not split.error}
        sentences = []
        if "train" in found:
            classes = found["train"].classes
            sentences.append(empty_classes_words("train", [c.name for c in classes], [c.boxes for c in classes]))
        if "val" in found:
            shared = sum({"train", "val"} <= set(group.splits) for group in self.duplicates)
            sentences.append(shared_images_words(shared, found["val"].images))
        return tuple(sentence for sentence in sentences if sentence)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Why numbers that are measured with this dataset say little, one sentence each. They are no defects."""
        images = {split.name: split.images for split in self.splits if not split.error}
        return tuple(sentence for name, count in images.items() if (sentence := few_images_words(name, count)))

    def lines(self, limit: int = 20) -> tuple[str, ...]:
        """The report as lines to print, with the file and line of the first `limit` defects (0: all)."""
        lines = [
            f"{self.source}: {counted(len(self.names), 'class', 'classes')} ({', '.join(self.names[:12])}), images in {self.root}"
        ]
        for split in self.splits:
            lines += ["", *(_split_lines(split, self.imgsz) if not split.error else (f"{split.name}: {split.error}",))]
        if self.duplicates:
            lines += [
                "",
                f"identical files: {counted(len(self.duplicates), 'group')}, {len(self.leaks)} of them in several splits",
            ]
            lines += [f"  {', '.join(str(image) for image in group.images)}" for group in self.duplicates[:10]]
        lines += self._defect_lines(limit)
        lines += [line for doubt in (*self.doubts, *self.remarks) for line in ("", doubt)]
        if self.clean and not self.obstacles:
            lines += ["", "Nothing else is wrong." if self.remarks else "Nothing is wrong."]
        return tuple(lines)

    def _defect_lines(self, limit: int) -> list[str]:
        """Each defect once, and what was done about it."""
        defects = [defect for split in self.splits for defect in split.defects]
        shown = defects if limit == 0 else defects[:limit]
        if not defects:
            return []
        lines = ["", f"Defects ({len(defects)}; no file was changed):", *(f"  {defect}" for defect in shown)]
        more = len(defects) - len(shown)
        return [*lines, f"  … and {more} more (--limit 0 shows all)"] if more else lines


def check_dataset(spec: DatasetSpec, *, imgsz: int = 640) -> DatasetReport:
    """Read every split that `spec` names, and describe it.

    All files are read and none is changed. A split that cannot be used is part of the report, not an error.
    """
    splits: list[SplitReport] = []
    images: dict[Path, list[str]] = {}
    for name in ("train", "val", "test"):
        if not getattr(spec, name):
            continue
        try:
            split = read_split(spec, name)
        except DataError as error:
            splits.append(SplitReport(name=name, error=str(error)))
            continue
        splits.append(_describe(split, imgsz))
        for sample in split.samples:
            images.setdefault(sample.image, []).append(name)
    return DatasetReport(
        source=spec.source,
        root=spec.root,
        names=spec.names,
        imgsz=imgsz,
        splits=tuple(splits),
        duplicates=_duplicates(images),
    )


def _describe(split: SplitData, imgsz: int) -> SplitReport:
    long_sides = np.asarray([max(sample.size) for sample in split.samples])
    sides = np.concatenate([_box_sides(sample, imgsz) for sample in split.samples])
    quantiles = np.quantile(np.sqrt(sides.prod(1)), _QUANTILES).round(1).tolist() if len(sides) else []
    counts = split.class_counts()
    shown = [np.unique(sample.boxes[:, 0]).astype(int).tolist() for sample in split.samples]
    classes = tuple(
        ClassCount(name, sum(number in present for present in shown), int(count), float(count / max(split.boxes, 1)))
        for number, (name, count) in enumerate(zip(split.names, counts, strict=True))
    )
    return SplitReport(
        name=split.name,
        images=len(split),
        boxes=split.boxes,
        backgrounds=split.backgrounds,
        unlabelled=split.unlabelled,
        classes=classes,
        image_long_sides_px=(int(long_sides.min()), int(np.median(long_sides)), int(long_sides.max())),
        box_sides_px=tuple(quantiles),
        tiny_boxes=int((sides <= _LOST_BELOW_PX).any(1).sum()),
        defects=split.defects,
        orphan_labels=_orphans(split),
        shared_labels=_shared(split),
        fingerprint=split.fingerprint,
        summary=split.summary(),
    )


def _box_sides(sample: Sample, imgsz: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The width and height ``[n, 2]`` of the boxes in pixels, when the longer side of the image is `imgsz`."""
    height, width = sample.size
    scale = np.asarray((width, height), np.float64) * imgsz / max(height, width)
    return sample.boxes[:, 3:5] * scale


def _orphans(split: SplitData) -> tuple[Path, ...]:
    expected = {label_path(sample.image) for sample in split.samples} | {defect.file for defect in split.defects}
    expected |= {label_path(defect.file) for defect in split.defects}
    expected |= {sample.label for sample in split.samples if sample.label is not None}
    folders = sorted({path.parent for path in expected if path.parent.is_dir()})
    finder = LabelFinder()
    files = sorted(folder / name for folder in folders for names in finder.names_in(folder).values() for name in names)
    return tuple(file for file in files if file not in expected and file.name.lower() not in _NO_LABEL_NAMES)


def _shared(split: SplitData) -> tuple[Path, ...]:
    uses = Counter(sample.label for sample in split.samples if sample.label is not None)
    return tuple(sorted(label for label, count in uses.items() if count > 1))


def _duplicates(images: dict[Path, list[str]]) -> tuple[DuplicateImages, ...]:
    """Files with the same bytes, and files that several splits name. `images` are the files, and the splits of each."""
    sizes: dict[int, list[Path]] = defaultdict(list)
    for image in images:
        sizes[image.stat().st_size].append(image)
    groups: dict[str, list[Path]] = defaultdict(list)
    for same_size in sizes.values():
        for image in same_size if len(same_size) > 1 else ():
            groups[hashlib.sha256(read_user_file(image, "picture")).hexdigest()].append(image)
    same = [group for group in groups.values() if len(group) > 1]
    grouped = {image for group in same for image in group}
    same += [[image] for image, splits in images.items() if len(set(splits)) > 1 and image not in grouped]
    return tuple(
        DuplicateImages(tuple(group), tuple(dict.fromkeys(split for image in group for split in images[image])))
        for group in same
    )


def _split_lines(split: SplitReport, imgsz: int) -> list[str]:
    lines = list(split.summary[:1])
    width = max(len(row.name) for row in split.classes)
    lines += [
        f"  {row.name:<{width}}  {row.boxes:>7} boxes ({row.box_share:6.1%}) in {row.images:>6} images"
        for row in split.classes
    ]
    low, middle, high = split.image_long_sides_px
    lines.append(f"  longer side of the images: {low} to {high} px, median {middle}")
    if split.box_sides_px:
        sizes = " / ".join(f"{side:g}" for side in split.box_sides_px)
        lines.append(
            f"  box sizes at {imgsz} px input (5/25/50/75/95 %): {sizes} px; {split.tiny_boxes} of 2 px or less"
        )
    kinds = Counter(defect.kind for defect in split.defects)
    lines += [f"  defects, {kind}: {count}" for kind, count in kinds.items()]
    return [
        *lines,
        *_listed("label files without an image", split.orphan_labels),
        *_listed("label files of several images", split.shared_labels),
    ]


def _listed(what: str, files: Sequence[Path]) -> list[str]:
    if not files:
        return []
    shown = [f"    {file}" for file in files[:10]]
    return [f"  {what}: {len(files)}", *shown, *([f"    … and {len(files) - 10} more"] if len(files) > 10 else [])]
