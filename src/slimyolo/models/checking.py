"""Checks that the rows of an architecture fit together, before any layer is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slimyolo.errors import ModelError, nearest_name_hint
from slimyolo.models.architecture import Architecture, LayerSpec
from slimyolo.models.module_table import Built, Incoming, ModuleRule, bind_arguments
from slimyolo.shown_text import counted

__all__ = ["absolute_sources", "check_layers", "rule_of"]


def absolute_sources(sources: tuple[int, ...], index: int) -> tuple[int, ...]:
    """The sources of layer `index` as absolute layer numbers. For layer 0, source −1 is the image."""
    return tuple(index + source if source < 0 else source for source in sources)


def rule_of(architecture: Architecture, row: LayerSpec, shown: str) -> ModuleRule:
    """The rule of the block that `row` names. A row of the head gets a rule too, but `Family.make_head` makes its layer.

    Raises `ModelError` with the nearest known name when the family has no such module; `shown` names the file.
    """
    family = architecture.family
    if row.module == family.head_name:
        return ModuleRule(family.head_arguments, _made_by_the_family, many=True)
    rule = family.blocks.get(row.module)
    if rule is None:
        known = (*family.blocks, family.head_name)
        raise ModelError(
            f"{shown}, {row.where}: unknown module {row.module!r}.{nearest_name_hint(row.module, known)} "
            f"Known modules: {', '.join(known)}."
        )
    return rule


def check_layers(architecture: Architecture, shown: str | None = None) -> None:
    """Raise `ModelError` with the row's line when modules, arguments or sources are wrong; `shown` names the file."""
    shown = shown or architecture.name
    last = len(architecture.layers) - 1
    head = architecture.family.head_name
    for index, row in enumerate(architecture.layers):
        rule = rule_of(architecture, row, shown)
        values = bind_arguments(shown, row, rule)
        if len(row.sources) > 1 and not rule.many:
            raise ModelError(
                f"{shown}, {row.where}: {row.module} takes one 'from', got {list(row.sources)}. Concat joins several layers."
            )
        for source, absolute in zip(row.sources, absolute_sources(row.sources, index), strict=True):
            if not (0 <= absolute < index) and not (index == 0 and source == -1):
                raise ModelError(
                    f"{shown}, {row.where}: 'from' {source} of layer {index} ({row.module}) is out of range: "
                    + (f"layers 0 to {index - 1} come before it." if index else "the first layer takes -1, the image.")
                )
        if (row.module == head) != (index == last):
            raise ModelError(f"{shown}, {row.where}: the last layer, and only the last, should be {head}.")
        if row.module == head:
            _check_head(architecture, row, values, shown)


def _check_head(architecture: Architecture, row: LayerSpec, values: Mapping[str, Any], shown: str) -> None:
    if row.repeats != 1:
        raise ModelError(f"{shown}, {row.where}: the number of {row.module} should be 1, got {row.repeats}.")
    if values.get("nc", "nc") not in ("nc", architecture.nc):
        raise ModelError(
            f"{shown}, {row.where}: {row.module} is given {counted(values['nc'], 'class', 'classes')} but nc is "
            f"{architecture.nc}. Write nc."
        )
    if architecture.family.anchors_of is not None and len(row.sources) != len(architecture.anchors):
        raise ModelError(
            f"{shown}, {row.where}: {row.module} has {counted(len(row.sources), 'level')}, "
            f"but there are anchors for {len(architecture.anchors)}."
        )


def _made_by_the_family(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    raise AssertionError("the head is made by Family.make_head")
