"""``slimyolo serve``: checkpoints side by side on a page of this machine."""

from __future__ import annotations

import importlib.util
import logging
import math
import socket
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from slimyolo.checkpoints import load_checkpoint
from slimyolo.costs import model_cost
from slimyolo.errors import ConfigError
from slimyolo.inference import DetectionSettings, ImageArray, Picture, PredictedPicture, predict_picture
from slimyolo.models import Detector
from slimyolo.serving import AllowedHosts, ServedModel, UploadLimits
from slimyolo.tasks.configs import ServeConfig
from slimyolo.tasks.devices import pick_device
from slimyolo.tasks.lookup import find_weights

__all__ = ["serve", "served_models"]

log = logging.getLogger("slimyolo")

WAITING = 32  # connections at once; a page needs three
WARM_UP = 3


def serve(config: ServeConfig) -> None:
    """Answer at ``config.host``:``config.port`` until Ctrl-C. Raises `SlimyoloError` for packages, files, a used port."""
    _require_packages()
    import uvicorn

    from slimyolo.serving.app import create_app

    connection = _listen(config)
    models = served_models(config)
    limits = UploadLimits(int(config.max_megabytes * 1e6), int(config.max_megapixels * 1e6))
    hosts = AllowedHosts.of(config.allow_host, any_address=not config.loopback)
    app = create_app(models, hosts=hosts, limits=limits, conf=config.conf)
    port = connection.getsockname()[1]
    for model in models:
        log.info(
            "%s: %.2f MB, %.2f M parameters, %.2f GFLOPs at %d x %d",
            model.name, model.file_bytes / 1e6, model.params / 1e6, 2 * model.macs / 1e9, model.imgsz[1], model.imgsz[0],
        )  # fmt: skip
    if not config.loopback:
        log.warning("--host %s: everybody who can reach this machine can use the page; it has no password", config.host)
    shown = f"[{config.host}]" if ":" in config.host else config.host
    log.info("open http://%s:%d in a browser; Ctrl-C ends it", shown, port)
    settings = uvicorn.Config(
        app, log_config=None, log_level="warning", access_log=False, limit_concurrency=WAITING,
        timeout_keep_alive=20, server_header=False, ws="none", lifespan="off",
    )  # fmt: skip
    with connection:
        uvicorn.Server(settings).run(sockets=[connection])


def served_models(config: ServeConfig) -> list[ServedModel]:
    """The models of ``config.weights``, loaded and warmed up, each under a name of its own."""
    device = pick_device(config.device)
    paths = [find_weights(weights) for weights in config.weights]
    models = [_served(file, name, config, device) for file, name in zip(paths, _names(paths), strict=True)]
    grey = np.full((*config.imgsz, 3), 114, np.uint8)
    for model in models:
        for _ in range(WARM_UP):  # the first pictures would be timed with what only they have to do
            model.detect(grey, config.conf)
    return models


def _names(paths: Sequence[Path]) -> list[str]:
    """The file names; with the run folder where they are equal (``base/best.pt``), numbered where that is equal too."""
    plain = [path.name for path in paths]
    folders = [next((part for part in reversed(path.parts[:-1]) if part != "weights"), "") for path in paths]
    longer = [
        f"{folder}/{name}" if plain.count(name) > 1 and folder else name
        for folder, name in zip(folders, plain, strict=True)
    ]
    return [f"{name} ({number})" if longer.count(name) > 1 else name for number, name in enumerate(longer, 1)]


def _served(file: Path, name: str, config: ServeConfig, device: torch.device) -> ServedModel:
    checkpoint = load_checkpoint(file)
    detector: Detector = checkpoint.detector()
    stride = int(detector.stride.max())
    height, width = (math.ceil(pixels / stride) * stride for pixels in config.imgsz)
    cost = model_cost(detector, (height, width), forward=detector.heads)
    fused = detector.fused().to(device)

    def detect(image: ImageArray, conf: float) -> PredictedPicture:
        settings = DetectionSettings(config.imgsz, conf, config.iou)
        return predict_picture(fused, Picture(image, "uploaded"), settings)

    return ServedModel(
        name, tuple(detector.names), file.stat().st_size, cost.params, cost.macs, (height, width),
        checkpoint.widths is not None, detect,
    )  # fmt: skip


def _listen(config: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    connection = socket.socket(family, socket.SOCK_STREAM)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        connection.bind((config.host, config.port))
        connection.listen()  # from now on: whoever opens the address as soon as it is printed waits, and is answered
    except OSError as error:
        connection.close()
        raise ConfigError(
            f"Cannot listen on {config.host}:{config.port}: {error.strerror or error}. Another program may use the port: "
            f"take another one, --port {config.port + 1 if 0 < config.port < 65535 else 8001}."
        ) from None
    return connection


def _require_packages() -> None:
    missing = [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"The page needs {' and '.join(missing)}: pip install 'slimyolo[serve]'.")
