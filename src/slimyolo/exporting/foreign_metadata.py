"""Exported files of other programs: YOLOv5's and ultralytics' own exports, and files without any metadata.

| program | class names | size of the images | output |
|---|---|---|---|
| YOLOv5 6.x, 7.0 | ``names``, a list or a mapping as Python prints it | the input of the file | rows with objectness |
| ultralytics | ``names``, a mapping as Python prints it | the same, or ``imgsz`` | columns without objectness, or detections |
| others | ``--names`` | the input of the file | as its shape says |

What the output is is told by its shape. The facts come from the documentation of both programs;
tests imitate their files, because no such file may be kept here.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from slimyolo.errors import CheckpointError
from slimyolo.exporting.metadata import LARGEST_SIDE, LARGEST_STRIDE, MOST_CLASSES, FileMetadata
from slimyolo.geometry import OutputLayout
from slimyolo.ranges import MOST_PIXELS
from slimyolo.shown_text import storable
from slimyolo.storage import read_yaml

__all__ = ["foreign_metadata", "is_foreign", "read_metadata_yaml", "texts_of_json"]

Sides = Sequence[int | str]
"""A shape, in which names stand for sizes that are free."""

_OWN_KEYS = ("slimyolo", "objectness", "suppression", "cost")
_LONGEST_TEXT = 1_000_000
_USUAL_STRIDE = 32
_MOST_DETECTIONS = 1_000


def is_foreign(text: Mapping[str, str]) -> bool:
    """Whether metadata with these keys were written by another program than slimyolo."""
    return not any(key in text for key in _OWN_KEYS)


def foreign_metadata(
    text: Mapping[str, str], names: tuple[str, ...], shape: Sides | None, output: Sides | None, source: str
) -> FileMetadata:
    """The metadata of a file of another program.

    `text` are the texts in the file, `names` those that the user gave (they replace the names in the file), `shape` and
    `output` the shapes of input and output, as far as they are known. Raises `CheckpointError` that says what is missing and
    what to type.
    """
    task = text.get("task", "detect")
    if task != "detect":
        raise CheckpointError(f"{source} is a network for the task {task!r}; slimyolo runs detectors.")
    names = names or _names(text, source)
    height, width = _size(text, shape, source)
    fixed = isinstance(height, int) and isinstance(width, int)
    stride = _plain(text.get("stride", ""))
    if not isinstance(stride, (int, float)) or not 1 <= stride <= LARGEST_STRIDE:
        stride = 1 if fixed else _USUAL_STRIDE  # images of the one size that a file takes need no stride
    layout, objectness = _layout(output, len(names), text, source)
    return FileMetadata(
        names=names,
        stride=int(stride),
        imgsz=(height, width) if isinstance(height, int) and isinstance(width, int) else (0, 0),
        dynamic=not fixed,
        layout=layout,
        objectness=objectness,
        suppression="none" if layout == "detections" else "nms",
    )


def texts_of_json(content: str) -> dict[str, str]:
    """The entries of a JSON object as one text each; empty when `content` is empty or something else. A text stays as it is."""
    found = _plain(content) if content else None
    if not isinstance(found, dict):
        return {}
    return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}


def read_metadata_yaml(model: Path) -> dict[str, str]:
    """The metadata that YOLOv5 and ultralytics write beside `model`, in ``metadata.yaml`` or ``NAME.yaml``, as texts.

    Empty when there is no such file with class names, or when it cannot be read.
    """
    for path in (model.with_name("metadata.yaml"), model.with_suffix(".yaml")):
        try:
            found = read_yaml(path)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        if isinstance(found, dict) and "names" in found:
            return {str(key): value if isinstance(value, str) else str(value) for key, value in found.items()}
    return {}


def _plain(text: str) -> Any:
    """The value of a text that is JSON or that Python printed; None when it is neither. Nothing is run."""
    if len(text) > _LONGEST_TEXT:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _names(text: Mapping[str, str], source: str) -> tuple[str, ...]:
    if "names" not in text:
        raise CheckpointError(
            f"{source} does not state its class names: slimyolo did not write it. Give the names in their order: "
            "--names face face_mask (in Python: names=(...))."
        )
    found = _plain(text["names"])
    if isinstance(found, dict):
        numbered = {str(key): name for key, name in found.items()}
        found = [numbered.get(str(number)) for number in range(len(numbered))]
    if (
        isinstance(found, (list, tuple))
        and 0 < len(found) <= MOST_CLASSES
        and all(isinstance(one, str) for one in found)
    ):
        return tuple(map(storable, found))
    raise CheckpointError(
        f"{source}: the class names in its metadata cannot be read: {text['names'][:80]!r}. Give them in their order: "
        "--names face face_mask (in Python: names=(...))."
    )


def _size(text: Mapping[str, str], shape: Sides | None, source: str) -> tuple[int | str, int | str]:
    """The height and width of the images, or names where they are free."""
    if shape is not None and len(shape) == 4:
        sides: Any = list(shape[2:])
    else:
        sides = _plain(text.get("imgsz", "")) or (_plain(text.get("shape", "")) or [])[-2:]
    sides = [sides, sides] if isinstance(sides, int) else list(sides)
    free = "stride" in text and all(isinstance(side, str) or _is_side(side) for side in sides)
    known = all(_is_side(side) for side in sides) and math.prod(sides) <= MOST_PIXELS
    if len(sides) != 2 or not (known or free):
        raise CheckpointError(
            f"{source} does not state the size of its images. Export it with a fixed size, or with slimyolo."
        )
    return sides[0], sides[1]


def _is_side(side: object) -> bool:
    return type(side) is int and 1 <= side <= LARGEST_SIDE


def _layout(output: Sides | None, nc: int, text: Mapping[str, str], source: str) -> tuple[OutputLayout, bool]:
    """The shape of the output, and whether its rows have objectness. Without metadata, what fits nothing is taken for YOLOv5's,
    and refused when it runs."""
    ultralytics = "task" in text
    if output is None or len(output) != 3:
        if output is None:
            return ("columns", False) if ultralytics else ("rows", True)
        raise CheckpointError(f"{source} gives an output {list(output)}; a detector gives [batch, rows, columns].")
    rows, columns = output[1:]
    few = isinstance(rows, int) and rows <= _MOST_DETECTIONS
    known: dict[tuple[OutputLayout, bool], bool] = {
        ("rows", True): columns == 5 + nc and not (ultralytics and few),
        ("columns", False): rows == 4 + nc,
        ("detections", False): columns == 6 and few,
        ("rows", False): columns == 4 + nc,
    }
    fitting = [meaning for meaning, fits in known.items() if fits]
    if not fitting and not text:
        return "rows", True
    if not fitting:
        raise CheckpointError(
            f"{source} gives an output {list(output)}, which does not fit {nc} classes: expected [batch, rows, {5 + nc}] "
            f"(YOLOv5), [batch, {4 + nc}, rows] (YOLOv8 and later) or [batch, detections, 6]. Are the class names complete?"
        )
    return fitting[0]
