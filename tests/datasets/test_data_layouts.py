"""Table of cases: where other tools and systems put labels, how they write paths and rows, and what is read of them."""

from __future__ import annotations

import codecs
from pathlib import Path

import cv2
import numpy as np
import pytest

from slimyolo.data import check_dataset, read_dataset_yaml, read_split
from slimyolo.data.dataset.labels import parse_labels
from slimyolo.data.dataset.listed_paths import find_listed
from slimyolo.errors import DataError

ROW = "0 0.5 0.5 0.25 0.25\n"
BOX = [0.3, 0.4, 0.2, 0.2]
FACE = "0.26 0.36 0.34 0.36 0.3 0.4 0.27 0.45 0.33 0.45"  # five points inside BOX


def dataset(root: Path, files: dict[str, str], yaml: str = "train: .\n") -> Path:
    """Write pictures (without content), texts and the YAML with one class; return the YAML."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in (".jpg", ".png"):
            noise = np.random.default_rng(len(name)).integers(0, 255, (16, 16, 3), np.uint8)
            path.write_bytes(cv2.imencode(path.suffix.lower(), noise)[1].tobytes())
        else:
            path.write_bytes(content.encode())
    (root / "data.yaml").write_text(f"{yaml}names: [a]\n")
    return root / "data.yaml"


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/x.jpg", "labels/x.txt"),
        ("images/x.jpg", "images/x.txt"),  # beside the image, in a folder that is called images
        ("camera/images/x.jpg", "camera/images/x.txt"),
        ("images/x.JPG", "labels/x.TXT"),
        ("images/x.jpg", "images/x.Txt"),
        ("plain/x.jpg", "plain/x.TXT"),
        ("Images/x.jpg", "Labels/x.txt"),
        ("Images/train/x.jpg", "labels/train/x.txt"),
        ("images/x.jpg", "Labels/x.txt"),
        ("images/IMG_1.JPG", "labels/img_1.txt"),  # a tool that writes small letters
    ],
)
def test_the_label_file_is_found(tmp_path: Path, image: str, label: str) -> None:
    split = read_split(read_dataset_yaml(dataset(tmp_path, {image: "", label: ROW})), "train")
    assert split.samples[0].label == tmp_path / label
    assert (split.boxes, split.defects) == (1, ())


def test_labels_come_first_and_a_second_file_is_named(tmp_path: Path) -> None:
    two = "0 0.5 0.5 0.5 0.5\n"
    files = {"images/x.jpg": "", "labels/x.txt": ROW, "labels/x.TXT": two, "images/x.txt": two}
    split = read_split(read_dataset_yaml(dataset(tmp_path, files, "train: images\n")), "train")
    np.testing.assert_allclose(split.samples[0].boxes[0, 1:], [0.5, 0.5, 0.25, 0.25])
    assert [(defect.kind, defect.file.relative_to(tmp_path).as_posix()) for defect in split.defects] == [
        ("second label file", "labels/x.TXT"),
        ("second label file", "images/x.txt"),
    ]
    (tmp_path / "images/x.txt").write_text(ROW)  # a copy is nothing to talk about
    (tmp_path / "labels/x.TXT").write_text(ROW)
    assert read_split(read_dataset_yaml(tmp_path / "data.yaml"), "train").defects == ()


def test_large_and_small_letters_are_two_images(tmp_path: Path) -> None:
    files = {"images/A.jpg": "", "images/a.jpg": "", "labels/a.txt": ROW}
    split = read_split(read_dataset_yaml(dataset(tmp_path, files, "train: images\n")), "train")
    assert [(sample.image.stem, len(sample.boxes)) for sample in split.samples] == [("A", 0), ("a", 1)]


def test_label_files_of_no_image_are_found_with_any_suffix(tmp_path: Path) -> None:
    files = {"images/a.jpg": "", "labels/a.txt": ROW, "labels/b.TXT": ROW}
    (report,) = check_dataset(read_dataset_yaml(dataset(tmp_path, files, "train: images\n"))).splits
    assert report.orphan_labels == (tmp_path / "labels/b.TXT",)


# --- keypoints ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "points"),
    [
        ((2, 2), "0.32 0.41 0.28 0.35"),
        ((5, 2), FACE),
        ((2, 3), "0.32 0.41 2 0 0 0"),  # seen, and not marked
        ((1, 3), "0.3 0.4 1"),
        ((2, 2), "-1 -1 0.3 0.4"),  # as some tools mark a point that is missing
        ((2, 2), ""),  # an object without keypoints
    ],
)
def test_rows_of_keypoints_give_their_boxes(shape: tuple[int, int], points: str) -> None:
    labels = parse_labels(f"0 {' '.join(map(str, BOX))} {points}\n".encode(), Path("a.txt"), 1, shape)
    np.testing.assert_allclose(labels.boxes[:, 1:], [BOX], atol=1e-6)
    assert (labels.polygons, labels.defects) == ((), ())


def test_rows_that_do_not_fit_kpt_shape_are_left_out() -> None:
    labels = parse_labels(f"{ROW}0 0.1 0.1 0.2 0.1 0.2 0.2\n".encode(), Path("a.txt"), 1, (5, 2))
    assert len(labels.boxes) == 1
    assert "has 7 numbers, but kpt_shape [5, 2] makes 15" in str(labels.defects[0])


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        (f"0 0.3 0.4 0.2 0.2 {FACE}", "kpt_shape: [5, 2]"),
        ("0 0.3 0.4 0.2 0.2 0.32 0.41 1 0 0 0", "kpt_shape: [2, 3]"),  # one is seen, one is not marked
        ("0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9", ""),  # the corners of a turned box
        ("0 0.5 0.1 0.9 0.5 0.5 0.9", ""),  # a triangle
    ],
)
def test_keypoints_without_kpt_shape_are_asked_about(tmp_path: Path, row: str, asked: str) -> None:
    files = {"images/a.jpg": "", "labels/a.txt": row, "images/b.jpg": "", "labels/b.txt": ROW}
    split = read_split(read_dataset_yaml(dataset(tmp_path, files, "train: images\n")), "train")
    assert [defect.kind for defect in split.defects] == ["keypoints?"] * bool(asked)
    assert all(asked in defect.message for defect in split.defects)


@pytest.mark.parametrize("shape", ["17", "[17]", "[0, 2]", "[5, 4]", "[five, 2]"])
def test_kpt_shape_that_cannot_be(tmp_path: Path, shape: str) -> None:
    yaml = dataset(tmp_path, {"images/a.jpg": ""}, f"train: images\nkpt_shape: {shape}\n")
    with pytest.raises(DataError, match=r"kpt_shape must be the number of keypoints and 2 or 3 numbers"):
        read_dataset_yaml(yaml)


# --- paths --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "left_out"),
    [
        ("obj/a.png", ""),
        ("./obj/a.png", ""),
        (".\\obj\\a.png", ""),
        ("data/obj/a.png", "data/"),  # CVAT, darknet
        ("/home/somebody/faces/obj/a.png", "/home/somebody/faces/"),
        ("C:\\Users\\me\\faces\\obj\\a.png", "C:/Users/me/faces/"),
        ("../obj/a.png", "../"),
    ],
)
def test_paths_in_lists(tmp_path: Path, entry: str, left_out: str) -> None:
    (tmp_path / "obj").mkdir()
    (tmp_path / "obj/a.png").touch()
    found = find_listed(entry, (tmp_path,))
    assert found is not None
    assert (found.path, found.left_out) == (tmp_path / "obj/a.png", left_out)


def test_the_name_alone_is_never_enough(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert find_listed("camera2/a.png", (tmp_path,)) is None


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_lists_yaml_and_labels_with_a_byte_order_mark(tmp_path: Path, mark: bytes) -> None:
    def marked(text: str) -> bytes:
        coding = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}.get(mark, "utf-8")
        return mark + text.encode(coding)

    dataset(tmp_path, {"images/train/é.jpg": ""})
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/é.txt").write_bytes(marked(ROW.replace("\n", "\r\n")))
    (tmp_path / "list.txt").write_bytes(marked(".\\images\\train\\é.jpg\r\n"))
    (tmp_path / "data.yaml").write_bytes(marked("path: .\r\ntrain: list.txt\r\nval: images\\train\r\nnames: [é]\r\n"))
    spec = read_dataset_yaml(tmp_path / "data.yaml")
    assert spec.names == ("é",)
    assert [(split.boxes, split.defects) for split in map(read_split, (spec, spec), ("train", "val"))] == [(1, ())] * 2


def test_a_beginning_that_was_left_out_is_told_once(tmp_path: Path) -> None:
    files = {f"obj/{name}.{end}": ROW for name in "ab" for end in ("png", "txt")}
    lines = "data/obj/a.png\ndata/obj/b.png\ndata/obj/c.png\n"
    split = read_split(
        read_dataset_yaml(dataset(tmp_path, {**files, "train.txt": lines}, "train: train.txt\n")), "train"
    )
    assert split.boxes == 2
    told = [str(defect) for defect in split.defects]
    assert any("2 of its paths exist only without their beginning 'data/'" in line for line in told)
    assert any("data/obj/c.png does not exist" in line for line in told)
    assert len(told) == 2


def test_a_folder_of_another_place_is_answered_with_the_one_that_exists(tmp_path: Path) -> None:
    yaml = dataset(tmp_path, {"train/images/a.jpg": ""}, "train: /content/faces/train/images\n")
    with pytest.raises(DataError, match="exists: write 'train/images'"):
        read_split(read_dataset_yaml(yaml), "train")
