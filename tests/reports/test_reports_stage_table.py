"""Golden: the stage table as Markdown."""

from __future__ import annotations

from dataclasses import replace

from slimyolo.detections import Estimate
from slimyolo.reports import StageRow, stage_table_markdown

BASE = StageRow(
    stage="base",
    precision=0.8521,
    recall=0.7144,
    map50=0.7761,
    map50_95=0.4672,
    params=1_766_623,
    macs=518_000_000,
    imgsz=320,
    epochs=45,
    minutes=24.04,
    weights="base/weights/best.pt",
)
CUT = StageRow(
    stage="pruned",
    precision=1.0,
    recall=0.0,
    map50=0.7424,
    map50_95=0.4219,
    params=883_311,
    macs=259_000_000,
    imgsz=320,
    epochs=0,
    minutes=0.1,
    weights="pruned/pruned.pt",
)


def test_shares_refer_to_the_first_row() -> None:
    assert stage_table_markdown([BASE, CUT]) == (
        "| stage | epochs | P | R | mAP50 | mAP50-95 | params (M) | GFLOPs @320 | minutes |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        "| base | 45 | .852 | .714 | .776 | .467 | 1.77 (100%) | 1.04 (100%) | 24.0 |\n"
        "| pruned | 0 | 1.000 | .000 | .742 | .422 | 0.88 (50%) | 0.52 (50%) | 0.1 |\n"
        "\nmAP by the rule yolov5: as YOLOv5 6.2 computes it.\n"
    )


def test_changes_have_columns_when_they_are_known() -> None:
    change = {"map50_change": Estimate(-0.0337, -0.0513, -0.0152), "map50_95_change": Estimate(0.0001)}
    assert stage_table_markdown([BASE, replace(CUT, **change)]) == (
        "| stage | epochs | P | R | mAP50 | mAP50-95 | mAP50 − base | mAP50-95 − base | params (M) | GFLOPs @320 | minutes |\n"
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        "| base | 45 | .852 | .714 | .776 | .467 |  |  | 1.77 (100%) | 1.04 (100%) | 24.0 |\n"
        "| pruned | 0 | 1.000 | .000 | .742 | .422 | −.034 (−.051, −.015) | ±.000 | 0.88 (50%) | 0.52 (50%) | 0.1 |\n"
        "\nmAP by the rule yolov5: as YOLOv5 6.2 computes it.\n"
        "In brackets: 95 % intervals of the differences, by resampling the validation images.\n"
    )


def test_no_stage_yet() -> None:
    assert stage_table_markdown([]) == "No stage has finished yet.\n"


def test_tables_name_the_rule() -> None:
    coco = replace(BASE, rule="coco")
    assert stage_table_markdown([coco]).endswith("\nmAP by the rule coco: as pycocotools computes it.\n")
    assert "mAP by several rules, coco, yolov5: numbers of different rules cannot" in stage_table_markdown([coco, CUT])
