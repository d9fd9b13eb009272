"""Table of cases: what the dataset report finds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from slimyolo.data import DatasetReport, check_dataset, empty_classes_words, read_dataset_yaml
from slimyolo.storage import to_plain

MakeDataset = Callable[..., Path]


def check(source: Path) -> DatasetReport:
    return check_dataset(read_dataset_yaml(source), imgsz=320)


def test_clean_dataset(make_dataset: MakeDataset) -> None:
    source = make_dataset(train=9, val=2)
    report = check(source)
    train, val = report.splits
    assert val.images == 2
    assert report.usable
    assert report.obstacles == ()
    assert report.verdict == "A training with this dataset would start."
    assert report.clean
    assert (train.images, train.boxes, train.backgrounds, train.unlabelled) == (9, 12, 3, 0)
    assert sum(row.boxes for row in train.classes) == 12
    assert sum(row.box_share for row in train.classes) == pytest.approx(1)
    assert list(train.box_sides_px) == sorted(train.box_sides_px)
    assert 32 < train.box_sides_px[2] < 160  # boxes are 10 to 50 % of the side
    assert [one.split(".")[0] for one in report.remarks] == ["train: 9 images", "val: 2 images"]
    assert report.lines()[-3:] == (report.remarks[-1], "", "Nothing else is wrong.")
    assert to_plain(report)["splits"][0]["images"] == 9


def test_defects_are_told(make_dataset: MakeDataset) -> None:
    source = make_dataset(train=6, val=3)
    root = source.parent
    (root / "labels" / "train" / "001.txt").write_text("0 0.5 0.5 0.2 0.2\n9 0.5 0.5 0.2 0.2\n")
    (root / "labels" / "train" / "gone.txt").write_text("")
    (root / "labels" / "train" / "classes.txt").write_text("face\n")
    shutil.copy(root / "images" / "train" / "002.png", root / "images" / "train" / "002.bmp")
    shutil.copy(root / "images" / "train" / "003.png", root / "images" / "val" / "copy.png")
    report = check(source)
    train, val = report.splits
    assert report.usable
    assert not report.clean
    assert [path.name for path in train.orphan_labels] == ["gone.txt"]
    assert [path.name for path in train.shared_labels] == ["002.txt"]
    assert val.unlabelled == 1
    assert any({"train", "val"} == set(group.splits) and len(group.images) >= 2 for group in report.leaks)
    text = "\n".join(report.lines())
    for words in ("001.txt:2: has class 9", "without an image: 1", "of several images: 1", "in several splits"):
        assert words in text
    assert "no file was changed" in text
    assert text.count("001.txt:2: has class 9") == 1
    assert "\n  defects, class: 1\n" in text
    assert "003.txt" not in "\n".join(report.lines(limit=1)).partition("Defects")[2]


def test_split_that_cannot_be_used_is_part_of_the_report(make_dataset: MakeDataset) -> None:
    source = make_dataset(train=3)
    source.write_text("train: images/train\nval: images/none\nnames: [face, face_mask]\n")
    report = check(source)
    assert not report.usable
    assert "do not exist" in report.splits[1].error
    assert "do not exist" in "\n".join(report.lines())


@pytest.mark.parametrize(
    ("places", "obstacle", "offered"),
    [
        ("train: images/train\n", "names no val images", True),
        ("train: images/train\nval: images/none\n", "val: The images", True),
        ("val: images/train\n", "names no train images", False),
        ("train: images/none\nval: images/train\n", "train: The images", False),
    ],
)
def test_what_a_training_lacks(places: str, obstacle: str, offered: bool, make_dataset: MakeDataset) -> None:
    source = make_dataset(train=3)
    source.write_text(f"{places}names: [face, face_mask]\n")
    report = check(source)
    assert obstacle in report.obstacles[0]
    assert report.verdict.startswith("A training with this dataset would not start:")
    assert ("--split 0.8/0.2" in report.verdict) == offered
    assert "Nothing is wrong" not in "\n".join(report.lines())


def test_split_of_backgrounds_has_no_box_sizes(make_dataset: MakeDataset) -> None:
    source = make_dataset(train=2, val=2)
    for label in (source.parent / "labels" / "val").iterdir():
        label.write_text("")
    assert check(source).splits[1].box_sides_px == ()


def test_shipped_yaml_files(mask_photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMYOLO_DATASETS", str(mask_photographs.parent))
    spec = read_dataset_yaml(Path(__file__).parents[2] / "data" / "mask.yaml")
    assert spec.names == ("face", "face_mask")
    report = check_dataset(spec, imgsz=320)
    assert report.clean
    assert [split.boxes for split in report.splits] == [3296, 776]
    assert report.leaks == ()


def test_a_class_without_a_box_is_told(make_dataset: MakeDataset) -> None:
    source = make_dataset(train=9, val=2)
    source.write_text(source.read_text().replace("face_mask]", "face_mask, hat]"))
    report = check(source)
    assert report.usable
    assert not report.clean
    (sentence,) = report.doubts
    assert sentence.startswith(
        "train: no box of 1 of the 3 classes (hat). A detector does not learn what it is never shown"
    )
    assert sentence in report.lines()
    assert "Nothing is wrong." not in report.lines()


def test_pictures_of_both_splits_are_told(make_dataset: MakeDataset) -> None:
    source = make_dataset(train=9)
    source.write_text(source.read_text() + "val: images/train\n")
    report = check(source)
    (sentence,) = report.doubts
    assert sentence.startswith("9 of the 9 val images are train images, too. The metrics will look better")
    assert len(report.leaks) == 9
    assert all(leak.splits == ("train", "val") and len(leak.images) == 1 for leak in report.leaks)


@pytest.mark.parametrize(
    ("names", "boxes", "expected"),
    [
        (["a", "b"], [1, 2], ""),
        (["a", "b"], [0, 0], ""),  # told elsewhere
        (
            [f"c{n}" for n in range(11)],
            [5] + [0] * 10,
            "no box of 10 of the 11 classes (c1, c2, c3, c4, c5, c6, c7, c8 and 2 more)",
        ),
    ],
)
def test_empty_classes_in_words(names: list[str], boxes: list[int], expected: str) -> None:
    words = empty_classes_words("train", names, boxes)
    assert words.startswith(f"train: {expected}" if expected else "")
    assert bool(words) == bool(expected)
