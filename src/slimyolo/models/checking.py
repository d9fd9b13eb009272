"""What must hold between the rows of an architecture before anything is built."""

from __future__ import annotations

from slimyolo.errors import ModelError
from slimyolo.models.architecture import Architecture
from slimyolo.models.module_table import DETECT, bind_arguments, rule_of

__all__ = ["absolute_sources", "check_layers"]


def absolute_sources(sources: tuple[int, ...], index: int) -> tuple[int, ...]:
    """Sources of layer `index` as absolute layer numbers; −1 is the image where `index` is 0."""
    return tuple(index + source if source < 0 else source for source in sources)


def check_layers(architecture: Architecture, shown: str | None = None) -> None:
    """Raise `ModelError` with the row's line when modules, arguments or sources cannot work; `shown` names the file."""
    shown = shown or architecture.name
    last = len(architecture.layers) - 1
    for index, row in enumerate(architecture.layers):
        rule = rule_of(shown, row)
        values = bind_arguments(shown, row)
        if len(row.sources) > 1 and not rule.many:
            raise ModelError(
                f"{shown}, {row.where}: {row.module} takes one 'from', got {list(row.sources)}. Concat joins several."
            )
        for source, absolute in zip(row.sources, absolute_sources(row.sources, index), strict=True):
            if not (0 <= absolute < index) and not (index == 0 and source == -1):
                raise ModelError(
                    f"{shown}, {row.where}: 'from' {source} of layer {index} ({row.module}) is out of range: "
                    + (f"layers 0 to {index - 1} come before it." if index else "the first layer takes -1, the image.")
                )
        if (row.module == DETECT) != (index == last):
            raise ModelError(f"{shown}, {row.where}: the last layer, and only the last, should be {DETECT}.")
        if row.module == DETECT:
            if row.repeats != 1:
                raise ModelError(f"{shown}, {row.where}: the number of {DETECT} should be 1, got {row.repeats}.")
            if values["nc"] not in ("nc", architecture.nc):
                raise ModelError(
                    f"{shown}, {row.where}: {DETECT} is given {values['nc']} classes but nc is {architecture.nc}. "
                    "Write nc."
                )
            if len(row.sources) != len(architecture.anchors):
                raise ModelError(
                    f"{shown}, {row.where}: {DETECT} has {len(row.sources)} levels, "
                    f"but there are anchors for {len(architecture.anchors)}."
                )
