"""Table of cases against a real server of this test: streams that end, stall, come back, and files by address."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from slimyolo.inference import BrokenPicture, Patience, Picture, VideoFile, read_pictures
from slimyolo.inference.streams import without_password

QUICK = Patience(timeout_s=0.5, attempts=1, pause_s=0.01)
FRAMES = [cv2.imencode(".jpg", np.full((48, 64, 3), 12 * number, np.uint8))[1].tobytes() for number in range(12)]


class Camera(BaseHTTPRequestHandler):
    """MJPEG as network cameras send it: ``/ends``, ``/stalls``, ``/returns`` once, ``/fast``; else a file of `files`."""

    files: dict[str, bytes] = {}  # noqa: RUF012 - filled by the fixture
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        name = self.path.partition("?")[0]
        if name in self.files:
            self._send_file(self.files[name])
        elif name in ("/missing.jpg", "/missing.mp4"):
            self.send_error(404)
        else:
            self._send_frames(name)

    def _send_file(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _send_frames(self, name: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for frame in FRAMES:
                self.wfile.write(
                    b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(frame), frame)
                )
                time.sleep(0 if name == "/fast" else 0.02)
            if name == "/stalls":
                time.sleep(5)
        except OSError:
            pass  # the reader has gone, as it should

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    with VideoFile(tmp_path / "clip") as video:
        for number in range(6):
            video.add(np.full((48, 64, 3), 20 * number, np.uint8), 12.0)
    Camera.files = {"/clip.mp4": video.path.read_bytes(), "/photo.jpg": FRAMES[9], "/broken.jpg": b"no picture"}
    Camera.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def outcomes(source: str, **options: int) -> tuple[list[Picture], list[str]]:
    found = list(read_pictures(source, patience=QUICK, **options))
    pictures = [item for item in found if isinstance(item, Picture)]
    return pictures, [item.reason for item in found if isinstance(item, BrokenPicture)]


def test_a_stream_that_ends_is_taken_up_again_and_goes_on_counting(address: str) -> None:
    frames = read_pictures(f"{address}/ends", patience=QUICK)
    pictures = list(itertools.islice(frames, 2 * len(FRAMES)))
    frames.close()  # type: ignore[attr-defined]
    assert len(Camera.asked) >= 2
    numbers = [picture.video_frame for picture in pictures if isinstance(picture, Picture)]
    assert numbers == sorted(set(numbers))  # type: ignore[type-var]


@pytest.fixture
def one_answer(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of a camera that answers once and is gone after."""
    original = Camera._send_frames

    def once(self: Camera, name: str) -> None:
        if len(Camera.asked) > 1:
            self.send_error(503)
        else:
            original(self, name)

    monkeypatch.setattr(Camera, "_send_frames", once)
    return address


