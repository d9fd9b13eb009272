"""Converts a dataset of another tool into the YOLO layout."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from slimyolo.data.convert.classes import ClassChoice, choose_classes
from slimyolo.data.convert.formats.table import read_source
from slimyolo.data.convert.layout import Placing, ReadyImage, refuse_used_folder, unique_names, write_layout
from slimyolo.data.convert.pictures import FoundPictures, find_pictures
from slimyolo.data.convert.placing import Frame, frame_of, place_box
from slimyolo.data.convert.report import ConversionReport, ConvertedSplit
from slimyolo.data.convert.source import FormatName, Note, NoteKind, Source, SourceImage
from slimyolo.data.convert.splitting import SPLITS, divide, group_of, looks_numbered, torn_groups
from slimyolo.data.pictures.image_files import ImageHeader, read_image_header
from slimyolo.errors import ConfigError, DataError
from slimyolo.shown_text import counted, one_shown_line
from slimyolo.storage import to_plain

__all__ = ["RECORD_FILE", "Conversion", "convert_dataset"]

RECORD_FILE = "conversion.json"
DEFAULT_SHARES = (0.8, 0.2)
_CHANGES = {
    "outline": "outlines turned into boxes",
    "turned box": "turned boxes turned into upright ones",
    "mask": "masks turned into boxes",
    "ellipse": "ellipses turned into boxes",
    "cuboid": "cuboids turned into boxes",
}


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What is converted, and how.

    | field | meaning |
    |---|---|
    | `source` | a file or folder of annotations |
    | `folder` | the new folder; it must not exist, or be empty |
    | `format` | the format; None: it is recognised |
    | `images` | folders in which the pictures are; empty: those around the annotations |
    | `shares` | the shares of train, val and test; None: the splits of the source, or 0.8/0.2 if it has none |
    | `group_by` | which pictures stay together (see `splitting`); None: by the usual names of frames |
    | `classes` | the classes that are kept, ``OLD=NEW`` to rename one; empty: all |
    | `placing` | how pictures get into the folder (see `layout`) |
    | `first_pixel` | for VOC: the number of the first pixel, 0 or 1; None: as each file says |
    """

    source: Path
    folder: Path
    format: FormatName | None = None
    images: tuple[Path, ...] = ()
    shares: tuple[float, ...] | None = None
    seed: int = 0
    group_by: re.Pattern[str] | None = None
    classes: tuple[str, ...] = ()
    placing: Placing = "auto"
    first_pixel: int | None = None


def convert_dataset(conversion: Conversion) -> ConversionReport:
    """Write the dataset of ``conversion.source`` into ``conversion.folder``. Pictures and annotations are not changed.

    Everything that cannot be converted is in the report, with the reason. Raises `DataError` when the source cannot be read,
    when none of its pictures is found, or when the folder is used; `ConfigError` for classes and splits that are not
    possible; and `StorageError` when the folder cannot be written. Then nothing is written.
    """
    refuse_used_folder(conversion.folder)
    source = read_source(conversion.source, conversion.format, first_pixel=conversion.first_pixel)
    roots = conversion.images or source.roots
    _refuse_missing_folders(conversion.images)
    found = find_pictures(source.images, roots)
    choice = choose_classes(source.names, conversion.classes)
    work = _Work(source, choice, [*source.notes, *found.notes])
    work.take(found)
    if not work.ready:
        raise _nothing_found(conversion, source, roots, work.notes)
    splits, divided = _splits(conversion, work)
    names = unique_names([ready.file for ready in work.ready])
    images = [
        ReadyImage(file=ready.file, name=name, split=split, label=ready.label)
        for ready, name, split in zip(work.ready, names, splits, strict=True)
    ]
    remarks = (*source.remarks, *work.remarks(found, splits, conversion))
    report = ConversionReport(
        source=conversion.source,
        format=source.format,
        folder=conversion.folder,
        data=conversion.folder / "data.yaml",
        names=choice.names,
        splits=tuple(_numbers(split, work.ready, splits, choice.names) for split in SPLITS if split in splits),
        divided=divided,
        placed={},
        changed=work.changes(),
        left_out=tuple(work.notes),
        renamed=_renamed(images),
        remarks=tuple(one_shown_line(remark) for remark in remarks),
    )
    placed = write_layout(
        conversion.folder, images, choice.names, {RECORD_FILE: _record(report)}, placing=conversion.placing
    )
    return replace(report, placed=placed)


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """A picture whose labels are ready. `counts` has the number of boxes of each class number."""

    file: Path
    split: str
    label: str | None
    counts: Counter[int]


