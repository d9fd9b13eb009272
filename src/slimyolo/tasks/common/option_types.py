"""The types of options that several commands have: how a value is written, what is refused, and the error message."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from slimyolo.ranges import RANGES
from slimyolo.tasks.common.config import parsed_by

__all__ = [
    "DISTILLATION_TERMS",
    "Activation",
    "BatchSize",
    "BenchPrecision",
    "ClassWords",
    "CouplingPolicy",
    "Device",
    "DistillationTerms",
    "ExportFormats",
    "ImageCache",
    "ImageSize",
    "LayerIndices",
    "NetworkRuntime",
    "OptimizerName",
    "OptionalActivation",
    "OptionalDistillationTerms",
    "OptionalOptimizer",
    "OptionalPath",
    "OptionalText",
    "PatternShares",
    "Precision",
    "ResumedRun",
    "RuntimeName",
    "Share",
    "SideOrRectangle",
    "SparsityMethod",
    "SquareSize",
    "WordList",
    "parse_share",
    "pattern_shares",
    "split_commas",
]

Precision = Literal["auto", "fp32", "bf16", "fp16"]
SparsityMethod = Literal["share", "reference", "soft-threshold", "group-lasso", "cost-weighted", "polarise"]
OptimizerName = Literal["SGD", "Adam", "AdamW", "MuSGD", "auto"]
DISTILLATION_TERMS = ("response", "feature")
CouplingPolicy = Literal["coupled", "skip-shortcuts"]
RuntimeName = Literal[
    "onnxruntime", "openvino", "ncnn", "torch", "litert"
]  # `exporting.runtimes`, which needs torch to import
NetworkRuntime = Literal["auto", "torch", "onnxruntime", "openvino"]  # the last two: `exporting.GRAPH_RUNTIMES`
BenchPrecision = Literal["fp32", "fp16", "bf16", "auto", "int8"]


def parse_share(value: Any) -> Any:
    """A share of a whole: 0.4, "0.4" or "40%" → 0.4. Refuses values that are not above 0 and below 1."""
    if value is None:
        return None
    text = str(value).strip()
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = float("nan")
    if isinstance(value, bool) or not 0 < share < 1:
        raise ValueError(
            f"got {value!r}, expected a share above 0 and below 1, such as 0.4 or 40%.{_share_hint(share)}"
        )
    return share


def _share_hint(share: float) -> str:
    if share == 0:
        return " 0 would change nothing."
    if 2 <= share < 100:
        return f" Did you mean {share / 100:g}?"
    return ""


def parse_device(value: Any) -> Any:
    """The word that a user types for a device → ``auto``, ``cpu``, ``mps``, ``cuda`` or ``cuda:N``."""
    text = str(value).strip().lower() if value is not None else ""
    if text in ("", "auto"):
        return "auto"
    if text in ("cpu", "cuda", "mps"):
        return text
    if text.isdigit():
        return f"cuda:{text}"
    if text.startswith("cuda:") and text[5:].isdigit():
        return text
    if "," in text:
        count = len(text.split(","))
        raise ValueError(
            f"got {value!r}: one process uses one device. For {count} devices start "
            f"`CUDA_VISIBLE_DEVICES={text} torchrun --nproc_per_node {count} -m slimyolo train …` without --device."
        )
    raise ValueError(f"got {value!r}, expected auto, cpu, mps, cuda, cuda:N or a number such as 0.")


def parse_image_size(value: Any) -> Any:
    """320, "320", [320] or [256, 320] → (height, width)."""
    parts = list(value) if isinstance(value, (list, tuple)) else [value]
    try:
        sizes = [int(part) for part in parts]
    except (TypeError, ValueError, OverflowError):
        sizes = []
    if not 1 <= len(sizes) <= 2 or min(sizes) < 32:
        raise ValueError(f"got {value!r}, expected one number, or height and width, of at least 32 pixels.")
    return (sizes[0], sizes[-1])


def parse_square_size(value: Any) -> Any:
    """What `parse_image_size` takes, as long as it is a square: [320], [320, 320] → 320. One number stays as it is."""
    if not isinstance(value, (list, tuple)):
        return value
    height, width = parse_image_size(value)
    if height != width:
        raise ValueError(
            f"got {value!r}, expected one number: images are letterboxed to squares here. Give the longer side, "
            f"{max(height, width)}."
        )
    return height


def parse_side_or_rectangle(value: Any) -> Any:
    """What `parse_image_size` takes: a square → its side; a rectangle → (height, width)."""
    height, width = parse_image_size(value)
    return height if height == width else (height, width)


def parse_layers(value: Any) -> Any:
    """A number n → the first n layers; a list → those layers; sorted, without repeats."""
    try:
        single = isinstance(value, (int, str)) and not isinstance(value, bool)
        layers = range(int(value)) if single else sorted({int(item) for item in value or ()})
        most = RANGES["freeze"][1]
        if (single and not 0 <= int(value) <= most) or any(
            not 0 <= layer <= most for layer in (() if single else layers)
        ):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"got {value!r}, expected a number of layers (10) or layer indices (0 1 2).") from None
    return tuple(layers)


def parse_resume(value: Any) -> Any:
    """True or "newest" → the newest run; a folder stays as it is; False, None and "" → no run."""
    return None if value in (None, False, "") else "newest" if value is True else value


def empty_to_none(value: Any) -> Any:
    return None if value in ("", Path("")) else value


def check_batch_size(value: Any) -> Any:
    """A whole number of 1 or more, or -1: as many images as memory allows."""
    text = str(value).strip()
    if (
        isinstance(value, bool)
        or not text.isascii()
        or not text.lstrip("-").isdigit()
        or (int(text) < 1 and int(text) != -1)
    ):
        raise ValueError(f"got {value!r}, expected a whole number of 1 or more, or -1: as many as memory allows.")
    return int(text)


def check_cache(value: Any) -> Any:
    if value is True:
        return "ram"
    if value == "disk":
        raise ValueError("got 'disk': images are cached in memory only. Use `--cache ram`, or leave --cache out.")
    return value or None


def parse_terms(value: Any) -> Any:
    """``"response,feature"`` or a list of such words → the terms, in the order of `DISTILLATION_TERMS`."""
    words = [value] if isinstance(value, str) else list(value or ())
    terms = [term.strip() for word in words for term in str(word).split(",") if term.strip()]
    unknown = [term for term in terms if term not in DISTILLATION_TERMS]
    if unknown or not terms:
        raise ValueError(
            f"got {' '.join(map(str, words))!r}, expected {' or '.join(DISTILLATION_TERMS)}, or both: response,feature."
        )
    return tuple(term for term in DISTILLATION_TERMS if term in terms)


def split_commas(value: Any) -> Any:
    """``"a,b"``, ``["a,b", "c"]`` or ``["a", "b", "c"]`` → the words, in their order, without repeats."""
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        return value
    return tuple(dict.fromkeys(part for word in words for part in word.split(",") if part))


def parse_formats(value: Any) -> Any:
    """``"onnx,openvino"`` or a list of names → the names. None, "none" and an empty list → no name."""
    words = split_commas(() if value is None else value)
    if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        return value
    names = tuple(word.strip().lower() for word in words if word.strip())
    if "none" in names and len(names) > 1:
        raise ValueError(f"got {' '.join(names)!r}: none stands alone. Give formats such as onnx,openvino, or none.")
    return () if names == ("none",) else names


def parse_classes(value: Any) -> Any:
    """One class or a list of classes → a tuple of numbers and names. A word of digits is a number."""
    words = list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]
    if not all(isinstance(word, (str, int)) and not isinstance(word, bool) for word in words):
        raise ValueError(f"got {value!r}, expected class numbers or class names, such as 0 2 or person.")
    return tuple(int(word) if isinstance(word, str) and word.isascii() and word.isdigit() else word for word in words)


def parse_pattern_shares(value: Any) -> Any:
    """The texts ``PATTERN=SHARE``, checked and unchanged."""
    items = [value] if isinstance(value, str) else list(value or ())
    for item in items:
        pattern, equals, share = str(item).rpartition("=")
        if not pattern or not equals:
            raise ValueError(f"got {item!r}, expected PATTERN=SHARE, such as 'model.9.*=0.5'.")
        parse_share(share)
    return tuple(str(item) for item in items)


def pattern_shares(items: tuple[str, ...]) -> dict[str, float]:
    """``("model.9.*=0.5",)`` → ``{"model.9.*": 0.5}``."""
    pairs = [item.rpartition("=") for item in items]
    return {pattern: float(parse_share(share)) for pattern, _, share in pairs}


Share = Annotated[float, parsed_by(parse_share)]
Device = Annotated[str, parsed_by(parse_device)]
ImageSize = Annotated[tuple[int, int], parsed_by(parse_image_size)]
"""(height, width) in pixels, for commands that run a model on images of any shape."""
SquareSize = Annotated[int, parsed_by(parse_square_size), Field(ge=32)]
"""The side in pixels, for commands that letterbox images to squares: training, validation, pruning. It is written in the
same ways as an `ImageSize`."""
SideOrRectangle = Annotated[int | tuple[int, int], parsed_by(parse_side_or_rectangle)]
"""The longer side in pixels, or (height, width) into which every image is fitted, for commands that measure."""
LayerIndices = Annotated[tuple[int, ...], parsed_by(parse_layers)]
PatternShares = Annotated[tuple[str, ...], parsed_by(parse_pattern_shares)]
OptionalPath = Annotated[Path | None, parsed_by(empty_to_none)]
ResumedRun = Annotated[Path | None, parsed_by(parse_resume)]
"""The folder of the run to continue, ``newest`` for the newest one, or None for a new run."""
OptionalText = Annotated[str | None, parsed_by(empty_to_none)]
BatchSize = Annotated[int, parsed_by(check_batch_size)]
DistillationTerms = Annotated[tuple[str, ...], parsed_by(parse_terms)]
OptionalDistillationTerms = Annotated[
    tuple[str, ...] | None, parsed_by(lambda value: None if value is None else parse_terms(value))
]
ClassWords = Annotated[tuple[int | str, ...], parsed_by(parse_classes)]
"""Numbers and names of classes; the names are looked up when the model is open (`tasks.predict.asked_classes`)."""
WordList = Annotated[tuple[str, ...], parsed_by(split_commas)]
Activation = Literal["silu", "hardswish", "relu", "relu6"]
OptionalActivation = Annotated[Activation | None, parsed_by(empty_to_none)]
OptionalOptimizer = Annotated[OptimizerName | None, parsed_by(empty_to_none)]
ExportFormats = Annotated[tuple[str, ...], parsed_by(parse_formats)]
"""Names of export formats (`exporting.table`, which needs torch to import); empty: no file is exported."""
ImageCache = Annotated[Literal["ram"] | None, parsed_by(check_cache)]
