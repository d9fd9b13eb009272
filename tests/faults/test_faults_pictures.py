"""Table of cases: every spoilt picture and label has one outcome, and a training on a set full of them ends well.

The outcomes of single files are in ``tests/datasets``; here are those that it lacks, and all of them together.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from watching import memory_above_now

from conftest import QUICK
from slimfaces import render_dataset
from slimyolo.data import decode_image, image_size, read_dataset_yaml, read_split
from slimyolo.data.dataset.labels import parse_labels
from slimyolo.errors import DataError
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.train import train


def _png(width: int, height: int) -> bytes:
    """A true PNG of one colour: 30000 × 30000 pixels of grey are 110 kB here and 2.7 GB decoded."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    squeezer = zlib.compressobj(9)
    rows = b"".join(squeezer.compress(bytes(1 + width)) for _ in range(height)) + squeezer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _saved(kind: str, mode: str = "RGB", frames: int = 1) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (frames, 32, 48, 4), np.uint8)
    pictures = [Image.fromarray(one).convert("RGB").convert(mode) for one in noise]
    buffer = io.BytesIO()
    more = {"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}
    pictures[0].save(buffer, kind, **more)
    return buffer.getvalue()


def _hidden_jpeg() -> bytes:
    """A JPEG of 20000 × 12000 pixels whose frame header stands behind a stray byte 255; a small one stands in a comment."""
    small = cv2.imencode(".jpg", np.full((64, 64, 3), 90, np.uint8))[1].tobytes()
    at = small.index(b"\xff\xc0")
    frame = small[at : at + 19]
    huge = frame[:5] + struct.pack(">HH", 12_000, 20_000) + frame[9:]
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(frame))
    stray = b"\xff\x00" + struct.pack(">H", 2 + len(huge) + len(comment))
    return small[:at] + stray + huge + comment + frame + small[at + len(frame) :]


def _jpeg_of_many_scans(scans: int) -> bytes:
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    small = cv2.imencode(".jpg", np.full((32, 48, 3), 90, np.uint8), options)[1].tobytes()
    return small[:-2] + small[small.rindex(b"\xff\xda") : -2] * scans + small[-2:]


def _tiff(*sizes: tuple[int, int], tile: int = 0) -> bytes:
    """A TIFF that states each of `sizes` (width, height) as its own; with `tile`, it is one square of that side."""
    pixels = zlib.compress(bytes(48 * 32))
    tags = [(256, width) for width, _ in sizes] + [(257, height) for _, height in sizes]
    tags += [(258, 8), (259, 8), (262, 1)]
    count = len(tags) + (5 if tile else 4)
    at = 8 + 2 + 12 * count + 4
    tags += [(277, 1), (322, tile), (323, tile), (324, at), (325, len(pixels))] if tile else []
    tags += [] if tile else [(273, at), (277, 1), (278, sizes[0][1]), (279, len(pixels))]
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, count) + rows + bytes(4) + pixels


def _os2_bmp() -> bytes:
    rows = bytes(48 * 3) * 32
    return b"BM" + struct.pack("<IHHI", 26 + len(rows), 0, 0, 26) + struct.pack("<IHHHH", 12, 48, 32, 1, 24) + rows


def _jpeg_with_exif(*orientations: int) -> bytes:
    """A JPEG of 48 × 32 pixels, or 32 × 48 when it is turned, with an EXIF segment for each of `orientations`."""
    turned = orientations[0] >= 5
    small = cv2.imencode(".jpg", np.full((48, 32, 3) if turned else (32, 48, 3), 90, np.uint8))[1].tobytes()
    start = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1)
    parts = [start + struct.pack(">HHIHH", 274, 3, 1, number, 0) + bytes(4) for number in orientations]
    return small[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(one)) + one for one in parts) + small[2:]


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "true PNG of 30000 × 30000": (lambda: _png(30_000, 30_000), "unpacks to 30000 x 30000 pixels \\(height x width\\)"),
    "JPEG with a hidden size": (_hidden_jpeg, "unpacks to 12000 x 20000 pixels"),
    "JPEG of 5000 scans": (lambda: _jpeg_of_many_scans(5000), r"has 5,0\d\d scans; at most 100 are decoded"),
    "TIFF with two sizes": (lambda: _tiff((30_000, 20_000), (48, 32)), "unpacks to 20000 x 30000 pixels"),
    "TIFF with a huge tile": (lambda: _tiff((48, 32), tile=16_000), "has a damaged header"),
    "PGM of 30000 × 30000": (lambda: b"P5\n30000 30000\n255\n" + bytes(1000), "PNG, WebP, BMP and TIFF can be read"),
    "Radiance HDR of 30000 × 30000": (
        lambda: b"#?RADIANCE\n\n-Y 30000 +X 30000\n" + bytes(100),
        "Radiance HDR is not supported",
    ),
    "JPEG 2000": (lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(200), "JPEG 2000 is not supported"),
    "GIF": (lambda: _saved("GIF"), "GIF is not supported"),
    "animated GIF": (lambda: _saved("GIF", frames=3), "GIF is not supported"),
}
READ: dict[str, Callable[[], bytes]] = {
    "CMYK JPEG": lambda: _saved("JPEG", "CMYK"),
    "grey JPEG": lambda: _saved("JPEG", "L"),
    "PNG with a palette": lambda: _saved("PNG", "P"),
    "PNG of one bit": lambda: _saved("PNG", "1"),
    "PNG with alpha": lambda: _saved("PNG", "RGBA"),
    "16-bit PNG": lambda: cv2.imencode(".png", np.full((32, 48), 40_000, np.uint16))[1].tobytes(),
    "TIFF": lambda: _tiff((48, 32)),
    "progressive JPEG": lambda: _jpeg_of_many_scans(0),
    "BMP of OS/2": _os2_bmp,
    "JPEG with two EXIF segments": lambda: _jpeg_with_exif(6, 1),
    "JPEG with two EXIF segments, the other way round": lambda: _jpeg_with_exif(1, 6),
    "TIFF of two pages: the first": lambda: _saved("TIFF", frames=2),
    "animated WebP: the first frame": lambda: _saved("WEBP", frames=3),
}


