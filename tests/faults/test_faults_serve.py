"""Table of cases: requests that are held, that ask for websockets, or whose Origin is no URL; and the end of the server."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

import cv2
import numpy as np

from slimyolo.geometry import Detections
from slimyolo.inference import ImageArray, Picture, PredictedPicture, StageTimes
from slimyolo.serving import ServedModel
from slimyolo.serving.app import create_app
from slimyolo.tasks.serve import page_server

ENDS_WITHIN_S = 15.0  # two seconds on a quiet machine; without the mend an upload is held for its own limit of 30 s
MODEL_S = 0.3  # what the stand-in takes for a picture


def slow_model(seen: list[float]) -> ServedModel:
    """A model that finds nothing, slowly. It notes in `seen` when it was called."""

    def detect(image: ImageArray, conf: float) -> PredictedPicture:
        seen.append(time.monotonic())
        time.sleep(MODEL_S)
        return PredictedPicture(
            Picture(image, "uploaded"), Detections.empty("source"), (64, 64), StageTimes(1.0, 1.0, 1.0)
        )

    return ServedModel(
        name="slow.pt",
        runtime="torch",
        class_names=("a",),
        file_bytes=1,
        params=1,
        macs=1,
        imgsz=(64, 64),
        detect=detect,
    )


class Running:
    """A server on a free port of this machine, in a thread."""

    def __init__(self) -> None:
        self.line = socket.socket()
        self.line.bind(("127.0.0.1", 0))
        self.line.listen()
        self.port = self.line.getsockname()[1]
        self.seen: list[float] = []
        self.server = page_server(create_app([slow_model(self.seen)]))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.line]}, daemon=True)
        self.thread.start()

    def send(self, start: str, *headers: str, body: bytes = b"") -> socket.socket:
        """Send a request and return its connection, open."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        head = "\r\n".join([f"{start} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", *headers])
        connection.sendall(head.encode() + b"\r\n\r\n" + body)
        return connection

    def answer(self, start: str, *headers: str, body: bytes = b"") -> str:
        """Send a request and return the whole answer."""
        with closing(self.send(start, *headers, "Connection: close", body=body)) as connection:
            return whole(connection)

    def end(self) -> float:
        """Tell the server to end, as Ctrl-C does; returns the seconds that it took."""
        started = time.monotonic()
        self.server.should_exit = True
        self.thread.join(60)
        assert not self.thread.is_alive()
        return time.monotonic() - started


def whole(connection: socket.socket) -> str:
    """What arrives until the other side ends."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts).decode()


@pytest.fixture
def running(caplog: pytest.LogCaptureFixture) -> Iterator[Running]:
    with caplog.at_level(logging.WARNING):
        one = Running()
        yield one
        one.end()
        one.line.close()


def test_an_origin_that_is_no_url_is_refused_in_a_sentence(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    said = running.answer("POST /api/detect", "Origin: http://[", "X-Slimyolo: 1", "Content-Length: 1", body=b"x")
    assert said.startswith("HTTP/1.1 403")
    assert "Requests from other sites are refused." in said
    assert not caplog.records


def test_a_websocket_is_refused_without_advice_to_install_things(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    with closing(running.send("GET /", "Connection: Upgrade", "Upgrade: websocket", key)) as connection:
        said = whole(connection)
    assert said.startswith("HTTP/1.1 403")
    assert "no websockets" in said
    assert not caplog.records  # uvicorn would print "pip install 'uvicorn[standard]'"


SMUGGLED = "GET /api/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
LENGTHS = {
    # headers of a request whose body holds another request → the beginning of the only answer
    "two kinds of length": (("Content-Length: 5", "Transfer-Encoding: chunked"), "HTTP/1.1 403"),
    "two lengths": (("Content-Length: 5", "Content-Length: 6"), "HTTP/1.1 400"),
    "a length of 5000 digits": (("Content-Length: " + "9" * 5000,), "HTTP/1.1 400"),
    "a length with a sign": (("Content-Length: +5",), "HTTP/1.1 400"),
    "an encoding that is not known": (("Transfer-Encoding: xchunked",), "HTTP/1.1 400"),
    "two host names": (("Host: evil.example",), "HTTP/1.1 400"),
    "a header that goes on in the next line": (("X-Slimyolo:", " 1", "Host : evil.example"), "HTTP/1.1 400"),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_a_request_inside_the_body_of_another_is_never_answered(
    running: Running, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    headers, start = LENGTHS[name]
    body = f"0\r\n\r\n{SMUGGLED}".encode()
    with closing(running.send("POST /api/detect", "X-Slimyolo: 1", *headers, body=body)) as connection:
        said = whole(connection)  # the server ends the connection
    assert said.startswith(start)
    assert said.count("HTTP/1.1 ") == 1
    assert not caplog.records


def test_ctrl_c_ends_held_uploads_and_long_detections(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    own, picture = "X-Slimyolo: 1", cv2.imencode(".png", np.zeros((32, 32, 3), np.uint8))[1].tobytes()
    held = [running.send("POST /api/detect", own, "Content-Length: 1000", body=b"abc") for _ in range(4)]
    held += [running.send("POST /api/detect?repeat=20", own, f"Content-Length: {len(picture)}", body=picture)]
    while not running.seen:  # the picture has arrived, so the others have, too: they were sent before
        time.sleep(0.01)
    threads = set(threading.enumerate())
    assert running.end() < ENDS_WITHIN_S
    for connection in held:
        assert "slimyolo serve was stopped." in whole(connection)
        connection.close()
    for thread in threads - {running.thread, threading.current_thread()}:
        if thread.name.startswith("AnyIO"):  # the detection ends after the picture of now, not after twenty
            thread.join(60)
            assert not thread.is_alive()
    assert len(running.seen) < 20
    assert not caplog.records  # neither tracebacks nor counts of cancelled tasks
