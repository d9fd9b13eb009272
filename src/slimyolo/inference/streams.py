"""Cameras and network addresses as pictures: the newest frame first, a limit on every wait, new attempts when it ends.

A live source does not wait for the detector: a thread reads it, and frames that nobody took in time are dropped, so that
what is shown is now and not a minute ago. Nothing is contacted but the address that the user named.
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

__all__ = ["STREAM_PREFIXES", "Patience", "is_stream_address", "read_address", "read_camera", "silent_video_library"]

STREAM_PREFIXES = ("rtsp://", "rtmp://", "http://", "https://")
MAX_DOWNLOAD_BYTES = 64 * 2**20  # of one picture
DEFAULT_FPS = 25.0

log = logging.getLogger("slimyolo")


@dataclass(frozen=True)
class Patience:
    """How long a frame is waited for, in seconds, and how often a stream that broke off is called again.

    Attempts are `pause_s`, twice that, four times that … apart; a frame that arrives makes all of them new.
    """

    timeout_s: float = 10.0
    attempts: int = 3
    pause_s: float = 1.0


def is_stream_address(source: str) -> bool:
    """Whether `source` is an address that is read over the network."""
    return source.lower().startswith(STREAM_PREFIXES)


def read_camera(number: int, vid_stride: int, patience: Patience) -> Iterator[Picture | BrokenPicture]:
    """The newest frames of camera `number`, without end; a `BrokenPicture` when it cannot be opened or breaks off."""
    yield from _read_live(number, f"camera{number}", f"camera {number}", vid_stride, patience)


def read_address(address: str, vid_stride: int, patience: Patience) -> Iterator[Picture | BrokenPicture]:
    """What a network address holds: one picture, all frames of a video file, or the newest frames of a stream.

    What cannot be read, stalls or breaks off for good comes as a `BrokenPicture` that says so.
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
    """`address` as it may be printed and written: the user name and password of ``rtsp://user:secret@host`` left out.

    What is no network address stays as it is.
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
    """Frames over all attempts; numbers go on counting where a stream is taken up again."""
    counted, failed, finite = 0, 0, False
    while failed <= patience.attempts:
        if failed:
            pause = patience.pause_s * 2 ** (failed - 1)
            log.warning("%s: no frame; attempt %d of %d in %g s", shown, failed, patience.attempts, pause)
            time.sleep(pause)
        with silent_video_library(), _Feed(source, vid_stride, patience.timeout_s, counted) as feed:
            for picture_number, image, fps in feed.frames():
                failed, counted = 0, picture_number + 1
                yield Picture(image, name, None, picture_number, fps / vid_stride)
            finite = feed.finite
        if finite and counted:  # a video file, read to its end
            return
        failed += 1
        if isinstance(source, int) and not counted:  # a camera that is not there does not appear by waiting
            break
    yield BrokenPicture(shown, _why_it_ended(source, shown, counted, patience))


def _why_it_ended(source: str | int, shown: str, frames: int, patience: Patience) -> str:
    if frames:
        return (
            f"The stream {shown} broke off after {frames} frames: nothing came for {patience.timeout_s:g} s, or it was "
            f"closed, and {patience.attempts} new attempts failed."
        )
    if isinstance(source, int):
        return (
            f"Cannot read {shown}: no such camera, it is in use, or you may not open it. Cameras are numbered from 0 "
            "(/dev/video0 on Linux)."
        )
    return (
        f"Cannot read {shown}: nothing that could be decoded came within {patience.timeout_s:g} s, in "
        f"{1 + patience.attempts} attempts. Check the address; --stream-timeout waits longer."
    )


class _Feed:
    """One connection. A thread reads it; of a live source only the newest frame is kept, of a file every one."""

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
        self._thread.join(timeout=1.0)  # one that hangs inside the video library ends by the library's own limits

    def frames(self) -> Iterator[tuple[int, ImageArray, float]]:
        """(number, BGR image, frames a second) until the source ends or nothing comes for the time allowed."""
        while True:
            try:
                # the thread has the same limit inside the library, and some time to say that it was reached
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
        return  # it was taken meanwhile


def _open(source: str | int, timeout_s: float) -> cv2.VideoCapture:
    """An OpenCV capture; for addresses with limits on opening and reading where the library knows them."""
    if isinstance(source, int) or not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        return cv2.VideoCapture(source)
    limit = max(int(timeout_s * 1000), 1)
    return cv2.VideoCapture(
        source, cv2.CAP_FFMPEG, [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
    )


@contextmanager
def silent_video_library() -> Iterator[None]:
    """OpenCV and FFmpeg print nothing inside: what they would say of a broken video, slimyolo says itself."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)
