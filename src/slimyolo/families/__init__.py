"""The families of detectors. Rooms below are handed a family and never import this one."""

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
