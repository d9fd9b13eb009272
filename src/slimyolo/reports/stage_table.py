"""The stage table: one row for each stage of a chain, with accuracy, size and cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from slimyolo.detections import Estimate, interval_words, rule_words
from slimyolo.one_line import one_line_repr
from slimyolo.reports.stages import Run, Stage

__all__ = [
    "StageRow",
    "TableRow",
    "gflops_words",
    "stage_head",
    "stage_row",
    "stage_table_markdown",
    "three_decimals",
    "training_words",
]


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class StageRow:
    """What was measured of one stage of the chain, on the validation images.

    `precision` and `recall` are taken at the confidence where the mean F1 over the classes is highest. `macs` counts
    the multiply-accumulate operations of convolutions, linear layers and matrix products for one image of `imgsz` ×
    `imgsz` pixels. `epochs` are the epochs trained in this stage (0 for the cut). `rule` names how mAP is computed
    (`detections.rules`); tables of older versions do not state it and always follow YOLOv5. `params` and `macs` are those
    of the exported network. `training_params` and `training_macs` are what a branch adds that only training reads.
    `map50_change` and `map50_95_change` are the differences to the first row with their 95 % intervals; None for the first
    row, and in tables of older versions. `megabytes` (of 10⁶ bytes) are those of the exported file, by format, and
    `milliseconds` the median time of one image, by runtime; both are empty for stages that were not exported.
    """

    stage: str
    precision: float
    recall: float
    map50: float
    map50_95: float
    params: int
    macs: int
    imgsz: int
    epochs: int
    minutes: float
    weights: str
    rule: str = "yolov5"
    training_params: int = 0
    training_macs: int = 0
    map50_change: Estimate | None = None
    map50_95_change: Estimate | None = None
    megabytes: Mapping[str, float] = field(default_factory=dict)
    milliseconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def gflops(self) -> float:
        """Two times the MACs at `imgsz`, in units of 10⁹."""
        return 2 * self.macs / 1e9


def stage_table_markdown(rows: Sequence[StageRow], notes: Sequence[str] = ()) -> str:
    """The rows as a GitHub table, with parameters, GFLOPs, megabytes and milliseconds also as a share of the first row.

    Differences to the first row, files and times have columns of their own when they are known. The last lines name the rule
    by which mAP is computed, and say what a branch that only training reads adds; `notes` follow, a paragraph each.
    """
    if not rows:
        return "No stage has finished yet.\n"
    first = rows[0]
    changed = any(row.map50_change is not None for row in rows)
    changes = (f"mAP50 − {first.stage}", f"mAP50-95 − {first.stage}") if changed else ()
    cost = f"GFLOPs @{first.imgsz}"
    files = tuple(dict.fromkeys(name for row in rows for name in row.megabytes))
    runtimes = tuple(dict.fromkeys(name for row in rows for name in row.milliseconds))
    measured = (*(f"{name} (MB)" for name in files), *(f"{name} (ms)" for name in runtimes))
    head = ("stage", "epochs", "P", "R", "mAP50", "mAP50-95", *changes, "params (M)", cost, *measured, "minutes")
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for row in rows:
        cells = (
            row.stage,
            str(row.epochs),
            three_decimals(row.precision),
            three_decimals(row.recall),
            three_decimals(row.map50),
            three_decimals(row.map50_95),
            *(_change(one) for one in (row.map50_change, row.map50_95_change) if changed),
            f"{row.params / 1e6:.2f} ({row.params / max(first.params, 1):.0%})",
            f"{row.gflops:.2f} ({row.macs / max(first.macs, 1):.0%})",
            *(_with_share(row.megabytes, first.megabytes, name) for name in files),
            *(_with_share(row.milliseconds, first.milliseconds, name) for name in runtimes),
            f"{row.minutes:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", rule_words(row.rule for row in rows)]
    if changed:
        lines.append("In brackets: 95 % intervals of the differences, by resampling the validation images.")
    added = training_words([(row.training_params, row.training_macs) for row in rows])
    lines += [added] if added else []
    lines += [line for note in notes for line in ("", note)]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class TableRow:
    """One row of the stage table of a page. All cells are text."""

    name: str
    cells: tuple[str, ...]


def stage_head(stages: Sequence[Stage], changes: bool) -> tuple[str, ...]:
    """The heads of the columns on a page, those for changes only where some are known."""
    cost, between = gflops_words(stage.imgsz for stage in stages), ("Δ mAP50", "Δ mAP50-95") if changes else ()
    return ("stage", "epochs", "P", "R", "mAP50", "mAP50-95", *between, "params (M)", cost, "minutes")


def stage_row(stage: Stage, run: Run, changes: bool) -> TableRow:
    """The row of `stage`, with its size also as a share of the first measured stage of `run`."""
    first = run.dense
    n = stage.numbers
    shares = tuple(three_decimals(v) for v in (n.precision, n.recall, n.map50, n.map50_95)) if n else ("—",) * 4
    between = tuple(interval_words(one) for one in stage.changes) if stage.changes else ("", "")
    params = gflops = "—"
    if stage.params is not None and stage.gflops is not None and stage.macs is not None:
        params, gflops = f"{stage.params / 1e6:.2f}", f"{stage.gflops:.2f}"
        if run.slim is not None and first is not None and first.params and first.macs:
            params += f" ({stage.params / first.params:.0%})"
            gflops += f" ({stage.macs / first.macs:.0%})"
    minutes = "—" if stage.minutes is None else f"{stage.minutes:.1f}"
    name = stage.name if stage.finished else f"{stage.name} (not finished)"
    return TableRow(name, (str(stage.epochs), *shares, *(between if changes else ()), params, gflops, minutes))


def gflops_words(sizes: Iterable[int | None]) -> str:
    """The head of the column of GFLOPs, with all image sizes that are known."""
    known = sorted({size for size in sizes if size})
    return "GFLOPs @" + "/".join(map(str, known)) if known else "GFLOPs"


def _change(one: Estimate | None) -> str:
    return "" if one is None else interval_words(one)


def _with_share(amounts: Mapping[str, float], firsts: Mapping[str, float], name: str) -> str:
    """The amount of this name, and its share of the first row's; empty when it is not known."""
    if name not in amounts:
        return ""
    return f"{amounts[name]:.2f}" + (f" ({amounts[name] / firsts[name]:.0%})" if firsts.get(name) else "")


def training_words(added: Sequence[tuple[int, int]]) -> str:
    """What a branch that only training reads adds: (parameters, MACs) of each stage → a sentence; empty without a branch."""
    if not any(params for params, _ in added):
        return ""
    params = " → ".join(f"{one[0] / 1e6:.2f}" for one in (added[0], added[-1]))
    gflops = " → ".join(f"{2 * one[1] / 1e9:.2f}" for one in (added[0], added[-1]))
    return (
        "Parameters and GFLOPs are those of the exported network. The branch of the head that only training reads adds "
        f"{params} M parameters and {gflops} GFLOPs (first → last stage)."
    )


def three_decimals(value: float) -> str:
    """Three decimals without the leading zero, as papers about detection print them."""
    return f"{value:.3f}".removeprefix("0") if 0 <= value < 1 else f"{value:.3f}"
