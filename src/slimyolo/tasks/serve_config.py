"""Configuration of ``slimyolo serve``, the local page."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import ClassVar

from pydantic import model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.config import Config, option
from slimyolo.tasks.common.option_types import Device, ImageSize
from slimyolo.tasks.common.shared_options import cpu_threads_option, device_option, image_size_option, trust_option

__all__ = ["ServeConfig"]

MODEL = "Models"
PAGE = "Page"
LIMITS = "Limits"


class ServeConfig(Config):
    """Settings of ``slimyolo serve``: a page that detects with one checkpoint, or with several side by side."""

    command: ClassVar[str] = "serve"

    weights: tuple[Path, ...] = option(
        help="one to four checkpoints, shown side by side", group=MODEL, metavar="FILE", by_place=True
    )
    imgsz: ImageSize = image_size_option((320, 320), "image size: N, or height and width", MODEL)
    conf: float = option(
        0.25, "confidence threshold when the page opens", group=MODEL, names=("--conf-thres",), ge=0.001, le=1
    )
    iou: float = option(0.45, "overlap threshold of NMS", group=MODEL, names=("--iou-thres",), ge=0, le=1)
    device: Device = device_option(MODEL)
    cpu_threads: int | None = cpu_threads_option(MODEL)
    trust_code: bool = trust_option(MODEL)

    host: str = option("127.0.0.1", "address to listen on; other machines can reach any but 127.0.0.1", group=PAGE)
    port: int = option(8000, "port; 0: any free port", group=PAGE, ge=0, le=65535)
    allow_host: tuple[str, ...] = option((), "host names under which browsers may open this page", group=PAGE)

    max_megabytes: float = option(20.0, "largest upload, in megabytes", group=LIMITS, gt=0, le=1000)
    max_megapixels: float = option(40.0, "largest picture, in megapixels", group=LIMITS, gt=0, le=150)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the page."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> ServeConfig:
        if not 1 <= len(self.weights) <= 4:
            raise ConfigError(f"--weights: got {len(self.weights)} files, expected one to four.")
        return self
