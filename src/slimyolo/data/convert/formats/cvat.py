"""CVAT XML: "CVAT for images 1.1" and "CVAT for video 1.1".

| in the file | read as |
|---|---|
| ``<box>`` | a box; a turned one (``rotation``, clockwise around its centre) becomes the upright box around it |
| ``<polygon>``, ``<ellipse>``, ``<cuboid>``, ``<mask>`` | the upright box around it |
| ``<polyline>``, ``<points>``, ``<skeleton>``, ``<tag>`` | not boxes: counted |
| a box of a track with ``outside="1"`` | nothing: the object is not in this frame |
| frames of a video | the pictures ``frame_000000``, ``frame_000001`` … of the export, also those without a box |
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from slimyolo.data.convert.annotation_files import finite, read_xml_file, split_in, split_of_folders
from slimyolo.data.convert.source import (
    BoxKind,
    Corners,
    Notes,
    Point,
    Source,
    SourceBox,
    SourceImage,
    around,
    turned_rectangle,
)
from slimyolo.errors import DataError

__all__ = ["read_cvat"]

_SHAPES = ("box", "polygon", "ellipse", "cuboid", "mask")
_NO_BOX = ("polyline", "points", "skeleton", "tag")
_CUBOID = ("tl1", "bl1", "tr1", "br1", "tl2", "bl2", "tr2", "br2")


def read_cvat(files: Sequence[Path], root: Path) -> Source:
    """Read the XML `files` below `root`. Classes have the order of the labels in CVAT."""
    names: dict[str, None] = {}
    images: list[SourceImage] = []
    notes = []
    for file in files:
        document = read_xml_file(file)
        if document.tag != "annotations":
            raise DataError(f"{file} is not an XML file of CVAT: it begins with <{document.tag}>, not <annotations>.")
        found = Notes(file)
        labels = document.findall("meta//labels/label/name")
        names |= dict.fromkeys(label.text.strip() for label in labels if label.text)
        split = split_in(file.stem) or split_of_folders(file, root)
        images += [_image(item, file, split, found) for item in document.findall("image")]
        images += _frames(document, file, split, found)
        notes += found.found
    unlisted = {box.name for image in images for box in image.boxes} - set(names)
    used = [*names, *sorted(unlisted)]
    return Source(format="cvat", names=tuple(used), images=tuple(images), roots=(root,), notes=tuple(notes))


def _image(item: Element, file: Path, split: str, notes: Notes) -> SourceImage:
    name = item.get("name", "").replace("\\", "/")
    if not name:
        raise DataError(f"{file}: the image {item.get('id', '?')} has no name.")
    boxes = []
    for number, shape in enumerate(item, 1):
        box = _box(shape, shape.get("label", ""), f"image {name}, shape {number}", notes)
        if box is not None:
            boxes.append(box)
    own = split_in(item.get("subset", "")) or split
    return SourceImage(origin=file, names=(name,), boxes=tuple(boxes), size=_size(item.get), split=own)


def _frames(document: Element, file: Path, split: str, notes: Notes) -> list[SourceImage]:
    """The frames of a video. A frame without a box is a picture without objects."""
    tracks = document.findall("track")
    if document.find("image") is not None or not (tracks or document.findtext("meta//mode") == "interpolation"):
        return []
    boxes: dict[int, list[SourceBox]] = defaultdict(list)
    for track in tracks:
        for shape in track:
            place = f"track {track.get('id', '?')}, frame {shape.get('frame', '?')}"
            if shape.get("outside") == "1":
                continue
            if not (shape.get("frame") or "").isdecimal():
                notes.add("box with a wrong number", place, "has no frame number")
                continue
            box = _box(shape, track.get("label", ""), place, notes)
            if box is not None:
                boxes[int(shape.get("frame", 0))].append(box)
    stated = document.find("meta//original_size")
    size = None if stated is None else _size(stated.findtext)
    count = (document.findtext("meta//size") or "").strip()
    last = min(int(count), 10_000_000) if count.isdecimal() else 0
    return [
        SourceImage(
            origin=file, names=(f"frame_{frame:06d}",), boxes=tuple(boxes.get(frame, ())), size=size, split=split
        )
        for frame in sorted(boxes.keys() | set(range(last)))
    ]


def _box(shape: Element, label: str, place: str, notes: Notes) -> SourceBox | None:
    if shape.tag in _NO_BOX:
        notes.add("shape without a box", place, f"a <{shape.tag}> of the label {label}")
        return None
    if shape.tag not in _SHAPES:
        return None  # <attribute> and what later versions add
    if not label:
        notes.add("class unknown", place, "has no label")
        return None
    try:
        corners, kind = _corners(shape)
    except (KeyError, ValueError):
        notes.add("box with a wrong number", place, f"the <{shape.tag}> of the label {label} lacks a number")
        return None
    return SourceBox(name=label, corners=corners, place=place, kind=kind)


def _corners(shape: Element) -> tuple[Corners, BoxKind]:
    def number(key: str) -> float:
        return finite(shape.attrib[key])

    degrees = finite(shape.get("rotation", "0"))
    if shape.tag == "box":
        upright = number("xtl"), number("ytl"), number("xbr"), number("ybr")
        if not degrees:
            return upright, "box"
        centre = (upright[0] + upright[2]) / 2, (upright[1] + upright[3]) / 2
        return around(turned_rectangle(upright, degrees, centre)), "turned box"
    if shape.tag == "ellipse":
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        across = math.hypot(number("rx") * cos, number("ry") * sin)
        down = math.hypot(number("rx") * sin, number("ry") * cos)
        cx, cy = number("cx"), number("cy")
        return (cx - across, cy - down, cx + across, cy + down), "ellipse"
    if shape.tag == "mask":
        left, top = number("left"), number("top")
        return (left, top, left + number("width"), top + number("height")), "mask"
    if shape.tag == "cuboid":
        return around([(number(f"x{key}"), number(f"y{key}")) for key in _CUBOID]), "cuboid"
    return around(_points(shape.attrib["points"])), "outline"


def _points(text: str) -> list[Point]:
    """``x,y;x,y;…``"""
    pairs = [pair.split(",") for pair in text.split(";") if pair.strip()]
    return [(finite(x), finite(y)) for x, y in pairs]


def _size(get: object) -> tuple[int, int] | None:
    assert callable(get)  # `Element.get` or `Element.findtext`; narrows the type
    try:
        height, width = (int(finite((get(key) or "").strip())) for key in ("height", "width"))
    except ValueError:
        return None
    return (height, width) if height > 0 and width > 0 else None
