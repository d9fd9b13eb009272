"""Closed formulas and properties of drawings, label lines, crops, tables and videos; the predict command end to end."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from slimyolo.errors import ConfigError, StorageError
from slimyolo.geometry import Detections
from slimyolo.inference import (
    CSV_COLUMNS,
    FreeNames,
    Picture,
    VideoFile,
    class_colour,
    crop_detection,
    csv_text,
    detection_rows,
    draw_detections,
    safe_file_name,
    write_picture,
    yolo_lines,
)

TWO = Detections.from_rows([[10, 20, 50, 60, 0.9, 0], [0, 0, 100, 80, 0.5, 1]], "source")
NAMES = ("face", "face_mask")


def test_label_lines_are_relative_and_can_be_read_back() -> None:
    assert yolo_lines(TWO, (80, 100)) == ["0 0.3 0.5 0.4 0.5", "1 0.5 0.5 1 1"]
    assert yolo_lines(TWO, (80, 100), confidences=True)[0] == "0 0.3 0.5 0.4 0.5 0.9"
    assert yolo_lines(Detections.empty(), (80, 100)) == []


def test_rows_and_csv() -> None:
    rows = detection_rows(Picture(np.zeros((80, 100, 3), np.uint8), "a", Path("p/a.jpg")), TWO, NAMES)
    assert rows[0] == {
        "image": "p/a.jpg", "frame": None, "class": 0, "name": "face", "score": 0.9,
        "x1": 10.0, "y1": 20.0, "x2": 50.0, "y2": 60.0,
    }  # fmt: skip
    table = list(csv.DictReader(io.StringIO(csv_text(rows))))
    assert [row["name"] for row in table] == ["face", "face_mask"]
    assert csv_text([]) == ",".join(CSV_COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ((10, 20, 50, 60), (44, 44)),  # 5 % wider on each side
        ((-9, -9, 200, 200), (80, 100)),  # limited to the picture
        ((99.9, 79.9, 99.9, 79.9), (1, 1)),  # never empty
    ],
)
def test_crops(box: tuple[float, ...], shape: tuple[int, int]) -> None:
    assert crop_detection(np.zeros((80, 100, 3), np.uint8), box).shape[:2] == shape


def test_drawing_leaves_the_picture_alone_and_marks_the_box() -> None:
    image = np.full((200, 200, 3), 128, np.uint8)
    detections = Detections.from_rows([[50, 80, 150, 180, 0.9, 0]], "source")
    drawn = draw_detections(image, detections, NAMES, labels=False, line_thickness=3)
    assert (image == 128).all()
    assert tuple(drawn[130, 50]) == class_colour(0)
    assert tuple(drawn[130, 100]) == (128, 128, 128)
    assert (draw_detections(image, Detections.empty(), NAMES) == image).all()


@pytest.mark.parametrize("size", [(40, 40), (64, 48), (320, 320), (30, 400), (2000, 3000)])
@pytest.mark.parametrize("box", [(0, 0, 1, 1), (0.7, 0.7, 1, 1), (0, 0, 0.2, 0.2), (0.4, 0.4, 0.5, 0.5)])
def test_labels_are_drawn_wherever_the_box_is(size: tuple[int, int], box: tuple[float, ...]) -> None:
    height, width = size
    image = np.full((height, width, 3), 200, np.uint8)
    row = [box[0] * width, box[1] * height, box[2] * width, box[3] * height, 0.87, 1]
    detections = Detections.from_rows([row], "source")
    plain = draw_detections(image, detections, NAMES, labels=False)
    labelled = draw_detections(image, detections, NAMES)
    assert (plain != labelled).any(2).sum() > 60


def test_labels_of_neighbours_do_not_cover_each_other() -> None:
    image = np.full((300, 300, 3), 255, np.uint8)
    rows = [[100, 100, 200, 200, 0.9, 0], [101, 100, 200, 200, 0.8, 1]]
    drawn = draw_detections(image, Detections.from_rows(rows, "source"), NAMES)
    filled = [int((drawn == class_colour(number)).all(2).sum()) for number in (0, 1)]
    assert min(filled) > 300


def test_names_that_fonts_do_not_hold_are_replaced_by_numbers() -> None:
    image = np.full((200, 300, 3), 255, np.uint8)
    one = Detections.from_rows([[50, 80, 250, 180, 0.9, 1]], "source")
    chinese = draw_detections(image, one, ("脸", "口罩"))
    assert (chinese == draw_detections(image, one, ("x", "class 1"))).all()


def test_colours_differ_and_repeat() -> None:
    assert len({class_colour(index) for index in range(20)}) == 20
    assert class_colour(20) == class_colour(0)


def test_pictures_of_one_name_do_not_overwrite_one_another() -> None:
    stems, blank = FreeNames(), np.zeros((1, 1, 3), np.uint8)
    pictures = [Picture(blank, "1", Path(folder) / "1.jpg") for folder in ("a", "b", "a")]
    assert [stems.stem(picture) for picture in pictures] == ["1", "1_2", "1"]


def test_written_pictures(tmp_path: Path) -> None:
    image = np.full((10, 12, 3), 7, np.uint8)
    assert write_picture(tmp_path / "ä b.png", image).read_bytes()[:4] == b"\x89PNG"
    assert write_picture(tmp_path / "a.mpo", image).name == "a.mpo.jpg"
    assert write_picture(tmp_path / "plain", image).name == "plain.jpg"
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="Cannot write"):
        write_picture(tmp_path / "file" / "a.png", image)


def test_safe_file_names() -> None:
    assert safe_file_name("face/mask: no?") == "face_mask_ no_"
    assert safe_file_name("..") == "unnamed"


def test_videos(tmp_path: Path) -> None:
    with VideoFile(tmp_path / "out" / "clip") as video:
        for size in ((48, 64), (24, 32)):
            video.add(np.zeros((*size, 3), np.uint8), 10.0)
    assert cv2.VideoCapture(str(video.path)).get(cv2.CAP_PROP_FRAME_COUNT) == 2


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    from slimyolo.checkpoints import save_checkpoint
    from slimyolo.models import build_detector, read_architecture

    detector = build_detector(read_architecture("yolov5n").with_classes(2), names=NAMES)
    save_checkpoint(tmp_path / "model.pt", detector)
    return tmp_path / "model.pt"


def test_the_predict_command(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from slimyolo.tasks.configs import PredictConfig
    from slimyolo.tasks.predict import predict

    pictures = tmp_path / "pictures"
    for folder in ("", "other"):
        (pictures / folder).mkdir(parents=True, exist_ok=True)
        write_picture(pictures / folder / "a.png", np.full((60, 80, 3), 90, np.uint8))
    (pictures / "zero.jpg").write_bytes(b"")
    config = PredictConfig(
        weights=checkpoint, source=f"{pictures}/**/*.*", imgsz=64, conf=0.0001, max_det=3, project=tmp_path / "runs",
        save_txt=True, save_conf=True, save_json=True, save_csv=True, save_crop=True,
    )  # fmt: skip
    record = predict(config)
    assert (record.images, record.detections, len(record.broken)) == (2, 6, 1)
    printed = capsys.readouterr()
    assert "2 pictures, 6 detections, 1 skipped" in printed.out
    assert "zero.jpg: skipped." in printed.err
    files = {str(path.relative_to(record.folder)) for path in record.folder.rglob("*") if path.is_file()}
    assert {"a.png", "a_2.png", "labels/a.txt", "labels/a_2.txt", "detections.json", "detections.csv"} <= files
    assert sum(file.startswith("crops/") for file in files) == 6
    assert len((record.folder / "labels" / "a.txt").read_text().split()) == 3 * 6
    entries = json.loads((record.folder / "detections.json").read_text())["images"]
    assert [len(entry.get("detections", [])) for entry in entries] == [3, 3, 0]
    assert "empty" in entries[2]["error"]
    assert predict(config.changed(nosave=True)).folder.name == "exp2"


def test_a_class_that_the_model_does_not_have(checkpoint: Path) -> None:
    from slimyolo.tasks.configs import PredictConfig
    from slimyolo.tasks.predict import predict

    with pytest.raises(ConfigError, match=r"the model has no class 5\. It has 0 face, 1 face_mask"):
        predict(PredictConfig(weights=checkpoint, source="x", classes=(5,), device="cpu"))
    with pytest.raises(ConfigError, match="--half needs a GPU"):
        predict(PredictConfig(weights=checkpoint, source="x", half=True, device="cpu"))


def test_a_wrong_source_leaves_no_run_folder(checkpoint: Path, tmp_path: Path) -> None:
    from slimyolo.errors import DataError
    from slimyolo.tasks.configs import PredictConfig
    from slimyolo.tasks.predict import predict

    with pytest.raises(DataError, match="There is no image"):
        predict(PredictConfig(weights=checkpoint, source="none.jpg", project=tmp_path / "runs", device="cpu"))
    assert not (tmp_path / "runs").exists()


def test_the_inspect_command(checkpoint: Path) -> None:
    from slimyolo.tasks.configs import InspectConfig
    from slimyolo.tasks.inspect import inspect

    text = inspect(InspectConfig(file=checkpoint))
    assert "Classes" in text
    assert "2: face, face_mask" in text
    assert json.loads(inspect(InspectConfig(file=checkpoint, json_output=True)))["nc"] == 2
