"""Table of cases: pictures that a program holds in memory become the same BGR bytes, or are refused with a sentence."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from slimyolo.data import decode_image
from slimyolo.errors import DataError
from slimyolo.inference import BrokenPicture, Picture, held_pictures, named_files, read_pictures

BGR = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
RGB = np.ascontiguousarray(BGR[:, :, ::-1])
PNG = cv2.imencode(".png", BGR)[1].tobytes()


class Wrapped:
    """An array of another library."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return BGR


HELD: dict[str, Callable[[], Any]] = {
    "array": lambda: BGR,
    "Pillow": lambda: Image.fromarray(RGB),
    "Pillow with alpha": lambda: Image.fromarray(np.dstack([RGB, RGB[:, :, :1]])),
    "opened by Pillow": lambda: Image.open(io.BytesIO(PNG)),
    "bytes": lambda: PNG,
    "bytearray": lambda: bytearray(PNG),
    "memoryview": lambda: memoryview(PNG),
    "open file": lambda: io.BytesIO(PNG),
    "uint8 tensor": lambda: torch.from_numpy(RGB.transpose(2, 0, 1).copy()),
    "float tensor": lambda: torch.from_numpy(RGB.transpose(2, 0, 1).copy()) / 255,
    "double tensor with a gradient": lambda: (torch.from_numpy(RGB.transpose(2, 0, 1).copy()) / 255.0).requires_grad_(),
    "other library": Wrapped,
}


@pytest.mark.parametrize("kind", HELD)
def test_held_pictures_are_the_same_bytes(kind: str) -> None:
    for source in (HELD[kind](), [HELD[kind]()], iter([HELD[kind]()]), (HELD[kind](),)):
        (picture,) = list(read_pictures(source))
        assert isinstance(picture, Picture)
        assert picture.name == "image0"
        np.testing.assert_array_equal(picture.image, BGR)


def test_batches_and_generators() -> None:
    batch = torch.from_numpy(np.stack([RGB, RGB[::-1].copy()]).transpose(0, 3, 1, 2).copy())
    sources = ((each for each in [np.stack([BGR, BGR[::-1]]), PNG, batch / 255]),)
    found = [picture for picture in read_pictures(*sources) if isinstance(picture, Picture)]
    assert [picture.name for picture in found] == ["image0_0", "image0_1", "image1", "image2_0", "image2_1"]
    for number, picture in enumerate(found):
        np.testing.assert_array_equal(picture.image, BGR[::-1] if number in (1, 4) else BGR)


def test_pillow_of_other_modes(tmp_path: Path) -> None:
    grey = BGR[:, :, 0].copy()
    deep = grey.astype(np.uint16) * 256 + 77
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    for image in (Image.fromarray(grey), Image.fromarray(deep), Image.open(tmp_path / "deep.png")):
        np.testing.assert_array_equal(next(held_pictures(image, "a"))[:, :, 1], grey)
    np.testing.assert_array_equal(
        next(held_pictures(Image.open(tmp_path / "deep.png"), "a")), decode_image(tmp_path / "deep.png")
    )
    bits = Image.fromarray(grey > 99)
    np.testing.assert_array_equal(next(held_pictures(bits, "a"))[:, :, 0], (grey > 99) * np.uint8(255))


def test_pillow_is_turned_as_exif_says() -> None:
    image, file = Image.fromarray(RGB), io.BytesIO()
    exif = image.getexif()
    exif[274] = 6
    image.save(file, "JPEG", exif=exif, quality=100, subsampling=0)
    (turned,) = held_pictures(Image.open(io.BytesIO(file.getvalue())), "a")
    assert turned.shape == (16, 12, 3) == decode_image("a", file.getvalue()).shape


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"a": BGR}, "cannot be read from dict"),
        (None, "cannot be read from NoneType"),
        (0, "For a camera, give its number as text: '0'"),
        ([[BGR]], "cannot be read from list"),
        (torch.zeros(12, 16, 3), r"got \[12, 16, 3\].*permute\(2, 0, 1\)"),
        (torch.zeros(3, 8, 8) + 255, "values in 0–1, as a network takes them, got 255 to 255"),
        (torch.full((3, 8, 8), float("nan")), "got nan"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), r"uint8 \(0–255\) or floats in 0–1, got torch.int64"),
        (Image.fromarray(np.zeros((8, 8), np.float32)), "mode 'F'"),
        (np.zeros((2, 3, 8, 8), np.uint8), r"transpose\(1, 2, 0\)"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_sentence(source: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        list(read_pictures(source))


def test_broken_bytes_do_not_stop_the_rest() -> None:
    outcomes = list(read_pictures([b"", PNG[:40], io.StringIO("text"), PNG]))
    assert [isinstance(outcome, BrokenPicture) for outcome in outcomes] == [True, True, True, False]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC or AVIF is not supported"),
        ("a.avif", b"\0\0\0\x18ftypavis\0\0\0\0avis", "HEIC or AVIF is not supported"),
        ("a.jxl", b"\xff\x0a" + bytes(40), "JPEG XL is not supported"),
        ("a.psd", b"8BPS" + bytes(40), "a Photoshop file is not supported"),
        ("a.dng", b"II*\0" + bytes(40), "raw files of cameras are not supported"),
        ("a.svg", b"<svg></svg>", "damaged or not an image"),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "._hidden.jpg").write_bytes(b"what macOS writes on foreign disks")
    (tmp_path / "notes.txt").write_text("no picture")
    (outcome,) = list(read_pictures(tmp_path))
    assert isinstance(outcome, BrokenPicture)
    assert outcome.name == str(tmp_path / name)
    assert said in outcome.reason


def test_lists_of_windows_and_of_other_places(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("ä.png", "b.png"):
        (tmp_path / "photos" / name).write_bytes(PNG)
    lines = "photos\\ä.png\r\nC:\\Users\\me\\photos\\b.png\r\nphotos/none.png\r\n"
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    outcomes = list(read_pictures(str(tmp_path / "list.txt")))
    assert [outcome.name for outcome in outcomes] == ["ä", "b", "photos/none.png"]
    assert named_files(str(tmp_path / "list.txt"))[:2] == [tmp_path / "photos" / name for name in ("ä.png", "b.png")]
    assert named_files("0") == named_files("rtsp://camera") == []
