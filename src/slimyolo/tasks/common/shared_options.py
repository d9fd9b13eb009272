"""The options that several commands have, so that each has the same help line everywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slimyolo.tasks.common.config import option

__all__ = [
    "cache_option",
    "class_names_option",
    "cpu_threads_option",
    "device_option",
    "exist_ok_option",
    "export_option",
    "image_size_option",
    "json_option",
    "name_option",
    "network_option",
    "one2many_option",
    "project_option",
    "threads_option",
    "times_option",
    "trust_option",
    "workers_option",
]


def image_size_option(
    default: Any,
    help: str,
    group: str,
    *,
    names: Sequence[str] = (),
    stored: bool = True,
    of: str = "the weights'",
    **limits: Any,
) -> Any:
    """The field for ``--imgsz``: one number, or height and width where the type of the field is `ImageSize`.

    With `stored`, the command line replaces the default by the size that the weights state (`stored_size`); `of` is the word
    for them on the help screen.
    """
    shown = f"{of}, else {default[0] if isinstance(default, tuple) else default}" if stored else None
    return option(
        default,
        help,
        group=group,
        names=names or ("--img", "--img-size"),
        metavar="N",
        lone_word=True,
        shown_default=shown,
        **limits,
    )


def class_names_option(group: str) -> Any:
    """The field for ``--names``, for exported files of other tools."""
    words = "class names, for an exported file that does not state them"
    return option((), words, group=group, names=("--names",), metavar="NAME …", rare=True)


def trust_option(group: str) -> Any:
    """The field for ``--trust-code``, for commands that open exported files."""
    words = "run TorchScript files of other people, which are programs"
    return option(False, words, group=group, rare=True)


def device_option(
    group: str, *, default: str = "auto", help: str = "cpu, cuda, cuda:N or N", rare: bool = False
) -> Any:
    """The field for ``--device``."""
    return option(default, help, group=group, metavar="DEVICE", rare=rare)


def cpu_threads_option(group: str) -> Any:
    """The field for ``--cpu-threads``, for commands in which PyTorch computes. `tasks.prepared` sets the number."""
    words = "number of threads of PyTorch on the processor; 1 is fastest beside busy programs"
    shown = "OMP_NUM_THREADS, else the cores"
    return option(None, words, group=group, ge=1, metavar="N", shown_default=shown, rare=True)


def cache_option(group: str, *, rare: bool = False) -> Any:
    """The field for ``--cache``. Without a value it means ``ram``."""
    return option(None, "keep decoded images in memory", bare="ram", group=group, metavar="[ram]", rare=rare)


def workers_option(group: str) -> Any:
    """The field for the number of loader processes. The default is the number of processors, but at most 8."""
    return option(
        help="number of loader processes",
        group=group,
        ge=0,
        default_factory=lambda: min(8, os.cpu_count() or 1),
        shown_default="processors, up to 8",
        rare=True,
    )


def json_option(group: str, *, rare: bool = False) -> Any:
    """The field for ``--json [FILE]``. None: not given; ``-``: print on standard output; otherwise the file to write."""
    words = "print the result as JSON instead, or write it to FILE"
    return option(None, words, group=group, flag="--json", metavar="[FILE]", bare="-", rare=rare)


def one2many_option(group: str) -> Any:
    """``--one2many``: the branch of a head with two whose rows need NMS."""
    return option(False, "use the branch that needs NMS, of a head with two (YOLO26, YOLOv10)", group=group, rare=True)


def network_option(group: str) -> Any:
    """The field for ``--runtime``, for commands that run one network on many images (`tasks.common.network_runtime`)."""
    words = "what runs the network; auto: onnxruntime for many images on a processor, else torch"
    return option("auto", words, group=group, rare=True)


def threads_option(group: str) -> Any:
    """The field for ``--threads``, for commands that time on ``--runtime``."""
    return option(2, "number of threads of --runtime (of PyTorch: --cpu-threads)", group=group, ge=1, rare=True)


def times_option(group: str, *, rare: bool = False) -> Any:
    """The field for ``--times``: what another device answered, for ``--latency``."""
    words = "times.json of another device, instead of timing here"
    return option((), words, group=group, metavar="FILE …", rare=rare)


def project_option(default: str, group: str, *, rare: bool | tuple[str, ...] = True) -> Any:
    """The field for ``--project``, the folder in which each run creates its own folder."""
    return option(Path(default), "folder of the runs", group=group, metavar="FOLDER", rare=rare)


def name_option(group: str) -> Any:
    """The field for ``--name``, the folder of the run in ``--project``."""
    return option("exp", "name of the run; if exp exists: exp2, exp3 …", group=group, metavar="NAME")


def export_option(group: str) -> Any:
    """The field for ``--export``, of the commands that end with an exported file."""
    words = "formats to export: onnx openvino ncnn …, or none"
    return option(("onnx",), words, group=group, metavar="FORMAT …", shown_default="onnx")


def exist_ok_option(group: str) -> Any:
    """The field for ``--exist-ok``."""
    return option(False, "write into an existing run folder, in place of earlier results", group=group, rare=True)
