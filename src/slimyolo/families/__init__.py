"""The families of detectors. Lower packages get a family as an argument and never import this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
    from slimyolo.families.table import (
        FAMILIES,
        architecture_names,
        load_checkpoint,
        parse_architecture,
        read_architecture,
        read_tensors,
        summarise_checkpoint,
    )

__all__ = [
    "FAMILIES",
    "architecture_names",
    "load_checkpoint",
    "parse_architecture",
    "read_architecture",
    "read_tensors",
    "summarise_checkpoint",
]

names_on_first_use(
    __name__,
    {
        "slimyolo.families.table": (
            "FAMILIES architecture_names load_checkpoint parse_architecture read_architecture read_tensors "
            "summarise_checkpoint"
        ),
    },
)
