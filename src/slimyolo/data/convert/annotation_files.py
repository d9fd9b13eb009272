"""Opens annotation files: JSON, XML and text of other tools, with errors that name the file."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from slimyolo.errors import DataError
from slimyolo.storage import decode_text, open_user_file, read_user_file
from slimyolo.storage.plain_xml import PlainXmlError, parse_xml

__all__ = [
    "finite",
    "read_annotations",
    "read_json_file",
    "read_names_file",
    "read_xml_file",
    "root_tag",
    "split_in",
    "split_of_folders",
]

_HEAD = 4096
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_YEAR = re.compile(r"(?<=[a-z])(19|20)\d\d$")


def read_annotations(path: Path) -> bytes:
    """The content of an annotation file. Raises `DataError` when it is not a file, too large or not readable."""
    try:
        return read_user_file(path, "annotation file")
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error


def read_json_file(path: Path) -> Any:
    """The data of a JSON file, with or without a byte-order mark. Raises `DataError`."""
    try:
        return json.loads(decode_text(read_annotations(path)))
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start}). Export it again, or save it as UTF-8."
        ) from error
    except ValueError as error:
        reason = f"line {error.lineno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(f"{path} is not valid JSON: {reason}. Is it complete? Export it again.") from error
    except RecursionError as error:
        raise DataError(f"{path} is not an annotation file: it is nested too deeply.") from error


def read_xml_file(path: Path) -> Element:
    """The root of an XML file. Raises `DataError`."""
    try:
        return parse_xml(read_annotations(path))
    except PlainXmlError as error:
        raise DataError(f"{path} cannot be read as XML: {error}. Export it again.") from error


def root_tag(path: Path) -> str:
    """The name of the root element of an XML file, found in its beginning; empty when there is none."""
    try:
        with open_user_file(path, "annotation file") as file:
            head = file.read(_HEAD)
    except OSError:
        return ""
    text = re.sub(r"<\?.*?\?>|<!--.*?-->", "", decode_text(head, errors="replace"), flags=re.S)
    found = re.search(r"<([A-Za-z_][\w.-]*)", text)
    return found[1] if found else ""


def read_names_file(path: Path) -> tuple[str, ...]:
    """Class names, one on each line (``classes.txt``, ``obj.names``). Raises `DataError` for a name that stands twice."""
    try:
        lines = [line.strip() for line in decode_text(read_annotations(path)).splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise DataError(f"{path} holds no class names. Write one name on each line.")
    for number, name in enumerate(lines, 1):
        if not name:
            raise DataError(f"{path}:{number} is empty, so class {number - 1} has no name. Write its name there.")
        if lines.index(name) != number - 1:
            first = lines.index(name) + 1
            raise DataError(f"{path}: lines {first} and {number} hold the same class name. Correct one of them.")
    return tuple(lines)


def finite(value: Any) -> float:
    """`value` as a number. Raises `ValueError` for what is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("is not a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("is not finite")
    return number


def split_in(name: str) -> str:
    """The split that the name of an annotation file names (``instances_train2017``), or an empty text.

    The name is divided at ``_``, ``-``, ``.`` and blanks, and a year at the end of a word is left out. A name with two
    different splits (``train_val``) names none.
    """
    words = (_YEAR.sub("", word) for word in re.split(r"[_\-.\s]+", name.casefold()))
    found = {_SPLITS[word] for word in words if word in _SPLITS}
    return found.pop() if len(found) == 1 else ""


def split_of_folders(file: Path, root: Path) -> str:
    """The split that a folder between `root` and `file` is called (``valid``, ``train2017``), the nearest one; else empty."""
    folders = file.relative_to(root).parts[:-1] if file.is_relative_to(root) else ()
    words = (_YEAR.sub("", folder.casefold()) for folder in reversed(folders))
    return next((_SPLITS[word] for word in words if word in _SPLITS), "")
