"""The fields that several commands have: the same option, said with the same words everywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slimyolo.tasks.common.config import option

__all__ = [
    "cache_option",
    "class_names_option",
    "device_option",
    "exist_ok_option",
    "image_size_option",
    "json_option",
    "name_option",
    "project_option",
    "workers_option",
]


def image_size_option(default: Any, help: str, group: str, *, names: Sequence[str] = (), **limits: Any) -> Any:
    """The field for ``--imgsz``: one number, or height and width where the type of the field is `ImageSize`."""
    return option(
        default, help, group=group, names=names or ("--img", "--img-size"), metavar="N", lone_word=True, **limits
    )


def class_names_option(group: str) -> Any:
    """The field for ``--names``, for exported files of other tools."""
    words = "class names, for an exported file without them"
    return option((), words, group=group, names=("--names",), metavar="NAME …", rare=True)


def device_option(
    group: str, *, default: str = "auto", help: str = "cpu, cuda, cuda:N or N", rare: bool = False
) -> Any:
    """The field for ``--device``."""
    return option(default, help, group=group, metavar="DEVICE", rare=rare)


def cache_option(group: str, *, rare: bool = False) -> Any:
    """The field for ``--cache``: without a word after it, ``ram``."""
    return option(None, "keep decoded images in memory", bare="ram", group=group, metavar="[ram]", rare=rare)


def workers_option(group: str) -> Any:
    """The field for the number of loader processes: as many as there are processors, at most 8."""
    return option(
        help="loader processes",
        group=group,
        ge=0,
        default_factory=lambda: min(8, os.cpu_count() or 1),
        shown_default="processors, up to 8",
        rare=True,
    )


def json_option(group: str, *, rare: bool = False) -> Any:
    """The field for ``--json [FILE]``: None no, ``-`` standard output, else a file."""
    words = "print the result as JSON instead, or write it to FILE"
    return option(None, words, group=group, flag="--json", metavar="[FILE]", bare="-", rare=rare)


def project_option(default: str, group: str, *, rare: bool | tuple[str, ...] = True) -> Any:
    """The field for ``--project``, the folder in which each run makes its own."""
    return option(Path(default), "folder of the runs", group=group, metavar="FOLDER", rare=rare)


def name_option(group: str) -> Any:
    """The field for ``--name``, the run's folder in ``--project``."""
    return option("exp", "run name; exp, exp2, exp3 …", group=group, metavar="NAME")


def exist_ok_option(group: str) -> Any:
    """The field for ``--exist-ok``."""
    return option(False, "write into an existing run folder", group=group, rare=True)
