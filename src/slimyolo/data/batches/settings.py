"""The settings that say how images become batches: sizes and workers, the share of a process, and a family's way of loading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from slimyolo.data.pictures.image_store import CacheKind
from slimyolo.data.pictures.letterbox import Rounding, Shrinking
from slimyolo.errors import ConfigError

__all__ = ["ALONE", "YOLOV5_LOADING", "LoaderSettings", "LoadingRecipe", "Sharding"]


@dataclass(frozen=True, kw_only=True)
class LoadingRecipe:
    """The differences between detector families in how they load images. The defaults are those of YOLOv5 v6.2.

    =================  ======================================================================================
    field              meaning
    =================  ======================================================================================
    rounding           a fraction of a pixel in the short side of a resized image is rounded "down" or "up"
    shrinking          the filter with which evaluation makes an image smaller: "area" or "linear"
    mosaic_order       the four images of a mosaic are "shuffled", or its own image stays top left ("own first")
    single_pictures    a training image without mosaic first gets a grey border ("letterboxed"), or the random affine
                       map only moves it to the middle of the network's input ("centred")
    hue                the random gain r changes the hue to hue × (1 + r) ("multiplied") or hue + 180 r ("shifted")
    outline_rule       the lower limit for the area that is left of a box (1 % instead of 10 %) is used for each object
                       with an outline ("object"), or for all objects of an image that has an outline ("picture")
    =================  ======================================================================================

    Training always enlarges and shrinks with the linear filter.
    """

    rounding: Rounding = "down"
    shrinking: Shrinking = "area"
    mosaic_order: Literal["shuffled", "own first"] = "shuffled"
    single_pictures: Literal["letterboxed", "centred"] = "letterboxed"
    hue: Literal["multiplied", "shifted"] = "multiplied"
    outline_rule: Literal["object", "picture"] = "object"


YOLOV5_LOADING = LoadingRecipe()


@dataclass(frozen=True, kw_only=True)
class LoaderSettings:
    """How large batches are, and who makes them.

    `imgsz` is the longer side of the images in pixels, a multiple of `stride`. `batch_size` is the number of images in a
    batch of this process. `workers` is the number of loader processes (0: this process makes the batches itself). `cache`
    "ram" keeps the resized images in memory. `recipe` says how the detector's family loads images. With a `frame` (height,
    width) evaluation fits every image into this rectangle, and `imgsz` is not used.

    Raises `ConfigError` when a value is out of range.
    """

    imgsz: int
    batch_size: int
    stride: int = 32
    workers: int = 0
    cache: CacheKind | None = None
    recipe: LoadingRecipe = YOLOV5_LOADING
    frame: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        stride = self.stride
        for imgsz in self.frame or (self.imgsz,):
            if imgsz >= stride and imgsz % stride == 0:
                continue
            nearest = max(round(imgsz / stride), 1) * stride
            raise ConfigError(
                f"--imgsz must be a multiple of the stride {stride}, got {imgsz}. The nearest is {nearest}."
            )
        if self.batch_size < 1:
            raise ConfigError(f"--batch-size must be 1 or more, got {self.batch_size}.")
        if isinstance(self.workers, bool) or not isinstance(self.workers, int) or self.workers < 0:
            raise ConfigError(f"--workers must be a whole number from 0, got {self.workers!r}.")
        if self.cache not in (None, "ram"):
            raise ConfigError(f"--cache must be 'ram' or left out, got {self.cache!r}.")


@dataclass(frozen=True)
class Sharding:
    """The share of one process in the batches of several: process `rank` (from 0) of `world`.

    Raises `ConfigError` unless 0 ≤ `rank` < `world`.
    """

    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ConfigError(f"rank must lie in 0 to world - 1, got rank {self.rank} of world {self.world}.")


ALONE = Sharding()  # one process makes all batches
