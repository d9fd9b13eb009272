"""Table of cases: what one does with the detections of a picture, and from which pictures they come."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import slimyolo
from slimyolo.errors import DataError, StorageError
from slimyolo.families import read_architecture
from slimyolo.geometry import Detections
from slimyolo.inference import Detection, Picture, PictureDetections, draw_detections, predicting
from slimyolo.models import Detector, build_detector

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
THREE = Detections(
    np.array([[1, 2, 30, 40], [5, 5, 20, 20], [0, 0, 64, 48]]), np.array([0.9, 0.6, 0.3]), np.array([1, 0, 1])
)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return build_detector(read_architecture("yolov5n").with_classes(2), seed=0).eval()


@pytest.fixture
def found(tmp_path: Path) -> PictureDetections:
    """Three detections in a file, of which the picture is not kept."""
    cv2.imwrite(str(tmp_path / "a.png"), IMAGE)
    return PictureDetections.of(THREE, Picture(IMAGE, "a", tmp_path / "a.png"), ("face", "mask"))


def test_each_detection_has_a_name_and_a_place(found: PictureDetections) -> None:
    assert [one.name for one in found] == ["mask", "face", "mask"]
    assert found[0] == Detection("mask", pytest.approx(0.9), (1.0, 2.0, 30.0, 40.0), 1)
    assert found[-1].score == pytest.approx(0.3)
    assert [one.name for one in found[:2]] == ["mask", "face"]
    assert len(found[found.scores > 0.5]) == len(found[[0, 1]]) == 2
    assert len(found[[]]) == 0
    assert found[found.classes == 0].picture == "a"
    with pytest.raises(IndexError):
        found[3]
    assert repr(found) == ("PictureDetections('a', 48 x 64 (height x width): 2 mask, 1 face, scores 0.90 to 0.30)")
    assert "nothing" in repr(found[:0])


def test_drawing_is_that_of_the_command(found: PictureDetections, tmp_path: Path) -> None:
    expected = draw_detections(IMAGE, THREE, ("face", "mask"))
    assert np.array_equal(found.plot(), expected)
    assert np.array_equal(found.plot(rgb=True), expected[:, :, ::-1])
    assert np.array_equal(found.plot(np.zeros_like(IMAGE), labels=False)[20, 40], [0, 0, 0])
    written = found.save(tmp_path / "drawn.png")
    assert np.array_equal(cv2.imread(str(written)), expected)
    assert found.save(tmp_path) == tmp_path / "a.jpg"
    with pytest.raises(StorageError, match="would replace the picture"):
        found.save(tmp_path / "a.png")


def test_crops(found: PictureDetections) -> None:
    first, *_, whole = found.crop(margin=0)
    assert np.array_equal(first, IMAGE[2:40, 1:30])
    assert np.array_equal(whole, IMAGE)
    assert found[:0].crop() == []


def test_json_is_that_of_the_command(detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from slimyolo.checkpoints import save_checkpoint

    monkeypatch.chdir(tmp_path)
    save_checkpoint("w.pt", detector)
    cv2.imwrite("p.png", IMAGE)
    settings: Any = {"imgsz": 64, "conf": 0.001, "max_det": 5}
    record = slimyolo.predict(weights="w.pt", source="p.png", save_json=True, **settings)
    (entry,) = json.loads((record.folder / "detections.json").read_text())["images"]
    (found,) = slimyolo.predict("w.pt", "p.png", **settings)
    assert len(found)
    assert json.loads(found.to_json()) == entry


def test_a_notebook_shows_a_picture(found: PictureDetections, tmp_path: Path) -> None:
    shown = found._repr_png_()
    assert shown is not None
    assert np.array_equal(cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_COLOR), found.plot())
    large = np.zeros((100, 3000, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "large.png"), large)
    one = PictureDetections.of(THREE, Picture(large, "large", tmp_path / "large.png"), ("a", "b"))
    wide = one._repr_png_()
    assert wide is not None
    assert cv2.imdecode(np.frombuffer(wide, np.uint8), cv2.IMREAD_COLOR).shape == (43, 1280, 3)
    (tmp_path / "a.png").unlink()
    assert found._repr_png_() is None
    with pytest.raises(DataError, match=r"There is no image"):
        found.plot()


def test_a_picture_of_another_size_is_refused(found: PictureDetections, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"has 10 x 12 pixels \(height x width\), but the detections are of one with 48 x 64"
    ):
        found.plot(np.zeros((10, 12, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "a.png"), IMAGE[:20])
    with pytest.raises(DataError, match="has 20 x 64 pixels"):
        found.crop()


def test_a_class_without_a_name(tmp_path: Path) -> None:
    one = PictureDetections.of(THREE, Picture(IMAGE, "a"), ("face",), IMAGE)
    assert [item.name for item in one] == ["class 1", "face", "class 1"]
    assert json.loads(one.to_json())["detections"][0]["name"] == "class 1"


def held(kind: str) -> Any:
    from PIL import Image

    ok, content = cv2.imencode(".png", IMAGE)
    assert ok
    rgb = np.ascontiguousarray(IMAGE[:, :, ::-1])
    return {
        "array": IMAGE,
        "Pillow": Image.fromarray(rgb),
        "bytes": content.tobytes(),
        "file": io.BytesIO(content.tobytes()),
        "tensor": torch.from_numpy(rgb).permute(2, 0, 1).float() / 255,
    }[kind]


@pytest.mark.parametrize("kind", ["array", "Pillow", "bytes", "file", "tensor"])
def test_pictures_from_memory_draw_themselves(kind: str, detector: Detector) -> None:
    (one,) = slimyolo.predict(detector, held(kind), imgsz=64, conf=0.001, max_det=3)
    assert np.array_equal(one.image(), IMAGE)
    assert len(one.crop()) == len(one) == 3


def test_a_generator_may_reuse_its_memory(detector: Detector) -> None:
    memory = np.zeros_like(IMAGE)

    def frames() -> Any:
        for value in (1, 2):
            memory[:] = value
            yield memory

    first, second = slimyolo.predict(detector, frames(), imgsz=64)
    assert (first.image().max(), second.image().max()) == (1, 2)


def test_pictures_beyond_the_room_are_asked_for(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicting, "KEPT_BYTES", IMAGE.nbytes)
    first, second = slimyolo.predict(detector, [IMAGE, IMAGE], imgsz=64)
    assert np.array_equal(first.image(), IMAGE)
    with pytest.raises(DataError, match=r"was not kept .* Give it again: plot\(image\)"):
        second.plot()
    assert second.plot(IMAGE).shape == IMAGE.shape


def test_frames_of_a_video_are_read_again(detector: Detector, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 5, (64, 48))
    for value in (20, 120, 220):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    found = slimyolo.predict(detector, path, imgsz=64)
    assert [one.kept for one in found] == [None] * 3
    assert [abs(int(one.image().mean()) - value) < 8 for one, value in zip(found, (20, 120, 220), strict=True)] == [
        True
    ] * 3
    assert "frame 2" in repr(found[2])
    assert found[1].save(tmp_path).name == "clip_1.jpg"
