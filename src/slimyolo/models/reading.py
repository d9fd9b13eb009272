"""Reads an architecture YAML as data, and makes an `Architecture` that knows the line of every row.

There are two forms. The YOLOv5 form has `depth_multiple` and `width_multiple`. The ultralytics form has a table `scales`,
letter → [depth, width, maximum channels], and takes the letter from the file's name ("yolov8n.yaml", "yolo11s-mine.yaml").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from slimyolo.errors import ModelError, nearest_name_hint, shown_value
from slimyolo.models.architecture import Architecture, LayerSpec, read_anchors, read_row
from slimyolo.models.asked_names import built_in_name, no_such_architecture
from slimyolo.models.checking import check_layers
from slimyolo.models.family import BuiltIn, Families, Family, Written
from slimyolo.storage import compose_yaml, decode_text, read_user_file, scalar_value

__all__ = ["architecture_names", "parse_architecture", "read_architecture"]

_ROWS = ("backbone", "head")
_KEYS = ("nc", "depth_multiple", "width_multiple", "anchors", *_ROWS)
_OPTIONAL_KEYS = ("activation", "scales", "scale")
_SCALED_NAME = re.compile(r"yolov?\d+([a-z])", re.IGNORECASE)


def architecture_names(families: Families) -> tuple[str, ...]:
    """Names of the built-in architectures that `read_architecture` takes instead of a file."""
    return tuple(name for family in families.values() for name in family.architectures)


def read_architecture(source: str | Path, families: Families) -> Architecture:
    """The architecture in a YAML file, or the built-in one of that name ("yolov5n", "yolov5s6" …; 80 classes).

    The keys are nc, backbone and head (rows `[from, number, module, args]`); depth_multiple and width_multiple, or scales
    (letter → [depth, width, maximum channels]); in families with anchors, anchors (pixels for each level, or a number of
    anchors for each level); and optionally activation (``nn.ReLU()``). Raises `ModelError` with the file and the line of
    the mistake.
    """
    path = Path(source)
    names = architecture_names(families)
    name = str(source) if str(source) in names or path.exists() else built_in_name(str(source), names)
    for family in families.values():
        if name is not None and name in family.architectures:
            return _built_in(name, family, families)
    try:
        text = decode_text(read_user_file(path, "YAML file"))
    except OSError as error:
        said = no_such_architecture(str(source), names, _shown_names(families))
        raise ModelError(f"Cannot read the architecture {source}: {error.strerror}. {said}") from error
    except UnicodeDecodeError as error:
        raise ModelError(f"{path} is not text; an architecture is a YAML file.") from error
    return parse_architecture(text, families, name=path.stem, shown=str(path))


def parse_architecture(
    text: str, families: Families, *, name: str, shown: str | None = None, built_in: BuiltIn | None = None
) -> Architecture:
    """The architecture written in YAML `text`; error messages call the file `shown`.

    The size comes from `built_in` for a built-in architecture, else from the text and `name`.
    """
    shown = shown or name
    entries = _top_level(text, shown)
    keys = {key: _plain(shown, node) for key, node in entries.items() if key not in _ROWS}
    family = _family_of(entries, keys, name, shown, families)
    _check_keys(entries, keys, family, shown)
    for key in _ROWS:
        if not isinstance(entries[key], yaml.SequenceNode):
            raise ModelError(f"{shown}, {_where(entries[key])}: {key} should be a list of layers.")
    layers = tuple(_row(shown, node) for key in _ROWS for node in entries[key].value)
    levels = len(layers[-1].sources) if layers else None
    try:
        architecture = Architecture(
            name=name,
            family=family,
            nc=keys["nc"],
            layers=layers,
            anchors=read_anchors(shown, keys["anchors"], levels) if "anchors" in keys else (),
            **_size(keys, name, shown, built_in),
            **{key: keys[key] for key in ("activation",) if key in keys},
        )
    except ModelError as error:
        raise ModelError(f"In {shown}: {error}") from error
    check_layers(architecture, shown)
    return architecture


def _shown_names(families: Families) -> str:
    """The first and the last built-in name of each family: "yolov5n … yolov5x6, yolov8n … yolov8x-p6"."""
    ends = [[*family.architectures][:: max(len(family.architectures) - 1, 1)] for family in families.values()]
    return ", ".join(" … ".join(names) for names in ends if names)


def _built_in(name: str, family: Family, families: Families) -> Architecture:
    built_in = family.architectures[name]
    text = resources.files(family.package).joinpath(built_in.file).read_text(encoding="utf-8")
    return parse_architecture(text, families, name=name, shown=built_in.file, built_in=built_in)


def _size(keys: Mapping[str, Any], name: str, shown: str, built_in: BuiltIn | None) -> dict[str, Any]:
    """The multiples, the maximum of channels and the scale letter, as arguments of `Architecture`."""
    if "scales" not in keys:
        depth, width = keys.get("depth_multiple", 1.0), keys.get("width_multiple", 1.0)
        if built_in is not None:
            depth, width = built_in.depth_multiple or depth, built_in.width_multiple or width
        return {"depth_multiple": depth, "width_multiple": width}
    scales = keys["scales"]
    if not isinstance(scales, dict) or not scales or not all(map(_is_scale, scales.items())):
        raise ModelError(
            f"{shown}: scales should be a table of letters such as `n: [0.33, 0.25, 1024]` (depth multiple, width "
            f"multiple, maximum channels), got {shown_value(scales)}."
        )
    written = _SCALED_NAME.search(name)
    letter = built_in.scale if built_in is not None else str(keys.get("scale") or (written.group(1) if written else ""))
    if letter not in scales:
        letter = next(iter(scales))
    depth, width, most = (*scales[letter], None)[:3]
    return {"depth_multiple": depth, "width_multiple": width, "max_channels": most, "scale": letter}


def _is_scale(entry: tuple[Any, Any]) -> bool:
    letter, numbers = entry
    good = isinstance(letter, str) and len(letter) == 1 and isinstance(numbers, list) and len(numbers) in (2, 3)
    return good and all(type(number) in (int, float) for number in numbers)


def _family_of(
    entries: Mapping[str, yaml.Node], keys: Mapping[str, Any], name: str, shown: str, families: Families
) -> Family:
    """The first family that recognises the file. If none does, the first of all; its checks then name what is missing."""
    rows = [row for key in _ROWS if isinstance(entries.get(key), yaml.SequenceNode) for row in entries[key].value]
    plain = [_plain(shown, row) for row in rows]
    sound = [row for row in plain if isinstance(row, list) and len(row) == 4 and isinstance(row[2], str)]
    head_args = sound[-1][3] if sound and isinstance(sound[-1][3], list) else []
    written = Written(name=name, keys=keys, modules=tuple(row[2] for row in sound), head_args=tuple(head_args))
    found = [family for family in families.values() if family.recognises(written)]
    return found[0] if found else next(iter(families.values()))


def _check_keys(entries: Mapping[str, yaml.Node], keys: Mapping[str, Any], family: Family, shown: str) -> None:
    """Raise `ModelError` for a key that the family does not know, and for a missing key."""
    with_anchors = family.anchors_of is not None
    known = [key for key in (*_KEYS, *_OPTIONAL_KEYS, *family.yaml_keys) if with_anchors or key != "anchors"]
    for key, node in entries.items():
        if key not in known:
            raise ModelError(
                f"{shown}, {_where(node)}: unknown key {key!r}.{nearest_name_hint(key, known)} "
                f"Known keys: {', '.join(known)}."
            )
    for key, value in family.yaml_keys.items():
        if key in keys and keys[key] != value:
            raise ModelError(
                f"{shown}, {_where(entries[key])}: {key} should be {value} for {family.title}, got {keys[key]!r}."
            )
    multiples = ("depth_multiple", "width_multiple")
    if "scales" in entries and any(key in entries for key in multiples):
        raise ModelError(f"{shown}: give either scales, or depth_multiple and width_multiple, not both.")
    optional = multiples if "scales" in entries or not with_anchors else ()
    missing = [key for key in _KEYS if key in known and key not in entries and key not in optional]
    if missing:
        raise ModelError(f"{shown}: the key {missing[0]!r} is missing.")


def _top_level(text: str, shown: str) -> dict[str, yaml.Node]:
    """The file's mapping as key → YAML node. Raises `ModelError` when a key is given twice."""
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
        if key in entries:
            raise ModelError(f"{shown}, {_where(key_node)}: the key {key!r} is given twice.")
        entries[key] = value_node
    return entries


def _row(shown: str, node: yaml.Node) -> LayerSpec:
    return read_row(shown, _where(node), _plain(shown, node))


def _where(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _plain(shown: str, node: yaml.Node, depth: int = 0) -> Any:
    """A YAML node as numbers, text, booleans, None, lists and tables of these. Raises `ModelError` for anything else."""
    if isinstance(node, yaml.SequenceNode) and depth < 3:
        return [_plain(shown, item, depth + 1) for item in node.value]
    if isinstance(node, yaml.MappingNode) and depth == 0:
        return {str(key.value): _plain(shown, item, 1) for key, item in node.value}
    if isinstance(node, yaml.ScalarNode):
        try:
            return scalar_value(node)
        except yaml.YAMLError as error:
            raise ModelError(f"{shown}, {_where(node)}: cannot read {node.value[:80]!r}.") from error
    raise ModelError(f"{shown}, {_where(node)}: expected a number, a name or a list of them.")
