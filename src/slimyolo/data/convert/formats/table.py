"""The table of formats, and how the format of a file or folder is recognised.

A file is recognised by what is in it, never by its name alone. A folder in which several formats are found is refused: the
user says which one is meant.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slimyolo.data.convert.annotation_files import read_json_file, root_tag
from slimyolo.data.convert.formats.coco import is_coco, is_coco_detections, read_coco
from slimyolo.data.convert.formats.create_ml import is_create_ml, read_create_ml
from slimyolo.data.convert.formats.cvat import read_cvat
from slimyolo.data.convert.formats.label_studio import is_label_studio, read_label_studio
from slimyolo.data.convert.formats.voc import read_voc
from slimyolo.data.convert.formats.yolo import is_label_text, read_yolo
from slimyolo.data.convert.source import FormatName, Source
from slimyolo.data.dataset.listing import files_below
from slimyolo.data.pictures.image_files import IMAGE_SUFFIXES
from slimyolo.errors import ConfigError, DataError
from slimyolo.storage import decode_text, in_home, open_user_file, read_yaml

__all__ = ["FORMATS", "Format", "read_source"]


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format. `read` takes its files and the folder around them; `suffix` is that of its files.

    `recognise` says whether the data of a JSON file have this format; `root` is the root element of an XML file of it.
    """

    title: str
    read: Callable[[Sequence[Path], Path], Source]
    suffix: str
    recognise: Callable[[Any], bool] | None = None
    root: str = ""


FORMATS: dict[FormatName, Format] = {
    "coco": Format(title="COCO JSON", read=read_coco, suffix=".json", recognise=is_coco),
    "voc": Format(title="Pascal VOC XML", read=read_voc, suffix=".xml", root="annotation"),
    "label-studio": Format(
        title="Label Studio JSON", read=read_label_studio, suffix=".json", recognise=is_label_studio
    ),
    "cvat": Format(title="CVAT XML", read=read_cvat, suffix=".xml", root="annotations"),
    "createml": Format(title="CreateML JSON", read=read_create_ml, suffix=".json", recognise=is_create_ml),
    "yolo": Format(title="YOLO text files", read=read_yolo, suffix=".txt"),
}
"""The name of a format for ``--from`` → what it is. A folder of YOLO text files is recognised in `_formats_of_folder`."""
_PARSED_WHOLE = 16 * 2**20  # bytes; the format of a larger JSON file is seen in its beginning
_HEAD = 2**16
_ANNOTATION_FOLDERS = ("annotations", "annotation", "anns", "ann", "xml", "xmls", "labels", "label")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z")


@dataclass(frozen=True)
class _Found:
    """The files of one format; for ``yolo`` the YAML or ``.data`` file, or the folder."""

    files: tuple[Path, ...]


def read_source(source: Path, forced: FormatName | None = None, *, first_pixel: int | None = None) -> Source:
    """Read the annotations of `source`, a file or a folder, in the format `forced` or in the one that is found in it.

    `first_pixel` is for VOC files. Raises `DataError` when no format is found, when several are, or when a file is damaged.
    """
    source = in_home(source)
    if not source.exists():
        raise DataError(f"There is no file or folder {source} (looked from {Path.cwd()}).")
    if source.suffix.casefold() in _ARCHIVES and source.is_file():
        raise DataError(f"{source} is an archive. Unpack it, and give the folder.")
    found = _formats_of_file(source) if source.is_file() else _formats_of_folder(source)
    if forced is not None and forced not in found:
        found[forced] = _Found(_all_of(forced, source))
    name = forced or _only(found, source)
    folder = source if source.is_dir() else source.parent
    root = folder.absolute()
    if root.name.casefold() in _ANNOTATION_FOLDERS:  # the pictures are beside it
        root = root.parent
    if first_pixel is not None and name != "voc":
        raise ConfigError(f"--first-pixel is for Pascal VOC, and {source} holds {FORMATS[name].title}. Leave it out.")
    if name == "voc":
        return read_voc(found[name].files, root, first_pixel)
    return FORMATS[name].read(found[name].files, root)


def _only(found: dict[FormatName, _Found], source: Path) -> FormatName:
    if len(found) == 1:
        return next(iter(found))
    known = ", ".join(f"{row.title} ({name})" for name, row in FORMATS.items())
    if not found:
        hint = _known_otherwise(source) if source.is_file() and source.suffix.casefold() == ".json" else ""
        raise DataError(f"{source} holds no annotations that are read here.{hint} Known formats: {known}.")
    several = " and ".join(f"{FORMATS[name].title} ({one.files[0].name})" for name, one in found.items())
    raise DataError(f"{source} holds {several}. Say which is meant: --from {' or --from '.join(found)}.")


