"""Stand-in models, pictures, and a client that talks to the application without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
from starlette.types import ASGIApp

from slimyolo.geometry import Detections
from slimyolo.inference import ImageArray, Picture, PredictedPicture, StageTimes
from slimyolo.serving import ServedModel

NAMES = ("face", "<b>mask & 口罩</b>")


def stand_in(name: str, rows: Sequence[Sequence[float]], network_ms: float) -> ServedModel:
    """A model that finds `rows` (x1, y1, x2, y2, score, class) in every picture."""

    def detect(image: ImageArray, conf: float) -> PredictedPicture:
        seen = [row for row in rows if row[4] >= conf]
        found = Detections.from_rows(seen, "source") if seen else Detections.empty("source")
        return PredictedPicture(Picture(image, "uploaded"), found, (320, 320), StageTimes(1.0, network_ms, 0.5))

    return ServedModel(
        name=name,
        runtime="torch",
        class_names=NAMES,
        file_bytes=4_000_000,
        params=1_770_000,
        macs=515_000_000,
        imgsz=(320, 320),
        detect=detect,
    )


def picture_bytes(height: int = 60, width: int = 100, suffix: str = ".png") -> bytes:
    """An encoded grey picture."""
    import cv2

    return bytes(cv2.imencode(suffix, np.full((height, width, 3), 120, np.uint8))[1].tobytes())


class Client:
    """Sends requests to an application, one after another. Exceptions of the application become answers, as in a server."""

    def __init__(self, app: ASGIApp, base_url: str = "http://127.0.0.1:8000") -> None:
        self._app, self._base_url = app, base_url

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url=self._base_url) as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Send a GET request."""
        return self("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        """Send a POST request."""
        return self("POST", path, **options)
