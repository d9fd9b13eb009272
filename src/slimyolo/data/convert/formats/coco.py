"""COCO JSON: one file for many pictures, as COCO, LVIS, CVAT, Label Studio and Roboflow (``_annotations.coco.json``) write it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from slimyolo.data.convert.annotation_files import finite, read_json_file, split_in, split_of_folders
from slimyolo.data.convert.source import Note, Notes, Source, SourceBox, SourceImage, around
from slimyolo.errors import DataError, shown_value

__all__ = ["categories_of", "image_names", "image_size_of", "is_coco", "is_coco_detections", "read_coco"]


def is_coco(data: Any) -> bool:
    """Whether `data` of a JSON file has the form of COCO annotations."""
    return isinstance(data, Mapping) and isinstance(data.get("images"), list) and "categories" in data


def is_coco_detections(data: Any) -> bool:
    """Whether `data` is a list of detections, which COCO calls results: they belong to an annotation file."""
    return isinstance(data, list) and bool(data) and isinstance(data[0], Mapping) and "image_id" in data[0]


def read_coco(files: Sequence[Path], root: Path) -> Source:
    """Read the JSON `files` below `root`. If the names of some begin with ``instances``, only these are read.

    Crowds (``iscrowd`` 1: an area with many objects) are left out. The box of an annotation is its ``bbox``; if it has none,
    it is the box around its outlines. Category numbers need not be consecutive: classes are ordered by them.
    """
    instances = [file for file in files if file.name.casefold().startswith("instances")]
    chosen = instances or list(files)
    notes = [Note("file not used", file, "", "other files hold the boxes") for file in files if file not in chosen]
    names: dict[str, None] = {}
    images: list[SourceImage] = []
    remarks: list[str] = []
    for file in chosen:
        document = _Document(file, read_json_file(file), split_in(file.stem) or split_of_folders(file, root))
        images += document.images()
        names |= dict.fromkeys(document.classes(remarks))
        notes += document.notes.found
    return Source(
        format="coco",
        names=tuple(names),
        images=tuple(images),
        roots=(root,),
        notes=tuple(notes),
        remarks=tuple(dict.fromkeys(remarks)),
    )


class _Document:
    """One file of COCO annotations."""

    def __init__(self, file: Path, data: Any, split: str) -> None:
        if is_coco_detections(data):
            raise DataError(
                f"{file} holds detections (COCO results), not annotations. Give the annotation file that they belong to."
            )
        if not is_coco(data):
            raise DataError(
                f"{file} is not a COCO annotation file: it needs 'images', 'annotations' and 'categories', got "
                f"{shown_value(sorted(data)[:8] if isinstance(data, Mapping) else type(data).__name__)}."
            )
        self.file, self.split, self.notes = file, split, Notes(file)
        self._images, self._categories = data["images"], data["categories"]
        self._annotations = data.get("annotations")
        self._names = categories_of(self._categories, file)
        self._used: set[Any] = set()

    def classes(self, remarks: list[str]) -> list[str]:
        """The class names in the order of the category numbers.

        A category that only groups the others is left out: Roboflow writes the name of the project as category 0.
        """
        above = {item["id"]: item.get("supercategory") for item in self._categories}
        empty = {
            number: name
            for number, name in self._names.items()
            if number not in self._used and any(group == name for other, group in above.items() if other != number)
        }
        kept = [name for number, name in sorted(self._names.items()) if number not in empty]
        if not kept:
            return [name for _, name in sorted(self._names.items())]
        for name in empty.values():
            if name not in kept:
                remarks.append(f"The category {name!r} only groups others and has no box. It is left out.")
        repeated = [name for name in kept if kept.count(name) > 1]
        if repeated:
            numbers = [str(number) for number, name in sorted(self._names.items()) if name == repeated[0]]
            raise DataError(
                f"{self.file}: the categories {' and '.join(numbers)} have the same name {repeated[0]!r}. Rename one of them."
            )
        return kept

    def images(self) -> list[SourceImage]:
        """The pictures with their boxes."""
        boxes = self._boxes()
        images = []
        for number, item in enumerate(self._images):
            if not isinstance(item, Mapping) or _key(item.get("id")) is None:
                raise DataError(f"{self.file}: entry {number} of 'images' has no 'id', got {shown_value(item)}.")
            names = image_names(item)
            if not names:
                raise DataError(f"{self.file}: the image {item['id']} has no 'file_name'.")
            own = boxes.pop(_key(item["id"]), [])
            images.append(
                SourceImage(
                    origin=self.file,
                    names=names,
                    boxes=tuple(own),
                    size=image_size_of(item),
                    split=self.split,
                    labelled=self._annotations is not None,
                )
            )
        for image, left in boxes.items():
            self.notes.add(
                "picture missing", f"image {image}", f"{len(left)} annotations name an image that is not listed"
            )
        return images

    def _boxes(self) -> dict[Any, list[SourceBox]]:
        boxes: dict[Any, list[SourceBox]] = defaultdict(list)
        if self._annotations is not None and not isinstance(self._annotations, list):
            raise DataError(f"{self.file}: 'annotations' must be a list, got {type(self._annotations).__name__}.")
        for index, item in enumerate(self._annotations or ()):
            if not isinstance(item, Mapping):
                raise DataError(f"{self.file}: entry {index} of 'annotations' is not an object: {shown_value(item)}.")
            place = f"annotation {item.get('id', index)}"
            box = self._box(item, place)
            if box is not None:
                boxes[_key(item.get("image_id"))].append(box)
        return boxes

    def _box(self, item: Mapping[str, Any], place: str) -> SourceBox | None:
        number = item.get("category_id")
        name = self._names.get(number) if isinstance(number, int) else None
        if name is None:
            self.notes.add("class unknown", place, f"has category {shown_value(number)}, which is not in the file")
            return None
        self._used.add(number)
        if item.get("iscrowd") in (1, True, "1"):
            self.notes.add("crowd", place, f"a crowd of the class {name}")
            return None
        bbox, outline = item.get("bbox"), item.get("segmentation")
        try:
            if bbox:
                left, top, width, height = (finite(value) for value in bbox)
                return SourceBox(name=name, corners=(left, top, left + width, top + height), place=place)
            if isinstance(outline, list) and outline:
                numbers = [[finite(value) for value in part] for part in outline]
                points = [point for part in numbers for point in zip(part[::2], part[1::2], strict=True)]
                return SourceBox(name=name, corners=around(points), place=place, kind="outline")
        except (TypeError, ValueError):
            self.notes.add("box with a wrong number", place, f"its box is {shown_value(bbox or outline)}")
            return None
        self.notes.add("shape without a box", place, f"a {name} without 'bbox'")
        return None


def categories_of(items: Any, file: Path) -> dict[int, str]:
    """Category number → class name. Raises `DataError` for categories without a number or a name, or with the same number."""
    names: dict[int, str] = {}
    if not isinstance(items, list) or not items:
        raise DataError(f"{file} has no 'categories', so its classes have no names.")
    for item in items:
        number = item.get("id") if isinstance(item, Mapping) else None
        if not isinstance(number, int) or not isinstance(item.get("name"), str) or not item["name"].strip():
            raise DataError(f"{file}: a category needs a number 'id' and a 'name', got {shown_value(item)}.")
        if number in names:
            raise DataError(f"{file}: the category number {number} is used for {names[number]!r} and {item['name']!r}.")
        names[number] = item["name"].strip()
    return names


def _key(image: Any) -> Any:
    """The number of an image as it is compared: some tools write it as text in one place."""
    if isinstance(image, bool) or not isinstance(image, (int, str, float)):
        return None
    return str(int(image)) if isinstance(image, float) and image.is_integer() else str(image)


def image_names(item: Mapping[str, Any]) -> tuple[str, ...]:
    """The file name; for LVIS, which has none, the end of the address."""
    names = [item.get("file_name"), item.get("path")]
    addresses = [urlsplit(url).path for url in (item.get("coco_url"), item.get("flickr_url")) if isinstance(url, str)]
    given = [name.replace("\\", "/") for name in names if isinstance(name, str) and name.strip()]
    plain = [unquote(name) for name in given if "%" in name]
    return tuple(dict.fromkeys((*given, *plain, *(unquote(path) for path in addresses if path))))


def image_size_of(item: Mapping[str, Any]) -> tuple[int, int] | None:
    """(height, width) of an image as the file states it, or None."""
    try:
        height, width = int(finite(item.get("height"))), int(finite(item.get("width")))
    except (ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None
