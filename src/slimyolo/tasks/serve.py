"""``slimyolo serve``: a local web page that compares checkpoints side by side."""

from __future__ import annotations

import importlib.util
import logging
import math
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from slimyolo.costs import ModelCost
from slimyolo.errors import ConfigError
from slimyolo.exporting import NetworkCost
from slimyolo.inference import DetectionSettings, ImageArray, Picture, PredictedPicture, predict_picture
from slimyolo.models import Detector
from slimyolo.serving import AllowedHosts, ServedModel, UploadLimits
from slimyolo.shown_text import file_size
from slimyolo.tasks.common.opened_model import OpenedModel, deployed_cost, fixed_size, open_model, run_device
from slimyolo.tasks.common.weights import find_weights
from slimyolo.tasks.serve_config import ServeConfig

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette

__all__ = ["page_server", "serve", "served_models"]

log = logging.getLogger("slimyolo")

WAITING = 32  # connections at once; a page needs three
WARM_UP = 3
GRACE_S = 0  # seconds that requests get to end after Ctrl-C; what is held gets an answer and ends


def serve(config: ServeConfig) -> None:
    """Serve the page at ``config.host``:``config.port`` until Ctrl-C.

    Raises `SlimyoloError` when a package is missing, a file cannot be read, or the port is in use.
    """
    _require_packages()
    from slimyolo.serving.app import create_app

    connection = _listen(config)
    try:
        models = served_models(config)
    except BaseException:
        connection.close()
        raise
    limits = UploadLimits(int(config.max_megabytes * 1e6), int(config.max_megapixels * 1e6))
    hosts = AllowedHosts.of(config.allow_host, any_address=not config.loopback)
    app = create_app(models, hosts=hosts, limits=limits, conf=config.conf)
    port = connection.getsockname()[1]
    for model in models:
        size = "" if model.params is None else f", {model.params / 1e6:.2f} M parameters"
        size += "" if model.macs is None else f", {2 * model.macs / 1e9:.2f} GFLOPs"
        log.info("%s: %s%s at %d x %d (height x width)", model.name, file_size(model.file_bytes), size, *model.imgsz)
    if not config.loopback:
        log.warning("--host %s: anybody who can reach this machine can use the page; it has no password", config.host)
    shown = f"[{config.host}]" if ":" in config.host else config.host
    log.info("open http://%s:%d in a browser; Ctrl-C stops the server", shown, port)
    with connection:
        page_server(app).run(sockets=[connection])


def page_server(app: Starlette) -> uvicorn.Server:
    """The server of `app`. When it is told to end, requests that are held open get an answer and end at once."""
    import uvicorn

    settings = uvicorn.Config(
        app,
        log_config=None,
        log_level="error",  # uvicorn answers wrong requests with warnings that advise to install other packages
        access_log=False,
        limit_concurrency=WAITING,
        timeout_keep_alive=20,
        timeout_graceful_shutdown=GRACE_S,
        server_header=False,
        ws="none",
        lifespan="off",
    )
    # its message about requests that Ctrl-C ends; each of them gets an answer, so nobody has to do anything
    logging.getLogger("uvicorn.error").addFilter(lambda record: not str(record.msg).startswith("Cancel "))
    return uvicorn.Server(settings)


def served_models(config: ServeConfig) -> list[ServedModel]:
    """The models of ``config.weights``, loaded and warmed up, each under a name of its own."""
    paths = [find_weights(weights) for weights in config.weights]
    models = [_served(file, name, config) for file, name in zip(paths, _names(paths), strict=True)]
    grey = np.full((*config.imgsz, 3), 114, np.uint8)
    for model in models:
        for _ in range(WARM_UP):  # the first pictures take longer than the others
            model.detect(grey, config.conf)
    return models


def _names(paths: Sequence[Path]) -> list[str]:
    """The file names. Equal names get the run folder before them (``base/best.pt``); if still equal, a number behind."""
    plain = [path.name for path in paths]
    folders = [next((part for part in reversed(path.parts[:-1]) if part != "weights"), "") for path in paths]
    longer = [
        f"{folder}/{name}" if plain.count(name) > 1 and folder else name
        for folder, name in zip(folders, plain, strict=True)
    ]
    return [f"{name} ({number})" if longer.count(name) > 1 else name for number, name in enumerate(longer, 1)]


def _served(file: Path, name: str, config: ServeConfig) -> ServedModel:
    model = open_model(file, (), config.device, trust_code=config.trust_code)
    device = run_device(model, config.device, half=False)
    fixed = fixed_size(model, config.imgsz)
    stride = int(model.stride.max())
    height, width = fixed or (
        math.ceil(config.imgsz[0] / stride) * stride,
        math.ceil(config.imgsz[1] / stride) * stride,
    )
    cost: ModelCost | NetworkCost | None
    cost = deployed_cost(model, (height, width)) if isinstance(model, Detector) else model.cost
    runner = model.deployed(device) if isinstance(model, Detector) else model

    def detect(image: ImageArray, conf: float) -> PredictedPicture:
        settings = DetectionSettings(imgsz=(height, width), conf=conf, iou=config.iou, fixed=fixed is not None)
        return predict_picture(runner, Picture(image, "uploaded"), settings)

    return ServedModel(
        name=name,
        runtime=_runtime(model, device),
        class_names=tuple(model.names),
        file_bytes=_bytes(file),
        params=cost.params if cost else None,
        macs=cost.macs if cost else None,
        imgsz=(height, width),
        detect=detect,
    )


def _runtime(model: OpenedModel, device: torch.device) -> str:
    """The runtime as `slimyolo bench` calls it, with the device unless that is the processor."""
    name = "torch" if isinstance(model, Detector) else model.runtime
    return name if device.type == "cpu" else f"{name} on {device}"


def _bytes(path: Path) -> int:
    """The size in bytes of a file, or of all files in the folder of an exported model."""
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file()) if path.is_dir() else path.stat().st_size


def _listen(config: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        connection.bind((config.host, config.port))
        connection.listen()  # a browser that opens the page while the models are loaded waits for its answer
    except OSError as error:
        connection.close()
        raise ConfigError(
            f"Cannot listen on {config.host}:{config.port}: {error.strerror or error}. Another program may use this port. "
            f"Choose another one: --port {config.port + 1 if 0 < config.port < 65535 else 8001}."
        ) from None
    return connection


def _require_packages() -> None:
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"The page needs {' and '.join(missing)}: pip install 'slimyolo[serve]'.")