def test_a_stream_that_stalls_is_given_up_with_a_reason(one_answer: str, caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    pictures, reasons = outcomes(f"{one_answer}/stalls")
    assert time.monotonic() - began < 4.5
    assert pictures[-1].video_frame == len(FRAMES) - 1
    assert len(reasons) == 1
    assert "broke off after 12 frames" in reasons[0]
    assert "1 new attempts failed" in reasons[0]
    assert "attempt 1 of 1 in 0.01 s" in caplog.text


def test_frames_that_nobody_took_in_time_are_dropped(one_answer: str) -> None:
    numbers = []
    for picture in read_pictures(f"{one_answer}/ends", patience=QUICK):
        if isinstance(picture, Picture):
            numbers.append(picture.video_frame)
            time.sleep(0.1)  # a slow detector: five frames come meanwhile
    assert numbers[-1] == len(FRAMES) - 1  # the newest is never lost
    assert len(numbers) < len(FRAMES)


def test_every_second_frame_of_a_stream(one_answer: str) -> None:
    pictures, _ = outcomes(f"{one_answer}/ends", vid_stride=2)
    assert all(picture.video_frame % 2 == 0 for picture in pictures if picture.video_frame is not None)


def test_leaving_early_stops_the_reading(address: str) -> None:
    frames = read_pictures(f"{address}/ends", patience=QUICK)
    assert isinstance(next(frames), Picture)
    frames.close()  # type: ignore[attr-defined]
    time.sleep(0.3)
    assert not [thread for thread in threading.enumerate() if thread.name == "slimyolo stream"]


def test_a_video_by_address_gives_every_frame_once(address: str) -> None:
    pictures, reasons = outcomes(f"{address}/clip.mp4")
    assert [picture.video_frame for picture in pictures] == list(range(6))
    assert reasons == []


def test_a_picture_by_address(address: str) -> None:
    (picture,), reasons = outcomes(f"{address}/photo.jpg?size=large")
    assert (picture.name, picture.image.shape, picture.video_frame) == ("photo", (48, 64, 3), None)
    assert reasons == []
    assert Camera.asked == ["/photo.jpg?size=large"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/missing.jpg", "Cannot fetch http://127.0.0.1:"),
        ("/broken.jpg", "cannot be decoded"),
        ("/missing.mp4", "no frame that could be decoded came within 0.5 s, in 2 attempts"),
    ],
)
def test_addresses_that_hold_nothing(path: str, said: str, address: str) -> None:
    pictures, reasons = outcomes(address + path)
    assert pictures == []
    assert said in reasons[0]


def test_a_server_that_is_not_there() -> None:
    pictures, reasons = outcomes("http://127.0.0.1:9/stream")
    assert pictures == []
    assert "Check the address" in reasons[0]


def test_a_camera_that_is_not_there() -> None:
    if Path("/dev/video63").exists():
        pytest.skip("this machine has 64 cameras")
    began = time.monotonic()
    pictures, reasons = outcomes("63")
    assert pictures == []
    assert "it does not exist" in reasons[0]
    assert time.monotonic() - began < 2  # no new attempts: it does not appear by waiting


class UnpluggedCamera:
    """Stands in for a local camera: five frames, four more after it was plugged in again, then nothing."""

    plugged = 0

    def __init__(self, number: int) -> None:
        assert number == 0
        type(self).plugged += 1
        self._left = {1: 5, 2: 4}.get(self.plugged, 0)
        self.released = False

    def get(self, _: int) -> float:
        return -1.0  # what drivers say of a frame count and rate they do not know

    def grab(self) -> bool:
        self._left -= 1
        time.sleep(0.02)
        return self._left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.full((48, 64, 3), 100, np.uint8)

    def release(self) -> None:
        assert not self.released
        self.released = True


def test_a_camera_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", UnpluggedCamera)
    monkeypatch.setattr(UnpluggedCamera, "plugged", 0)
    pictures, reasons = outcomes("0")
    assert [picture.video_frame for picture in pictures] == list(range(9))
    assert {(picture.name, picture.image.shape, picture.path) for picture in pictures} == {
        ("camera0", (48, 64, 3), None)
    }
    assert reasons == [
        "The stream camera 0 broke off after 9 frames: nothing came for 0.5 s, or it was closed, and 1 new attempts failed."
    ]
    assert UnpluggedCamera.plugged == 3


def test_lists_hold_addresses_too(address: str, tmp_path: Path) -> None:
    (tmp_path / "list.streams").write_text(f"{address}/photo.jpg\n{tmp_path}/none.jpg\n")
    found = list(read_pictures(tmp_path / "list.streams", patience=QUICK))
    assert [type(item) for item in found] == [Picture, BrokenPicture]


def test_passwords_are_not_printed() -> None:
    assert without_password("rtsp://me:secret@host:554/a?b=1") == "rtsp://host:554/a?b=1"
    _, reasons = outcomes("http://me:secret@127.0.0.1:9/stream")
    assert "secret" not in reasons[0]
