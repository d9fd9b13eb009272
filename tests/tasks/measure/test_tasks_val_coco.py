"""Parity (pycocotools): ``val --coco`` writes detections with the original numbers, and scores them as pycocotools does."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slimyolo.checkpoints import save_checkpoint
from slimyolo.data.convert.convert import Conversion, convert_dataset
from slimyolo.errors import ConfigError, DataError
from slimyolo.models import build_detector, parse_architecture
from slimyolo.tasks.measure.validate import validate
from slimyolo.tasks.measure.validate_config import ValConfig

sys.path.insert(0, str(Path(__file__).parents[2] / "datasets"))
from foreign_datasets import Picture, coco_document, write_json, write_picture

BIG = ("cat", 5.0, 5.0, 55.0, 40.0), ("dog", 20.0, 2.0, 60.0, 60.0)
PICTURES = (
    Picture("cam1/1.jpg", (64, 80), (*BIG, ("cat", 30.0, 30.0, 70.0, 60.0))),
    Picture("cam2/1.jpg", (80, 64), BIG),
    Picture("turned.jpg", (64, 96), (("dog", 10.0, 10.0, 60.0, 50.0),)),
    Picture("empty.jpg", (64, 64), ()),
    Picture("other.jpg", (64, 64), (BIG[0],)),
)
SMALL = """
nc: {nc}
depth_multiple: 0.33
width_multiple: 0.125
anchors:
  - [10,13, 16,30, 33,23]
  - [30,61, 62,45, 59,119]
  - [116,90, 156,198, 373,326]
backbone:
  [[-1,1,Conv,[64,6,2,2]],[-1,1,Conv,[128,3,2]],[-1,1,Conv,[256,3,2]],[-1,1,Conv,[512,3,2]],[-1,1,Conv,[1024,3,2]],
   [-1,1,SPPF,[1024,5]]]
