"""The last lines of a chain on the terminal: what it reached, where the files are, and what to type next."""

from __future__ import annotations

import importlib.util
import logging
import os
import shlex
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path

from slimyolo.data import read_dataset_yaml, read_split
from slimyolo.errors import SlimyoloError
from slimyolo.reports import StageRow
from slimyolo.reports.drawn_table import drawn_comparison, drawn_stages
from slimyolo.tasks.chain.exports import Ending
from slimyolo.tasks.common.stored_size import stored_size

__all__ = ["next_commands", "say_last_lines"]

log = logging.getLogger("slimyolo")

PACKAGES = {"serve": ("starlette", "uvicorn")}  # command → packages that it needs beyond those of every command
FALLBACK = (80, 24)  # columns and lines, where the terminal does not say


def say_last_lines(
    rows: Sequence[StageRow],
    first: StageRow,
    last: StageRow,
    ending: Ending,
    *,
    warnings: Sequence[str],
    places: Sequence[tuple[str, Path | str]],
    commands: Sequence[str],
) -> None:
    """Log the tables, the `warnings`, the `places` (what, path) and the `commands`, in this order.

    It takes seven arguments because each is one part of the text.
    """
    width = shutil.get_terminal_size(FALLBACK).columns
    log.info("\n%s", drawn_stages(rows, width))
    if first.stage != last.stage:
        log.info("%s", drawn_comparison(first, last, width))
    if ending.timed_on:
        log.info("%s", textwrap.fill(ending.timed_on, width))
    for warning in warnings:
        log.warning("%s", warning)
    widest = max(len(what) for what, _ in places) + 1
    log.info("\n%s", "\n".join(f"{what + ':':<{widest}} {as_typed_here(path)}" for what, path in places))
    log.info("\nNext:\n%s", "\n".join(f"  {command}" for command in commands))


def next_commands(first: StageRow, last: StageRow, ending: Ending, data: Path) -> tuple[str, ...]:
    """The commands that look at, compare and time the result: ``predict``, ``serve`` and ``bench``, ready to be pasted."""
    file = next(iter(ending.files.values()), Path(last.weights))
    runtimes = ["--runtime", ",".join(ending.milliseconds)] if ending.milliseconds else []
    stated = stored_size(first.weights)  # with it, serve and bench work where --imgsz is not given
    sides = [] if stated is None or stated == (first.imgsz, first.imgsz) else ["--imgsz", first.imgsz]
    both = [as_typed_here(row.weights) for row in (first, last)]
    commands = (
        ("predict", "--weights", as_typed_here(file), "--source", as_typed_here(_picture(data))),
        ("serve", "--weights", *both, *sides),
        ("bench", "--weights", *both, *sides, *runtimes),
    )
    lines = [shlex.join(["slimyolo", *map(str, words)]) for words in commands]
    return tuple(f"{line}{_first_install(str(words[0]))}" for line, words in zip(lines, commands, strict=True))


def as_typed_here(path: str | Path) -> str:
    """`path` as a person would type it here: relative inside the working directory, else absolute, without ``..``."""
    whole = os.path.abspath(path)
    if os.path.exists(path) and not (os.path.exists(whole) and os.path.samefile(path, whole)):
        return str(path)  # a link and a ".." in it lead elsewhere than the plain text says
    near = os.path.relpath(whole)
    return whole if near.split(os.sep)[0] == os.pardir else near


def _first_install(command: str) -> str:
    """A comment behind a command whose packages are not installed, which says how to install them; else empty."""
    missing = [name for name in PACKAGES.get(command, ()) if importlib.util.find_spec(name) is None]
    return f"    # first: pip install 'slimyolo[{command}]'" if missing else ""


def _picture(data: Path) -> str:
    """A validation image, or a name that stands for one when the dataset can no longer be read."""
    try:
        return str(read_split(read_dataset_yaml(data), "val").samples[0].image)
    except (SlimyoloError, IndexError):
        return "photo.jpg"
