"""The stage table: one row per stage of the chain, as people compare detectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slimyolo.detections import rule_words

__all__ = ["StageRow", "stage_table_markdown"]


@dataclass(frozen=True, kw_only=True)
class StageRow:
    """What one stage of the chain measured, on the validation images.

    `precision` and `recall` at the confidence of maximum mean F1; `gflops` = 2 × GMACs of the convolutions, linear and
    matrix products at `imgsz` × `imgsz`; `epochs` = epochs trained in this stage (0 for the cut); `rule`: by which mAP is
    computed (`detections.rules`), in old tables always that of YOLOv5.
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

    @property
    def gflops(self) -> float:
        """2 × GMACs at `imgsz`."""
        return 2 * self.macs / 1e9


def stage_table_markdown(rows: Sequence[StageRow]) -> str:
    """The rows as a GitHub table; sizes are also given as a share of the first row. The last line names the rule."""
    if not rows:
        return "No stage has finished yet.\n"
    first = rows[0]
    head = ("stage", "epochs", "P", "R", "mAP50", "mAP50-95", "params (M)", f"GFLOPs @{first.imgsz}", "minutes")
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for row in rows:
        cells = (
            row.stage,
            str(row.epochs),
            _three(row.precision),
            _three(row.recall),
            _three(row.map50),
            _three(row.map50_95),
            f"{row.params / 1e6:.2f} ({row.params / max(first.params, 1):.0%})",
            f"{row.gflops:.2f} ({row.macs / max(first.macs, 1):.0%})",
            f"{row.minutes:.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", rule_words(row.rule for row in rows)]
    return "\n".join(lines) + "\n"


def _three(value: float) -> str:
    """Three decimals without the leading zero, as detection papers print them."""
    return f"{value:.3f}".removeprefix("0") if 0 <= value < 1 else f"{value:.3f}"
