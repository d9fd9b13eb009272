"""Pascal VOC: an XML file for each picture, as the VOC sets, LabelImg, CVAT and Roboflow write it.

**Which pixel is the first.** The VOC sets number pixels from 1, and ``xmax`` is the last pixel of the object: a box over
the whole of a picture 500 pixels wide has ``xmin`` 1 and ``xmax`` 500. So 1 is taken from ``xmin`` and ``ymin``. Annotation
tools write the coordinates of corners, from 0 to the width, into the same fields. A file is taken as one of the VOC sets
when its ``<database>`` says so ("The VOC2007 Database"); `first_pixel` states it for all files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from slimyolo.data.convert.annotation_files import finite, read_annotations, read_xml_file, split_of_folders
from slimyolo.data.convert.source import Corners, Notes, Source, SourceBox, SourceImage, around, turned_rectangle
from slimyolo.data.dataset.listed_paths import with_slashes
from slimyolo.storage import decode_text

__all__ = ["read_voc"]


def read_voc(files: Sequence[Path], root: Path, first_pixel: int | None = None) -> Source:
    """Read the XML `files` below `root`. `first_pixel` is 0 or 1 (see above); None: as each file says."""
    lists = _Lists(root)
    images: list[SourceImage] = []
    notes = []
    difficult = 0
    for file in files:
        found = Notes(file)
        document = read_xml_file(file)
        split = lists.split_of(file)
        if split is None:
            found.add("picture in no list", "", "is in no list of ImageSets/Main")
        else:
            images.append(_image(document, file, split or split_of_folders(file, root), first_pixel, found))
            difficult += sum(item.findtext("difficult", "0").strip() == "1" for item in document.iter("object"))
        notes += found.found
    names = {box.name for image in images for box in image.boxes}
    remarks = (f"Objects that are marked as difficult: {difficult}. They are kept.",) if difficult else ()
    return Source(
        format="voc",
        names=_ordered(names, root),
        images=tuple(images),
        roots=(root,),
        notes=tuple(notes),
        remarks=remarks,
    )


def _image(document: Element, file: Path, split: str, first_pixel: int | None, notes: Notes) -> SourceImage:
    stated = with_slashes(document.findtext("filename", "").strip())
    names = (stated, file.stem) if Path(stated).stem == file.stem else (file.stem, stated)
    if first_pixel is None:
        first_pixel = int(document.findtext("source/database", "").strip().startswith("The VOC"))
    boxes = []
    for number, item in enumerate(document.findall("object"), 1):
        name = item.findtext("name", "").strip()
        place = f"object {number}"
        if not name:
            notes.add("class unknown", place, "has no name")
            continue
        try:
            boxes.append(_box(item, name, place, first_pixel))
        except KeyError:
            notes.add("shape without a box", place, f"a {name} without <bndbox>")
        except ValueError:
            notes.add("box with a wrong number", place, f"the box of a {name} holds something that is not a number")
    return SourceImage(
        origin=file, names=tuple(name for name in names if name), boxes=tuple(boxes), size=_size(document), split=split
    )


def _box(item: Element, name: str, place: str, first_pixel: int) -> SourceBox:
    turned = item.find("robndbox")
    if turned is not None:
        cx, cy, width, height, angle = (_number(turned, key) for key in ("cx", "cy", "w", "h", "angle"))
        upright = cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
        corners = around(turned_rectangle(upright, math.degrees(angle), (cx, cy)))
        return SourceBox(name=name, corners=corners, place=place, kind="turned box")
    box = item.find("bndbox")
    if box is None:
        raise KeyError("bndbox")
    left, top, right, bottom = (_number(box, key) for key in ("xmin", "ymin", "xmax", "ymax"))
    corners_of_box: Corners = (left - first_pixel, top - first_pixel, right, bottom)
    return SourceBox(name=name, corners=corners_of_box, place=place)


def _number(element: Element, key: str) -> float:
    return finite((element.findtext(key) or "").strip())


def _size(document: Element) -> tuple[int, int] | None:
    """(height, width) as the file states it. Some tools write 0; this means that it is unknown."""
    try:
        height, width = (int(finite(document.findtext(f"size/{key}", ""))) for key in ("height", "width"))
    except ValueError:
        return None
    return (height, width) if height > 0 and width > 0 else None


def _ordered(names: set[str], root: Path) -> tuple[str, ...]:
    """The order of ``labelmap.txt``, which CVAT writes; the other names by the alphabet: VOC files number no classes."""
    file = root / "labelmap.txt"
    listed: list[str] = []
    if file.is_file():
        lines = decode_text(read_annotations(file), errors="replace").splitlines()
        listed = [line.partition(":")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
    first = [name for name in dict.fromkeys(listed) if name in names or name != "background"]
    return (*first, *sorted(names - set(first)))


class _Lists:
    """The lists of ``ImageSets/Main``, which say to which split a picture belongs."""

    def __init__(self, root: Path) -> None:
        self._of: dict[Path, Mapping[str, str]] = {}
        self._root = root

    def split_of(self, file: Path) -> str | None:
        """The split of an XML file; empty when there are no lists; None when there are lists and it is in none."""
        folder = next((parent for parent in file.parents if parent.name == "Annotations"), None)
        if folder is None:
            return ""
        if folder not in self._of:
            self._of[folder] = _read_lists(folder.parent / "ImageSets" / "Main")
        splits = self._of[folder]
        return splits.get(file.relative_to(folder).with_suffix("").as_posix()) if splits else ""


def _read_lists(folder: Path) -> dict[str, str]:
    """The name of a picture, without its suffix → its split, when there is a list for ``train`` and one for ``val``."""
    files = {name: folder / f"{name}.txt" for name in ("train", "val", "test")}
    if not (files["train"].is_file() and files["val"].is_file()):
        return {}
    splits: dict[str, str] = {}
    for name, file in files.items():
        if file.is_file():
            for line in decode_text(read_annotations(file), errors="surrogateescape").splitlines():
                entry = with_slashes(line.strip())
                if entry:
                    splits.setdefault(entry, name)
                    splits.setdefault(entry.split()[0], name)
    return splits
