"""YOLO text files, as YOLOv5, darknet, LabelImg, CVAT ("YOLO 1.1" and "Ultralytics YOLO"), Label Studio and Roboflow write them.

| found | names of the classes | splits |
|---|---|---|
| a dataset YAML | ``names`` | ``train``, ``val``, ``test`` |
| ``obj.data`` (darknet, CVAT) | the file that ``names`` states | the lists that ``train`` and ``valid`` state |
| neither | ``classes.txt``, ``obj.names``, ``_darknet.labels`` | folders called ``train``, ``valid``, ``val``, ``test`` |

Label files are found and read as training does it (`slimyolo.data.dataset.labels`). Outlines stay outlines.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slimyolo.data.convert.annotation_files import read_annotations, read_names_file, split_of_folders
from slimyolo.data.convert.source import Note, NoteKind, Source, SourceBox, SourceImage
from slimyolo.data.dataset.dataset_yaml import read_dataset_yaml
from slimyolo.data.dataset.label_files import LabelFinder
from slimyolo.data.dataset.labels import CLIPPED, Defect, LabelFile, parse_labels
from slimyolo.data.dataset.listed_paths import find_listed, with_slashes
from slimyolo.data.dataset.listing import files_below, list_images
from slimyolo.data.pictures.image_files import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from slimyolo.errors import DataError
from slimyolo.storage import decode_text, open_user_file, read_user_file

__all__ = ["is_label_text", "read_yolo"]

NAMES_FILES = ("classes.txt", "obj.names", "_darknet.labels")
_ANY_CLASS = 100_000
_MISSING: dict[str, NoteKind] = {
    "missing image": "picture missing",
    "format": "picture not readable",
    "listed twice": "picture named twice",
}


def is_label_text(file: Path) -> bool:
    """Whether the first line of a text file looks like a row of labels: a whole number and at least four more numbers."""
    if file.name in NAMES_FILES or file.suffix.casefold() != ".txt":
        return False
    try:
        with open_user_file(file, "label file") as opened:
            text = decode_text(opened.read(4096), errors="replace")
        words = next((line.split() for line in text.splitlines() if line.strip()), [])
        return (
            len(words) >= 5 and float(words[0]).is_integer() and all(float(word) == float(word) for word in words[1:5])
        )
    except (OSError, ValueError):
        return False


def read_yolo(files: Sequence[Path], root: Path) -> Source:
    """Read the dataset of the first of `files`: a YAML, a ``.data`` file, or else the text files below `root`."""
    source = files[0]
    if source.is_file() and source.suffix.casefold() in (".yaml", ".yml"):
        return _from_yaml(source)
    if source.is_file() and source.suffix.casefold() == ".data":
        return _from_darknet(source)
    return _from_folder(root)


def _from_yaml(file: Path) -> Source:
    spec = read_dataset_yaml(file)
    reader = _Reader(len(spec.names), spec.keypoints)
    remarks = ["Only the boxes are kept, not the keypoints."] if spec.keypoints else []
    for split, places in (("train", spec.train), ("val", spec.val), ("test", spec.test)):
        if places:
            remarks += reader.read_places(places, spec.root, split)
    if not reader.images and not reader.notes:
        raise DataError(f"{file} leads to no picture. {' '.join(remarks)}")
    return reader.source(spec.names, (spec.root,), remarks)


def _from_darknet(file: Path) -> Source:
    """A ``.data`` file: lines such as ``train = data/train.txt``. Paths are relative to it, often with a wrong beginning."""
    values: dict[str, str] = {}
    for line in decode_text(read_annotations(file), errors="surrogateescape").splitlines():
        key, equals, value = line.partition("=")
        if equals:
            values[key.strip()] = value.strip()
    folder = file.parent

    def named(key: str) -> Path | None:
        if key not in values:
            return None
        found = find_listed(values[key], (folder,))
        beside = folder / with_slashes(values[key]).rpartition("/")[2]  # CVAT writes data/obj.names, and puts it here
        return found.path if found else beside if beside.is_file() else None

    names_file = named("names")
    if names_file is None:
        raise DataError(
            f"{file} must state its class names, in a line such as 'names = obj.names', and the file must exist."
        )
    names = read_names_file(names_file)
    reader = _Reader(len(names), None)
    remarks: list[str] = []
    for key, split in (("train", "train"), ("valid", "val"), ("test", "test")):
        place = named(key)
        if place is not None:
            remarks += reader.read_places((place,), folder, split)
    reader.read_labels_without_picture(folder)
    return reader.source(names, (folder,), remarks)


def _from_folder(root: Path) -> Source:
    files = files_below(root)
    found = [file for file in files if file.name.casefold() in NAMES_FILES or file.suffix.casefold() == ".names"]
    lists = {file: read_names_file(file) for file in found}
    remarks: list[str] = []
    if len(set(lists.values())) > 1:
        first = next(iter(lists))
        other = next(file for file, names in lists.items() if names != lists[first])
        raise DataError(
            f"{first} and {other} name different classes, so the numbers in the label files mean different things. Convert "
            "each folder by itself."
        )
    names = next(iter(lists.values()), None)
    reader = _Reader(_ANY_CLASS if names is None else len(names), None)
    for image in files:
        suffix = image.suffix.casefold()
        if suffix in IMAGE_SUFFIXES:
            reader.read_picture(image, split_of_folders(image, root))
        elif suffix in UNREAD_SUFFIXES:
            reader.notes.append(
                Note("picture not readable", image, "", f"pictures of the format {suffix[1:]} are not read")
            )
    reader.read_labels_without_picture(root)
    if names is None:
        names = tuple(str(number) for number in range(reader.largest + 1))
        if names:
            remarks.append(
                f"There is no classes.txt, so the classes are called {', '.join(names[:4])}{', …' if len(names) > 4 else ''}. "
                f"Name them with --classes {','.join(f'{name}=NAME' for name in names[:3])}"
            )
    return reader.source(names, (root,), remarks)


@dataclass(eq=False)
class _Reader:
    """Reads label files, and collects pictures and notes."""

    nc: int
    keypoints: tuple[int, int] | None
    images: list[tuple[SourceImage, LabelFile | None]] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    clipped: int = 0
    largest: int = -1
    _finder: LabelFinder = field(default_factory=LabelFinder)
    _used: set[Path] = field(default_factory=set)

    def read_places(self, places: Sequence[Path], root: Path, split: str) -> list[str]:
        """Read the pictures of a split. A place that does not exist is a remark: the other splits can be used."""
        try:
            listed = list_images(places, root)
        except DataError as error:
            return [f"{split}: {error}"]
        for defect in listed.defects:
            kind = _MISSING.get(defect.kind)
            if kind is not None:
                self.notes.append(_note(kind, defect))
        for image in listed.images:
            self.read_picture(Path(image), split)
        return []

    def read_picture(self, image: Path, split: str) -> None:
        """Read the labels of a picture."""
        found = self._finder.find(image)
        unused = found.unused()
        self._used.update((found.path, *unused) if found.path else ())
        for file in unused:
            self.notes.append(Note("file not used", file, "", f"the labels of the picture are in {found.path}"))
        self._add(image, (image.name,), found.path, split)

    def read_labels_without_picture(self, root: Path) -> None:
        """Read the label files below `root` that belong to no picture there: the pictures may be in another folder."""
        for file in files_below(root):
            if file not in self._used and is_label_text(file):
                name = file.relative_to(root).with_suffix("").as_posix()
                self._add(None, (name,), file, split_of_folders(file, root))

    def source(self, names: Sequence[str], roots: Iterable[Path], remarks: Sequence[str]) -> Source:
        """All that was read. Classes are numbers in the files; `names` are their names."""
        return Source(
            format="yolo",
            names=tuple(names),
            images=tuple(
                image if labels is None else _with_boxes(image, labels, names) for image, labels in self.images
            ),
            roots=tuple(roots),
            notes=tuple(self.notes),
            clipped=self.clipped,
            remarks=tuple(remarks),
        )

    def _add(self, image: Path | None, names: tuple[str, ...], label: Path | None, split: str) -> None:
        labels = None
        if label is not None:
            try:
                content = read_user_file(label, "label file")
            except OSError as error:
                self.notes.append(Note("picture not annotated", label, "", f"cannot be read: {error.strerror}"))
                return
            labels = parse_labels(content, label, self.nc, self.keypoints)
            self._take_defects(labels)
            if not labels.usable:
                return
            self.largest = max(self.largest, *labels.boxes[:, 0].astype(int).tolist(), -1)
        origin = label or image
        assert origin is not None  # one of them is given by both callers; narrows the type
        entry = SourceImage(
            origin=origin, names=names, boxes=(), file=image, relative=True, labelled=labels is not None, split=split
        )
        self.images.append((entry, labels))

    def _take_defects(self, labels: LabelFile) -> None:
        for defect in labels.defects:
            if defect.outcome == CLIPPED:
                self.clipped += 1
            elif defect.line is None:
                self.notes.append(_note("picture not annotated", defect))
            else:
                self.notes.append(_note("row of a label file", defect))


def _note(kind: NoteKind, defect: Defect) -> Note:
    return Note(kind, defect.file, f"line {defect.line}" if defect.line is not None else "", defect.message)


def _with_boxes(image: SourceImage, labels: LabelFile, names: Sequence[str]) -> SourceImage:
    boxes = []
    outlines = labels.polygons or (None,) * len(labels.boxes)
    for number, (row, outline) in enumerate(zip(labels.boxes.tolist(), outlines, strict=True), 1):
        category, cx, cy, width, height = row
        boxes.append(
            SourceBox(
                name=names[int(category)],
                corners=(cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2),
                place=f"object {number}",
                outline=() if outline is None else tuple((x, y) for x, y in outline.tolist()),
            )
        )
    return SourceImage(
        origin=image.origin,
        names=image.names,
        boxes=tuple(boxes),
        file=image.file,
        relative=True,
        split=image.split,
    )