def _all_of(forced: FormatName, source: Path) -> tuple[Path, ...]:
    """The files that can hold the format `forced`, when none was recognised: reading them says what is wrong."""
    if source.is_file() or forced == "yolo":
        return (source.absolute(),)
    suffix = FORMATS[forced].suffix
    files = tuple(file for file in files_below(source.absolute()) if file.suffix.casefold() == suffix)
    if not files:
        raise DataError(f"{source} holds no {suffix} file, so it is not {FORMATS[forced].title}.")
    return files


def _formats_of_file(file: Path) -> dict[FormatName, _Found]:
    suffix = file.suffix.casefold()
    if suffix in (".yaml", ".yml", ".data"):
        return {"yolo": _Found((file.absolute(),))}
    name = _json_format(file) if suffix == ".json" else _xml_format(file) if suffix == ".xml" else None
    return {} if name is None else {name: _Found((file.absolute(),))}


def _formats_of_folder(folder: Path) -> dict[FormatName, _Found]:
    files = files_below(folder.absolute())
    found: dict[FormatName, list[Path]] = defaultdict(list)
    pictures = {file.stem for file in files if file.suffix.casefold() in IMAGE_SUFFIXES}
    for file in files:
        suffix = file.suffix.casefold()
        name = _json_format(file) if suffix == ".json" else _xml_format(file) if suffix == ".xml" else None
        if name is not None:
            found[name].append(file)
    stated = _stated_dataset(files, folder.absolute())
    if stated is not None:
        found["yolo"] = [stated]
    elif any(is_label_text(file) and (file.stem in pictures or not pictures) for file in files):
        found["yolo"] = [folder.absolute()]
    return {name: _Found(tuple(one)) for name, one in found.items()}


def _stated_dataset(files: Sequence[Path], folder: Path) -> Path | None:
    """The dataset YAML or ``.data`` file in `folder` itself. Raises `DataError` when there are several."""
    here = [file for file in files if file.parent == folder]
    stated = [file for file in here if file.suffix.casefold() in (".yaml", ".yml") and _is_dataset_yaml(file)]
    stated = stated or [file for file in here if file.suffix.casefold() == ".data"]
    if len(stated) > 1:
        raise DataError(
            f"{folder} holds several datasets: {', '.join(file.name for file in stated)}. Give one of these files."
        )
    return stated[0] if stated else None


def _is_dataset_yaml(file: Path) -> bool:
    try:
        content = read_yaml(file)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and "train" in content and ("names" in content or "nc" in content)


def _xml_format(file: Path) -> FormatName | None:
    tag = root_tag(file)
    return next((name for name, row in FORMATS.items() if row.root and row.root == tag), None)


def _json_format(file: Path) -> FormatName | None:
    try:
        with open_user_file(file, "annotation file") as opened:
            content = opened.read(_PARSED_WHOLE + 1)
    except OSError:
        return None
    if len(content) <= _PARSED_WHOLE:
        try:
            return _format_of_data(json.loads(decode_text(content)))
        except (ValueError, RecursionError):
            pass  # it is damaged; its beginning says what it was
    return _format_of_head(decode_text(content[:_HEAD], errors="replace"))


def _format_of_data(data: Any) -> FormatName | None:
    if is_coco_detections(data):
        return None
    return next((name for name, row in FORMATS.items() if row.recognise is not None and row.recognise(data)), None)


def _known_otherwise(file: Path) -> str:
    """What a JSON file is that is not read, and what to do. Raises `DataError` when it is not JSON."""
    data = read_json_file(file)
    if is_coco_detections(data):
        return " It holds detections (COCO results). Give the annotation file that they belong to."
    if isinstance(data, dict) and "shapes" in data:
        return " It is a file of labelme. Convert it to COCO or VOC first, with the scripts that come with labelme."
    if isinstance(data, dict) and any(str(key).startswith("_via_") for key in data):
        return " It is a project of the VGG Image Annotator. Export it as COCO."
    return ""


def _format_of_head(text: str) -> FormatName | None:
    start = text.lstrip()[:1]
    if start == "{":
        return "coco" if any(f'"{key}"' in text for key in ("images", "categories", "licenses")) else None
    if start != "[" or '"image_id"' in text:
        return None
    if any(f'"{key}"' in text for key in ("completed_by", "was_cancelled", "annotation_id")):
        return "label-studio"
    return "createml" if '"annotations"' in text and '"image"' in text else None
