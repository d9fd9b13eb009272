"""Parity with YOLOv5 6.2 on a photograph, and closed formulas with a detector that always says the same."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slimyolo.errors import DataError, ModelError
from slimyolo.geometry import RowLayout, SuppressionKind
from slimyolo.inference import (
    BrokenPicture,
    DetectionSettings,
    Picture,
    predict,
    predict_picture,
    predict_pictures,
    read_pictures,
)


class Parrot(nn.Module):
    """Says `rows` (cx, cy, w, h, objectness, two class probabilities; network px) about any picture."""

    names = ("face", "face_mask")
    rows = RowLayout(2, objectness=True)
    suppression: SuppressionKind = "nms"

    def __init__(self, *rows: tuple[float, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.answer = torch.tensor(rows or [(0.0,) * 7])
        self.seen: list[Tensor] = []
        self.eval()

    @property
    def stride(self) -> Tensor:
        return torch.tensor([8.0, 16.0, 32.0])

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(images)
        return self.answer[None]


FACE = (100.0, 60.0, 40.0, 20.0, 0.9, 0.8, 0.1)


def write_image(path: Path, size: tuple[int, int] = (60, 80)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), 90, np.uint8))
    return path


def test_detections_of_a_published_checkpoint_equal_yolov5s(shared_folder: Path, yolov5n_weights: Path) -> None:
    from slimyolo.families import load_checkpoint

    fixtures = shared_folder / "fixtures"
    expected = np.load(fixtures / "d2_image320_rect.npz")["nms_c25i45"]
    picture = fixtures / "d2_image320_rect_letterboxed.png"  # already of network size: the letterbox adds nothing
    (found,) = predict(load_checkpoint(yolov5n_weights).detector(), picture, imgsz=320)
    assert found.frame == "source"
    np.testing.assert_array_equal(found.classes, expected[:, 5])
    np.testing.assert_allclose(found.scores, expected[:, 4], atol=1e-4)
    np.testing.assert_allclose(found.boxes, expected[:, :4].clip(0, [256, 320, 256, 320]), atol=0.02)


def test_boxes_come_back_in_source_pixels() -> None:
    detector = Parrot(FACE)
    picture = np.zeros((100, 200, 3), np.uint8)  # 320 wide: scale 1.6, padded to 160 + 0 rows
    (found,) = predict(detector, picture, imgsz=320)
    assert detector.seen[0].shape == (1, 3, 160, 320)
    np.testing.assert_allclose(found.boxes, [[80 / 1.6, 50 / 1.6, 120 / 1.6, 70 / 1.6]], atol=1e-4)
    assert found.scores.tolist() == pytest.approx([0.72])
    assert found.classes.tolist() == [0]


def test_the_network_sees_rgb_between_0_and_1() -> None:
    detector = Parrot()
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[..., 0] = 255  # blue, as OpenCV orders channels
    predict(detector, picture, imgsz=64)
    assert detector.seen[0].amax((0, 2, 3)).tolist() == [0, 0, 1]


def test_sizes_that_are_not_whole_strides_are_rounded_up(caplog: pytest.LogCaptureFixture) -> None:
    detector = Parrot()
    predict(detector, np.zeros((50, 50, 3), np.uint8), imgsz=(128, 96))
    assert caplog.text == ""
    predict(detector, np.zeros((50, 50, 3), np.uint8), imgsz=(100, 100))
    assert "fitted into 128 x 128 pixels (height x width), not 100 x 100: sides are multiples of 32" in caplog.text
    assert detector.seen[-1].shape[2:] == (128, 128)


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 1),
        ({"conf": 0.8}, 0),
        ({"classes": [1]}, 0),
        ({"classes": [0]}, 1),
        ({"max_det": 1}, 1),
    ],
)
def test_settings(settings: dict[str, float], count: int) -> None:
    (found,) = predict(Parrot(FACE, FACE), np.zeros((64, 64, 3), np.uint8), **settings)  # type: ignore[arg-type]
    assert len(found) == count


def test_a_detector_in_training_mode_is_refused() -> None:
    with pytest.raises(ModelError, match=r"detector\.eval\(\)"):
        predict(Parrot().train(), np.zeros((64, 64, 3), np.uint8))


def test_times_and_sizes_are_reported() -> None:
    outcome = predict_picture(
        Parrot(FACE), Picture(np.zeros((64, 96, 3), np.uint8), "a"), DetectionSettings(imgsz=(96, 96))
    )
    assert outcome.network_size == (64, 96)
    assert min(outcome.times.prepare_ms, outcome.times.network_ms, outcome.times.nms_ms) > 0


# --- where pictures come from -----------------------------------------------------------------------------------------


def names(source: object, **options: int) -> list[str]:
    return [
        f"broken {Path(item.name).name}" if isinstance(item, BrokenPicture) else item.name
        for item in read_pictures(source, **options)  # type: ignore[arg-type]
    ]


def test_a_broken_image_does_not_stop_the_rest(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"")
    (tmp_path / "c.jpg").write_text("no picture")
    whole = write_image(tmp_path / "whole.jpg", (64, 64)).read_bytes()
    (tmp_path / "d.jpg").write_bytes(whole[: len(whole) // 2])
    write_image(tmp_path / "z.jpg")
    assert names(tmp_path)[:3] == ["a", "broken b.jpg", "broken c.jpg"]
    outcomes = list(predict_pictures(Parrot(FACE), tmp_path, DetectionSettings()))
    assert sum(not isinstance(outcome, BrokenPicture) for outcome in outcomes) >= 3
    with pytest.raises(DataError, match=r"b\.jpg is empty"):
        predict(Parrot(), tmp_path)


def test_folders_globs_lists_and_sequences(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_image(tmp_path / f"{name}.png")
    write_image(tmp_path / "sub" / "c.png")
    (tmp_path / "notes.md").write_text("no picture")
    assert names(tmp_path) == ["a", "b"]
    assert names(str(tmp_path / "*.png")) == ["a", "b"]
    assert names(f"{tmp_path}/**/*.png") == ["a", "b", "c"]
    (tmp_path / "list.txt").write_text(f"# comment\nb.png\n\n{tmp_path / 'sub' / 'c.png'}\nnone.png\n")
    assert names(tmp_path / "list.txt") == ["b", "c", "broken none.png"]
    assert names([tmp_path / "a.png", np.zeros((9, 9, 3), np.uint8)]) == ["a", "image1"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("none.jpg", "There is no image, video or folder 'none.jpg'. Did you mean 'one.jpg'?"),
        ("*.webp", "No file matches the pattern"),
        ("empty", "holds no images or videos"),
        ("list.txt", "names no image"),
    ],
)
def test_sources_that_name_nothing(source: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_text("\n# nothing\n")
    write_image(tmp_path / "one.jpg")
    with pytest.raises(DataError) as caught:
        names(source)
    assert said in str(caught.value)


def test_arrays() -> None:
    grey, alpha = np.zeros((9, 8), np.uint8), np.zeros((9, 8, 4), np.uint8)
    shapes = [item.image.shape for item in read_pictures([grey, alpha]) if isinstance(item, Picture)]
    assert shapes == [(9, 8, 3), (9, 8, 3)]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((9, 8, 3), np.float32), "must be a uint8 array"),
        (np.zeros((3, 9, 8), np.uint8), r"must have shape \[height, width, 3\].*transpose\(1, 2, 0\)"),
        (np.zeros((9, 8, 2), np.uint8), "must have shape"),
        (np.zeros((0, 8, 3), np.uint8), "must have shape"),
    ],
)
def test_wrong_arrays(array: np.ndarray, said: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(DataError, match=said):
        list(read_pictures(array))


def test_videos(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no MJPG video")
    for level in range(0, 250, 50):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    frames = [item for item in read_pictures(path, vid_stride=2) if isinstance(item, Picture)]
    assert [frame.video_frame for frame in frames] == [0, 2, 4]
    assert frames[0].fps == pytest.approx(5.0)
    assert abs(int(frames[1].image.mean()) - 100) < 5
    (tmp_path / "no.mp4").write_bytes(b"no video")
    assert names(tmp_path) == ["clip"] * 5 + ["broken no.mp4"]
