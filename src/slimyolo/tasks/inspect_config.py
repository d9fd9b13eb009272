"""Configuration of ``slimyolo inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from slimyolo.tasks.common.config import Config, option

__all__ = ["InspectConfig"]


class InspectConfig(Config):
    """Settings of ``slimyolo inspect``."""

    command: ClassVar[str] = "inspect"

    file: Path = option(help="checkpoint, or exported file or folder", group="Options", positional=True, metavar="FILE")
    json_output: bool = option(False, "print the result as JSON instead", group="Options", flag="--json")
