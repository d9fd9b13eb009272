"""CreateML JSON, as LabelImg and Roboflow (``_annotations.createml.json``) write it: x and y are the centre, in pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimyolo.data.convert.annotation_files import finite, read_json_file, split_in, split_of_folders
from slimyolo.data.convert.source import Notes, Source, SourceBox, SourceImage
from slimyolo.errors import DataError, shown_value

__all__ = ["is_create_ml", "read_create_ml"]

_IMAGE_KEYS = ("image", "imagefilename", "imageFilename")


def is_create_ml(data: Any) -> bool:
    """Whether `data` of a JSON file has the form of CreateML annotations."""
    if not isinstance(data, list) or not data or not isinstance(data[0], Mapping):
        return False
    return any(key in data[0] for key in _IMAGE_KEYS) and isinstance(data[0].get("annotations"), list)


def read_create_ml(files: Sequence[Path], root: Path) -> Source:
    """Read the JSON `files` below `root`. Classes are ordered by the alphabet, because the file does not number them."""
    images = []
    notes = []
    for file in files:
        data = read_json_file(file)
        if not is_create_ml(data):
            raise DataError(
                f"{file} is not a CreateML file: it must be a list of objects with 'image' and 'annotations'."
            )
        found = Notes(file)
        split = split_in(file.stem) or split_of_folders(file, root)
        for number, item in enumerate(data):
            name = next((item[key] for key in _IMAGE_KEYS if isinstance(item, Mapping) and item.get(key)), None)
            if not isinstance(name, str):
                raise DataError(f"{file}: entry {number} has no 'image', got {shown_value(item)}.")
            boxes = tuple(_boxes(item.get("annotations"), f"image {name}", found))
            images.append(SourceImage(origin=file, names=(name.replace("\\", "/"),), boxes=boxes, split=split))
        notes += found.found
    names = sorted({box.name for image in images for box in image.boxes})
    return Source(format="createml", names=tuple(names), images=tuple(images), roots=(root,), notes=tuple(notes))


def _boxes(items: Any, place: str, notes: Notes) -> list[SourceBox]:
    boxes = []
    for number, item in enumerate(items if isinstance(items, list) else (), 1):
        where = f"{place}, annotation {number}"
        label = item.get("label") if isinstance(item, Mapping) else None
        if not isinstance(label, str) or not label.strip():
            notes.add("class unknown", where, "has no label")
            continue
        try:
            cx, cy, width, height = (finite(item["coordinates"][key]) for key in ("x", "y", "width", "height"))
        except (KeyError, TypeError, ValueError):
            notes.add(
                "box with a wrong number", where, f"the box of a {label} needs the numbers x, y, width and height"
            )
            continue
        corners = cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
        boxes.append(SourceBox(name=label.strip(), corners=corners, place=where))
    return boxes