head:
  [[[2,3,5],1,Detect,[nc,anchors]]]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO set with a crowd, names that are the same in two folders and a turned photograph; and the same converted."""
    folder = tmp_path_factory.mktemp("coco")
    for picture in PICTURES:
        write_picture(folder / "coco" / picture.name, picture.size, 6 if picture.name == "turned.jpg" else 1)
    document = coco_document(PICTURES)
    document["annotations"][2]["iscrowd"] = 1
    for row in document["annotations"]:
        row["area"] *= 0.7
    write_json(folder / "coco" / "instances_val.json", document)
    report = convert_dataset(Conversion(source=folder / "coco", folder=folder / "yolo"))
    assert [split.images for split in report.splits] == [5]
    assert len(report.renamed) == 2
    detector = build_detector(parse_architecture(SMALL.replace("{nc}", "2"), "small"), names=("cat", "dog"), seed=3)
    save_checkpoint(folder / "small.pt", detector.eval())
    return folder


def measure(folder: Path, coco: Path, **more: Any) -> Any:
    settings = {
        "weights": folder / "small.pt",
        "data": folder / "yolo" / "data.yaml",
        "imgsz": 96,
        "workers": 0,
        "noplots": True,
    }
    runs = folder / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    return validate(ValConfig(**{**settings, "conf": 0.0, "project": runs, "coco": coco, **more}))


def theirs(truth: Path, rows: Path, images: list[int] | None = None) -> list[float]:
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):
        known = coco.COCO(str(truth))
        run = evaluation.COCOeval(known, known.loadRes(str(rows)), "bbox")
        run.params.imgIds = images or run.params.imgIds
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float("nan") if value == -1 else float(value) for value in run.stats]


def test_the_scores_are_those_of_pycocotools(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "slimyolo")
    truth = folder / "coco" / "instances_val.json"
    record = measure(folder, truth)
    run = folder / "runs" / "exp"
    rows = json.loads((run / "predictions.json").read_text())
    assert {row["image_id"] for row in rows} == {100, 101, 102, 103, 104}
    assert {row["category_id"] for row in rows} <= {1, 11}
    expected = theirs(truth, run / "predictions.json")
    written = json.loads((run / "record.json").read_text())["coco"]
    found = [float("nan") if value is None else value for value in written.values()]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert record.coco.ap50 == written["ap50"] > 0
    assert "on 5 images (crowds ignored), as pycocotools computes it:\n  ap " in caplog.text
    turned = np.asarray([row["bbox"] for row in rows if row["image_id"] == 102])
    assert (turned[:, 0] + turned[:, 2]).max() > 64  # the stored picture is 96 wide and 64 high
    assert (turned[:, 1] + turned[:, 3]).max() <= 64.001


def test_a_part_of_the_file(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "slimyolo")
    document = json.loads((folder / "coco" / "instances_val.json").read_text())
    dropped = document["images"].pop()
    document["annotations"] = [row for row in document["annotations"] if row["image_id"] != dropped["id"]]
    document["images"].append({"id": 7, "file_name": "somewhere/new.jpg", "height": 9, "width": 9})
    document["annotations"].append({**document["annotations"][0], "id": 0, "iscrowd": 1})
    truth = write_json(folder / "part.json", document)
    record = measure(folder, truth)
    expected = theirs(truth, folder / "runs" / "exp" / "predictions.json", [100, 101, 102, 103])
    np.testing.assert_allclose([record.coco.ap, record.coco.ar100], [expected[0], expected[8]], rtol=0, atol=1e-12)
    assert re.search(r"pictures that are not in .*: 1 of 5\. ", caplog.text)
    assert "numbers an annotation 0. pycocotools takes this object as never found" in caplog.text
    assert "names 1 more image. An evaluation server counts their objects as not found." in caplog.text


def changed(folder: Path, **values: Any) -> Path:
    document = json.loads((folder / "coco" / "instances_val.json").read_text())
    return write_json(folder / "changed.json", document | values)


def test_files_that_do_not_fit(folder: Path) -> None:
    one = {"id": 100, "file_name": "x.jpg", "height": 64, "width": 80}
    cases: list[tuple[Path, str]] = [
        (
            changed(folder, annotations=[], images=[one]),
            "no picture of the val split is an image of .* A picture: cam1__1.jpg; an image",
        ),
        (folder / "yolo" / "conversion.json", "--coco must be a file of COCO annotations"),
        (folder / "none.json", "Cannot read .*none.json"),
    ]
    for file, message in cases:
        with pytest.raises((ConfigError, DataError), match=message):
            measure(folder, file)
    with pytest.raises(ConfigError, match=r"the class 'dog' is no category of .* Did you mean 'dogs'\?"):
        measure(folder, changed(folder, categories=[{"id": 1, "name": "cat"}, {"id": 2, "name": "dogs"}]))
    with pytest.raises(DataError, match="entry 0 of 'annotations' needs 'image_id' of a listed image"):
        measure(folder, changed(folder, annotations=[{"image_id": 5, "category_id": 1, "bbox": [1, 2, 3, 4]}]))
    with pytest.raises(DataError, match="an image needs 'id' and 'file_name'"):
        measure(folder, changed(folder, images=[{}]))
    with pytest.raises(DataError, match="the numbers of its images are partly text"):
        measure(folder, changed(folder, annotations=[], images=[one, one | {"id": "a"}]))
    twins = [one | {"id": number, "file_name": f"{place}/empty.jpg"} for number, place in enumerate("ab")]
    with pytest.raises(ConfigError, match=r"the images 0 and 1 of .* both fit the name of"):
        measure(folder, changed(folder, annotations=[], images=twins))
    with pytest.raises(ConfigError, match="have names that both fit the image 100"):
        measure(folder, changed(folder, annotations=[], images=[one | {"file_name": "1.jpg"}]))
    with pytest.raises(ConfigError, match="--coco needs the classes of the file, and --single-cls ignores them"):
        measure(folder, folder / "coco" / "instances_val.json", single_cls=True)
