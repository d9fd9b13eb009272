"""The tables that a chain prints at its end: drawn with lines, and never wider than the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING

from slimyolo.detections import Estimate, interval_words
from slimyolo.reports.stage_table import StageRow, three_decimals

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["drawn_comparison", "drawn_stages"]

DROPPED = ("minutes", "epochs", "mAP50-95")
"""The columns that are left out of the table of stages when it is wider than the terminal, in this order."""


def drawn_stages(rows: Sequence[StageRow], width: int) -> str:
    """A row for each stage: accuracy, size and cost, with the shares of the first row; at most `width` columns wide."""
    if not rows:
        return "No stage has finished yet."
    first = rows[0]
    columns = {
        "stage": [row.stage for row in rows],
        "epochs": [str(row.epochs) for row in rows],
        "mAP50": [three_decimals(row.map50) for row in rows],
        "mAP50-95": [three_decimals(row.map50_95) for row in rows],
        "params (M)": [f"{row.params / 1e6:.2f} ({row.params / max(first.params, 1):.0%})" for row in rows],
        f"GFLOPs @{first.imgsz}": [f"{row.gflops:.2f} ({row.macs / max(first.macs, 1):.0%})" for row in rows],
        "minutes": [f"{row.minutes:.1f}" for row in rows],
    }
    for dropped in ("", *DROPPED):
        columns.pop(dropped, None)
        if _needed(columns) <= width:
            break
    return _drawn(tuple(columns), list(zip(*columns.values(), strict=True)), width)


def drawn_comparison(first: StageRow, last: StageRow, width: int) -> str:
    """The first and the last stage side by side: accuracy, size, megabytes of each file, milliseconds on each runtime."""
    rows = [
        (
            "mAP50",
            three_decimals(first.map50),
            three_decimals(last.map50),
            _change(first.map50, last.map50, last.map50_change),
        ),
        (
            "mAP50-95",
            three_decimals(first.map50_95),
            three_decimals(last.map50_95),
            _change(first.map50_95, last.map50_95, last.map50_95_change),
        ),
        _cost("parameters (M)", first.params / 1e6, last.params / 1e6),
        _cost(f"GFLOPs @{first.imgsz}", first.gflops, last.gflops),
    ]
    rows += [
        _cost(f"{name} file (MB)", first.megabytes[name], size)
        for name, size in last.megabytes.items()
        if name in first.megabytes
    ]
    rows += [
        (f"{name} (ms)", f"{first.milliseconds[name]:.2f}", f"{time:.2f}", _faster(first.milliseconds[name] / time))
        for name, time in last.milliseconds.items()
        if name in first.milliseconds
    ]
    return _drawn(("", first.stage, last.stage, "change"), rows, width)


def _cost(name: str, before: float, after: float) -> tuple[str, str, str, str]:
    return name, f"{before:.2f}", f"{after:.2f}", f"{after / before:.0%}" if before else "—"


def _change(before: float, after: float, change: Estimate | None) -> str:
    return interval_words(Estimate(after - before) if change is None else change)


def _faster(ratio: float) -> str:
    return f"{ratio:.2f} × as fast"


def _needed(columns: dict[str, list[str]]) -> int:
    """The width of the drawn table: each column has a line and two spaces."""
    return 1 + sum(3 + max(len(cell) for cell in (head, *cells)) for head, cells in columns.items())


def _drawn(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> str:
    from rich.console import Console  # not at the top: only a finished chain needs it

    stream = StringIO()
    console = Console(file=stream, width=max(width, 20), color_system=None, force_terminal=False, legacy_windows=False)
    console.print(_table(head, rows))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.ROUNDED)
    for place, words in enumerate(head):
        table.add_column(Text(words), justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # as text: square brackets are no markup
    return table
