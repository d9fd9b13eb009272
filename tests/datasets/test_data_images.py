"""Table of cases: image files of every kind, whole and damaged."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from slimyolo.data import decode_image, image_size
from slimyolo.data.pictures.image_scan import look_at_image
from slimyolo.errors import DataError


def smooth_picture(height: int = 48, width: int = 80) -> np.ndarray:
    ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
    return ramp.astype(np.uint8)


def encoded(suffix: str, picture: np.ndarray | None = None) -> bytes:
    picture = smooth_picture() if picture is None else picture
    return cv2.imencode(suffix, picture)[1].tobytes()


def exif_segment(orientation: int, order: str) -> bytes:
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    tiff = mark + struct.pack(order + "IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
    return b"\xff\xe1" + struct.pack(">H", len(tiff) + 8) + b"Exif\0\0" + tiff


def rotated_jpeg(orientation: int, order: str = "<") -> bytes:
    content = encoded(".jpg")
    return content[:2] + exif_segment(orientation, order) + content[2:]


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (chunk, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
def test_size_from_the_header_is_the_decoded_size(tmp_path: Path, suffix: str) -> None:
    content = encoded(suffix)
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(content)
    assert image_size(content) == (48, 80)
    decoded = decode_image(path)
    assert decoded.shape == (48, 80, 3)
    assert np.abs(decoded.astype(int) - smooth_picture()).mean() < 8
    assert look_at_image(path).size == (48, 80)


@pytest.mark.parametrize("quality", [0, 101])
def test_size_of_both_kinds_of_webp(quality: int) -> None:
    content = cv2.imencode(".webp", smooth_picture(), [cv2.IMWRITE_WEBP_QUALITY, max(quality, 1)])[1].tobytes()
    assert image_size(content) == (48, 80)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_orientation(tmp_path: Path, orientation: int, order: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(rotated_jpeg(orientation, order))
    expected = (80, 48) if orientation >= 5 else (48, 80)
    assert image_size(path.read_bytes()) == expected
    assert decode_image(path).shape[:2] == expected
    assert look_at_image(path).size == expected


def test_exif_rotation_turns_the_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(rotated_jpeg(6))  # stored lying, to be turned clockwise
    stored = cv2.imdecode(np.frombuffer(rotated_jpeg(1), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decode_image(path), cv2.rotate(stored, cv2.ROTATE_90_CLOCKWISE))


@pytest.mark.parametrize(
    "picture",
    [
        smooth_picture()[..., 0],  # grey
        np.dstack((smooth_picture(), np.full((48, 80), 7, np.uint8))),  # alpha
        smooth_picture().astype(np.uint16) * 257,  # 16 bit
        smooth_picture()[..., 0].astype(np.uint16) * 257,  # 16 bit grey, as medical pictures
    ],
)
def test_every_depth_becomes_three_bytes(tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(".png", picture))
    decoded = decode_image(path)
    assert decoded.dtype == np.uint8
    expected = smooth_picture() if picture.ndim == 3 else np.repeat(smooth_picture()[..., :1], 3, 2)
    np.testing.assert_array_equal(decoded, expected)


def test_cmyk(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="only Pillow writes CMYK")
    pillow.new("CMYK", (80, 48), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    decoded = decode_image(tmp_path / "a.jpg")
    assert look_at_image(tmp_path / "a.jpg").size == (48, 80)
    blue, green, red = decoded.reshape(-1, 3).mean(0)
    assert red > 200
    assert max(blue, green) < 60


@pytest.mark.parametrize("name", ["Maske 口罩.png", "ü ö.PNG", "a.b.c.png", "#1 (2).png"])
def test_unicode_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(encoded(".png"))
    assert decode_image(tmp_path / name).shape == (48, 80, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"hello", "cannot be decoded: it is damaged or not an image"),
        (b"<html><body>404", "it is a web page"),
        (b"GIF89a" + bytes(40), "GIF is not supported"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC or AVIF is not supported"),
        (encoded(".jpg")[:300], "cannot be decoded"),
        (b"\xff\xd8\xff", "damaged header"),
        (b"\xff\xd8" + b"\xff\xd9", "damaged header"),
        (b"\x89PNG\r\n\x1a\n", "damaged header"),
        (encoded(".png")[:-40], "cannot be decoded"),
        (b"BM" + bytes(8), "damaged header"),
        (png_header(0, 5), "claims to have 5 x 0 pixels .height x width."),
        (png_header(30000, 30000), "unpacks to 30000 x 30000"),
        (png_header(2**31 - 1, 2**31 - 1), "unpacks to"),
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        decode_image(path)
    assert str(path) in str(caught.value)
    look = look_at_image(path)
    assert look.size is None
    assert look.problem


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
def test_no_prefix_of_a_file_raises_anything_else(suffix: str, tmp_path: Path) -> None:
    """Whatever a file was cut to, the answer is a picture or a DataError."""
    content = encoded(suffix, smooth_picture(16, 16))
    for length in range(1, len(content), max(len(content) // 80, 1)):
        with contextlib.suppress(DataError):
            decode_image(tmp_path / f"a{suffix}", content[:length])


def test_no_flipped_byte_raises_anything_else(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    for content in (rotated_jpeg(6), encoded(".png"), encoded(".webp"), encoded(".tif", smooth_picture(16, 16))):
        for _ in range(40):
            damaged = bytearray(content)
            damaged[int(generator.integers(min(len(content), 200)))] ^= int(generator.integers(1, 256))
            with contextlib.suppress(DataError):
                decode_image(tmp_path / "a", bytes(damaged))


def test_jpeg_without_its_end_marker_is_used_and_left_as_it_is(tmp_path: Path) -> None:
    whole, path = encoded(".jpg"), tmp_path / "a.jpg"
    path.write_bytes(whole[:-2])
    expected = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(decode_image(path), expected)
    assert look_at_image(path).size == (48, 80)
    assert path.read_bytes() == whole[:-2]


def test_jpeg_with_missing_data_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    cut, path = encoded(".jpg", noise)[:-2000], tmp_path / "a.jpg"
    path.write_bytes(cut)
    with pytest.raises(DataError, match="truncated"):
        decode_image(path)
    assert path.read_bytes() == cut


def test_jpeg_with_bytes_after_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(".jpg") + b"appended by a camera \xff\xda")
    assert decode_image(tmp_path / "a.jpg").shape == (48, 80, 3)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Cannot read the image"):
        decode_image(tmp_path / "none.jpg")


@pytest.mark.parametrize(("height", "width"), [(1, 640), (9, 50), (50, 9)])
def test_small_image_is_decoded_but_not_for_a_dataset(tmp_path: Path, height: int, width: int) -> None:
    (tmp_path / "a.png").write_bytes(encoded(".png", np.zeros((height, width, 3), np.uint8)))
    assert decode_image(tmp_path / "a.png").shape == (height, width, 3)
    assert "must have 10 or more" in look_at_image(tmp_path / "a.png").problem
