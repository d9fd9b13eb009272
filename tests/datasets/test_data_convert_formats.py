"""Table of cases: what each format may hold besides plain boxes, and what becomes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from foreign_datasets import (
    PICTURES,
    Picture,
    coco_document,
    cvat_labels,
    voc_xml,
    write_json,
    write_picture,
    write_pictures,
)

from slimyolo.data import decode_image, read_dataset_yaml, read_split
from slimyolo.data.convert.convert import Conversion, convert_dataset
from slimyolo.data.convert.placing import turned_back
from slimyolo.data.convert.report import ConversionReport
from slimyolo.errors import ConfigError

ONE = Picture("a.jpg", (50, 100), (("cat", 10.0, 5.0, 60.0, 25.0),))
TWO = Picture("b.jpg", (50, 100), (("cat", 0.0, 0.0, 100.0, 50.0),))


def convert(source: Path, **how: Any) -> ConversionReport:
    folder = source.absolute().parent / "converted"
    how.setdefault("shares", (0.5, 0.5))
    return convert_dataset(Conversion(source=source, folder=folder, **how))


def pixels(report: ConversionReport, stem: str, size: tuple[int, int] = (50, 100)) -> list[list[float]]:
    """The boxes (left, top, right, bottom) in pixels of a picture of (height, width) `size`."""
    (label,) = report.folder.glob(f"labels/*/{stem}.txt")
    rows = [[float(word) for word in line.split()] for line in label.read_text().splitlines()]
    height, width = size
    scale = np.asarray((width, height, width, height))
    corners = [np.asarray((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)) * scale for _, cx, cy, w, h in rows]
    return [one.round(4).tolist() for one in corners]


def annotation(**values: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "image_id": 100,
        "category_id": 1,
        "bbox": [1, 2, 3, 4],
        "iscrowd": 0,
        "segmentation": [],
        **values,
    }


COCO_CASES: dict[str, tuple[dict[str, Any], dict[str, int], dict[str, int]]] = {
    "crowd": (annotation(iscrowd=1, segmentation={"counts": [0, 9], "size": [3, 3]}), {"crowd": 1}, {}),
    "unknown category": (annotation(category_id=9), {"class unknown": 1}, {}),
    "no box but an outline": (
        annotation(bbox=[], segmentation=[[1, 1, 5, 1, 5, 9]]),
        {},
        {"outlines turned into boxes": 1},
    ),
    "no box but a mask": (
        annotation(bbox=None, segmentation={"counts": "x", "size": [3, 3]}),
        {"shape without a box": 1},
        {},
    ),
    "no number": (annotation(bbox=[1, 2, None, 4]), {"box with a wrong number": 1}, {}),
    "not finite": (annotation(bbox=[1, 2, float("nan"), 4]), {"box with a wrong number": 1}, {}),
    "three numbers": (annotation(bbox=[1, 2, 3]), {"box with a wrong number": 1}, {}),
    "no area": (annotation(bbox=[1, 2, 0, 4]), {"box without area": 1}, {}),
    "negative width": (annotation(bbox=[9, 2, -4, 4]), {"box without area": 1}, {}),
    "outside": (annotation(bbox=[101, 2, 9, 4]), {"box outside of the picture": 1}, {}),
    "over the edge": (annotation(bbox=[90, 2, 20, 4]), {}, {"boxes over the edge of the picture clipped": 1}),
    "twice": (annotation(bbox=[10, 5, 50, 20]), {"box given twice": 1}, {}),
    "image not listed": (annotation(image_id=55), {"picture missing": 1}, {}),
    "image number as text": (annotation(image_id="100"), {}, {}),
}


@pytest.mark.parametrize("case", COCO_CASES)
def test_coco_annotations(case: str, tmp_path: Path) -> None:
    extra, left_out, changed = COCO_CASES[case]
    document = coco_document((ONE, TWO))
    document["annotations"].append(extra)
    write_pictures(tmp_path / "coco", (ONE, TWO))
    write_json(tmp_path / "coco" / "my.json", document)
    report = convert(tmp_path / "coco")
    assert report.counts == left_out
    assert dict(report.changed) == changed
    assert pixels(report, "a")[0] == [10, 5, 60, 25]
    assert len(pixels(report, "a")) == 1 + (not left_out)
    for note in report.left_out:
        assert "annotation 7" in note.place or "image 55" in note.place


def test_coco_names_as_other_systems_write_them(tmp_path: Path) -> None:
    pictures = (Picture("eine Katze.jpg", (50, 100), ONE.boxes), TWO)
    write_pictures(tmp_path / "coco" / "album", pictures)
    document = coco_document(pictures)
    document["images"][0]["file_name"] = "album/eine%20Katze.jpg"
    document["images"][1]["file_name"] = "C:\\Users\\me\\album\\B.JPG"
    report = convert(write_json(tmp_path / "coco" / "annotations" / "my.json", document, mark=True))
    assert report.left_out == ()
    assert pixels(report, "b") == [[0, 0, 100, 50]]
    assert pixels(report, "eine Katze") == [[10, 5, 60, 25]]


def test_coco_keeps_its_splits_and_reads_instances_only(tmp_path: Path) -> None:
    for picture, split in ((ONE, "train"), (TWO, "val")):
        write_pictures(tmp_path / "coco" / f"{split}2017", (picture,))
        for task in ("instances", "person_keypoints", "captions"):
            document = coco_document((picture,))
            if task == "captions":
                del document["categories"]
            write_json(tmp_path / "coco" / "annotations" / f"{task}_{split}2017.json", document)
    report = convert(tmp_path / "coco", shares=None)
    assert [(split.name, split.images, split.boxes) for split in report.splits] == [("train", 1, 1), ("val", 1, 1)]
    assert report.counts == {"file not used": 2}
    assert report.divided == "The splits are those of the source."


def test_the_category_that_groups_others_is_left_out_also_when_it_has_the_name_of_a_class(tmp_path: Path) -> None:
    write_pictures(tmp_path / "coco", (ONE, TWO))
    document = coco_document((ONE, TWO))
    document["categories"][0]["supercategory"] = "cat"
    document["categories"].insert(0, {"id": 0, "name": "cat", "supercategory": "none"})
    write_json(tmp_path / "coco" / "_annotations.coco.json", document)
    assert convert(tmp_path / "coco").names == ("cat",)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_for_the_stored_picture_are_turned_with_it(orientation: int, tmp_path: Path) -> None:
    """A white rectangle in a turned photograph: the box for the stored pixels must be around it in the decoded picture."""
    stored = np.zeros((40, 80, 3), np.uint8)
    stored[8:16, 48:72] = 255
    folder = tmp_path / "coco"
    write_picture(folder / "plain.jpg", (40, 80))
    write_picture(folder / "a.jpg", (40, 80), orientation)
    head = (folder / "a.jpg").read_bytes()
    exif = head[2 : head.index(b"\xff\xe0")] if orientation != 1 else b""
    body = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    (folder / "a.jpg").write_bytes(body[:2] + exif + body[2:])
    swapped = orientation >= 5
    own = Picture("a.jpg", (40, 80), (("cat", 48.0, 8.0, 72.0, 16.0),))
    document = coco_document((own, Picture("plain.jpg", (40, 80), ())))
    write_json(folder / "my.json", document)
    report = convert(folder)
    decoded = decode_image(folder / "a.jpg")[:, :, 0] > 128
    assert decoded.shape == ((80, 40) if swapped else (40, 80))
    (found,) = pixels(report, "a", decoded.shape)
    if swapped or orientation == 1:
        ys, xs = np.nonzero(decoded)
        np.testing.assert_allclose(found, [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], atol=1)
        assert ("EXIF" in " ".join(report.changed)) == swapped
    else:  # the size is the same before and after: the tool has shown the turned picture
        assert found == [48, 8, 72, 16]
    height, width = decoded.shape
    back = turned_back((found[0] / width, found[1] / height, found[2] / width, found[3] / height), orientation)
    if swapped:
        np.testing.assert_allclose(back, [0.6, 0.2, 0.9, 0.4], atol=0.02)


def test_annotations_for_a_copy_of_another_size(tmp_path: Path) -> None:
    write_pictures(tmp_path / "coco", (ONE, TWO))
    document = coco_document((ONE, TWO))
    document["images"][0] |= {"height": 25, "width": 50}  # half the size
    document["annotations"][0]["bbox"] = [5, 2.5, 25, 10]
    document["images"][1] |= {"height": 50, "width": 77}
    third = Picture("c.jpg", (50, 100), ())
    write_pictures(tmp_path / "coco", (third,))
    document["images"].append({"id": 5, "file_name": "c.jpg", "height": 0, "width": 0})
    write_json(tmp_path / "coco" / "my.json", document)
    report = convert(tmp_path / "coco")
    assert pixels(report, "a") == [[10, 5, 60, 25]]
    assert report.counts == {"picture of another size": 1}
    assert "has 50 x 100 pixels (height x width), but the annotations are for 50 x 77" in report.left_out[0].message
    assert report.changed == {"pictures whose annotations are for a smaller or larger copy": 1}


def test_voc_pixels_are_numbered_from_1_in_the_voc_sets_alone(tmp_path: Path) -> None:
    write_pictures(tmp_path / "voc", (ONE, TWO))
    (tmp_path / "voc" / "a.xml").write_text(voc_xml(ONE, database="The VOC2012 Database"))
    (tmp_path / "voc" / "b.xml").write_text(voc_xml(TWO, database="Roboflow"))
    report = convert(tmp_path / "voc")
    assert pixels(report, "a") == [[9, 4, 60, 25]]
    assert pixels(report, "b") == [[0, 0, 100, 50]]
    for number, left in ((0, 10), (1, 9)):
        folder = tmp_path / str(number) / "voc"
        write_pictures(folder, (ONE, TWO))
        (folder / "a.xml").write_text(voc_xml(ONE))
        (folder / "b.xml").write_text(voc_xml(TWO))
        assert pixels(convert(folder, first_pixel=number), "a")[0][0] == left


def test_voc_lists_turned_boxes_and_missing_sizes(tmp_path: Path) -> None:
    root = tmp_path / "voc"
    third = Picture("c.jpg", (50, 100), ONE.boxes)
    write_pictures(root / "JPEGImages", (ONE, TWO, third))
    (root / "Annotations").mkdir()
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    (root / "ImageSets" / "Main" / "val.txt").write_text("b  1\r\n")
    turned = (
        "<object><type>robndbox</type><name>dog</name><robndbox><cx>50</cx><cy>25</cy><w>20</w><h>10</h>"
        "<angle>1.5707963267948966</angle></robndbox></object><object><name>cow</name></object><object/>"
    )
    text = voc_xml(ONE).replace("</annotation>", f"{turned}</annotation>").replace("<width>100", "<width>0")
    (root / "Annotations" / "a.xml").write_text(text.replace("<difficult>0", "<difficult>1"))
    (root / "Annotations" / "b.xml").write_text(voc_xml(TWO))
    (root / "Annotations" / "c.xml").write_text(voc_xml(third))
    report = convert(root, shares=None)
    assert [(split.name, split.images) for split in report.splits] == [("train", 1), ("val", 1)]
    assert pixels(report, "a") == [[10, 5, 60, 25], [45, 15, 55, 35]]
    assert report.counts == {"shape without a box": 1, "class unknown": 1, "picture in no list": 1}
    assert report.changed == {"turned boxes turned into upright ones": 1}
    assert "Objects that are marked as difficult: 1. They are kept." in report.remarks


def test_voc_class_order_of_cvat(tmp_path: Path) -> None:
    write_pictures(tmp_path / "voc", (ONE, TWO))
    (tmp_path / "voc" / "a.xml").write_text(voc_xml(ONE))
    (tmp_path / "voc" / "b.xml").write_text(voc_xml(Picture("b.jpg", (50, 100), (("ant", 1.0, 1.0, 5.0, 5.0),))))
    (tmp_path / "voc" / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:1,2,3::\nbat:1,2,4::\n"
    )
    assert convert(tmp_path / "voc").names == ("cat", "bat", "ant")


def cvat_document(images: str, meta: str = "", labels: tuple[str, ...] = ("dog", "cat")) -> str:
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task>{meta}{cvat_labels(labels)}'
        f"</task></meta>{images}</annotations>"
    )


def test_cvat_shapes_and_order_of_classes(tmp_path: Path) -> None:
    shapes = {
        '<box label="cat" xtl="40" ytl="20" xbr="60" ybr="30" rotation="90.00"/>': [45, 15, 55, 35],
        '<polygon label="cat" points="10.5,5.0;20,5;15,25"/>': [10.5, 5, 20, 25],
        '<ellipse label="cat" cx="51" cy="25" rx="10" ry="5" rotation="90.0"/>': [46, 15, 56, 35],
        '<mask label="cat" rle="3, 4" left="7" top="8" width="20" height="10"/>': [7, 8, 27, 18],
        '<cuboid label="cat" xtl1="1" ytl1="2" xbl1="1" ybl1="9" xtr1="8" ytr1="2" xbr1="8" ybr1="9" '
        'xtl2="3" ytl2="1" xbl2="3" ybl2="7" xtr2="11" ytr2="1" xbr2="11" ybr2="7"/>': [1, 1, 11, 9],
    }
    without = '<polyline label="cat" points="1,1;2,2"/><points label="cat" points="1,1"/><tag label="cat"/><skeleton/>'
    broken = '<box label="cat" xtl="x" ytl="1" xbr="2" ybr="3"/><box xtl="1" ytl="1" xbr="2" ybr="3"/>'
    images = (
        f'<image id="0" name="deep/a.jpg" subset="Train" width="100" height="50">{"".join(shapes)}{without}{broken}</image>'
        '<image id="1" name="b.jpg" subset="Validation" width="100" height="50"/>'
    )
    write_pictures(tmp_path / "cvat" / "images" / "deep", (ONE,))
    write_pictures(tmp_path / "cvat" / "images", (TWO,))
    (tmp_path / "cvat" / "annotations.xml").write_text(cvat_document(images), encoding="utf-8-sig")
    report = convert(tmp_path / "cvat", shares=None)
    assert report.names == ("dog", "cat")
    assert pixels(report, "a") == list(shapes.values())
    assert report.counts == {"shape without a box": 4, "box with a wrong number": 1, "class unknown": 1}
    assert [(split.name, split.images) for split in report.splits] == [("train", 1), ("val", 1)]
    assert report.changed == {
        "outlines turned into boxes": 1,
        "turned boxes turned into upright ones": 1,
        "masks turned into boxes": 1,
        "ellipses turned into boxes": 1,
        "cuboids turned into boxes": 1,
    }


def test_cvat_tracks(tmp_path: Path) -> None:
    frames = tuple(Picture(f"frame_{number:06d}.PNG", (50, 100), ()) for number in range(4))
    write_pictures(tmp_path / "cvat" / "images", frames)

    def box(frame: int, left: int, outside: int) -> str:
        return f'<box frame="{frame}" keyframe="1" outside="{outside}" occluded="0" xtl="{left}" ytl="5" xbr="60" ybr="25"/>'

    tracks = f'<track id="0" label="cat" source="manual">{box(0, 10, 0)}{box(1, 12, 0)}{box(2, 12, 1)}</track>'
    size = (
        "<size>4</size><mode>interpolation</mode><original_size><width>100</width><height>50</height></original_size>"
    )
    (tmp_path / "cvat" / "annotations.xml").write_text(cvat_document(tracks, size))
    report = convert(tmp_path / "cvat", group_by=re.compile(".*"))
    assert sum(split.images for split in report.splits) == 4
    assert pixels(report, "frame_000000") == [[10, 5, 60, 25]]
    assert pixels(report, "frame_000001") == [[12, 5, 60, 25]]
    assert pixels(report, "frame_000002") == pixels(report, "frame_000003") == []
    assert report.left_out == ()


def test_yolo_rows(tmp_path: Path) -> None:
    """Wrong rows are left out, outlines stay outlines, a picture without a file stays without one."""
    folder = tmp_path / "yolo"
    write_pictures(folder / "images", (ONE, TWO, Picture("c.jpg", (50, 100), ())))
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text("0 0.1 0.1 0.3 0.1 0.2 0.5\n1 0.5 0.5 0.1 0.1\n0 0.95 0.5 0.105 0.1\n")
    (folder / "labels" / "b.txt").write_text("5 0.5 0.5 0.1 0.1\n")
    (folder / "classes.txt").write_bytes(b"\xef\xbb\xbfcat\r\n\r\n")
    (folder / "notes.txt").write_text("made by me\n")
    report = convert(folder)
    assert (next(report.folder.glob("labels/*/a.txt"))).read_text().startswith("0 0.1 0.1 0.3 0.1 0.2 0.5\n")
    assert report.counts == {"row of a label file": 2, "picture not annotated": 1}
    assert report.changed == {"boxes over the edge of the picture clipped": 1}
    assert not list(report.folder.glob("labels/*/c.txt"))
    assert sum(split.unlabelled for split in report.splits) == 1


def test_yolo_without_names_and_with_pictures_elsewhere(tmp_path: Path) -> None:
    write_pictures(tmp_path / "photos", (ONE, TWO))
    labels = tmp_path / "exported"
    labels.mkdir()
    (labels / "a.txt").write_text("2 0.5 0.5 0.1 0.1\n")
    (labels / "b.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    report = convert(labels, images=(tmp_path / "photos",), classes=("0=cat", "2=dog"))
    assert report.names == ("cat", "dog")
    assert sum(split.boxes for split in report.splits) == 2
    assert any("Name them with --classes 0=NAME,1=NAME,2=NAME" in remark for remark in report.remarks)


def test_roboflow_splits_and_the_missing_one(tmp_path: Path) -> None:
    folder = tmp_path / "yolo"
    for split, picture in (("train", ONE), ("valid", TWO)):
        write_pictures(folder / split / "images", (picture,))
        (folder / split / "labels").mkdir()
        (folder / split / "labels" / f"{picture.name[0]}.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (folder / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: ['cat']\n"
    )
    for split in ("train", "valid"):
        write_pictures(folder / split / "images", (Picture(f"clip_mp4-{len(split)}_jpg.rf.0a.jpg", (50, 100), ()),))
    with pytest.raises(
        ConfigError, match=r"--group-by is for dividing, and the splits of the source are kept. Add --split"
    ):
        convert(folder, shares=None, group_by=re.compile("x"))
    report = convert(folder, shares=None)
    assert [split.name for split in report.splits] == ["train", "val"]
    assert any(
        remark.startswith("Groups of frames or copies that are in several splits of the source: 1 (the first: clip).")
        for remark in report.remarks
    )
    assert any(remark.startswith("test: The images") for remark in report.remarks)


def test_pictures_in_several_places(tmp_path: Path) -> None:
    """The end of the path decides, then the split, then the nearest; else the picture is left out."""
    root = tmp_path / "coco"
    for place in ("train/0.jpg", "val/0.jpg", "x/1.jpg", "y/1.jpg", "only/2.jpg"):
        write_picture(root / place, (50, 100))
    document = coco_document((ONE,))
    names = ["val/0.jpg", "1.jpg", "/home/me/a/2.jpg", "/home/me/b/2.jpg", "only/2.jpg", "3.jpg"]
    document["images"] = [
        {"id": 100 + n, "file_name": name, "height": 50, "width": 100} for n, name in enumerate(names)
    ]
    write_picture(root / "4.gif.jpg", (50, 100))
    document["images"].append({"id": 200, "file_name": "4.gif.jpg", "height": 50, "width": 100})
    write_json(root / "my.json", document)
    report = convert(root)
    assert report.counts == {"picture ambiguous": 1, "picture named twice": 2, "picture missing": 1}
    found = {Path(path).name for path in map(str, report.folder.glob("images/*/*"))}
    assert found == {"0.jpg", "2.jpg", "4.gif.jpg"}
    assert any(
        remark.startswith("Pictures that no annotation names, and that are left out: 3.") for remark in report.remarks
    )


def test_training_reads_what_was_converted(tmp_path: Path) -> None:
    write_pictures(tmp_path / "coco", PICTURES)
    write_json(tmp_path / "coco" / "my.json", coco_document(PICTURES))
    report = convert(tmp_path / "coco", shares=(0.6, 0.4))
    spec = read_dataset_yaml(report.data)
    for split in report.splits:
        data = read_split(spec, split.name)
        assert (len(data), data.boxes, data.defects) == (split.images, split.boxes, ())
    record = json.loads((report.folder / "conversion.json").read_text())
    assert record["names"] == ["cat", "dog"]
