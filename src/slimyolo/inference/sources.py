"""Reads pictures from files, folders, patterns, lists, arrays, videos and cameras. A broken picture does not stop the others."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from slimyolo.data import IMAGE_SUFFIXES, UNREAD_SUFFIXES, decode_image, find_listed, read_image_bytes, read_list
from slimyolo.errors import DataError, nearest_name_hint
from slimyolo.inference.held import HeldPictures, held_pictures, holds_bytes, is_held
from slimyolo.inference.pictures import BrokenPicture, ImageArray, Picture, as_picture_array
from slimyolo.inference.streams import Patience, is_stream_address, read_address, read_camera, silent_video_library
from slimyolo.storage import check_user_file, in_home

__all__ = ["VIDEO_SUFFIXES", "PictureSource", "named_files", "picture_count", "read_pictures"]

log = logging.getLogger("slimyolo")

VIDEO_SUFFIXES = (".asf", ".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv")
KNOWN_SUFFIXES = IMAGE_SUFFIXES + VIDEO_SUFFIXES + UNREAD_SUFFIXES  # the last are named one by one when they are read
LIST_SUFFIXES = (".txt", ".streams")
TIFF_STARTS = (b"II*\0", b"MM\0*")
_CAMERA_DIGITS = 4
MOST_FRAMES = 10**9  # a header that says more is wrong
DEFAULT_PATIENCE = Patience()
OneSource: TypeAlias = "str | os.PathLike[str] | ImageArray | HeldPictures"
PictureSource: TypeAlias = "OneSource | Iterable[OneSource]"


def read_pictures(
    source: PictureSource, *, vid_stride: int = 1, patience: Patience = DEFAULT_PATIENCE
) -> Iterator[Picture | BrokenPicture]:
    """Every picture of `source`, in order; a picture that cannot be read becomes a `BrokenPicture`.

    `source` is an image or video file, a folder (its images and videos, sorted, without subfolders), a glob pattern, a
    ``.txt`` list (one path or address on each line, relative to the list or the working directory), a camera number in a
    string, the address of a picture, a video or a stream, a BGR array or another picture in memory (see `held_pictures`), or
    an iterable of these. Every `vid_stride`-th frame of a video is read. `patience` says how long cameras and streams are
    waited for. Raises `DataError` when `source` names no picture, or is of another type.
    """
    if isinstance(source, (str, os.PathLike)) or is_held(source):
        yield from _read_one(source, 0, vid_stride, patience)
    elif isinstance(source, Iterable) and not isinstance(source, Mapping):
        for number, item in enumerate(source):
            yield from _read_one(item, number, vid_stride, patience)
    else:
        raise _unknown_source(source)


def named_files(source: str) -> list[Path]:
    """The files that `source` names, in the order in which they are read; none for cameras and addresses.

    Raises `DataError` when it names nothing.
    """
    return [entry for entry in _entries(source, silent=True) if isinstance(entry, Path)]


def picture_count(files: Iterable[Path], vid_stride: int = 1) -> int:
    """About how many pictures `files` hold: one for each image, and for each video what its header says."""
    return sum(_frame_count(file, vid_stride) if _is_video(file) else 1 for file in files)


def _frame_count(video: Path, vid_stride: int) -> int:
    """The frames of `video` that are used; 0 when that cannot be known before it is read."""
    try:
        check_user_file(video, "video")
    except OSError:
        return 0
    with silent_video_library():
        capture = cv2.VideoCapture(str(video))
        try:
            frames = float(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        finally:
            capture.release()
    return -(-int(frames) // vid_stride) if 0 < frames < MOST_FRAMES else 0


def _read_one(item: OneSource, number: int, vid_stride: int, patience: Patience) -> Iterator[Picture | BrokenPicture]:
    if isinstance(item, (str, os.PathLike)):
        yield from _read_named(os.fspath(item), vid_stride, patience)
        return
    if not is_held(item):
        raise _unknown_source(item)
    name = f"image{number}"
    try:
        pictures = list(held_pictures(item, name))
    except DataError as error:
        if not holds_bytes(item):  # a mistake in the program, not a damaged picture
            raise
        yield BrokenPicture(name, str(error))
        return
    for place, picture in enumerate(pictures):
        yield Picture(picture, name if len(pictures) == 1 else f"{name}_{place}")


def _unknown_source(source: object) -> DataError:
    kind = type(source).__name__
    camera = " For a camera, give its number as text: '0'." if isinstance(source, int) else ""
    return DataError(
        f"A picture cannot be read from {kind}. Give a path, a uint8 BGR array [height, width, 3], a Pillow image, a tensor "
        f"[3, height, width] of RGB in 0–1, the bytes of an image file, or a list of these.{camera}"
    )


def _read_named(source: str, vid_stride: int, patience: Patience) -> Iterator[Picture | BrokenPicture]:
    for entry in _entries(source):
        if isinstance(entry, Path):
            yield from _read_video(entry, vid_stride) if _is_video(entry) else (_read_image(entry),)
        elif isinstance(entry, int):
            yield from read_camera(entry, vid_stride, patience)
        else:
            yield from read_address(entry, vid_stride, patience)


def _entries(source: str, *, silent: bool = False) -> list[Path | int | str]:
    """What `source` names: files, the number of a camera, addresses. `silent` leaves out what is said about a list."""
    if source.isascii() and source.isdigit() and not os.path.exists(source):
        if len(source) > _CAMERA_DIGITS:
            raise DataError(f"There is no camera {source[:20]}… and no such file: cameras are numbered from 0 to 9999.")
        return [int(source)]
    if is_stream_address(source):
        return [source]
    if Path(source).suffix.lower() in LIST_SUFFIXES and os.path.isfile(source):
        return list(_read_list(Path(source), silent))
    return list(_find_files(source))


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _find_files(source: str) -> list[Path]:
    path = in_home(source)
    if os.path.isdir(path):
        found = sorted(
            entry for entry in path.iterdir() if entry.suffix.lower() in KNOWN_SUFFIXES and not _is_hidden(entry)
        )
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


def _is_hidden(path: Path) -> bool:
    """Whether the name starts with a dot. macOS writes a ``._IMG_1.JPG`` beside each picture on foreign disks."""
    return path.name.startswith(".")


def _read_list(path: Path, silent: bool) -> list[Path | str]:
    try:
        entries = read_list(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read the list {path}: {error}.") from None
    if not entries:
        raise DataError(f"The list {path} names no image. Write one path on each line.")
    left_out: Counter[str] = Counter()
    found: list[Path | str] = []
    for number, entry in entries:
        file = None if is_stream_address(entry) else in_home(entry)
        listed = None if file is None else find_listed(str(file), (path.parent, Path()))
        left_out.update([listed.left_out] if listed is not None else [])
        if listed is None and file is not None and file.suffix.lower() not in KNOWN_SUFFIXES:
            raise DataError(
                f"{path}:{number} names neither a picture nor a video that exists, nor an address. (The line itself is not "
                "told, because a list can be a link to another file.) Write one path on each line."
            )
        found.append(listed.path if listed is not None else file or entry)  # what is missing is named when it is read
    for beginning, count in left_out.items():
        if beginning and not silent:
            log.warning("%s: %d of its paths exist only without their beginning %r", path, count, beginning)
    return found


def _read_image(path: Path) -> Picture | BrokenPicture:
    try:
        content = read_image_bytes(path)
        if path.suffix.lower() in UNREAD_SUFFIXES and content[:4] in TIFF_STARTS:  # it would be the small preview
            raise DataError(
                f"Cannot read the image {path}: raw files of cameras are not supported. Convert it to JPEG."
            )
        return Picture(decode_image(path, content), path.stem, path)
    except DataError as error:
        return BrokenPicture(str(path), str(error))


def _read_video(path: Path, vid_stride: int) -> Iterator[Picture | BrokenPicture]:
    try:
        check_user_file(path, "video")
    except OSError as error:
        yield BrokenPicture(str(path), f"Cannot read the video {path}: {error.strerror}.")
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
