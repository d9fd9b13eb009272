"""Configuration of ``slimyolo completion``."""

from __future__ import annotations

from typing import ClassVar, Literal

from slimyolo.tasks.common.config import Config, option

__all__ = ["CompletionConfig"]


class CompletionConfig(Config):
    """Settings of ``slimyolo completion``."""

    command: ClassVar[str] = "completion"

    shell: Literal["bash", "zsh", "fish"] = option(
        help="the shell to make the script for", group="Options", positional=True
    )
