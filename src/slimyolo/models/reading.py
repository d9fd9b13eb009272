"""Architecture YAML in the reference's format → `Architecture`: parsed as data, with the line of every row."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from slimyolo.errors import ModelError, nearest_name_hint
from slimyolo.models.architecture import Architecture, LayerSpec, read_anchors, read_row
from slimyolo.models.checking import check_layers
from slimyolo.storage import compose_yaml, scalar_value

__all__ = ["family_names", "parse_architecture", "read_architecture"]

_MULTIPLES = {"n": (0.33, 0.25), "s": (0.33, 0.50), "m": (0.67, 0.75), "l": (1.0, 1.0), "x": (1.33, 1.25)}
_TEMPLATES = {"": "yolov5-p5.yaml", "6": "yolov5-p6.yaml"}
_FAMILIES: Mapping[str, tuple[str, float, float]] = {
    f"yolov5{size}{suffix}": (template, depth, width)
    for suffix, template in _TEMPLATES.items()
    for size, (depth, width) in _MULTIPLES.items()
}
"""Family name → layer table, depth multiple, width multiple."""

_KEYS = ("nc", "depth_multiple", "width_multiple", "anchors", "backbone", "head")
_OPTIONAL_KEYS = ("activation",)
_LARGEST_FILE = 1 << 20  # bytes


def family_names() -> tuple[str, ...]:
    """Names of the built-in architectures that `read_architecture` takes instead of a file."""
    return tuple(_FAMILIES)


def read_architecture(source: str | Path) -> Architecture:
    """The architecture in a YAML file, or the built-in family of that name ("yolov5n", "yolov5s6" …; 80 classes).

    Keys: nc, depth_multiple, width_multiple, anchors (pixels per level, or a number of anchors per level), backbone and
    head (rows `[from, number, module, args]`); optional: activation (``nn.ReLU()``). Raises `ModelError` with the file and
    line of what is wrong.
    """
    if str(source) in _FAMILIES:
        return _family(str(source))
    path = Path(source)
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise ModelError(f"{path} has {size} bytes; an architecture YAML has a few thousand. Is it a checkpoint?")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        hint = nearest_name_hint(path.stem, _FAMILIES)
        raise ModelError(
            f"Cannot read the architecture {source}: {error.strerror}. Give a YAML file or a built-in name "
            f"({', '.join(_FAMILIES)}).{hint}"
        ) from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is not text; an architecture is a YAML file.") from error
    return parse_architecture(text, name=path.stem, shown=str(path))


def parse_architecture(text: str, name: str, shown: str | None = None) -> Architecture:
    """The architecture written in YAML `text`; `shown` is what error messages call the file."""
    shown = shown or name
    entries = _top_level(text, shown)
    for key in ("backbone", "head"):
        if not isinstance(entries[key], yaml.SequenceNode):
            raise ModelError(f"{shown}, {_where(entries[key])}: {key} should be a list of layers.")
    layers = tuple(_row(shown, node) for key in ("backbone", "head") for node in entries[key].value)
    plain = {key: _plain(shown, entries[key]) for key in ("nc", "depth_multiple", "width_multiple", "anchors")}
    levels = len(layers[-1].sources) if layers else None
    others = {key: _plain(shown, entries[key]) for key in _OPTIONAL_KEYS if key in entries}
    try:
        anchors = read_anchors(shown, plain["anchors"], levels)
        architecture = Architecture(
            name, plain["nc"], plain["depth_multiple"], plain["width_multiple"], anchors, layers, **others
        )  # fmt: skip
    except ModelError as error:
        raise ModelError(f"In {shown}: {error}") from error
    check_layers(architecture, shown)
    return architecture


def _family(name: str) -> Architecture:
    template, depth, width = _FAMILIES[name]
    text = resources.files("slimyolo.families.yolov5").joinpath(template).read_text(encoding="utf-8")
    base = parse_architecture(text, name=template)
    return Architecture(name, base.nc, depth, width, base.anchors, base.layers)


def _top_level(text: str, shown: str) -> dict[str, yaml.Node]:
    """Key → YAML node of the file's mapping, all keys known, none twice, none missing."""
    try:
        root = compose_yaml(text)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise ModelError(f"{shown}{line}: not valid YAML: {error.problem}.") from error
    except yaml.YAMLError as error:
        raise ModelError(f"{shown}: not valid YAML: {error}.") from error
    if not isinstance(root, yaml.MappingNode):
        raise ModelError(f"{shown}: an architecture is a mapping with the keys {', '.join(_KEYS)}.")
    entries: dict[str, yaml.Node] = {}
    for key_node, value_node in root.value:
        key = str(key_node.value)
        known = (*_KEYS, *_OPTIONAL_KEYS)
        if key not in known:
            raise ModelError(
                f"{shown}, {_where(key_node)}: unknown key {key!r}.{nearest_name_hint(key, known)} "
                f"Known keys: {', '.join(known)}."
            )
        if key in entries:
            raise ModelError(f"{shown}, {_where(key_node)}: the key {key!r} is given twice.")
        entries[key] = value_node
    missing = [key for key in _KEYS if key not in entries]
    if missing:
        raise ModelError(f"{shown}: the key {missing[0]!r} is missing.")
    return entries


def _row(shown: str, node: yaml.Node) -> LayerSpec:
    return read_row(shown, _where(node), _plain(shown, node))


def _where(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _plain(shown: str, node: yaml.Node, depth: int = 0) -> Any:
    """A YAML node as numbers, text, booleans, None and lists of them; anything else is an error with its line."""
    if isinstance(node, yaml.SequenceNode) and depth < 3:
        return [_plain(shown, item, depth + 1) for item in node.value]
    if isinstance(node, yaml.ScalarNode):
        try:
            return scalar_value(node)
        except yaml.YAMLError as error:
            raise ModelError(f"{shown}, {_where(node)}: cannot read {node.value[:80]!r}.") from error
    raise ModelError(f"{shown}, {_where(node)}: expected a number, a name or a list of them.")
