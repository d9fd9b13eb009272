"""Reads pictures from files, folders, patterns, lists, arrays, videos and cameras. A broken picture does not stop the others."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from slimyolo.data import IMAGE_SUFFIXES, decode_image
from slimyolo.errors import DataError, nearest_name_hint
from slimyolo.inference.pictures import BrokenPicture, ImageArray, Picture, as_picture_array
from slimyolo.inference.streams import Patience, is_stream_address, read_address, read_camera, silent_video_library

__all__ = ["VIDEO_SUFFIXES", "PictureSource", "read_pictures"]

VIDEO_SUFFIXES = (".asf", ".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")
LIST_SUFFIXES = (".txt", ".streams")
DEFAULT_PATIENCE = Patience()
OneSource: TypeAlias = "str | Path | ImageArray"
PictureSource: TypeAlias = "OneSource | Sequence[OneSource]"


def read_pictures(
    source: PictureSource, *, vid_stride: int = 1, patience: Patience = DEFAULT_PATIENCE
) -> Iterator[Picture | BrokenPicture]:
    """Every picture of `source`, in order; a picture that cannot be read becomes a `BrokenPicture`.

    `source` is an image or video file, a folder (its images and videos, sorted, without subfolders), a glob pattern, a
    ``.txt`` list (one path or address on each line, relative to the list or the working directory), a camera number, the
    address of a picture, a video or a stream, a BGR array, or a sequence of these. Every `vid_stride`-th frame of a video is
    read. `patience` says how long cameras and streams are waited for. Raises `DataError` when `source` names no picture.
    """
    if isinstance(source, np.ndarray):
        yield Picture(as_picture_array(source), "image0")
    elif isinstance(source, (str, Path)):
        yield from _read_named(str(source), vid_stride, patience)
    else:
        for number, item in enumerate(source):
            if isinstance(item, np.ndarray):
                yield Picture(as_picture_array(item), f"image{number}")
            else:
                yield from _read_named(str(item), vid_stride, patience)


def _read_named(source: str, vid_stride: int, patience: Patience) -> Iterator[Picture | BrokenPicture]:
    if source.isdigit() and not os.path.exists(source):
        yield from read_camera(int(source), vid_stride, patience)
    elif is_stream_address(source):
        yield from read_address(source, vid_stride, patience)
    elif Path(source).suffix.lower() in LIST_SUFFIXES and os.path.isfile(source):
        for entry in _read_list(Path(source)):
            yield from (
                _read_named(entry, vid_stride, patience)
                if is_stream_address(entry)
                else _read_file(Path(entry), vid_stride)
            )
    else:
        for path in _find_files(source):
            yield from _read_file(path, vid_stride)


def _read_file(path: Path, vid_stride: int) -> Iterator[Picture | BrokenPicture]:
    if path.suffix.lower() in VIDEO_SUFFIXES:
        yield from _read_video(path, vid_stride)
    else:
        yield _read_image(path)


def _find_files(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if os.path.isdir(path):
        found = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES + VIDEO_SUFFIXES)
        if not found:
            raise DataError(
                f"The folder {path} holds no images or videos ({', '.join(sorted(IMAGE_SUFFIXES))}, …). Subfolders are "
                f"not searched: use a pattern such as '{path}/**/*.jpg'."
            )
        return found
    if os.path.isfile(path):
        return [path]
    if glob.has_magic(source):
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if os.path.isfile(name))
        if found:
            return found
        raise DataError(f"No file matches the pattern {source!r}.")
    beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise DataError(
        f"There is no image, video or folder {source!r}.{nearest_name_hint(path.name, beside)} --source takes a file, "
        "a folder, a quoted pattern ('photos/*.jpg'), a .txt list, a camera number or a stream address."
    )


def _read_list(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read the list {path}: {error}.") from None
    entries = [line for line in lines if line and not line.startswith("#")]
    if not entries:
        raise DataError(f"The list {path} names no image. Write one path on each line.")
    return [entry if is_stream_address(entry) else _beside(path, entry) for entry in entries]


def _beside(list_file: Path, entry: str) -> str:
    path = Path(entry).expanduser()
    return str(list_file.parent / path if os.path.exists(list_file.parent / path) else path)


def _read_image(path: Path) -> Picture | BrokenPicture:
    try:
        return Picture(decode_image(path), path.stem, path)
    except DataError as error:
        return BrokenPicture(str(path), str(error))


def _read_video(path: Path, vid_stride: int) -> Iterator[Picture | BrokenPicture]:
    if not os.path.isfile(path):
        yield BrokenPicture(str(path), f"Cannot read the video {path}: there is no such file.")
        return
    with silent_video_library():
        capture = cv2.VideoCapture(str(path))
        try:
            fps = float(capture.get(cv2.CAP_PROP_FPS)) or 25.0
            number = 0
            while capture.grab():
                if number % vid_stride == 0:
                    readable, image = capture.retrieve()
                    if readable and image is not None:
                        yield Picture(as_picture_array(np.asarray(image)), path.stem, path, number, fps / vid_stride)
                number += 1
        finally:
            capture.release()
    if number == 0:
        yield BrokenPicture(str(path), f"Cannot read the video {path}: no frame could be decoded.")
