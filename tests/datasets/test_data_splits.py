"""Table of cases: what a split consists of, and what is left out of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from slimyolo import file_stamps
from slimyolo.data import SplitData, read_dataset_yaml, read_split
from slimyolo.data.dataset import kept_reading
from slimyolo.data.pictures import image_scan
from slimyolo.errors import DataError

MakeDataset = Callable[..., Path]
PICTURE = cv2.imencode(".png", np.full((30, 40, 3), 90, np.uint8))[1].tobytes()


def read(source: Path, split: str = "train", **options: bool) -> SplitData:
    return read_split(read_dataset_yaml(source), split, **options)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def test_folder(make_dataset: MakeDataset) -> None:
    source = make_dataset(train=9, val=4)
    before = snapshot(source.parent)
    split = read(source)
    assert [sample.image.name for sample in split.samples] == [f"{number:03}.png" for number in range(9)]
    assert (len(split), split.boxes, split.backgrounds, split.unlabelled) == (9, 12, 3, 0)
    assert split.class_counts().sum() == 12
    assert split.defects == ()
    assert split.names == ("face", "face_mask")
    assert snapshot(source.parent) == before
    assert "9 images, 12 boxes, 3 images without objects" in split.summary()[0]


def test_size_is_height_and_width(make_dataset: MakeDataset) -> None:
    for sample in read(make_dataset(train=3)).samples:
        assert sample.size == cv2.imread(str(sample.image)).shape[:2]


def test_what_a_folder_may_hold_besides(make_dataset: MakeDataset) -> None:
    source = make_dataset(train=3)
    images = source.parent / "images" / "train"
    (images / "folder.jpg").mkdir()  # named like an image
    (images / "folder.jpg" / "inner.PNG").write_bytes(PICTURE)
    (images / "._000.png").write_bytes(b"a resource fork")
    (images / ".hidden").mkdir()
    (images / ".hidden" / "a.png").write_bytes(PICTURE)
    (images / "notes.md").write_text("nothing")
    (images / "photo.heic").write_bytes(b"x")
    os.symlink(images, images / "loop")
    split = read(source)
    assert {sample.image.name for sample in split.samples} == {"000.png", "001.png", "002.png", "inner.PNG"}
    assert split.unlabelled == 1
    assert [(defect.file.name, defect.kind) for defect in split.defects] == [("photo.heic", "format")]


def test_unicode_folder_and_file(make_dataset: MakeDataset) -> None:
    source = make_dataset("Gesichter 顔", train=2)
    images = source.parent / "images" / "train"
    (images / "000.png").rename(images / "Zoë 口罩.png")
    (source.parent / "labels" / "train" / "Zoë 口罩.txt").write_text("1 0.5 0.5 0.2 0.2")
    names = {sample.image.name: len(sample.boxes) for sample in read(source).samples}
    assert names == {"001.png": 1, "Zoë 口罩.png": 1}


def test_list_file(make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_dataset(train=4)
    root = source.parent
    (root / "lists").mkdir()
    lines = [
        "# chosen by hand",
        "./images/train/000.png",  # relative to the root
        "../images/train/001.png",  # relative to the list
        "",
        str(root / "images" / "train" / "002.png"),
        "images/train/002.png",  # once more
        "images/train/none.png",
        "lists/notes.md",
    ]
    (root / "lists" / "notes.md").write_text("x")
    (root / "lists" / "a.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    source.write_text("train: [lists/a.txt, images/train]\nnames: [face, face_mask]\n")
    split = read(source)
    assert [sample.image.name for sample in split.samples] == ["000.png", "001.png", "002.png", "003.png"]
    of_list = [(defect.line, defect.kind) for defect in split.defects if defect.file.name == "a.txt"]
    assert of_list == [(6, "listed twice"), (7, "missing image"), (8, "format")]
    assert sum(defect.kind == "listed twice" for defect in split.defects) == 4
    assert "looked in" in next(str(defect) for defect in split.defects if defect.kind == "missing image")


def test_one_image_as_split(make_dataset: MakeDataset) -> None:
    source = make_dataset(train=2)
    source.write_text("train: images/train/001.png\nnames: [face, face_mask]\n")
    assert len(read(source)) == 1


def test_damaged_images_are_left_out_with_a_reason(make_dataset: MakeDataset) -> None:
    source = make_dataset(train=8)
    images = source.parent / "images" / "train"
    (images / "000.png").write_bytes(b"")
    (images / "001.png").write_bytes(PICTURE[:-30])
    (images / "002.png").write_bytes(b"no image")
    (images / "003.png").write_bytes(cv2.imencode(".png", np.zeros((1, 640, 3), np.uint8))[1].tobytes())
    split = read(source)
    assert len(split) == 4
    assert [(defect.file.name, defect.outcome) for defect in split.defects] == [
        (f"00{number}.png", "image skipped") for number in range(4)
    ]
    assert "image: 4" in split.summary(limit=1)
    assert "  … and 3 more" in split.summary(limit=1)


def test_label_defects_carry_file_and_line(make_dataset: MakeDataset) -> None:
    source = make_dataset(train=3)
    label = source.parent / "labels" / "train" / "000.txt"
    label.write_text("0 0.5 0.5 0.2 0.2\n5 0.5 0.5 0.2 0.2\n")
    (source.parent / "labels" / "train" / "001.txt").write_text("5 0.5 0.5 0.2 0.2\n")
    split = read(source)
    assert [sample.image.name for sample in split.samples] == ["000.png", "002.png"]
    assert [(defect.file.name, defect.line, defect.outcome) for defect in split.defects] == [
        ("000.txt", 2, "row skipped"),
        ("001.txt", 1, "row skipped"),
        ("001.txt", None, "image skipped"),
    ]


def test_label_that_is_a_folder_counts_as_none(make_dataset: MakeDataset) -> None:
    source = make_dataset(train=3)
    label = source.parent / "labels" / "train" / "002.txt"
    label.unlink()
    label.mkdir()
    assert read(source).unlabelled == 1


def test_single_class(make_dataset: MakeDataset) -> None:
    split = read(make_dataset(train=9), single_class=True)
    assert split.names == ("object",)
    assert split.class_counts().tolist() == [12]


def test_fingerprint_follows_content_not_place(make_dataset: MakeDataset) -> None:
    first, second = make_dataset("a", train=5), make_dataset("b", train=5)
    assert read(first).fingerprint == read(second).fingerprint
    assert read(first).fingerprint != read(first, single_class=True).fingerprint
    (second.parent / "labels" / "train" / "001.txt").write_text("0 0.5 0.5 0.25 0.2\n")
    assert read(first).fingerprint != read(second).fingerprint


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        ("rm -r images/train", r"images/train do not exist\. .*images exists and holds: nothing"),
        ("rm images/train/*", "There is no image in"),
        ("rm -r labels", r"None of the 2 train images .*labels/train/000\.txt"),
        ("for f in labels/train/*; do : > $f; done", "not a single box"),
        ("for f in images/train/*; do : > $f; done", r"No image of the train split .*empty .*slimyolo data check"),
        (
            "for f in labels/train/*; do echo x > $f; done",
            r"No image of the train split .*000\.txt:1: .*not a number|columns",
        ),
        ("mv images/train images/x; touch images/train", "is not a folder of images, a .txt list or an image"),
        (
            "rm -r images/train; echo 'train: a.txt\nnames: [a]' > data.yaml; echo z.png > a.txt",
            r"The first problem: .*z\.png does",
        ),
    ],
)
def test_split_without_anything_left(make_dataset: MakeDataset, break_it: str, message: str) -> None:
    source = make_dataset(train=2)
    assert os.system(f"cd '{source.parent}' && {{ {break_it}; }}") == 0
    with pytest.raises(DataError, match=message):
        read(source)


def test_background_only_is_fine_for_validation(make_dataset: MakeDataset) -> None:
    source = make_dataset(train=2, val=2)
    for label in (source.parent / "labels" / "val").iterdir():
        label.write_text("")
    assert read(source, "val").backgrounds == 2


def test_what_was_seen_is_kept_outside_the_dataset(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = make_dataset(train=4)
    before = snapshot(source.parent)
    monkeypatch.setattr(image_scan, "_WORTH_KEEPING_S", -1.0)
    monkeypatch.setattr(kept_reading, "_WORTH_KEEPING_S", 1e9)
    monkeypatch.setattr(file_stamps, "SETTLED_NS", -(10**12))  # the files of this test are new
    (source.parent / "images" / "train" / "003.png").write_bytes(b"damaged")
    first = read(source)
    (cache,) = (tmp_path / "user-cache" / "slimyolo").iterdir()
    seen: list[Path] = []
    look = image_scan.look_at_image
    monkeypatch.setattr(image_scan, "look_at_image", lambda image: seen.append(image) or look(image))
    again = read(source)
    assert seen == []
    assert again.fingerprint == first.fingerprint
    assert [str(defect) for defect in again.defects] == [str(defect) for defect in first.defects]
    assert [sample.size for sample in again.samples] == [sample.size for sample in first.samples]
    (source.parent / "images" / "train" / "001.png").write_bytes(PICTURE)  # a changed file is looked at again
    assert read(source).samples[1].size == (30, 40)
    assert [path.name for path in seen] == ["001.png"]
    assert set(snapshot(source.parent)) == set(before)
    cache.write_text(json.dumps({"version": "other"}))
    assert len(read(source)) == 3
    cache.write_text("damaged")
    assert len(read(source)) == 3


def test_cache_that_cannot_be_written_does_not_matter(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(image_scan, "_WORTH_KEEPING_S", -1.0)
    assert len(read(make_dataset(train=2))) == 2


def test_real_photographs(mask_photographs: Path) -> None:
    spec = read_dataset_yaml(mask_photographs / "data.yaml")
    train, val = read_split(spec, "train"), read_split(spec, "val")
    assert (len(train), train.class_counts().tolist()) == (682, [693, 2603])
    assert (len(val), val.class_counts().tolist()) == (171, [147, 629])
    assert train.defects == val.defects == ()
