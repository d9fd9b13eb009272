"""Which built-in architecture a person means by a name, and what to say when there is none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from slimyolo.errors import nearest_name_hint

__all__ = ["built_in_name", "no_such_architecture"]

CHECKPOINTS = (".pt", ".pth", ".onnx")
OTHER_TASKS = {"seg": "segmentation", "cls": "classification", "pose": "poses", "obb": "rotated boxes"}
VERSION = re.compile(r"yolo-?v?(\d+)-?([a-z0-9-]*)")


def built_in_name(asked: str, names: Sequence[str]) -> str | None:
    """The one of `names` that `asked` is, in capitals or with ``.yaml`` as well; None when it is none of them."""
    name = asked.lower()
    stem = name.removesuffix(".yaml").removesuffix(".yml")
    return name if name in names else stem if stem in names else None


def no_such_architecture(asked: str, names: Sequence[str], shown: str) -> str:
    """What to type instead of `asked`, which is neither a file nor one of `names`; `shown` is a short list of these."""
    path = PurePath(asked)
    if path.suffix.lower() in CHECKPOINTS:
        return f"{asked} is the name of a checkpoint, not of an architecture: give it with --weights {asked}."
    if len(path.parts) > 1 or path.suffix:
        return f"Give a YAML file or a built-in name ({shown}).{nearest_name_hint(path.stem, names)}"
    task = re.search(rf"-({'|'.join(OTHER_TASKS)})\b", asked.lower())
    if task is not None:
        return f"slimyolo detects boxes; it has no architectures for {OTHER_TASKS[task[1]]}. Built-in names: {shown}."
    version = VERSION.fullmatch(asked.lower())
    if version is None:
        hint = "" if asked.lower().startswith("yolo") else nearest_name_hint(asked.lower(), names)  # YOLOX is no YOLOv9
        return f"Give a YAML file or a built-in name ({shown}).{hint}"
    number, size = version.groups()
    alike = [name for name in names if re.fullmatch(rf"yolov?{number}\D.*", name)]
    if not alike:
        typed = "yolo" + asked.lower().removeprefix("yolo").replace("l", "1")  # the letter looks like the digit
        hint = f" Did you mean {typed!r}?" if typed in names else ""
        return f"slimyolo has no built-in YOLO of version {number}. Built-in names: {shown}. Or give a YAML file.{hint}"
    if not size:
        sizes = [name for name in alike if re.fullmatch(rf"yolov?{number}[a-z]", name)]
        return f"Name the size as well: {', '.join(sizes or alike)}."
    exact = [name for name in alike if re.fullmatch(rf"yolov?{number}{re.escape(size)}", name)]
    if exact:
        return f"Did you mean {exact[0]!r}?"
    return (
        f"Give a YAML file or a built-in name of this version ({alike[0]} … {alike[-1]})."
        f"{nearest_name_hint(asked.lower(), alike)}"
    )
