"""Settings of a record → the command line that asks for them again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["bench_command", "command_line", "validation_command"]

POSITIONAL = ("file", "folder")
ONLY_ASKED = ("resume",)  # says how a run went on, not what it was


def command_line(command: str, settings: Mapping[str, Any]) -> str:
    """``slimyolo COMMAND`` with all of `settings` that say something; options at None, false or empty are left out.

    `settings` as ``Config.to_plain()`` gives them. The result can be pasted into a shell.
    """
    words = ["slimyolo", *command.split()]
    for key, value in settings.items():
        if value is None or value is False or value in ("", [], ()) or key in ONLY_ASKED:
            continue
        name = "--json" if key == "json_file" else "--" + key.replace("_", "-")
        values = (
            [] if value is True else [str(item) for item in (value if isinstance(value, (list, tuple)) else [value])]
        )
        words += [*([] if key in POSITIONAL else [name]), *values]
    return shlex.join(words)


def validation_command(weights: str, settings: Mapping[str, Any], folder: str) -> str:
    """The ``slimyolo val`` that leaves curves, label statistics and validation pictures where a report finds them."""
    chosen = {key: settings.get(key) for key in ("data", "imgsz", "single_cls")}
    if chosen["data"] is None:
        chosen["data"] = "data.yaml"
    return command_line("val", {"weights": weights, **chosen, "project": folder, "name": "val"})


def bench_command(weights: Sequence[str], imgsz: int | None, folder: str) -> str:
    """The ``slimyolo bench`` that times these checkpoints and leaves its record where a report finds it."""
    return command_line("bench", {"weights": list(weights), "imgsz": imgsz, "project": folder, "name": "bench"})
