"""Table of cases: the command with real checkpoints, a real port and, where there is one, a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("httpx")

from serving_models import picture_bytes

from slimyolo.errors import ConfigError
from slimyolo.tasks import serve as task
from slimyolo.tasks.serve_config import ServeConfig

WIDTHS = (390, 1400)


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An untrained yolov5n, dense and pruned; both files are called best.pt."""
    import slimyolo
    from slimyolo.checkpoints import save_checkpoint
    from slimyolo.families import read_architecture
    from slimyolo.models import build_detector

    folder = tmp_path_factory.mktemp("checkpoints")
    dense, pruned = (folder / name / "weights" / "best.pt" for name in ("dense", "pruned"))
    detector = build_detector(read_architecture("yolov5n").with_classes(2), names=("face", "face_mask"))
    dense.parent.mkdir(parents=True)
    pruned.parent.mkdir(parents=True)
    save_checkpoint(dense, detector)
    slimyolo.prune(dense, imgsz=64).save(pruned)
    return [dense, pruned]


@pytest.fixture(scope="module")
def address(checkpoints: list[Path]) -> Iterator[str]:
    command = [
        sys.executable,
        "-m",
        "slimyolo",
        "serve",
        "--port",
        "0",
        "--imgsz",
        "64",
        "--conf",
        "0.001",
        "--weights",
    ]
    process = subprocess.Popen(
        [*command, *map(str, checkpoints)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(r"open (http://127\.0\.0\.1:\d+) ", line):
                yield found[1]
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(120) in (0, 130)  # 0 when the server handled the signal itself
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_command_serves_both_models(address: str) -> None:
    with urllib.request.urlopen(f"{address}/api/models") as answer:
        models = json.load(answer)["models"]
    assert [model["name"] for model in models] == ["dense/best.pt", "pruned/best.pt"]
    assert models[1]["params"] < models[0]["params"]
    assert models[1]["gflops"] < models[0]["gflops"]
    request = urllib.request.Request(
        f"{address}/api/detect?repeat=2", data=picture_bytes(), headers={"X-Slimyolo": "1", "Content-Type": "image/png"}
    )
    with urllib.request.urlopen(request) as answer:
        found = json.load(answer)
    assert len(found["results"]) == 2
    assert found["results"][0]["ms"]["network"] > 0


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/%2e%2e/etc/passwd", "//etc/passwd", "/page.css/../../app.py"])
def test_paths_as_they_are_sent_lead_nowhere(address: str, path: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    with socket.create_connection(
        (host, int(port)), timeout=5
    ) as connection:  # HTTP clients normalise paths, sockets do not
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"There is nothing at this address." in answer


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with api.sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu", *camera])
        yield one
        one.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_picture_in_the_browser(address: str, browser: Any, width: int, scheme: str, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(picture_bytes(300, 400))
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector(".model:nth-of-type(2)")
    page.eval_on_selector(".model h2", "e => { e.textContent = 'a-long-name-'.repeat(12); }")
    page.set_input_files("#file", tmp_path / "photo.png")
    page.wait_for_selector(".model:nth-of-type(2) .found:has-text('Found')")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.querySelectorAll('canvas')].map(c => [c.width, c.height])") == [[400, 300]] * 2
    tops = page.evaluate("[...document.querySelectorAll('.model')].map(e => e.getBoundingClientRect().top)")
    assert (tops[0] == tops[1]) == (width == 1400)  # side by side where there is room
    canvases = page.evaluate("[...document.querySelectorAll('canvas')].map(e => e.getBoundingClientRect().top)")
    assert (canvases[0] == canvases[1]) == (width == 1400)  # whatever the names and the facts take
    assert " ms" in page.inner_text(".model:nth-of-type(2) .speed")
    assert said == []
    assert all(url.startswith((address, "blob:", "data:")) for url in asked)
    context.close()


def test_a_wrong_file_and_the_camera_in_the_browser(address: str, browser: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    context = browser.new_context(viewport={"width": 800, "height": 800})
    page = context.new_page()
    page.goto(address)
    (tmp_path / "photo.png").write_bytes(picture_bytes(300, 400))
    page.set_input_files("#file", tmp_path / "photo.png")
    page.wait_for_selector(".model:nth-of-type(2) .found:has-text('Found')")
    assert "in torch" in page.inner_text(".model:nth-of-type(2) .versus")
    page.set_input_files("#file", tmp_path / "notes.png")
    page.wait_for_selector(".message.error")
    assert "not a JPEG" in page.inner_text("#message")
    assert page.eval_on_selector_all(".found, .versus, tbody", "all => all.map(e => e.textContent).join('')") == ""
    assert page.eval_on_selector_all("canvas", "all => all.map(e => e.width)") == [
        4,
        4,
    ]  # nothing of the earlier picture
    page.click("#camera")
    page.wait_for_selector(".model:nth-of-type(1) .found:has-text('Found')")
    assert page.inner_text("#camera") == "Stop the camera"
    page.click("#camera")
    assert page.inner_text("#camera") == "Use the camera"
    context.close()


# --- what it refuses --------------------------------------------------------------------------------------------------


def test_a_port_that_is_in_use(checkpoints: list[Path]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"Cannot listen on 127\.0\.0\.1:{port}.*--port \d+"):
            task.serve(ServeConfig(weights=(checkpoints[0],), port=port))


def test_missing_packages(checkpoints: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task.importlib.util, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(ConfigError, match=r"needs uvicorn: pip install 'slimyolo\[serve\]'"):
        task.serve(ServeConfig(weights=(checkpoints[0],)))


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("my.lan", False)],
)
def test_which_addresses_only_this_machine_can_reach(host: str, loopback: bool) -> None:
    assert ServeConfig(weights=(Path("a.pt"),), host=host).loopback == loopback


def test_how_many_models() -> None:
    assert ServeConfig(weights=(Path("a.pt"),)).host == "127.0.0.1"
    with pytest.raises(ConfigError, match="got 5 files, expected one to four"):
        ServeConfig(weights=tuple(Path(f"{number}.pt") for number in range(5)))


def test_names_of_models_tell_them_apart() -> None:
    names = task._names([Path("a/weights/best.pt"), Path("b/weights/best.pt"), Path("b/pruned.pt")])
    assert names == ["a/best.pt", "b/best.pt", "pruned.pt"]
    assert task._names([Path("a/best.pt"), Path("a/best.pt")]) == ["a/best.pt (1)", "a/best.pt (2)"]
