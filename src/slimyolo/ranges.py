"""The range of every number that a user or a file gives: one table, which the settings and the readers of files use.

Tests walk the table. A setting may have narrower limits beside its description; the numbers here are the outermost ones, up
to which a computer can do what is asked. NaN and infinity are in no range.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from slimyolo.errors import ConfigError

__all__ = [
    "MOST_CLASSES",
    "MOST_INPUT_PIXELS",
    "MOST_PIXELS",
    "RANGES",
    "check_ranges",
    "in_range",
    "numbers_in",
    "range_sentence",
]

_EPOCHS, _SHARE, _GAIN = (0, 100_000), (0, 1), (0, 1_000)
_IMAGES, _RATE = (0, 10_000_000), (0, 100)
MOST_CLASSES = 100_000
MOST_PIXELS = 4096**2  # of an image size that a file states; a user may ask for more, up to 8192 x 8192
MOST_INPUT_PIXELS = 2**27  # of a whole batch: 1.6 GB as 32-bit numbers

RANGES: Mapping[str, tuple[float, float]] = {
    # sizes and counts
    "imgsz": (1, 8192),
    "batch": (1, 4096),
    "batch_size": (-1, 65_536),  # -1: as many as memory allows
    "nominal_batch": (1, 65_536),
    "max_det": (1, 100_000),
    "classes": (0, MOST_CLASSES - 1),
    "freeze": (0, 10_000),
    "round_to": (1, 4096),
    "threads": (1, 1024),
    "cpu_threads": (1, 1024),
    "workers": (0, 1024),
    "line_thickness": (0, 1000),
    "limit": (0, 1_000_000),
    "images": _IMAGES,
    "calibration_images": _IMAGES,
    "repair_images": _IMAGES,
    "samples": _IMAGES,
    "train": _IMAGES,
    "val": _IMAGES,
    "params": (0, 1e12),
    "macs": (0, 1e18),
    "opset": (1, 100),
    "networks": (12, 500),
    "port": (0, 65_535),
    "max_megabytes": (0, 1000),
    "max_megapixels": (0, 150),
    "seed": (0, 2**63 - 1),
    # times and repeats
    "epochs": _EPOCHS,
    "sparse_epochs": _EPOCHS,
    "finetune_epochs": _EPOCHS,
    "round_epochs": _EPOCHS,
    "warmup_epochs": _EPOCHS,
    "close_mosaic": _EPOCHS,
    "patience": _EPOCHS,
    "save_period": (-1, 100_000),
    "rounds": (1, 1000),
    "runs": (1, 1_000_000),
    "warmup": (0, 1_000_000),
    "resamples": (0, 1_000_000),
    "vid_stride": (1, 1_000_000),
    "reconnect": (0, 1_000_000),
    "stream_timeout": (0, 86_400),
    # shares
    **dict.fromkeys(("conf", "iou", "iou_t", "label_smoothing", "level", "floor", "kept", "reach", "percent"), _SHARE),
    **dict.fromkeys(("drop_level", "max_drop", "int8_tolerance", "lrf", "momentum", "warmup_momentum"), _SHARE),
    **dict.fromkeys(("hsv_h", "hsv_s", "hsv_v", "translate", "scale", "flipud", "fliplr", "mosaic", "mixup"), _SHARE),
    "copy_paste": _SHARE,
    "perspective": (0, 0.001),
    "degrees": (0, 180),
    "shear": (0, 90),
    # gains and rates
    **dict.fromkeys(("box", "cls", "dfl", "obj", "obj_pw", "distill_response", "distill_feature", "sr"), _GAIN),
    "cls_pw": (0, 100),
    "fl_gamma": (0, 20),
    "anchor_t": (1, 100),
    "anchors": (1, 100),
    **dict.fromkeys(("lr0", "warmup_bias_lr"), _RATE),
    "weight_decay": (0, 10),
    "lr_factor": (0, 10),
    "finetune_lr_factor": (0, 10),
    "max_error": (0, 1e6),
}
"""Name of a number → its lowest and its largest value. Options, hyper-parameters, YAML keys and metadata share the names."""


def in_range(name: str, value: float) -> bool:
    """Whether `value` is in the range of `name`."""
    lowest, largest = RANGES[name]
    return lowest <= value <= largest  # never true for NaN


def range_sentence(name: str, value: object) -> str:
    """What is said when `value` is not in the range of `name`: what was got, and what is expected."""
    lowest, largest = RANGES[name]
    return f"got {_short(value)}, expected a number from {lowest:,} to {largest:,}"


def check_ranges(**values: object) -> None:
    """Raise `ConfigError` unless all numbers in `values` are in the ranges of their names. For arguments of functions."""
    for name, value in values.items():
        for number in numbers_in(value):
            if not in_range(name, number):
                raise ConfigError(f"{name}: {range_sentence(name, number)}.")


def numbers_in(value: object) -> Iterable[float]:
    """The numbers in a value of a setting: itself, or those in its tuple."""
    values = value if isinstance(value, (tuple, list)) else (value,)
    return (one for one in values if isinstance(one, (int, float)) and not isinstance(one, bool))


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python does not print whole numbers of more than 4300 digits
        return "a number of more than 4300 digits"
    return text if len(text) <= 40 else f"{text[:40]}…"
