"""Label Studio: the exports JSON and JSON-MIN. Numbers are per cent of the sides of the picture.

| in the file | read as |
|---|---|
| rectangles | boxes; a turned one becomes the upright box around it (it turns around its upper left corner) |
| polygons, ellipses | the upright boxes around them |
| brushes, key points, rectangles without a label | not boxes: counted |
| several annotations of one picture | the one marked as ground truth, else the newest; cancelled ones never |
| a picture without an annotation (also: with predictions only) | left out, because nobody has looked at it |
| an annotation without regions | a picture without objects |
| a picture that was turned in the tool | left out: its boxes belong to the turned picture |
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from slimyolo.data.convert.annotation_files import finite, read_json_file
from slimyolo.data.convert.source import (
    BoxKind,
    Corners,
    Note,
    Notes,
    Point,
    Source,
    SourceBox,
    SourceImage,
    around,
    turned_rectangle,
)
from slimyolo.data.pictures.image_files import IMAGE_SUFFIXES, UNREAD_SUFFIXES
from slimyolo.errors import DataError, shown_value

__all__ = ["is_label_studio", "read_label_studio"]

_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")
_NOT_OBJECTS = ("choices", "textarea", "rating", "relation", "number", "datetime", "taxonomy", "pairwise", "ranker")
_USUAL_KEYS = ("image", "img", "ocr", "photo", "picture", "url")


class _TurnedPictureError(Exception):
    pass


def is_label_studio(data: Any) -> bool:
    """Whether `data` of a JSON file has the form of an export of Label Studio."""
    if not isinstance(data, list) or not data or not isinstance(data[0], Mapping):
        return False
    first = data[0]
    whole = isinstance(first.get("data"), Mapping) and ("annotations" in first or "completions" in first)
    return whole or ("annotator" in first and "annotation_id" in first)


def read_label_studio(files: Sequence[Path], root: Path) -> Source:
    """Read the JSON `files` below `root`. Classes are ordered by the alphabet, because the export does not number them."""
    images: list[SourceImage] = []
    notes: list[Note] = []
    for file in files:
        data = read_json_file(file)
        if not is_label_studio(data):
            raise DataError(
                f"{file} is not an export of Label Studio in the format JSON or JSON-MIN. Export it again from the project."
            )
        found = Notes(file)
        for number, task in enumerate(_whole_tasks(data, file)):
            image = _image(task, f"task {task.get('id', number)}", file, found)
            if image is not None:
                images.append(image)
        notes += found.found
    names = sorted({box.name for image in images for box in image.boxes})
    return Source(format="label-studio", names=tuple(names), images=tuple(images), roots=(root,), notes=tuple(notes))


def picture_names(address: str) -> tuple[str, ...]:
    """The names under which the picture at `address` may be on this computer, the most trusted first.

    | `address` | names |
    |---|---|
    | ``/data/upload/1/0a1b2c3d-my%20cat.jpg`` | ``data/upload/1/0a1b2c3d-my cat.jpg``, ``my cat.jpg`` |
    | ``/data/local-files/?d=album/cat.jpg`` | ``album/cat.jpg``, ``cat.jpg`` |
    | ``s3://bucket/album/cat.jpg``, ``https://host/album/cat.jpg?key=1`` | ``album/cat.jpg``, ``cat.jpg`` |
    | ``/tasks/7/resolve/?fileuri=czM6Ly9i…`` | the address that this holds (base64) |
    """
    parts = urlsplit(address)
    query = parse_qs(parts.query)
    if "d" in query and "local-files" in parts.path:
        path = query["d"][0]
    elif "fileuri" in query:
        try:
            return picture_names(base64.b64decode(query["fileuri"][0], validate=True).decode())
        except (binascii.Error, UnicodeDecodeError):
            path = unquote(parts.path)
    elif parts.scheme in ("", "file") or len(parts.scheme) == 1:  # a path, also C:\album\cat.jpg
        path = unquote(address.partition("?")[0].removeprefix("file://"))
    else:
        path = unquote(parts.path)
    path = path.replace("\\", "/").lstrip("/")
    name = path.rpartition("/")[2]
    return tuple(dict.fromkeys((path, _UPLOAD.sub("", name))))


def _whole_tasks(data: Sequence[Any], file: Path) -> list[Mapping[str, Any]]:
    """The tasks, also of JSON-MIN, which has one flat object for each annotation."""
    tasks: list[Mapping[str, Any]] = []
    flat: dict[Any, dict[str, Any]] = {}
    for number, item in enumerate(data):
        if not isinstance(item, Mapping):
            raise DataError(f"{file}: task {number} is not an object, got {shown_value(item)}.")
        if isinstance(item.get("data"), Mapping):
            tasks.append(item)
            continue
        regions = [
            {
                "type": next((key for key in region if key.endswith("labels")), "rectangle"),
                "value": region,
                "original_width": region.get("original_width"),
                "original_height": region.get("original_height"),
            }
            for value in item.values()
            if isinstance(value, list)
            for region in value
            if isinstance(region, Mapping)
        ]
        whole = flat.setdefault(item.get("id", number), {"id": item.get("id", number), "data": item, "annotations": []})
        whole["annotations"].append(
            {"id": item.get("annotation_id"), "updated_at": item.get("updated_at", ""), "result": regions}
        )
    return [*tasks, *flat.values()]


def _image(task: Mapping[str, Any], place: str, file: Path, notes: Notes) -> SourceImage | None:
    address = _address(task)
    if address is None:
        notes.add("picture missing", place, "names no picture")
        return None
    annotation = _chosen(task, place, notes)
    if annotation is None:
        notes.add("picture not annotated", place, "has no finished annotation")
        return None
    names = list(picture_names(address))
    uploaded = task.get("file_upload")
    if isinstance(uploaded, str) and uploaded and uploaded not in names:
        names.append(uploaded)
    regions = [region for region in annotation.get("result") or () if isinstance(region, Mapping)]
    try:
        boxes, size = _boxes(regions, place, notes)
    except _TurnedPictureError:
        notes.add(
            "picture not readable", place, "was turned in Label Studio, so its boxes belong to the turned picture"
        )
        return None
    return SourceImage(origin=file, names=tuple(names), boxes=tuple(boxes), size=size, relative=True)


def _address(task: Mapping[str, Any]) -> str | None:
    """The address of the picture among the data of a task."""
    data = task["data"]
    texts = {str(key): value for key, value in data.items() if isinstance(value, str) and value}
    usual = [texts[key] for key in _USUAL_KEYS if key in texts and not texts[key].startswith("data:")]
    if usual:
        return usual[0]
    return next((text for text in texts.values() if _is_picture(text)), None)


def _is_picture(address: str) -> bool:
    if address.startswith("data:"):
        return False
    names = picture_names(address)
    return Path(names[-1]).suffix.casefold() in (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES)


def _chosen(task: Mapping[str, Any], place: str, notes: Notes) -> Mapping[str, Any] | None:
    given = task.get("annotations", task.get("completions")) or []
    finished = [one for one in given if isinstance(one, Mapping) and not one.get("was_cancelled")]
    if not finished:
        return None
    trusted = [one for one in finished if one.get("ground_truth")] or finished
    best = max(trusted, key=lambda one: str(one.get("updated_at") or one.get("created_at") or ""))
    if len(finished) > 1:
        why = "the one marked as ground truth" if best.get("ground_truth") else "the newest"
        notes.add("annotation not used", place, f"{len(finished) - 1} of {len(finished)} annotations: {why} is used")
    return best


def _boxes(
    regions: Sequence[Mapping[str, Any]], place: str, notes: Notes
) -> tuple[list[SourceBox], tuple[int, int] | None]:
    """The boxes as shares of the sides, and (height, width) of the picture."""
    labels: dict[Any, list[str]] = defaultdict(list)
    for region in regions:
        labels[region.get("id")] += _labels(region)
    boxes: list[SourceBox] = []
    size: tuple[int, int] | None = None
    done: set[Any] = set()
    for number, region in enumerate(regions, 1):
        value, kind = region.get("value"), str(region.get("type", ""))
        if not isinstance(value, Mapping) or kind in _NOT_OBJECTS:
            continue
        if region.get("image_rotation") not in (None, 0, 0.0):
            raise _TurnedPictureError
        size = size or _size(region)
        identity = region.get("id", f"number {number}")
        if identity in done:  # <Rectangle> with <Labels>: the same region stands twice
            continue
        where = f"{place}, region {identity}"
        names = _labels(region) or labels[region.get("id")]
        try:
            corners, made_from = _corners(value, size)
        except KeyError:
            notes.add("shape without a box", where, f"a region of the type {kind!r}")
            continue
        except (TypeError, ValueError):
            notes.add("box with a wrong number", where, "holds something that is not a number")
            continue
        done.add(identity)
        if not names:
            notes.add("class unknown", where, "a region without a label")
        boxes += [SourceBox(name=name, corners=corners, place=where, kind=made_from) for name in dict.fromkeys(names)]
    return boxes, size


def _labels(region: Mapping[str, Any]) -> list[str]:
    value = region.get("value")
    if not isinstance(value, Mapping):
        return []
    found = value.get(str(region.get("type"))) or value.get("labels")
    return [str(name) for name in found] if isinstance(found, list) else []


def _size(region: Mapping[str, Any]) -> tuple[int, int] | None:
    try:
        height, width = int(finite(region.get("original_height"))), int(finite(region.get("original_width")))
    except (ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _corners(value: Mapping[str, Any], size: tuple[int, int] | None) -> tuple[Corners, BoxKind]:
    """The corners as shares of the sides, and what they were made from. Raises `KeyError` for shapes that have no box."""
    height, width = size or (1, 1)
    across, down = width / 100, height / 100  # an angle is one of the picture, so shapes are turned in pixels
    degrees = finite(value.get("rotation") or 0)
    made_from: BoxKind
    if "points" in value and isinstance(value["points"], list):
        points: Sequence[Point] = [(finite(x) * across, finite(y) * down) for x, y in value["points"]]
        made_from = "outline"
    elif "radiusX" in value:
        x, y = finite(value["x"]) * across, finite(value["y"]) * down
        points = _ellipse((x, y), finite(value["radiusX"]) * across, finite(value["radiusY"]) * down, degrees)
        made_from = "ellipse"
    else:
        x, y, w, h = (finite(value[key]) for key in ("x", "y", "width", "height"))
        if "rle" in value or "keypointlabels" in value:
            raise KeyError("box")
        if not degrees:
            return (x / 100, y / 100, (x + w) / 100, (y + h) / 100), "box"
        upright = x * across, y * down, (x + w) * across, (y + h) * down
        points = turned_rectangle(upright, degrees, (upright[0], upright[1]))
        made_from = "turned box"
    if degrees and size is None:
        raise ValueError("a turned shape needs the size of the picture")
    left, top, right, bottom = around(points)
    return (left / width, top / height, right / width, bottom / height), made_from


def _ellipse(centre: Point, rx: float, ry: float, degrees: float) -> list[Point]:
    """Two corners of the upright box around an ellipse that is turned around its centre."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half_width, half_height = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
    return [(centre[0] - half_width, centre[1] - half_height), (centre[0] + half_width, centre[1] + half_height)]
