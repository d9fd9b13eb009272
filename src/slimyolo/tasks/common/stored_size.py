"""The image size that a checkpoint or an exported file states, for commands that were given none."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from slimyolo.errors import ConfigError, SlimyoloError
from slimyolo.tasks.common.config import Config

if TYPE_CHECKING:
    from slimyolo.models import Detector

__all__ = ["FALLBACK", "image_size_for", "refuse_odd_sides", "stored_size", "with_stored_size"]

log = logging.getLogger("slimyolo")

FALLBACK = (320, 320)
AnyConfig = TypeVar("AnyConfig", bound=Config)


def with_stored_size(config: AnyConfig) -> AnyConfig:
    """`config`, with the image size of its weights when ``--imgsz`` was not given. The size is logged.

    Of several weights, the first that states a size decides. A command that works with squares gets the longer side.
    Weights that cannot be read change nothing here: the command itself says what is wrong with them.
    """
    plain: dict[str, Any] = dict(config)
    if (
        not config.reads_images
        or "imgsz" not in plain
        or "imgsz" in config.model_fields_set
        or plain.get("resume") is not None
    ):
        return config
    weights = plain.get("weights")
    paths = [path for path in (weights if isinstance(weights, tuple) else (weights,)) if path is not None]
    sizes = {path: size for path in paths if (size := stored_size(path)) is not None}
    if not sizes:
        return config
    path, size = next(iter(sizes.items()))
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{one} {height} x {width}" for one, (height, width) in sizes.items())
        log.warning("the weights were made for images of different sizes (height x width): %s. See --imgsz.", found)
    log.info("image size: %d x %d (height x width), as %s states it", *size, path)
    value = size if isinstance(plain["imgsz"], tuple) else max(size)
    return config if value == plain["imgsz"] else config.changed(imgsz=value)


def stored_size(weights: str | Path) -> tuple[int, int] | None:
    """The (height, width) that a checkpoint or an exported file states; None when it states none, or cannot be read."""
    from slimyolo.exporting import is_exported, stated_size  # these import torch; a command without weights needs none
    from slimyolo.tasks.common.weights import find_weights, load_weights_ahead

    try:
        file = find_weights(weights)
        if not is_exported(file):
            return load_weights_ahead(file).imgsz
        return stated_size(file)
    except SlimyoloError:
        return None


def image_size_for(model: Any, asked: int | tuple[int, int] | None) -> tuple[int, int]:
    """The (height, width) that was asked for, or that of `model` (a detector or an exported file), or `FALLBACK`."""
    if asked is not None:
        return (asked, asked) if isinstance(asked, int) else asked
    own: tuple[int, int] | None = model.imgsz
    return own or FALLBACK


def refuse_odd_sides(detector: Detector, imgsz: int | tuple[int, ...]) -> None:
    """Raise `ConfigError` when a side of ``--imgsz`` is no multiple of the largest stride of `detector`."""
    sides = (imgsz,) if isinstance(imgsz, int) else imgsz[:1] if len(set(imgsz)) == 1 else imgsz
    stride = int(detector.stride.max())
    if all(side % stride == 0 for side in sides):
        return
    nearest = " ".join(str(max(round(side / stride), 1) * stride) for side in sides)
    given = " ".join(str(side) for side in sides)
    raise ConfigError(
        f"--imgsz {given}: the sides of images for this model must be multiples of {stride}. Use --imgsz {nearest}."
    )
