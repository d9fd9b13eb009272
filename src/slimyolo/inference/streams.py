"""Reads pictures from cameras and network addresses, with a time limit on every wait and new attempts after a break.

A live source does not wait for the detector. A thread reads it and drops frames that were not taken in time, so the newest
frame is always the one that is used. Only the address that the user named is contacted.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np

from slimyolo.data import IMAGE_SUFFIXES, decode_image
from slimyolo.errors import DataError
from slimyolo.inference.pictures import BrokenPicture, ImageArray, Picture, as_picture_array
from slimyolo.shown_text import counted

__all__ = ["STREAM_PREFIXES", "Patience", "is_stream_address", "read_address", "read_camera", "silent_video_library"]

STREAM_PREFIXES = ("rtsp://", "rtmp://", "http://", "https://")
MAX_DOWNLOAD_BYTES = 64 * 2**20  # of one picture
DEFAULT_FPS = 25.0

log = logging.getLogger("slimyolo")


@dataclass(frozen=True)
class Patience:
    """How many seconds a frame is waited for, and how often a stream that broke off is opened again.

    The pause before the first attempt is `pause_s`, and each pause is twice the last one. After a frame has arrived, all
    attempts are available again.
    """

    timeout_s: float = 10.0
    attempts: int = 3
    pause_s: float = 1.0


def is_stream_address(source: str) -> bool:
    """Whether `source` is an address that is read over the network."""
    return source.lower().startswith(STREAM_PREFIXES)


def read_camera(number: int, vid_stride: int, patience: Patience) -> Iterator[Picture | BrokenPicture]:
    """The newest frames of camera `number`, without end. A `BrokenPicture` when it cannot be opened, or breaks off."""
    yield from _read_live(number, f"camera{number}", f"camera {number}", vid_stride, patience)


def read_address(address: str, vid_stride: int, patience: Patience) -> Iterator[Picture | BrokenPicture]:
    """The content of a network address: one picture, all frames of a video file, or the newest frames of a stream.

    An address that cannot be read, stalls or breaks off for good gives a `BrokenPicture` that says so.
    """
    shown = without_password(address)
    if urllib.parse.urlsplit(address).path.lower().endswith(IMAGE_SUFFIXES):
        content = _download(address, shown, patience.timeout_s)
        if isinstance(content, BrokenPicture):
            yield content
            return
        if content is not None:
            yield _decoded(content, shown)
            return
    yield from _read_live(address, "stream", shown, vid_stride, patience)


def without_password(address: str) -> str:
    """`address` without the user name and password of ``rtsp://user:secret@host``, so that it can be printed and written.

    A text that is not a network address stays as it is.
    """
    if not is_stream_address(address):
        return address
    parts = urllib.parse.urlsplit(address)
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _download(address: str, shown: str, timeout_s: float) -> bytes | BrokenPicture | None:
    """The bytes of a picture; None when the address turns out to be a stream."""
    try:
        with urllib.request.urlopen(address, timeout=timeout_s) as answer:
            if answer.headers.get_content_maintype() == "multipart":
                return None
            content: bytes = answer.read(MAX_DOWNLOAD_BYTES + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        return BrokenPicture(shown, f"Cannot fetch {shown}: {reason}.")
    if len(content) > MAX_DOWNLOAD_BYTES:
        return BrokenPicture(
            shown, f"{shown} is larger than {MAX_DOWNLOAD_BYTES >> 20} MiB: not a picture to detect in."
        )
    return content


def _decoded(content: bytes, shown: str) -> Picture | BrokenPicture:
    name = urllib.parse.unquote(urllib.parse.urlsplit(shown).path).rpartition("/")[2].rpartition(".")[0]
    try:
        return Picture(decode_image(shown, content), name or "image")
    except DataError as error:
        return BrokenPicture(shown, str(error))


def _read_live(
    source: str | int, name: str, shown: str, vid_stride: int, patience: Patience
) -> Iterator[Picture | BrokenPicture]:
    """The frames of all attempts. After a new attempt the frame numbers continue."""
    counted, failed, finite = 0, 0, False
    while failed <= patience.attempts:
        if failed:
            pause = patience.pause_s * 2 ** (failed - 1)
            log.warning("%s gave no frame; new attempt %d of %d in %g s", shown, failed, patience.attempts, pause)
            time.sleep(pause)
        with silent_video_library(), _Feed(source, vid_stride, patience.timeout_s, counted) as feed:
            for picture_number, image, fps in feed.frames():
                failed, counted = 0, picture_number + 1
                yield Picture(image, name, None, picture_number, fps / vid_stride)
            finite = feed.finite
        if finite and counted:  # a video file that was read to its end
            return
        failed += 1
        if isinstance(source, int) and not counted:  # waiting does not help when there is no such camera
            break
    yield BrokenPicture(shown, _why_it_ended(source, shown, counted, patience))


def _why_it_ended(source: str | int, shown: str, frames: int, patience: Patience) -> str:
    if frames:
        return (
            f"The stream {shown} broke off after {counted(frames, 'frame')}: nothing came for {patience.timeout_s:g} s, "
            f"or it was "
            f"closed, and {patience.attempts} new attempts failed."
        )
    if isinstance(source, int):
        return (
            f"Cannot read {shown}: it does not exist, is in use, or you may not open it. Cameras are numbered from 0 "
            "(/dev/video0 on Linux)."
        )
    return (
        f"Cannot read {shown}: no frame that could be decoded came within {patience.timeout_s:g} s, in "
        f"{1 + patience.attempts} attempts. Check the address, or wait longer with --stream-timeout."
    )


class _Feed:
    """One connection, read by a thread. It keeps only the newest frame of a live source, but every frame of a file."""

    def __init__(self, source: str | int, vid_stride: int, timeout_s: float, first: int) -> None:
        self.finite = False
        self._source, self._stride, self._timeout_s, self._first = source, vid_stride, timeout_s, first
        self._frames: queue.Queue[tuple[int, ImageArray, float] | None] = queue.Queue(maxsize=2)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True, name="slimyolo stream")

    def __enter__(self) -> _Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(timeout=1.0)  # a thread that hangs inside the video library ends by the library's own limits

    def frames(self) -> Iterator[tuple[int, ImageArray, float]]:
        """(number, BGR image, frames per second), until the source ends or no frame comes within the time limit."""
        while True:
            try:
                # the thread has the same limit inside the library, plus some time to report that it was reached
                frame = self._frames.get(timeout=self._timeout_s + 1.0)
            except queue.Empty:
                return
            if frame is None:
                return
            yield frame

    def _read(self) -> None:
        capture = _open(self._source, self._timeout_s)
        try:
            self.finite = capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
            fps = float(capture.get(cv2.CAP_PROP_FPS)) or DEFAULT_FPS
            number = self._first
            while not self._stopped.is_set() and capture.grab():
                if number % self._stride == 0:
                    readable, image = capture.retrieve()
                    if readable and image is not None:
                        self._offer((number, as_picture_array(np.asarray(image)), fps))
                number += 1
        finally:
            capture.release()
            self._offer(None)

    def _offer(self, frame: tuple[int, ImageArray, float] | None) -> None:
        while not self._stopped.is_set():
            try:
                self._frames.put(frame, timeout=0.2 if self.finite or frame is None else 0.0)
                return
            except queue.Full:
                if not self.finite and frame is not None:
                    _drop_oldest(self._frames)


def _drop_oldest(frames: queue.Queue[tuple[int, ImageArray, float] | None]) -> None:
    try:
        frames.get_nowait()
    except queue.Empty:
        return  # the frame was taken in the meantime


def _open(source: str | int, timeout_s: float) -> cv2.VideoCapture:
    """An OpenCV capture. Addresses get time limits on opening and reading, if the library supports them."""
    if isinstance(source, int) or not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        return cv2.VideoCapture(source)
    limit = max(int(timeout_s * 1000), 1)
    return cv2.VideoCapture(
        source, cv2.CAP_FFMPEG, [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
    )


@contextmanager
def silent_video_library() -> Iterator[None]:
    """A context in which OpenCV and FFmpeg print nothing, because slimyolo reports broken videos itself."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
