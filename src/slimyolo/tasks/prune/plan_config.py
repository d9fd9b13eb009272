"""Configurations of ``slimyolo plan show`` and ``slimyolo plan diff``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from slimyolo.tasks.common.config import Config, option

__all__ = ["PlanDiffConfig", "PlanShowConfig"]


class PlanShowConfig(Config):
    """Settings of ``slimyolo plan show``."""

    command: ClassVar[str] = "plan show"

    file: Path = option(help="plan.json of a cut", group="Options", positional=True, metavar="FILE")
    json_output: bool = option(False, "print JSON", group="Options", flag="--json")


class PlanDiffConfig(Config):
    """Settings of ``slimyolo plan diff``."""

    command: ClassVar[str] = "plan diff"

    first: Path = option(help="a plan", group="Options", positional=True)
    second: Path = option(help="another plan", group="Options", positional=True)
    json_output: bool = option(False, "print JSON", group="Options", flag="--json")
