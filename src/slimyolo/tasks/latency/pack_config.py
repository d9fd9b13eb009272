"""Configurations of ``slimyolo latency pack`` and ``slimyolo latency check``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import model_validator

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.budgets import Latency
from slimyolo.tasks.common.config import Config, option
from slimyolo.tasks.common.device_host import (
    DeviceHost,
    HostAddress,
    device_folder_option,
    device_host_of,
    device_host_option,
    device_python_option,
    ssh_config_option,
)
from slimyolo.tasks.common.option_types import ImageSize, OptionalPath
from slimyolo.tasks.common.shared_options import image_size_option

__all__ = ["DeviceRuntime", "LatencyCheckConfig", "LatencyPackConfig"]

DeviceRuntime = Literal["onnxruntime", "openvino", "ncnn", "litert"]

WHAT = "What to time"
HOW = "How"
OUTPUT = "Output"
BOARD = "On a board that ssh reaches"


class LatencyPackConfig(Config):
    """Settings of ``slimyolo latency pack``."""

    command: ClassVar[str] = "latency pack"

    weights: Path = option(help="checkpoint that will be cut", group=WHAT, metavar="FILE", by_place=True)
    runtime: DeviceRuntime = option("onnxruntime", "runtime that will serve the network on the device", group=WHAT)
    imgsz: ImageSize = image_size_option((320, 320), "image size: N, or height and width", WHAT)

    threads: int = option(2, "number of threads of the runtime on the device", group=HOW, ge=1)
    precision: Literal["fp32", "auto"] = option("fp32", "number format; auto: the runtime chooses", group=HOW)
    networks: int | None = option(
        None, "number of networks of random widths", group=HOW, ge=12, le=500, shown_default="20 to 60", rare=True
    )
    seed: int = option(0, "seed of the random widths", group=HOW, ge=0, rare=True)

    output: OptionalPath = option(
        None,
        "archive to write, .zip or .tar.gz",
        group=OUTPUT,
        metavar="FILE",
        shown_default="WEIGHTS-RUNTIME-SIZE.zip",
    )

    device_host: HostAddress | None = device_host_option(BOARD)
    device_python: str = device_python_option(BOARD)
    device_folder: str = device_folder_option(BOARD)
    ssh_config: OptionalPath = ssh_config_option(BOARD)

    @property
    def host(self) -> DeviceHost | None:
        """The board on which networks are timed, if there is one."""
        return device_host_of(self.device_host, self.device_python, self.device_folder, self.ssh_config)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> LatencyPackConfig:
        _ = self.host
        return self


class LatencyCheckConfig(Config):
    """Settings of ``slimyolo latency check``."""

    command: ClassVar[str] = "latency check"

    weights: tuple[Path, ...] = option(
        help="cut checkpoints that the device should time", group=WHAT, metavar="FILE …", by_place=True
    )
    times: Path = option(help="times.json of the device, from `latency pack`", group=WHAT, metavar="FILE")
    latency: Latency | None = option(
        None, "budget: 8ms, or 50% of the dense time", group=WHAT, metavar="MS|SHARE", shown_default="that of the cut"
    )
    output: OptionalPath = option(
        None, "archive to write, .zip or .tar.gz", group=OUTPUT, metavar="FILE", shown_default="WEIGHTS-check.zip"
    )

    device_host: HostAddress | None = device_host_option(BOARD)
    device_python: str = device_python_option(BOARD)
    device_folder: str = device_folder_option(BOARD)
    ssh_config: OptionalPath = ssh_config_option(BOARD)

    @property
    def host(self) -> DeviceHost | None:
        """The board on which networks are timed, if there is one."""
        return device_host_of(self.device_host, self.device_python, self.device_folder, self.ssh_config)

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> LatencyCheckConfig:
        _ = self.host
        if not self.weights:
            raise ConfigError("--weights: got nothing, expected the checkpoints that the device should time.")
        return self
