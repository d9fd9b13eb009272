"""The last lines of a chain on the terminal: what it reached, where the files are, and what to type next."""

from __future__ import annotations

import logging
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
    log.info("\n%s", "\n".join(f"{what + ':':<{widest}} {path}" for what, path in places))
    log.info("\nNext:\n%s", "\n".join(f"  {command}" for command in commands))


def next_commands(first: StageRow, last: StageRow, ending: Ending, data: Path) -> tuple[str, ...]:
    """The commands that look at, compare and time the result: ``predict``, ``serve`` and ``bench``, ready to be pasted."""
    file = next(iter(ending.files.values()), Path(last.weights))
    runtimes = ["--runtime", ",".join(ending.milliseconds)] if ending.milliseconds else []
    stated = stored_size(first.weights)  # with it, serve and bench work where --imgsz is not given
    sides = [] if stated is None or stated == (first.imgsz, first.imgsz) else ["--imgsz", first.imgsz]
    commands = (
        ("predict", "--weights", file, "--source", _picture(data)),
        ("serve", "--weights", first.weights, last.weights, *sides),
        ("bench", "--weights", first.weights, last.weights, *sides, *runtimes),
    )
    return tuple(shlex.join(["slimyolo", *map(str, words)]) for words in commands)


def _picture(data: Path) -> str:
    """A validation image, or a name that stands for one when the dataset can no longer be read."""
    try:
        return str(read_split(read_dataset_yaml(data), "val").samples[0].image)
    except (SlimyoloError, IndexError):
        return "photo.jpg"
