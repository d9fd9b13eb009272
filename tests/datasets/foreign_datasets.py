"""Writes the same small dataset in the formats of other tools, in the form in which these tools write it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

Box = tuple[str, float, float, float, float]
"""Class, left, top, right, bottom in pixels."""


@dataclass(frozen=True)
class Picture:
    """A picture of a made dataset: its name, (height, width), its boxes, and its split (empty: none)."""

    name: str
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    split: str = ""


PICTURES = (
    Picture("cat.jpg", (40, 60), (("cat", 6.0, 4.0, 30.0, 24.0), ("dog", 30.0, 10.0, 60.0, 40.0))),
    Picture("Dog one.png", (50, 50), (("dog", 1.0, 1.0, 49.0, 50.0),)),
    Picture("nothing.jpg", (30, 80), ()),
)
"""Two classes, a name with a blank and a capital, boxes at the edge, a picture without objects."""


def write_picture(file: Path, size: tuple[int, int], orientation: int = 1) -> None:
    """A picture of noise with (height, width) as stored; a JPEG with an EXIF orientation when it is not 1."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(file.name)).integers(0, 255, (*size, 3), np.uint8)
    _, encoded = cv2.imencode(file.suffix, noise)
    content = encoded.tobytes()
    if orientation != 1:
        tiff = b"MM\0*\0\0\0\x08\0\x01" + b"\x01\x12\0\x03\0\0\0\x01" + bytes((0, orientation, 0, 0)) + b"\0\0\0\0"
        exif = b"Exif\0\0" + tiff
        content = content[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + content[2:]
    file.write_bytes(content)


def write_pictures(folder: Path, pictures: Sequence[Picture]) -> None:
    for picture in pictures:
        write_picture(folder / picture.split / picture.name, picture.size)


def names_of(pictures: Sequence[Picture]) -> list[str]:
    return sorted({box[0] for picture in pictures for box in picture.boxes})


def coco_document(pictures: Sequence[Picture], *, first: int = 1, **more: Any) -> dict[str, Any]:
    """COCO annotations. Category numbers have gaps, as COCO's have; image numbers are not those of the list."""
    numbers = {name: first + 10 * place for place, name in enumerate(names_of(pictures))}
    images = [
        {"id": 100 + place, "file_name": one.name, "height": one.size[0], "width": one.size[1], "license": 1}
        for place, one in enumerate(pictures)
    ]
    annotations = [
        {
            "id": 1000 * place + number + 1,
            "image_id": 100 + place,
            "category_id": numbers[name],
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "segmentation": [],
            "iscrowd": 0,
        }
        for place, one in enumerate(pictures)
        for number, (name, left, top, right, bottom) in enumerate(one.boxes)
    ]
    categories = [{"id": number, "name": name, "supercategory": "animal"} for name, number in numbers.items()]
    return {"info": {}, "licenses": [], "categories": categories, "images": images, "annotations": annotations, **more}


def write_coco(root: Path, pictures: Sequence[Picture] = PICTURES) -> Path:
    """``annotations/instances_default.json`` and ``images/default``, as CVAT exports."""
    write_pictures(root / "images" / "default", pictures)
    return write_json(root / "annotations" / "instances_default.json", coco_document(pictures)).parents[1]


def write_roboflow_coco(root: Path, pictures: Sequence[Picture] = PICTURES) -> Path:
    """``train/_annotations.coco.json`` beside the pictures. Category 0 is the name of the project, and groups the others."""
    write_pictures(root / "train", pictures)
    document = coco_document(pictures)
    for category in document["categories"]:
        category["supercategory"] = "pets"
    document["categories"].insert(0, {"id": 0, "name": "pets", "supercategory": "none"})
    write_json(root / "train" / "_annotations.coco.json", document)
    return root


def voc_xml(picture: Picture, *, database: str = "Unknown", offset: int = 0, folder: str = "pictures") -> str:
    objects = "".join(
        f"<object>\n\t\t<name>{name}</name>\n\t\t<pose>Unspecified</pose>\n\t\t<truncated>0</truncated>\n"
        "\t\t<difficult>0</difficult>\n"
        f"\t\t<bndbox>\n\t\t\t<xmin>{left + offset:g}</xmin>\n\t\t\t<ymin>{top + offset:g}</ymin>\n"
        f"\t\t\t<xmax>{right:g}</xmax>\n\t\t\t<ymax>{bottom:g}</ymax>\n\t\t</bndbox>\n\t</object>\n"
        for name, left, top, right, bottom in picture.boxes
    )
    return (
        f"<annotation>\n\t<folder>{folder}</folder>\n\t<filename>{picture.name}</filename>\n"
        f"\t<path>C:\\Users\\me\\{folder}\\{picture.name}</path>\n\t<source>\n\t\t<database>{database}</database>\n\t</source>\n"
        f"\t<size>\n\t\t<width>{picture.size[1]}</width>\n\t\t<height>{picture.size[0]}</height>\n\t\t<depth>3</depth>\n\t</size>\n"
        f"\t<segmented>0</segmented>\n\t{objects}</annotation>\n"
    )


def write_labelimg_voc(root: Path, pictures: Sequence[Picture] = PICTURES) -> Path:
    """XML files beside the pictures."""
    write_pictures(root, pictures)
    for picture in pictures:
        (root / picture.name).with_suffix(".xml").write_text(voc_xml(picture))
    return root


def write_voc(root: Path, pictures: Sequence[Picture] = PICTURES) -> Path:
    """The layout of the VOC sets: pixels are numbered from 1, ``ImageSets/Main`` lists the splits."""
    write_pictures(root / "JPEGImages", pictures)
    (root / "Annotations").mkdir()
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for picture in pictures:
        text = voc_xml(picture, database="The VOC2007 Database", offset=1, folder="VOC2007")
        (root / "Annotations" / picture.name).with_suffix(".xml").write_text(text)
    return root


def label_studio_task(picture: Picture, number: int, address: str = "") -> dict[str, Any]:
    height, width = picture.size
    result = [
        {
            "id": f"r{place}",
            "type": "rectanglelabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "origin": "manual",
            "value": {
                "x": left / width * 100,
                "y": top / height * 100,
                "width": (right - left) / width * 100,
                "height": (bottom - top) / height * 100,
                "rotation": 0,
                "rectanglelabels": [name],
            },
        }
        for place, (name, left, top, right, bottom) in enumerate(picture.boxes)
    ]
    stored = f"0a1b2c3d-{picture.name.replace(' ', '_')}"
    return {
        "id": number,
        "annotations": [label_studio_annotation(result, number)],
        "file_upload": stored,
        "drafts": [],
        "predictions": [],
        "data": {"image": address or f"/data/upload/1/{stored}"},
        "meta": {},
        "total_annotations": 1,
    }


def label_studio_annotation(result: list[Any], number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "completed_by": 1,
        "result": result,
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-01-01T10:00:00.0Z",
        "updated_at": "2026-01-01T10:00:00.0Z",
        **more,
    }


def write_label_studio(root: Path, pictures: Sequence[Picture] = PICTURES) -> Path:
    """The JSON export, and the pictures as the user uploaded them: with a blank that the server has replaced."""
    write_pictures(root, pictures)
    write_json(root / "project-1-at-2026.json", [label_studio_task(one, 7 + n) for n, one in enumerate(pictures)])
    return root


def write_label_studio_min(root: Path, pictures: Sequence[Picture] = PICTURES) -> Path:
    """JSON-MIN: one flat object for each annotation."""
    write_pictures(root, pictures)
    rows = []
    for number, picture in enumerate(pictures):
        task = label_studio_task(picture, number)
        regions = [
            {**one["value"], "original_width": one["original_width"], "original_height": one["original_height"]}
            for one in task["annotations"][0]["result"]
        ]
        row = {
            "image": task["data"]["image"],
            "id": number,
            "annotator": 1,
            "annotation_id": number,
            "updated_at": "2026",
        }
        rows.append({**row, "label": regions} if regions else row)
    write_json(root / "min.json", rows)
    return root


def cvat_labels(names: Sequence[str]) -> str:
    labels = "".join(f"<label><name>{name}</name><color>#fa3253</color><type>any</type></label>" for name in names)
    return f"<labels>{labels}</labels>"


def write_cvat(root: Path, pictures: Sequence[Picture] = PICTURES) -> Path:
    """ "CVAT for images 1.1"."""
    write_pictures(root / "images", pictures)
    images = "".join(
        f'  <image id="{number}" name="{one.name}" width="{one.size[1]}" height="{one.size[0]}">\n'
        + "".join(
            f'    <box label="{name}" source="manual" occluded="0" xtl="{left:.2f}" ytl="{top:.2f}" xbr="{right:.2f}" '
            f'ybr="{bottom:.2f}" z_order="0"><attribute name="age">3</attribute></box>\n'
            for name, left, top, right, bottom in one.boxes
        )
        + "  </image>\n"
        for number, one in enumerate(pictures)
    )
    task = f"<id>1</id><size>{len(pictures)}</size><mode>annotation</mode>{cvat_labels(names_of(pictures))}"
    meta = f"<meta><task>{task}</task></meta>"
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n{meta}\n{images}</annotations>\n'
    (root / "annotations.xml").write_text(text)
    return root


def yolo_rows(picture: Picture, names: Sequence[str]) -> str:
    height, width = picture.size
    return "".join(
        f"{names.index(name)} {(left + right) / 2 / width:.6f} {(top + bottom) / 2 / height:.6f} "
        f"{(right - left) / width:.6f} {(bottom - top) / height:.6f}\n"
        for name, left, top, right, bottom in picture.boxes
    )


def write_cvat_yolo(root: Path, pictures: Sequence[Picture] = PICTURES) -> Path:
    """ "YOLO 1.1" of CVAT: paths begin with a folder ``data`` that is not in the archive."""
    names = names_of(pictures)
    write_pictures(root / "obj_train_data", pictures)
    for picture in pictures:
        (root / "obj_train_data" / picture.name).with_suffix(".txt").write_text(yolo_rows(picture, names))
    (root / "obj.names").write_text("\n".join(names) + "\n")
    (root / "obj.data").write_text(
        f"classes = {len(names)}\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    )
    (root / "train.txt").write_text("".join(f"data/obj_train_data/{one.name}\n" for one in pictures))
    return root


def write_labelimg_yolo(root: Path, pictures: Sequence[Picture] = PICTURES) -> Path:
    """Text files beside the pictures, and ``classes.txt``. LabelImg writes no file for a picture that nobody has saved."""
    names = names_of(pictures)
    write_pictures(root, pictures)
    (root / "classes.txt").write_text("\n".join(names) + "\n")
    for picture in pictures:
        (root / picture.name).with_suffix(".txt").write_text(yolo_rows(picture, names))
    return root


def write_roboflow_yolo(root: Path, pictures: Sequence[Picture] = PICTURES) -> Path:
    """``train/images``, ``train/labels`` and a ``data.yaml`` whose paths begin with one ``../`` too many."""
    names = names_of(pictures)
    write_pictures(root / "train" / "images", pictures)
    (root / "train" / "labels").mkdir()
    for picture in pictures:
        (root / "train" / "labels" / picture.name).with_suffix(".txt").write_text(yolo_rows(picture, names))
    (root / "data.yaml").write_text(
        f"train: ../train/images\nval: ../valid/images\n\nnc: {len(names)}\nnames: {names}\n\nroboflow:\n  version: 1\n"
    )
    (root / "README.roboflow.txt").write_text("pets - v1\n==========\n")
    return root


def write_create_ml(root: Path, pictures: Sequence[Picture] = PICTURES) -> Path:
    """``_annotations.createml.json`` beside the pictures."""
    write_pictures(root, pictures)
    rows = [
        {
            "image": one.name,
            "verified": False,
            "annotations": [
                {
                    "label": name,
                    "coordinates": {
                        "x": (left + right) / 2,
                        "y": (top + bottom) / 2,
                        "width": right - left,
                        "height": bottom - top,
                    },
                }
                for name, left, top, right, bottom in one.boxes
            ],
        }
        for one in pictures
    ]
    write_json(root / "_annotations.createml.json", rows)
    return root


def write_json(file: Path, data: Any, *, mark: bool = False) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes((b"\xef\xbb\xbf" if mark else b"") + json.dumps(data).encode())
    return file


WRITERS: Mapping[str, Any] = {
    "coco": write_coco,
    "roboflow coco": write_roboflow_coco,
    "labelimg voc": write_labelimg_voc,
    "voc": write_voc,
    "label studio": write_label_studio,
    "label studio min": write_label_studio_min,
    "cvat": write_cvat,
    "cvat yolo": write_cvat_yolo,
    "labelimg yolo": write_labelimg_yolo,
    "roboflow yolo": write_roboflow_yolo,
    "createml": write_create_ml,
}