@pytest.mark.parametrize("name", REFUSED)
def test_pictures_that_are_refused(tmp_path: Path, name: str) -> None:
    content, words = REFUSED[name]
    path = tmp_path / "a.jpg"
    path.write_bytes(content())
    with memory_above_now(2**29), pytest.raises(DataError, match=words):
        decode_image(path)


@pytest.mark.parametrize("name", READ)
def test_pictures_that_are_read_whatever_their_suffix_says(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.jpg"  # the wrong one, mostly
    path.write_bytes(READ[name]())
    picture = decode_image(path)
    assert picture.shape == (32, 48, 3)
    assert image_size(path.read_bytes()) == (32, 48)
    assert picture.dtype == np.uint8


def test_thousands_of_boxes_are_kept_and_duplicates_are_not() -> None:
    rows = [f"0 {0.1 + 0.8 * i / 5000:.6f} 0.5 0.01 0.01" for i in range(5000)]
    label = parse_labels(("\ufeff" + "\r\n".join([*rows, *rows])).encode(), Path("a.txt"), 1)
    assert len(label.boxes) == 5000
    assert {defect.kind for defect in label.defects} == {"duplicate"}


@pytest.fixture
def spoilt_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty pictures, four of them spoilt, and what a folder may hold besides."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = render_dataset(tmp_path / "tiny", train=20, val=4, size=96, seed=1)
    images = sorted((data.parent / "images" / "train").iterdir())
    labels = data.parent / "labels" / "train"
    images[0].write_bytes(b"")
    images[1].write_bytes(images[1].read_bytes()[:200])
    images[2].write_bytes(_png(8, 8)[:16] + struct.pack(">II", 30_000, 30_000) + _png(8, 8)[24:])
    (labels / images[3].with_suffix(".txt").name).write_text("0 NaN 0.5 0.1 0.1\n0 inf 1 2\n-1 0 0 1 1\n")
    (labels / images[4].with_suffix(".txt").name).write_text("0 0.5 0.5 0.2 0.2\n0 0.5 0.5 900 900\n")
    folder = images[0].parent
    (folder / "folder.jpg").mkdir()
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "self.jpg").symlink_to(folder / "self.jpg")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    shutil.copy(images[5], folder / ("ü" * 100 + "模.jpg"))
    shutil.copy(images[5], folder / ("long " * 45 + ".jpg"))
    os.mkfifo(folder / ".pipe.jpg")  # hidden, so it is not waited for
    return data


def test_a_training_on_spoilt_files_ends_and_lists_them(
    spoilt_data: Path, small_cfg: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    split = read_split(read_dataset_yaml(spoilt_data), "train")
    assert len(split) == 18  # 20 - 4 spoilt + 2 copies with odd names
    skipped = sorted(defect.file.name for defect in split.defects if defect.outcome == "image skipped")
    assert len(skipped) == 6  # the four, and the links that lead nowhere
    assert {"self.jpg", "gone.jpg"} < set(skipped)
    with caplog.at_level(logging.INFO, "slimyolo"):
        record = train(TrainConfig(data=spoilt_data, cfg=small_cfg, project=tmp_path / "runs", noplots=True, **QUICK))
    assert record.epochs_done == 1
    assert "18 images" in caplog.text
    assert any(name in caplog.text for name in skipped)
    assert "slimyolo data check" in caplog.text or " more" in caplog.text  # the whole list is told there
