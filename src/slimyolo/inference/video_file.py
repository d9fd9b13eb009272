"""Writes frames as a video. The file appears when it is complete, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2

from slimyolo.errors import StorageError
from slimyolo.inference.pictures import ImageArray

__all__ = ["VideoFile"]

LOOK_EVERY = 50  # frames
LEAST_FREE = 65_536  # bytes; OpenCV does not say that a disk is full, so the free space is looked at


class VideoFile:
    """The MP4 file `path` + ``.mp4``, to which frames are added. The first frame opens it. Close it, or use it in a ``with``
    block. Until it is closed it has another, hidden name."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.mp4")  # not with_suffix: clip.front and clip.back are two videos
        self._unfinished = path.with_name(f".{path.name[:80]}.part.mp4")
        self._writer: Any = None
        self._size = (0, 0)
        self._frames = 0

    def add(self, image: ImageArray, fps: float) -> None:
        """Append a frame, resized to the size of the first one. Raises `StorageError` when the file cannot be written."""
        if self._writer is None:
            self._size = (image.shape[1], image.shape[0])
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = cv2.VideoWriter(str(self._unfinished), cv2.VideoWriter.fourcc(*"mp4v"), fps, self._size)
            if not self._writer.isOpened():
                raise StorageError(
                    f"The video {self.path} cannot be written. Choose another --project, or use --nosave."
                )
        if (image.shape[1], image.shape[0]) != self._size:
            image = cv2.resize(image, self._size)
        if self._frames % LOOK_EVERY == 0 and _free_bytes(self.path.parent) < LEAST_FREE:
            raise StorageError(f"The video {self.path} cannot be written: no space left on the disk. {_WHERE}")
        self._writer.write(image)
        self._frames += 1

    def close(self) -> None:
        """Finish the file. Raises `StorageError` when it does not hold all frames, for example because the disk is full."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        whole = _frames_in(self._unfinished)
        if whole < self._frames:
            self._unfinished.unlink(missing_ok=True)
            raise StorageError(
                f"The video {self.path} could not be written whole ({whole} of {self._frames} frames arrived); the usual "
                f"cause is a full disk. It was removed. {_WHERE}"
            )
        os.replace(self._unfinished, self.path)

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:  # the error that ended the block says more
            with suppress(StorageError):
                self.close()


_WHERE = "Choose a place with free space (--project FOLDER), or use --nosave."


def _free_bytes(folder: Path) -> float:
    try:
        about = os.statvfs(folder)
    except (OSError, AttributeError):
        return float("inf")  # this system does not say it
    return about.f_bavail * about.f_frsize


def _frames_in(path: Path) -> int:
    """The number of frames that the header of a video states; 0 when it cannot be opened."""
    video = cv2.VideoCapture(str(path))
    try:
        return int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    finally:
        video.release()
