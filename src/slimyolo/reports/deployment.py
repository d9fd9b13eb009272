"""What a chain gives to deploy: megabytes of the exported files and milliseconds, before and after."""

from __future__ import annotations

from pathlib import Path

from slimyolo.reports.records.bench import Bench, BenchLine
from slimyolo.reports.records.devices import Devices
from slimyolo.reports.records.exported import ExportedRow
from slimyolo.reports.stage_table import TableRow
from slimyolo.reports.stages import Run, Stage

__all__ = ["DEVICE_HEAD", "deployment_rows", "device_rows", "same_file", "times_of"]

DEVICE_HEAD = ("network", "device", "ms", "p95", "of dense", "budget")


def deployment_rows(run: Run) -> tuple[TableRow, ...]:
    """Rows (megabytes or milliseconds, before, after, change): for each format and each runtime that has both."""
    sizes: dict[str, dict[str, ExportedRow]] = {}
    for one in run.exported:
        sizes.setdefault(one.format, {})[one.model] = one
    rows = [
        TableRow(
            f"{name} file, MB",
            (
                f"{two['base'].megabytes:.2f}",
                f"{two['slim'].megabytes:.2f}",
                f"{two['slim'].megabytes / two['base'].megabytes:.0%}",
            ),
        )
        for name, two in sizes.items()
        if {"base", "slim"} <= set(two) and two["base"].megabytes > 0
    ]
    for bench in run.benches:
        rows += [
            TableRow(
                f"{name}, ms",
                (
                    f"{before.median_ms:.2f}",
                    f"{after.median_ms:.2f}",
                    f"{before.median_ms / after.median_ms:.2f} × as fast",
                ),
            )
            for name, (before, after) in times_of(bench, run).items()
            if after.median_ms > 0
        ]
    return tuple(rows)


def device_rows(devices: Devices) -> tuple[TableRow, ...]:
    """Rows (network, then `DEVICE_HEAD`): a row for each network on each device."""
    return tuple(
        TableRow(
            line.candidate,
            (
                line.device,
                f"{line.milliseconds:.2f}",
                "predicted" if line.p95_ms is None else f"{line.p95_ms:.2f}",
                f"{line.share:.0%}",
                "" if line.budget_ms is None else f"{line.budget_ms:.2f} ms, {'met' if line.meets else 'not met'}",
            ),
        )
        for line in devices.lines
    )


def times_of(bench: Bench, run: Run) -> dict[str, tuple[BenchLine, BenchLine]]:
    """Runtime (and precision, unless fp32) → the lines of the first and of the last stage of `run`, where both were timed."""
    ends = run.dense, run.slim
    found: dict[str, tuple[BenchLine, BenchLine]] = {}
    for kind in dict.fromkeys((line.runtime, line.precision) for line in bench.lines):
        pair = [_line_of(bench, stage, kind) for stage in ends if stage is not None]
        if len(pair) == 2 and pair[0] is not None and pair[1] is not None:
            found[kind[0] if kind[1] == "fp32" else " ".join(kind)] = (pair[0], pair[1])
    return found


def same_file(first: str, second: str) -> bool:
    """Whether two paths, typed in different working folders, mean the same checkpoint.

    They do when the longer path ends with the shorter one, and the shorter one names at least a folder and a file, or when
    both are the same path.
    """
    if first == second:
        return True
    parts = sorted((Path(first).parts, Path(second).parts), key=len)
    return len(parts[0]) > 1 and parts[1][-len(parts[0]) :] == parts[0]


def _line_of(bench: Bench, stage: Stage, kind: tuple[str, str]) -> BenchLine | None:
    lines = (line for line in bench.lines if (line.runtime, line.precision) == kind)
    return next((line for line in lines if same_file(line.weights, stage.weights)), None)


def _megabytes(before: float, after: float) -> tuple[str, str, str]:
    return f"{before:.2f}", f"{after:.2f}", f"{after / before:.0%}"
