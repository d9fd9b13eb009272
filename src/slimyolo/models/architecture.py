"""An architecture as plain data: the content of its YAML file, with checked values. No layer is built here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from slimyolo.errors import ModelError, nearest_name_hint, shown_value
from slimyolo.models.activations import DEFAULT_ACTIVATION, read_activation
from slimyolo.one_line import one_line_repr
from slimyolo.ranges import MOST_CLASSES
from slimyolo.shown_text import counted

if TYPE_CHECKING:
    from slimyolo.models.family import Families, Family

__all__ = ["FIRST_FAMILY", "Anchors", "Architecture", "LayerSpec", "read_anchors", "read_row", "spread_anchors"]

Anchors = tuple[tuple[tuple[float, float], ...], ...]
"""For each level and each anchor: (width, height) in network pixels."""

_PLAIN_KEYS = ("name", "nc", "depth_multiple", "width_multiple", "anchors", "layers")
_OPTIONAL_KEYS = ("activation", "family", "scale", "max_channels")
FIRST_FAMILY = "yolov5"
"""The family of plain data that name no family, as the files of slimyolo 0.1 do."""
_MOST_REPEATS = 1_000


@dataclass(frozen=True)
class LayerSpec:
    """One row `[from, number, module, args]`. `where` ("line 17") serves error messages only and is never compared."""

    sources: tuple[int, ...]
    repeats: int
    module: str
    args: tuple[Any, ...]
    where: str = field(default="", compare=False, repr=False)


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a detector is made from, before the depth and width multiples are applied. `build_detector` makes the module.

    `family` says what the rows mean. `anchors` are in pixels, and ``()`` in families without anchors. `activation` is the
    activation of the convolutions (see `read_activation`). `max_channels` limits the channels of a row before the width
    multiple. `scale` is the scale letter ("n" to "x") in families whose blocks depend on it, else "".

    `read_architecture` and `from_plain` make architectures. Raises `ModelError` for values that no detector can have.
    The rows are compared with the blocks of the family later, by `read_architecture` and by `build_detector`.
    """

    name: str
    family: Family
    nc: int
    depth_multiple: float
    width_multiple: float
    layers: tuple[LayerSpec, ...]
    anchors: Anchors = ()
    activation: str = DEFAULT_ACTIVATION
    max_channels: int | None = None
    scale: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.scale, str) or len(self.scale) > 1:
            raise ModelError(f"{self.name}: scale should be one letter or empty, got {shown_value(self.scale)}.")
        if self.max_channels is not None and (type(self.max_channels) is not int or self.max_channels < 1):
            raise ModelError(
                f"{self.name}: max_channels should be a whole number above 0, got {shown_value(self.max_channels)}."
            )
        if type(self.nc) is not int or not 1 <= self.nc <= MOST_CLASSES:
            raise ModelError(
                f"{self.name}: nc should be a whole number from 1 to {MOST_CLASSES}, got {shown_value(self.nc)}."
            )
        for key in ("depth_multiple", "width_multiple"):
            value = getattr(self, key)
            if not _is_number(value) or not 0 < value <= 100:
                raise ModelError(
                    f"{self.name}: {key} should be a number above 0 (at most 100), got {shown_value(value)}."
                )
        if self.family.anchors_of is not None:
            _check_anchors(self.name, self.anchors)
        elif self.anchors:
            raise ModelError(
                f"{self.name}: {self.family.title} detectors have no anchors, got {counted(len(self.anchors), 'level')}."
            )
        if not self.layers:
            raise ModelError(f"{self.name}: there are no layers.")
        try:
            object.__setattr__(self, "activation", read_activation(self.activation))
        except ModelError as error:
            raise ModelError(f"{self.name}: {error}") from error

    def with_classes(self, nc: int) -> Architecture:
        """The same architecture for `nc` classes."""
        return replace(self, nc=nc)

    def with_activation(self, name: str) -> Architecture:
        """The same architecture with another activation after its convolutions: ``relu``, ``nn.Hardswish()`` …"""
        return replace(self, activation=name)

    def with_anchors(self, pixels: Tensor | Sequence[Sequence[Sequence[float]]]) -> Architecture:
        """The same architecture with other anchors [nl, na, 2] (width, height; pixels) for the same number of levels."""
        values = pixels.tolist() if isinstance(pixels, Tensor) else pixels
        try:
            anchors = tuple(tuple((float(w), float(h)) for w, h in level) for level in values)
        except (TypeError, ValueError) as error:
            shown = shown_value(pixels)
            raise ModelError(f"{self.name}: anchors should be [levels, anchors, 2] numbers, got {shown}.") from error
        if len(anchors) != len(self.anchors):
            raise ModelError(
                f"{self.name} has {counted(len(self.anchors), 'level')}, got anchors for {len(anchors)}. "
                "Give one row of anchors per level."
            )
        return replace(self, anchors=anchors)

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready data; `from_plain` is its exact inverse."""
        optional = {
            "activation": (self.activation, DEFAULT_ACTIVATION),
            "family": (self.family.name, FIRST_FAMILY),
            "scale": (self.scale, ""),
            "max_channels": (self.max_channels, None),
        }
        return {
            "name": self.name,
            "nc": self.nc,
            "depth_multiple": self.depth_multiple,
            "width_multiple": self.width_multiple,
            "anchors": [[list(pair) for pair in level] for level in self.anchors],
            "layers": [[list(row.sources), row.repeats, row.module, _to_lists(row.args)] for row in self.layers],
            **{key: value for key, (value, default) in optional.items() if value != default},
        }

    @classmethod
    def from_plain(cls, plain: Any, families: Families) -> Architecture:
        """The architecture in `to_plain` data of one of `families`; data that name no family belong to YOLOv5.

        Raises `ModelError` that names the wrong key or row.
        """
        if not isinstance(plain, Mapping):
            raise ModelError(f"An architecture should be a mapping, got {type(plain).__name__}.")
        for key in plain:
            if key not in (*_PLAIN_KEYS, *_OPTIONAL_KEYS):
                raise ModelError(f"Unknown architecture key {key!r}.{nearest_name_hint(str(key), _PLAIN_KEYS)}")
        missing = [key for key in _PLAIN_KEYS if key not in plain]
        if missing:
            raise ModelError(f"The architecture lacks {', '.join(missing)}.")
        name = plain["name"]
        if not isinstance(name, str):
            raise ModelError(f"An architecture's name should be text, got {shown_value(name)}.")
        if not isinstance(plain["layers"], Sequence):
            raise ModelError(f"{name}: layers should be a list of rows, got {type(plain['layers']).__name__}.")
        family = plain.get("family", FIRST_FAMILY)
        if not isinstance(family, str) or family not in families:
            raise ModelError(
                f"{name}: unknown family {shown_value(family)}. Known families: {', '.join(families)}. A newer slimyolo "
                "may know it: pip install --upgrade slimyolo."
            )
        return cls(
            name=name,
            family=families[family],
            nc=plain["nc"],
            depth_multiple=plain["depth_multiple"],
            width_multiple=plain["width_multiple"],
            anchors=read_anchors(name, plain["anchors"]),
            layers=tuple(read_row(name, f"row {index}", row) for index, row in enumerate(plain["layers"])),
            activation=plain.get("activation", DEFAULT_ACTIVATION),
            max_channels=plain.get("max_channels"),
            scale=plain.get("scale", ""),
        )


def spread_anchors(levels: int, per_level: int) -> Anchors:
    """Square anchors from 10 to 400 px in equal ratios: where autoanchor starts when only their number is given."""
    count = levels * per_level
    if count == 1:
        sizes = [63.0]
    else:
        sizes = [round(10.0 * 40.0 ** (index / (count - 1)), 1) for index in range(count)]
    return tuple(
        tuple((size, size) for size in sizes[level * per_level : (level + 1) * per_level]) for level in range(levels)
    )


def read_row(name: str, where: str, row: Any) -> LayerSpec:
    """One `[from, number, module, args]` row of the architecture `name` as a `LayerSpec`; errors name the place `where`."""
    if not isinstance(row, (list, tuple)) or len(row) != 4:
        raise ModelError(f"{name}, {where}: a layer is [from, number, module, args], got {shown_value(row)}.")
    sources, repeats, module, args = row
    sources = tuple(sources) if isinstance(sources, (list, tuple)) else (sources,)
    if not sources or not all(type(source) is int for source in sources):
        raise ModelError(
            f"{name}, {where}: 'from' should be a layer number or a list of them, got {shown_value(row[0])}."
        )
    if type(repeats) is not int or not 1 <= repeats <= _MOST_REPEATS:
        raise ModelError(f"{name}, {where}: 'number' should be from 1 to {_MOST_REPEATS}, got {shown_value(repeats)}.")
    if not isinstance(module, str):
        raise ModelError(f"{name}, {where}: the module should be a name such as Conv, got {shown_value(module)}.")
    if not isinstance(args, (list, tuple)):
        raise ModelError(f"{name}, {where}: the arguments of {module} should be a list, got {shown_value(args)}.")
    return LayerSpec(sources, repeats, module, tuple(_to_tuples(name, where, value) for value in args), where)


def read_anchors(name: str, value: Any, levels: int | None = None) -> Anchors:
    """Anchors in any form that a YAML may use: flat rows `[w, h, w, h …]`, rows of pairs, or a number for each level."""
    if type(value) is int and levels is not None:
        if not 1 <= value <= 100:
            raise ModelError(f"{name}: the number of anchors for each level should be from 1 to 100, got {value}.")
        return spread_anchors(levels, value)
    if not isinstance(value, (list, tuple)) or not all(isinstance(level, (list, tuple)) for level in value):
        raise ModelError(f"{name}: anchors should be one list [w, h, w, h …] per level, got {shown_value(value)}.")
    return tuple(_anchor_level(name, level) for level in value)


def _anchor_level(name: str, level: Sequence[Any]) -> tuple[tuple[float, float], ...]:
    flat: list[Any] = []
    for item in level:
        flat.extend(item if isinstance(item, (list, tuple)) else [item])
    if not flat or len(flat) % 2 or not all(_is_number(number) for number in flat):
        raise ModelError(
            f"{name}: a level's anchors should be numbers in pairs (width, height), got {shown_value(level)}."
        )
    return tuple((float(width), float(height)) for width, height in zip(flat[::2], flat[1::2], strict=True))


def _check_anchors(name: str, anchors: Anchors) -> None:
    counts = {len(level) for level in anchors}
    if not anchors or len(counts) != 1 or 0 in counts:
        raise ModelError(
            f"{name}: every level needs the same number of anchors, at least 1; got {[*map(len, anchors)]}."
        )
    sides = [side for level in anchors for pair in level for side in pair]
    if not all(math.isfinite(side) and side > 0 for side in sides):
        raise ModelError(f"{name}: anchor widths and heights should be above 0, got {shown_value(anchors)}.")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _to_tuples(name: str, where: str, value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_to_tuples(name, where, item) for item in value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ModelError(
        f"{name}, {where}: an argument should be a number, text, true, false or a list; got {shown_value(value)}."
    )


def _to_lists(value: Any) -> Any:
    return [_to_lists(item) for item in value] if isinstance(value, tuple) else value
