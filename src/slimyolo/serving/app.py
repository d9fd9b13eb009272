"""The web application: the page, and the two requests that the page sends.

===========================  =============================================================================
``GET /``                    the page; its files ``/page.js`` and ``/page.css`` are the only others that are served
``GET /api/models``          names, classes and sizes of the models, and the limits of an upload
``POST /api/detect?conf=…``  the body is one encoded picture; the answer holds boxes (in pixels of that picture) and
                             milliseconds for each model; with ``repeat=N`` the picture is detected N times, the
                             models alternate, and the milliseconds are medians
===========================  =============================================================================

Every error is JSON: ``{"error": "what is wrong"}``. Pictures are not kept in memory after the answer and not written to disk.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files
from typing import Any

import anyio
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slimyolo import __version__
from slimyolo.inference import PredictedPicture
from slimyolo.serving.guarding import SECURITY_HEADERS, AllowedHosts, why_refused
from slimyolo.serving.models import ServedModel, describe_model, describe_result
from slimyolo.serving.uploads import RefusedUpload, UploadLimits, decode_upload, read_upload

__all__ = ["create_app"]

MOST_TURNS = 20  # largest value of ``repeat``

PAGE_FILES: Mapping[str, tuple[str, str]] = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}


def create_app(
    models: Sequence[ServedModel],
    *,
    hosts: AllowedHosts | None = None,
    limits: UploadLimits | None = None,
    conf: float = 0.25,
) -> Starlette:
    """The application for `models`, with `conf` as the minimum confidence when a request gives none.

    Only one picture is processed at a time, so that the milliseconds of the models can be compared.
    """
    bounds = limits or UploadLimits()
    one_at_a_time = anyio.CapacityLimiter(1)

    async def about(_: Request) -> Response:
        return JSONResponse(
            {
                "models": [describe_model(model) for model in models],
                "conf": conf,
                "max_mb": bounds.max_bytes / 1e6,
                "max_megapixels": bounds.max_pixels / 1e6,
                "version": __version__,
            }
        )

    async def detect(request: Request) -> Response:
        least = _number(request.query_params.get("conf"), conf, "conf", 0.001, 1)
        repeat = int(_number(request.query_params.get("repeat"), 1, "repeat", 1, MOST_TURNS))
        length = request.headers.get("content-length", "")
        try:
            with anyio.fail_after(bounds.seconds):
                content = await read_upload(request.stream(), int(length) if length.isdigit() else None, bounds)
        except TimeoutError:
            raise RefusedUpload(408, f"The upload did not arrive within {bounds.seconds:g} s.") from None
        except ClientDisconnect:
            raise RefusedUpload(400, "The upload was interrupted. Send the picture again.") from None
        given_up = threading.Event()
        try:
            found = await run_sync(
                partial(_detect, models, content, least, repeat, limits=bounds, given_up=given_up),
                limiter=one_at_a_time,
                abandon_on_cancel=True,  # the server ends at once, and the thread after the model that runs now
            )
        finally:
            given_up.set()
        return JSONResponse(found)

    return Starlette(
        routes=[
            *(Route(path, _file_answer(*file), methods=["GET"]) for path, file in PAGE_FILES.items()),
            Route("/api/models", about, methods=["GET"]),
            Route("/api/detect", detect, methods=["POST"]),
        ],
        middleware=[Middleware(_Guard, hosts=hosts or AllowedHosts())],
        exception_handlers={RefusedUpload: _refused, HTTPException: _http_error, Exception: _defect},
    )


def _detect(
    models: Sequence[ServedModel],
    content: bytes,
    conf: float,
    repeat: int,
    *,
    limits: UploadLimits,
    given_up: threading.Event,
) -> dict[str, Any]:
    image = decode_upload(content, limits)
    runs: list[list[PredictedPicture]] = [[] for _ in models]
    # the models alternate, so that a moment in which the machine is busy affects all of them equally
    for _ in range(repeat):
        for model, own in zip(models, runs, strict=True):
            if given_up.is_set():
                return {}
            own.append(model.detect(image, conf))
    results = [describe_result(model, own) for model, own in zip(models, runs, strict=True)]
    return {"width": image.shape[1], "height": image.shape[0], "results": results}


def _number(text: str | None, default: float, name: str, least: float, most: float) -> float:
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise RefusedUpload(400, f"{name}: got {text[:40]!r}, expected a number from {least:g} to {most:g}.")
    return value


def _file_answer(name: str, kind: str) -> Any:
    content = (files("slimyolo.serving") / "page" / name).read_bytes()

    async def answer(_: Request) -> Response:
        return Response(content, headers={"content-type": kind})

    return answer


class _Guard:
    """Middleware that refuses the requests that `why_refused` names, and adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, hosts: AllowedHosts) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                extra = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        reason = why_refused(scope["method"], headers, self._hosts)
        if reason is not None:
            # what follows on this connection may be the body of the refused request, so it is not read as another one
            answer = JSONResponse({"error": reason}, 403, {"Connection": "close"})
            await answer(scope, receive, send_guarded)
            return
        try:
            await self._app(scope, receive, send_guarded)
        except anyio.get_cancelled_exc_class():  # the server ends; nothing is awaited but this answer
            if not started:
                await JSONResponse({"error": "slimyolo serve was stopped."}, 503)(scope, receive, send_guarded)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedUpload)
    return JSONResponse({"error": error.reason}, error.status)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = {
        404: "There is nothing at this address.",
        405: f"The method {request.method} is not supported at this address.",
    }
    return JSONResponse({"error": known.get(error.status_code, error.detail)}, error.status_code, error.headers)


async def _defect(_: Request, error: Exception) -> Response:
    return JSONResponse(
        {"error": f"slimyolo failed ({type(error).__name__}). The terminal in which it runs shows where."}, 500
    )