@dataclass(eq=False)
class _Work:
    """The pictures that are ready, and what was left out and changed on the way."""

    source: Source
    choice: ClassChoice
    notes: list[Note]
    ready: list[_Ready] = field(default_factory=list)
    clipped: int = 0
    scaled: int = 0
    turned: int = 0
    emptied: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def take(self, found: FoundPictures) -> None:
        """Place the boxes of all pictures that were found."""
        pairs = [(image, file) for image, file in zip(self.source.images, found.files, strict=True) if file is not None]
        with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
            headers = pool.map(_header, [file for _, file in pairs], chunksize=16)
            for (image, file), header in zip(pairs, headers, strict=True):
                self._take(image, file, header)
        self.clipped += self.source.clipped

    def _take(self, image: SourceImage, file: Path, header: ImageHeader | str) -> None:
        where = "" if image.origin == file else f"image {image.names[0]}"
        if isinstance(header, str):
            self.notes.append(Note("picture not readable", image.origin, where, header))
            return
        frame = frame_of(image.size, header)
        if frame is None:
            stated, (height, width) = image.size or (0, 0), header.size
            message = (
                f"{file} has {height} x {width} pixels (height x width), but the annotations are for "
                f"{stated[0]} x {stated[1]}"
            )
            self.notes.append(Note("picture of another size", image.origin, where, message))
            return
        self.scaled += frame.scaled and bool(image.boxes) and not image.relative
        self.turned += frame.orientation != 1 and bool(image.boxes)
        rows, counts = self._rows(image, frame)
        label = "".join(f"{row}\n" for row in rows) if image.labelled else None
        self.ready.append(_Ready(file=file, split=image.split, label=label, counts=counts))

    def _rows(self, image: SourceImage, frame: Frame) -> tuple[list[str], Counter[int]]:
        """The rows of the label file, and the number of boxes of each class."""
        rows: dict[str, None] = {}
        counts: Counter[int] = Counter()
        for number, box in enumerate(image.boxes):
            category = self.choice.number_of.get(box.name)
            if category is None:
                self._leave_out("class not chosen", image, number, f"of the class {box.name}")
                continue
            placed = place_box(image, number, frame)
            if isinstance(placed, str):
                corners = ", ".join(f"{value:g}" for value in box.corners)
                self._leave_out(
                    placed, image, number, f"of the class {box.name}: left, top, right, bottom are {corners}"
                )
                continue
            row = _row(category, placed.row, placed.outline)
            if row in rows:
                self._leave_out("box given twice", image, number, f"the same box of the class {box.name} is above")
                continue
            rows[row] = None
            counts[category] += 1
            self.clipped += placed.clipped
            self.kinds[box.kind] += 1
        self.emptied += bool(image.boxes) and not rows
        return list(rows), counts

    def _leave_out(self, kind: NoteKind, image: SourceImage, number: int, message: str) -> None:
        place = image.boxes[number].place
        where = place if image.file is not None or image.names[0] in place else f"image {image.names[0]}, {place}"
        self.notes.append(Note(kind, image.origin, where, message))

    def changes(self) -> dict[str, int]:
        """What was changed → how many times."""
        changes = {
            "boxes over the edge of the picture clipped": self.clipped,
            **{text: self.kinds[kind] for kind, text in _CHANGES.items()},
            "pictures whose boxes were turned with them (EXIF)": self.turned,
            "pictures whose annotations are for a smaller or larger copy": self.scaled,
        }
        return {what: count for what, count in changes.items() if count}

    def remarks(self, found: FoundPictures, splits: Sequence[str], conversion: Conversion) -> list[str]:
        """Sentences about what a person should look at."""
        remarks = []
        if self.emptied:
            remarks.append(
                f"Pictures that had boxes, and have none now: {self.emptied}. They are kept as pictures without objects."
            )
        if found.unnamed:
            more = f" The first: {found.unnamed[0]}" if found.unnamed else ""
            remarks.append(f"Pictures that no annotation names, and that are left out: {len(found.unnamed)}.{more}")
        boxes = {split: Counter[int]() for split in set(splits)}
        for ready, split in zip(self.ready, splits, strict=True):
            boxes[split].update(ready.counts)
        for split in ("train", "val"):
            absent = [
                name for number, name in enumerate(self.choice.names) if split in boxes and not boxes[split][number]
            ]
            if absent and len(absent) == len(self.choice.names):
                remarks.append(f"{split} has no box, so no accuracy can be measured with it.")
            elif absent:
                shown = ", ".join(absent[:10]) + (", …" if len(absent) > 10 else "")
                remarks.append(f"{split} has no box of {counted(len(absent), 'class', 'classes')}: {shown}")
        paths = _relative([ready.file for ready in self.ready])
        kept = conversion.shares is None and any(ready.split for ready in self.ready)
        torn = torn_groups(paths, splits) if kept else ()
        if torn:
            remarks.append(
                f"Groups of frames or copies that are in several splits of the source: {len(torn)} (the first: "
                f"{torn[0]}). So the "
                "metrics of val are too good. --split 0.8/0.2 divides again, and keeps them together."
            )
        pattern = looks_numbered(paths) if conversion.group_by is None else ""
        if pattern and not kept:
            remarks.append(
                "Most names end in a number. If these are frames of videos, convert again with "
                f"--group-by '{pattern}', so that the frames of one video are not in train and in val."
            )
        return remarks


