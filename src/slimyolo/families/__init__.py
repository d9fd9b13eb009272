"""The families of detectors. Lower packages get a family as an argument and never import this package."""

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
