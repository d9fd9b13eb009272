"""What people type who know other programs: their names of settings and commands, and ours.

The names of the ultralytics package are those of its documentation (``yolo TASK MODE key=value``).
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from slimyolo.tasks.common.config import Config, option_facts, option_name
from slimyolo.tasks.train.hyperparameters import HyperParameters

__all__ = ["COMMAND_WORDS", "FILE_WORDS", "TASK_WORDS", "hyper_parameter", "option_for", "our_name"]

COMMAND_WORDS: Mapping[str, str] = {
    "detect": "predict",
    "infer": "predict",
    "inference": "predict",
    "track": "predict",
    "test": "val",
    "validate": "val",
    "eval": "val",
    "evaluate": "val",
    "fit": "train",
    "fine-tune": "finetune",
    "fine_tune": "finetune",
    "tune": "finetune",
    "retrain": "finetune",
    "distill": "finetune --teacher",
    "quantize": "export --int8",
    "quantise": "export --int8",
    "int8": "export --int8",
    "convert": "data convert",
    "onnx": "export --format onnx",
    "benchmark": "bench",
    "time": "bench",
    "slim": "compress",
    "shrink": "compress",
    "cut": "prune",
    "info": "inspect",
    "summary": "inspect",
    "show": "inspect",
    "diff": "compare",
    "resume": "train --resume",
    "check": "data check",
    "checks": "data check",
    "synth": "data synth",
    "ui": "serve",
    "web": "serve",
    "demo": "serve",
    "pack": "latency pack",
    "version": "--version",
    "-v": "--version",
}
"""Word → the command that does it here."""

TASK_WORDS = ("detect", "segment", "classify", "pose", "obb")
"""The first word of ``yolo TASK MODE``; slimyolo detects, and nothing else."""

FILE_WORDS = (
    *("weights", "model", "models", "checkpoint", "checkpoints", "file", "files", "source", "input", "data", "dataset"),
    *("run", "runs", "folder", "output", "plan", "plans", "path"),
)
"""Names under which people give a file, to commands whose files stand without an option."""

OTHER_NAMES: Mapping[str, Sequence[str]] = {
    "model": ("weights", "file"),
    "models": ("weights", "file"),
    "checkpoint": ("weights", "file"),
    "pt": ("weights", "file"),
    "input": ("source",),
    "batch": ("batch_size", "batch"),
    "img": ("imgsz",),
    "image_size": ("imgsz",),
    "size": ("imgsz",),
    "confidence": ("conf",),
    "threshold": ("conf",),
    "agnostic": ("agnostic_nms",),
    "line_width": ("line_thickness",),
    "include": ("format",),
    "amp": ("precision",),
    "output": ("output", "project"),
    "save_dir": ("project",),
    "ratio": ("percent",),
    "amount": ("percent",),
    "sparsity": ("percent",),
    "pruning_ratio": ("percent",),
    "metric": ("rule", "metric"),
    **dict.fromkeys(("threads", "num_threads", "cpu_threads", "omp_num_threads"), ("cpu_threads", "threads")),
    "iterations": ("rounds",),
    "steps": ("rounds",),
    "dataset": ("data",),
    "plots": ("noplots",),
    "val": ("noval",),
    "save": ("nosave",),
}
"""A name of other programs → our names, the first of which a command has."""


def our_name(name: str, value: Any, kind: type[Config]) -> str | None:
    """The setting of `kind` that other programs call `name`; None when it is not known.

    A ``model`` that is a YAML file, or a name without a suffix, is an architecture: ``cfg``, where the command has one.
    """
    fields = kind.model_fields
    if name == "model" and "cfg" in fields and PurePath(str(value)).suffix in ("", ".yaml", ".yml"):
        return "cfg"
    return next((one for one in OTHER_NAMES.get(name, ()) if one in fields), None)


def option_for(name: str, value: str, kind: type[Config]) -> list[str] | None:
    """``name=value``, as other programs write it, as words for the command of `kind`; None when there is no such option.

    A flag that is switched off needs no words.
    """
    key = name.replace("-", "_")
    field = key if key in kind.model_fields else our_name(key, value, kind)
    if (number := hyper_parameter(key, kind)) is not None:
        return ["--hyp-set", f"{number}={value}"]
    if field is None or (field.startswith("no") and not key.startswith("no")):
        return _negated(field, value)
    facts = option_facts(kind.model_fields[field])
    option = facts.flag or option_name(field)
    if kind.model_fields[field].annotation is bool:
        return [option] if value.lower() in ("true", "1") else []
    if value.lower() in ("none", "false", ""):
        return []
    if facts.bare is not None and value.lower() == "true":
        return [option]
    several = facts.lone_word or typing.get_origin(kind.model_fields[field].annotation) is tuple
    return [option, *(value.strip("[]()").replace(",", " ").split() if several else [value])]


def hyper_parameter(key: str, kind: type[Config]) -> str | None:
    """The hyper-parameter that `key` means for a command with ``hyp_set``; None when it is none."""
    name = "lr0" if key in ("lr", "learning_rate") else key
    known = "hyp_set" in kind.model_fields and key not in kind.model_fields and name in HyperParameters.model_fields
    return name if known else None


def _negated(field: str | None, value: str) -> list[str] | None:
    """``plots=False`` → ``--noplots``; ``plots=True`` needs no option."""
    if field is None:
        return None
    return [option_name(field)] if value.lower() in ("false", "0") else []
