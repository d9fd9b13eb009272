"""Where pictures come from: files, folders, globs, lists, arrays, videos, cameras. A broken one stops no other."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from slimyolo.data import IMAGE_SUFFIXES, decode_image
from slimyolo.errors import DataError, nearest_name_hint

__all__ = ["VIDEO_SUFFIXES", "BrokenPicture", "Picture", "PictureSource", "as_picture_array", "read_pictures"]

VIDEO_SUFFIXES = (".asf", ".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")
STREAM_PREFIXES = ("rtsp://", "rtmp://", "http://", "https://")

ImageArray: TypeAlias = npt.NDArray[np.uint8]
OneSource: TypeAlias = "str | Path | ImageArray"
PictureSource: TypeAlias = "OneSource | Sequence[OneSource]"


@dataclass(frozen=True)
class Picture:
    """One picture: BGR uint8 ``[h, w, 3]``. `video_frame` counts from 0 in a video or stream, where `fps` is known."""

    image: ImageArray
    name: str
    path: Path | None = None
    video_frame: int | None = None
    fps: float | None = None


@dataclass(frozen=True)
class BrokenPicture:
    """A picture that cannot be read, and why."""

    name: str
    reason: str


def read_pictures(source: PictureSource, *, vid_stride: int = 1) -> Iterator[Picture | BrokenPicture]:
    """Every picture of `source`, in order; one that cannot be read comes as a `BrokenPicture`.

    `source`: an image or video file, a folder (its images and videos, sorted, not its subfolders), a glob pattern, a
    ``.txt`` list (one path a line, relative to the list or the working directory), a camera number, a stream address, a
    BGR array, or a sequence of these. Of videos every `vid_stride`-th frame is taken. Raises `DataError` when `source`
    names nothing at all.
    """
    if isinstance(source, np.ndarray):
        yield Picture(as_picture_array(source), "image0")
    elif isinstance(source, (str, Path)):
        yield from _read_named(str(source), vid_stride)
    else:
        for number, item in enumerate(source):
            if isinstance(item, np.ndarray):
                yield Picture(as_picture_array(item), f"image{number}")
            else:
                yield from _read_named(str(item), vid_stride)


def as_picture_array(array: npt.NDArray[Any]) -> ImageArray:
    """`array` as BGR uint8 ``[h, w, 3]``: grey ``[h, w]`` is repeated, a fourth channel dropped.

    Raises `DataError` for other shapes, for empty arrays and for other number types.
    """
    if array.dtype != np.uint8:
        raise DataError(
            f"A picture must be a uint8 array (0–255, BGR as OpenCV reads it), got {array.dtype}. Convert it: "
            "(array * 255).round().astype('uint8') if its values are 0–1."
        )
    if array.ndim == 2:
        array = array[:, :, None].repeat(3, 2)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or 0 in array.shape:
        raise DataError(f"A picture must have shape [height, width, 3], got {list(array.shape)}. Give one at a time.")
    return array[:, :, :3]


def _read_named(source: str, vid_stride: int) -> Iterator[Picture | BrokenPicture]:
    if source.isdigit() and not Path(source).exists():
        yield from _read_video(int(source), f"camera{source}", None, vid_stride)
    elif source.lower().startswith(STREAM_PREFIXES):
        yield from _read_video(source, "stream", None, vid_stride)
    else:
        for path in _find_files(source):
            if path.suffix.lower() in VIDEO_SUFFIXES:
                yield from _read_video(str(path), path.stem, path, vid_stride)
            else:
                yield _read_image(path)


def _find_files(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if path.is_dir():
        found = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES)
        if not found:
            raise DataError(
                f"The folder {path} holds no images or videos ({', '.join(sorted(IMAGE_SUFFIXES))}, …). Subfolders are "
                f"not searched: use a pattern such as '{path}/**/*.jpg'."
            )
        return found
    if path.suffix.lower() == ".txt" and path.is_file():
        return _read_list(path)
    if path.is_file():
        return [path]
    if glob.has_magic(source):
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())
        if found:
            return found
        raise DataError(f"No file matches the pattern {source!r}.")
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise DataError(
        f"There is no image, video or folder {source!r}.{nearest_name_hint(path.name, beside)} --source takes a file, "
        "a folder, a quoted pattern ('photos/*.jpg'), a .txt list, a camera number or a stream address."
    )


def _read_list(path: Path) -> list[Path]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read the list {path}: {error}.") from None
    entries = [Path(line).expanduser() for line in lines if line and not line.startswith("#")]
    if not entries:
        raise DataError(f"The list {path} names no image: expected one path a line.")
    return [path.parent / entry if (path.parent / entry).exists() else entry for entry in entries]


def _read_image(path: Path) -> Picture | BrokenPicture:
    try:
        return Picture(decode_image(path), path.stem, path)
    except DataError as error:
        return BrokenPicture(str(path), str(error))


def _read_video(source: str | int, name: str, path: Path | None, vid_stride: int) -> Iterator[Picture | BrokenPicture]:
    shown = str(path or source)
    if path is not None and not path.is_file():
        yield BrokenPicture(shown, f"Cannot read the video {shown}: there is no such file.")
        return
    capture = cv2.VideoCapture(source)
    try:
        fps = float(capture.get(cv2.CAP_PROP_FPS)) or 25.0
        number = 0
        while capture.grab():
            if number % vid_stride == 0:
                readable, image = capture.retrieve()
                if readable and image is not None:
                    yield Picture(as_picture_array(np.asarray(image)), name, path, number, fps / vid_stride)
            number += 1
        if number == 0:
            yield BrokenPicture(shown, f"Cannot read the video {shown}: no frame could be decoded.")
    finally:
        capture.release()
