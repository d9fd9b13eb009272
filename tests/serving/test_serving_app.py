"""Table of cases: what the web application answers, and which requests it must refuse."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

from serving_models import NAMES, Client, picture_bytes

from slimyolo.serving import AllowedHosts, ServedModel, UploadLimits
from slimyolo.serving.app import create_app
from slimyolo.serving.guarding import why_refused

OWN = {"X-Slimyolo": "1"}
LIMITS = UploadLimits(max_bytes=50_000, max_pixels=1_000_000, seconds=5.0)


@pytest.fixture
def client(models: list[ServedModel]) -> Client:
    return Client(create_app(models, limits=LIMITS))


def detect(client: Client, content: bytes, headers: dict[str, str] | None = None, query: str = "") -> Any:
    return client.post(f"/api/detect{query}", content=content, headers=OWN if headers is None else headers)


# --- answers ----------------------------------------------------------------------------------------------------------


def test_models_and_limits(client: Client) -> None:
    about = client.get("/api/models").json()
    assert [model["name"] for model in about["models"]] == ["dense.pt", "pruned.pt"]
    assert about["models"][0] == {
        "name": "dense.pt",
        "runtime": "torch",
        "classes": list(NAMES),
        "file_mb": 4.0,
        "params": 1_770_000,
        "gflops": 1.03,
        "imgsz": [320, 320],
    }
    assert (about["max_mb"], about["max_megapixels"], about["conf"]) == (0.05, 1.0, 0.25)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
def test_detections_of_every_model_in_pixels_of_the_picture(client: Client, suffix: str) -> None:
    found = detect(client, picture_bytes(suffix=suffix)).json()
    assert (found["width"], found["height"]) == (100, 60)
    dense, pruned = found["results"]
    assert [one["name"] for one in dense["detections"]] == list(NAMES)
    assert dense["detections"][0] == {"box": [10.0, 10.0, 60.0, 50.0], "score": 0.9, "class": 0, "name": "face"}
    assert len(pruned["detections"]) == 1
    assert pruned["ms"] == {"prepare": 1.0, "network": 6.0, "nms": 0.5}


def test_confidence_and_turns(client: Client) -> None:
    found = detect(client, picture_bytes(), query="?conf=0.5&repeat=3").json()
    assert len(found["results"][0]["detections"]) == 1


@pytest.mark.parametrize("query", ["?conf=2", "?conf=x", "?conf=nan", "?repeat=0", "?repeat=21", "?repeat=1e9"])
def test_wrong_numbers(client: Client, query: str) -> None:
    answer = detect(client, picture_bytes(), query=query)
    assert answer.status_code == 400
    assert "expected a number from" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css"])
def test_the_page_asks_no_other_host_and_holds_no_inline_script(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    text = answer.text
    assert "http://" not in text.replace("http://127.0.0.1", "")
    assert "https://" not in text
    assert "//cdn" not in text
    if path == "/":
        assert "<script>" not in text
        assert "onclick" not in text
        assert "style=" not in text
    if path == "/page.js":
        assert "innerHTML" not in text


def test_security_headers_are_on_every_answer(client: Client) -> None:
    answers = [
        client.get("/"),
        client.get("/none"),
        client.get("/", headers={"Host": "evil.example"}),
        detect(client, b""),
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/page.css/../../app.py",
        "/app.py",
        "/page/index.html",
        "//etc/passwd",
        "/etc/passwd",
        "/static/../../etc/passwd",
        "/page.js%00.html",
        "/.env",
        "/api/detect/../../../etc/passwd",
        "/%c0%ae%c0%ae/etc/passwd",
        "/..\\..\\etc\\passwd",
    ],
)
def test_no_file_of_the_host_can_be_read(client: Client, path: str) -> None:
    for url in (path, f"/?file={path}", f"/api/models?weights={path}"):
        answer = client.get(url)
        if "?" in url:
            assert answer.status_code == 200  # the application ignores such parameters
        else:
            assert answer.status_code == 404
            assert answer.json() == {"error": "There is nothing at this address."}
        assert "root:" not in answer.text
        assert "import" not in answer.text.replace("important", "")


def test_errors_are_json(client: Client, models: list[ServedModel]) -> None:
    assert client("DELETE", "/api/models", headers=OWN).json() == {
        "error": "The method DELETE is not supported at this address."
    }
    assert client.get("/api/detect").status_code == 405

    def fails(*_: object) -> Any:
        raise RuntimeError("secret path /home/me")

    broken = ServedModel(**{**vars(models[0]), "detect": fails})
    client = Client(create_app([broken]))
    answer = detect(client, picture_bytes())
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["error"].startswith("slimyolo failed (RuntimeError)")


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds one compressed row."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


UPLOADS = [
    (b"", 400, "The upload is empty"),
    (b"hello", 415, "not a JPEG, PNG, WebP or BMP"),
    (b"GIF89a" + b"\0" * 50, 415, "not a JPEG"),
    (b"II*\0" + b"\0" * 50, 415, "not a JPEG"),
    (b"RIFF\0\0\0\0WAVEfmt ", 415, "not a JPEG"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not a JPEG"),
    (b"\xff\xd8\xff", 422, "damaged header"),
    (b"\x89PNG\r\n\x1a\n", 422, "damaged header"),
    (png_header(30_000, 30_000), 413, "has 30000 x 30000 pixels (height x width); at most 1 megapixels"),
    (png_header(0, 10), 422, "claims to have 10 x 0 pixels (height x width)"),
    (picture_bytes()[:60], 422, "cannot be decoded"),
    (b"\xff\xd8" + b"\0" * 60_000, 413, "larger than 0.05 MB"),
]


@pytest.mark.parametrize(("content", "status", "said"), UPLOADS, ids=[said for _, _, said in UPLOADS])
def test_uploads_that_are_refused(client: Client, content: bytes, status: int, said: str) -> None:
    answer = detect(client, content)
    assert answer.status_code == status
    assert said in answer.json()["error"]


def test_an_upload_of_unknown_length_is_cut_off_when_it_is_too_long(client: Client) -> None:
    sent = []

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            sent.append(10_000)
            yield b"\xff" * 10_000

    assert detect(client, endless()).status_code == 413  # type: ignore[arg-type]
    assert sum(sent) < 100_000


def test_an_upload_that_does_not_arrive_is_given_up(models: list[ServedModel]) -> None:
    client = Client(create_app(models, limits=UploadLimits(seconds=0.1)))

    async def slow() -> AsyncIterator[bytes]:
        yield b"\xff\xd8"
        await asyncio.sleep(2)
        yield b"\xff"

    answer = detect(client, slow())  # type: ignore[arg-type]
    assert answer.status_code == 408
    assert "did not arrive within 0.1 s" in answer.json()["error"]


REQUESTS = [
    # method, headers besides Host → refused?
    ("POST", {}, "header x-slimyolo is missing"),
    ("POST", {"content-type": "application/x-www-form-urlencoded"}, "header x-slimyolo is missing"),
    ("POST", {**OWN, "origin": "http://evil.example"}, "other sites"),
    ("POST", {**OWN, "origin": "null"}, "other sites"),
    ("POST", {**OWN, "origin": "http://["}, "other sites"),  # no URL: urlsplit raises ValueError
    ("POST", {**OWN, "origin": "http://[::1"}, "other sites"),
    ("POST", {**OWN, "origin": ""}, "other sites"),
    ("GET", {"upgrade": "websocket", "connection": "Upgrade"}, "no websockets"),
    ("GET", {"upgrade": "h2c", "connection": "Upgrade"}, None),  # other upgrades may be ignored (RFC 9110, 7.8)
    ("POST", {**OWN, "origin": "http://127.0.0.1:9999"}, "other sites"),
    ("POST", {**OWN, "sec-fetch-site": "cross-site"}, "other sites"),
    ("POST", {**OWN, "sec-fetch-site": "same-site"}, "other sites"),
    ("POST", {**OWN, "origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}, None),
    ("POST", OWN, None),
    ("GET", {"sec-fetch-site": "none"}, None),
]


@pytest.mark.parametrize(("method", "headers", "said"), REQUESTS)
def test_requests_of_other_sites_are_refused(method: str, headers: dict[str, str], said: str | None) -> None:
    lower = {name.lower(): value for name, value in headers.items()}
    reason = why_refused(method, {"host": "127.0.0.1:8000", **lower}, AllowedHosts())
    assert reason is None if said is None else said in str(reason)


def test_a_form_of_another_site_cannot_post(client: Client) -> None:
    answer = client.post("/api/detect", content=picture_bytes(), headers={"Origin": "http://evil.example"})
    assert answer.status_code == 403
    preflight = client("OPTIONS", "/api/detect", headers={**OWN, "Origin": "http://evil.example"})
    assert preflight.status_code == 403
    assert "access-control-allow-origin" not in preflight.headers


HOSTS = [
    ("127.0.0.1", True),
    ("127.0.0.1:8000", True),
    ("localhost:8000", True),
    ("LOCALHOST.", True),
    ("[::1]:8000", True),
    ("evil.example", False),
    ("127.0.0.1.evil.example", False),
    ("localhost.evil.example", False),
    ("", False),
    ("192.168.1.5:8000", False),
    ("me@127.0.0.1", False),
    ("127.0.0.1/x", False),
    ("127.0.0.1:port", False),
    ("[::1", False),
    ("my.lan:8000", False),
]


@pytest.mark.parametrize(("host", "allowed"), HOSTS)
def test_host_headers(host: str, allowed: bool, client: Client) -> None:
    assert (host in AllowedHosts()) == allowed
    assert client.get("/api/models", headers={"Host": host}).status_code == (200 if allowed else 403)


def test_a_page_that_is_open_to_the_network_takes_addresses_and_the_names_it_was_given() -> None:
    hosts = AllowedHosts.of(["My.LAN"], any_address=True)
    assert "192.168.1.5:8000" in hosts
    assert "my.lan:8000" in hosts
    assert "other.lan" not in hosts


def test_long_host_names_are_not_echoed_whole(client: Client) -> None:
    assert len(client.get("/", headers={"Host": "a" * 5000}).text) < 400


def test_the_slider_reaches_low_confidences(client: Client) -> None:
    assert 'type="range" min="0.01" max="0.99" step="0.01"' in client.get("/").text
    script = client.get("/page.js").text
    assert "sessionStorage" in script  # what a person chose stays when the page is loaded again