def _header(file: Path) -> ImageHeader | str:
    try:
        return read_image_header(file)
    except DataError as error:
        return str(error)


def _row(category: int, box: Sequence[float], outline: Sequence[tuple[float, float]]) -> str:
    values = [value for point in outline for value in point] if outline else box
    return " ".join([str(category), *(f"{value:.7f}".rstrip("0").rstrip(".") or "0" for value in values)])


def _splits(conversion: Conversion, work: _Work) -> tuple[tuple[str, ...], str]:
    """The split of each picture that is ready, and a sentence about it."""
    own = [ready.split for ready in work.ready]
    shares = conversion.shares
    if shares is None and any(own):
        if conversion.group_by is not None:
            raise ConfigError("--group-by is for dividing, and the splits of the source are kept. Add --split 0.8/0.2.")
        lost = own.count("")
        more = f" Pictures that belong to none, and are now in train: {lost}." if lost else ""
        return tuple(split or "train" for split in own), f"The splits are those of the source.{more}"
    again = " again, in place of the splits of the source," if any(own) else ""
    shares = shares or DEFAULT_SHARES
    paths = _relative([ready.file for ready in work.ready])
    groups = [group_of(path, conversion.group_by) for path in paths]
    splits = divide(groups, shares, conversion.seed)
    size = Counter(groups)
    joined = sum(count > 1 for count in size.values())
    words = f", {counted(joined, 'group')} of pictures together" if joined else ""
    text = "/".join(f"{share:g}" for share in shares)
    return splits, f"Divided{again} by chance, {text} (seed {conversion.seed}){words}:"


def _relative(files: Sequence[Path]) -> list[str]:
    top = os.path.commonpath([file.parent for file in files])
    return [file.relative_to(top).as_posix() for file in files]


def _numbers(split: str, ready: Sequence[_Ready], splits: Sequence[str], names: Sequence[str]) -> ConvertedSplit:
    own = [one for one, its in zip(ready, splits, strict=True) if its == split]
    counts = sum((one.counts for one in own), Counter[int]())
    return ConvertedSplit(
        name=split,
        images=len(own),
        boxes=counts.total(),
        backgrounds=sum(not one.counts for one in own),
        unlabelled=sum(one.label is None for one in own),
        class_boxes={name: counts[number] for number, name in enumerate(names)},
    )


def _renamed(images: Sequence[ReadyImage]) -> dict[str, str]:
    return {f"images/{image.split}/{image.name}": str(image.file) for image in images if image.name != image.file.name}


def _record(report: ConversionReport) -> str:
    """The report as JSON, without what is only known afterwards."""
    plain = to_plain({**vars(report), "counts": report.counts})
    del plain["placed"]
    return json.dumps(plain, indent=2, ensure_ascii=True) + "\n"


def _refuse_missing_folders(folders: Sequence[Path]) -> None:
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"--images: there is no folder {folder} (looked from {Path.cwd()}).")


def _nothing_found(conversion: Conversion, source: Source, roots: Sequence[Path], notes: Sequence[Note]) -> DataError:
    if not source.images and not notes:
        return DataError(f"{conversion.source} names no picture.")
    first = f" The first problem: {one_shown_line(str(notes[0]))}." if notes else ""
    missing = all(note.kind == "picture missing" for note in notes if note.kind.startswith("picture"))
    advice = " Say where the pictures are: --images FOLDER." if missing else ""
    looked = ", ".join(str(root) for root in roots)
    return DataError(
        f"None of the {len(source.images)} pictures of {conversion.source} can be used (looked in {looked}).{first}{advice}"
    )
