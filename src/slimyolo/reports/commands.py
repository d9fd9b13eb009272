"""Turns the settings in a record back into the command line that repeats them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["bench_command", "command_line", "validation_command"]

POSITIONAL = ("file", "folder", "first", "second")
ONLY_ASKED = ("resume",)  # it says how a run was continued, not what the run is


def command_line(command: str, settings: Mapping[str, Any]) -> str:
    """``slimyolo COMMAND`` with `settings` as options, quoted so that it can be pasted into a shell.

    `settings` are plain values as ``Config.to_plain()`` returns them. Settings that are None, false or empty are left
    out.
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
    """The ``slimyolo val`` command whose curves, label statistics and pictures are found by a report on `folder`."""
    chosen = {key: settings.get(key) for key in ("data", "imgsz", "single_cls")}
    if chosen["data"] is None:
        chosen["data"] = "data.yaml"
    return command_line("val", {"weights": weights, **chosen, "project": folder, "name": "val"})


def bench_command(weights: Sequence[str], imgsz: int | None, folder: str) -> str:
    """The ``slimyolo bench`` command that times `weights` and whose record is found by a report on `folder`."""
    return command_line("bench", {"weights": list(weights), "imgsz": imgsz, "project": folder, "name": "bench"})
