"""Golden: the stage table as Markdown."""

from __future__ import annotations

from slimyolo.reports import StageRow, stage_table_markdown

BASE = StageRow("base", 0.8521, 0.7144, 0.7761, 0.4672, 1_766_623, 518_000_000, 320, 45, 24.04, "base/weights/best.pt")
CUT = StageRow("pruned", 1.0, 0.0, 0.7424, 0.4219, 883_311, 259_000_000, 320, 0, 0.1, "pruned/pruned.pt")


def test_shares_refer_to_the_first_row() -> None:
    assert stage_table_markdown([BASE, CUT]) == (
        "| stage | epochs | P | R | mAP50 | mAP50-95 | params (M) | GFLOPs @320 | minutes |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        "| base | 45 | .852 | .714 | .776 | .467 | 1.77 (100%) | 1.04 (100%) | 24.0 |\n"
        "| pruned | 0 | 1.000 | .000 | .742 | .422 | 0.88 (50%) | 0.52 (50%) | 0.1 |\n"
    )


def test_no_stage_yet() -> None:
    assert stage_table_markdown([]) == "No stage has finished yet.\n"
