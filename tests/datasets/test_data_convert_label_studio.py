"""Table of cases: what an export of Label Studio may hold besides plain boxes, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from foreign_datasets import Picture, label_studio_annotation, label_studio_task, write_json, write_pictures
from test_data_convert_formats import ONE, TWO, convert, pixels

from slimyolo.data.convert.formats.label_studio import picture_names


def region(kind: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "x",
        "type": kind,
        "value": value,
        "original_width": 100,
        "original_height": 50,
        "image_rotation": 0,
        **more,
    }


LABEL_STUDIO_CASES: dict[str, tuple[list[dict[str, Any]], list[list[float]], dict[str, int]]] = {
    "turned by 90 degrees around its upper left corner": (
        [
            region(
                "rectanglelabels",
                {"x": 50, "y": 20, "width": 10, "height": 20, "rotation": 90, "rectanglelabels": ["cat"]},
            )
        ],
        [[40, 10, 50, 20]],
        {},
    ),
    "polygon": (
        [region("polygonlabels", {"points": [[10, 10], [20, 10], [15, 50]], "closed": True, "polygonlabels": ["cat"]})],
        [[10, 5, 20, 25]],
        {},
    ),
    "ellipse turned by 90 degrees": (
        [
            region(
                "ellipselabels",
                {"x": 50, "y": 50, "radiusX": 10, "radiusY": 10, "rotation": 90, "ellipselabels": ["cat"]},
            )
        ],
        [[45, 15, 55, 35]],
        {},
    ),
    "brush": (
        [region("brushlabels", {"format": "rle", "rle": [1, 2], "brushlabels": ["cat"]})],
        [],
        {"shape without a box": 1},
    ),
    "key point": (
        [region("keypointlabels", {"x": 1, "y": 2, "width": 0.3, "keypointlabels": ["cat"]})],
        [],
        {"shape without a box": 1},
    ),
    "rectangle and label apart": (
        [
            region("rectangle", {"x": 10, "y": 10, "width": 10, "height": 20}),
            region("labels", {"x": 10, "y": 10, "width": 10, "height": 20, "labels": ["cat"]}),
            region("choices", {"choices": ["sharp"]}, id="y"),
            {"type": "relation", "from_id": "x", "to_id": "y", "direction": "right"},
        ],
        [[10, 5, 20, 15]],
        {},
    ),
    "rectangle without a label": (
        [region("rectangle", {"x": 10, "y": 10, "width": 10, "height": 20})],
        [],
        {"class unknown": 1},
    ),
    "wrong number": (
        [region("rectanglelabels", {"x": None, "y": 10, "width": 10, "height": 20, "rectanglelabels": ["cat"]})],
        [],
        {"box with a wrong number": 1},
    ),
}


@pytest.mark.parametrize("case", LABEL_STUDIO_CASES)
def test_label_studio_regions(case: str, tmp_path: Path) -> None:
    result, boxes, left_out = LABEL_STUDIO_CASES[case]
    write_pictures(tmp_path / "ls", (ONE, TWO))
    tasks = [label_studio_task(ONE, 1), label_studio_task(TWO, 2)]
    tasks[0]["annotations"] = [label_studio_annotation(result, 3)]
    write_json(tmp_path / "ls" / "export.json", tasks)
    report = convert(tmp_path / "ls")
    assert pixels(report, "a") == boxes
    assert report.counts == left_out


def test_label_studio_annotations(tmp_path: Path) -> None:
    """Cancelled ones never count; of several the ground truth counts, else the newest; without any, nobody has looked."""
    pictures = [
        Picture(f"{name}.jpg", (50, 100), ONE.boxes)
        for name in ("several", "truth", "cancelled", "none", "empty", "turned")
    ]
    write_pictures(tmp_path / "ls", pictures)
    tasks = {one.name[:-4]: label_studio_task(one, number) for number, one in enumerate(pictures)}
    old = tasks["several"]["annotations"][0]
    new = label_studio_annotation(
        label_studio_task(TWO, 1)["annotations"][0]["result"], 9, updated_at="2026-02-01T10:00:00Z"
    )
    stopped = {**new, "was_cancelled": True, "updated_at": "2026-03-01T10:00:00Z"}
    tasks["several"]["annotations"] = [old, new, stopped]
    tasks["truth"]["annotations"] = [{**old, "ground_truth": True}, new]
    tasks["cancelled"]["annotations"] = [stopped]
    tasks["none"] |= {"annotations": [], "predictions": [{"result": old["result"]}]}
    tasks["empty"]["annotations"] = [label_studio_annotation([], 5)]
    tasks["turned"]["annotations"][0]["result"][0]["image_rotation"] = 90
    write_json(tmp_path / "ls" / "export.json", list(tasks.values()))
    report = convert(tmp_path / "ls")
    assert pixels(report, "several") == [[0, 0, 100, 50]]
    assert pixels(report, "truth") == [[10, 5, 60, 25]]
    assert pixels(report, "empty") == []
    assert report.counts == {"annotation not used": 2, "picture not annotated": 2, "picture not readable": 1}


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("/data/upload/1/0a1b2c3d-my%20cat.jpg", ("data/upload/1/0a1b2c3d-my cat.jpg", "my cat.jpg")),
        ("/data/local-files/?d=album%2Fm%C3%BCde%20Katze.jpg", ("album/müde Katze.jpg", "müde Katze.jpg")),
        ("/data/local-files/?d=C:%5Calbum%5Ccat.jpg", ("C:/album/cat.jpg", "cat.jpg")),
        ("s3://bucket/album/cat.jpg", ("album/cat.jpg", "cat.jpg")),
        ("https://host/album/cat.jpg?X-Amz-Signature=1%2F2", ("album/cat.jpg", "cat.jpg")),
        ("/tasks/7/resolve/?fileuri=czM6Ly9idWNrZXQvYWxidW0vY2F0LmpwZw==", ("album/cat.jpg", "cat.jpg")),
        ("C:\\album\\cat.jpg", ("C:/album/cat.jpg", "cat.jpg")),
        ("cat.jpg", ("cat.jpg",)),
    ],
)
def test_label_studio_addresses(address: str, names: tuple[str, ...]) -> None:
    assert picture_names(address) == names
