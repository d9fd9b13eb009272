"""Training batches: order, sharding and augmentation, all from one seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimyolo.data.batches.augmentation import Augmentation, copy_paste, flip, mix, random_affine, shift_colours
from slimyolo.data.batches.batches import Batch, collate
from slimyolo.data.batches.mosaic import mosaic
from slimyolo.data.batches.scenes import Scene, sample_rows
from slimyolo.data.batches.workers import BatchMaker
from slimyolo.data.dataset.splits import SplitData
from slimyolo.data.pictures.image_store import CacheKind, ImageStore
from slimyolo.data.pictures.letterbox import letterbox, rect_batch_shapes
from slimyolo.errors import ConfigError, DataError

__all__ = ["ImageWeights", "TrainBatches", "class_balance_weights", "image_weights_of_classes"]

ImageWeights = Callable[[int], npt.ArrayLike]
_PARTNERS = 7  # three for the mosaic, four for the mosaic that mix-up joins


@dataclass(frozen=True)
class _Order:
    """What one batch is made of. `images[k]` is position `positions[k]` of the epoch; `partners` fill the mosaics."""

    epoch: int
    positions: tuple[int, ...]
    images: tuple[int, ...]
    partners: tuple[tuple[int, ...], ...]
    size: tuple[int, int]
    augmentation: Augmentation


class TrainBatches:
    """Batches of augmented images, epoch after epoch.

    `batch_size` images per batch **of this process**: with `world` processes the global batch is ``world *
    batch_size``, and process `rank` makes its slice of it. What is in the global batches does not depend on `world`,
    as long as the global batch stays the same. Every process gets the same number of batches; a last short global
    batch is shared out evenly (one with fewer images than processes is repeated).

    Each picture draws from a generator of (`seed`, epoch, position in the epoch), so batches are equal for any number
    of `workers`, and an epoch can be started at any step.

    `rect`: batches of like proportions, letterboxed to the size they need, without mosaic and mix-up; the batches of
    an epoch come in random order. `image_weights(epoch)` gives a weight ``[n images]``: each epoch then draws its
    images with replacement in that proportion. `close_mosaic`: the last so many of `epochs` epochs go without mosaic
    and mix-up.

    Raises `ConfigError` when arguments are out of range or contradict one another.
    """

    def __init__(
        self,
        split: SplitData,
        imgsz: int,
        batch_size: int,
        augmentation: Augmentation,
        *,
        seed: int = 0,
        workers: int = 0,
        cache: CacheKind | None = None,
        rect: bool = False,
        image_weights: ImageWeights | None = None,
        close_mosaic: int = 0,
        epochs: int | None = None,
        rank: int = 0,
        world: int = 1,
        stride: int = 32,
    ) -> None:
        check_sizes(imgsz, batch_size, stride)
        check_rank(rank, world)
        if rect and image_weights is not None:
            raise ConfigError(
                "--rect and --image-weights contradict each other: one fixes the batches, one draws them."
            )
        if close_mosaic and epochs is None:
            raise ConfigError("close_mosaic needs to know how many epochs there are; give epochs=.")
        if close_mosaic < 0 or seed < 0:
            raise ConfigError(f"close_mosaic and seed must be 0 or more, got {close_mosaic} and {seed}.")
        self._split, self._imgsz, self._batch_size, self._stride = split, imgsz, batch_size, stride
        self._augmentation = augmentation.without_mosaic() if rect else augmentation
        self._seed, self._rect, self._image_weights = seed, rect, image_weights
        self._first_plain_epoch = None if epochs is None or not close_mosaic else epochs - close_mosaic
        self._rank, self._world = rank, world
        store = ImageStore(split.samples, imgsz, augmenting=True, cache=cache)
        self._maker = BatchMaker(_SceneMaker(split, store, imgsz, seed), workers, batch_size * 3 * imgsz * imgsz)

    def __len__(self) -> int:
        """Batches per epoch, the same for every process."""
        return -(-len(self._split) // (self._batch_size * self._world))

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from step `start_step` on. One iterator at a time."""
        return self._maker.batches(self._orders(epoch)[start_step:])

    def close(self) -> None:
        """End the worker processes."""
        self._maker.close()

    def _orders(self, epoch: int) -> list[_Order]:
        # position streams are (seed, epoch, 1 + position), so 0 is free for the epoch as a whole
        generator = np.random.default_rng((self._seed, epoch, 0))
        plain = self._first_plain_epoch is not None and epoch >= self._first_plain_epoch
        augmentation = self._augmentation.without_mosaic() if plain else self._augmentation
        if self._rect:
            batches, shapes = self._rect_batches(generator)
        else:
            images = self._image_order(epoch, generator)
            step = self._batch_size * self._world
            batches = [images[start : start + step] for start in range(0, len(images), step)]
            shapes = [(self._imgsz, self._imgsz)] * len(batches)
        pool = np.concatenate(batches)
        partners = pool[generator.integers(0, len(pool), (len(pool), _PARTNERS))]
        orders, start = [], 0
        for batch, shape in zip(batches, shapes, strict=True):
            positions = start + self._share(len(batch))
            start += len(batch)
            orders.append(
                _Order(
                    epoch,
                    tuple(positions.tolist()),
                    tuple(pool[positions].tolist()),
                    tuple(tuple(row) for row in partners[positions].tolist()),
                    shape,
                    augmentation,
                )
            )
        return orders

    def _share(self, count: int) -> npt.NDArray[np.int64]:
        """Which of the `count` places of a global batch are this process's."""
        if count < self._world:
            return np.asarray([self._rank % count], np.int64)
        return np.array_split(np.arange(count, dtype=np.int64), self._world)[self._rank]

    def _image_order(self, epoch: int, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        count = len(self._split)
        if self._image_weights is None:
            return generator.permutation(count).astype(np.int64)
        weights = np.asarray(self._image_weights(epoch), np.float64)
        if weights.shape != (count,) or not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
            raise DataError(
                f"Image weights must be {count} finite numbers from 0, not all of them 0; got an array of shape "
                f"{weights.shape}."
            )
        return generator.choice(count, count, p=weights / weights.sum()).astype(np.int64)

    def _rect_batches(
        self, generator: np.random.Generator
    ) -> tuple[list[npt.NDArray[np.int64]], list[tuple[int, int]]]:
        step = self._batch_size * self._world
        sizes = [sample.size for sample in self._split.samples]
        order, shapes = rect_batch_shapes(sizes, step, self._imgsz, self._stride, pad=0.0)
        shuffled = generator.permutation(len(shapes))
        return [order[number * step : (number + 1) * step] for number in shuffled], [shapes[n] for n in shuffled]


class _SceneMaker:
    """Makes the pictures of an order; runs in the workers."""

    def __init__(self, split: SplitData, store: ImageStore, imgsz: int, seed: int) -> None:
        self._samples, self._store, self._imgsz, self._seed = split.samples, store, imgsz, seed

    def __call__(self, order: _Order) -> Batch:
        scenes = [
            self._scene(order, image, partners, np.random.default_rng((self._seed, order.epoch, 1 + position)))
            for position, image, partners in zip(order.positions, order.images, order.partners, strict=True)
        ]
        return collate(scenes, [self._samples[image].image for image in order.images])

    def _scene(self, order: _Order, image: int, partners: tuple[int, ...], generator: np.random.Generator) -> Scene:
        augmentation = order.augmentation
        if generator.random() < augmentation.mosaic:
            scene = self._mosaic((image, *partners[:3]), augmentation, generator)
            if generator.random() < augmentation.mixup:
                scene = mix(scene, self._mosaic(partners[3:], augmentation, generator), generator)
        else:
            scene = self._single(image, order.size)
            scene = random_affine(scene, order.size, augmentation, generator)
        scene = Scene(shift_colours(scene.image, augmentation, generator), scene.rows, scene.polygons)
        return flip(scene, augmentation, generator)

    def _mosaic(self, images: tuple[int, ...], augmentation: Augmentation, generator: np.random.Generator) -> Scene:
        shuffled = generator.permutation(images).tolist()
        parts = [(self._store[image], self._samples[image]) for image in shuffled]
        scene = mosaic(parts, self._imgsz, generator)
        if augmentation.copy_paste:
            scene = copy_paste(scene, augmentation.copy_paste, generator)
        return random_affine(scene, (self._imgsz, self._imgsz), augmentation, generator)

    def _single(self, image: int, size: tuple[int, int]) -> Scene:
        sample = self._samples[image]
        resized, placement = letterbox(self._store[image], size)
        inner = placement.source_size
        shown = round(inner[0] * placement.scale[1]), round(inner[1] * placement.scale[0])
        rows, polygons = sample_rows(sample, shown, placement.pad)
        return Scene(resized, rows, polygons)


def class_balance_weights(split: SplitData) -> npt.NDArray[np.float64]:
    """Weight ``[nc]`` of each class: inverse to its number of boxes (a class without boxes counts as one), mean 1."""
    inverse = 1 / np.maximum(split.class_counts(), 1)
    weights: npt.NDArray[np.float64] = inverse / inverse.mean()
    return weights


def image_weights_of_classes(split: SplitData, class_weights: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Weight ``[n images]`` of each image: the sum of the weights of its boxes' classes.

    With ``class_balance_weights(split) * (1 - map_per_class) ** 2`` this is YOLOv5's ``--image-weights``.
    """
    weights = np.asarray(class_weights, np.float64)
    return np.asarray([weights[sample.boxes[:, 0].astype(np.int64)].sum() for sample in split.samples], np.float64)


def check_sizes(imgsz: int, batch_size: int, stride: int) -> None:
    """Raises `ConfigError` unless `imgsz` is a positive multiple of `stride` and `batch_size` is positive."""
    if imgsz < stride or imgsz % stride:
        nearest = max(round(imgsz / stride), 1) * stride
        raise ConfigError(f"--imgsz must be a multiple of the stride {stride}, got {imgsz}. The nearest is {nearest}.")
    if batch_size < 1:
        raise ConfigError(f"--batch-size must be 1 or more, got {batch_size}.")


def check_rank(rank: int, world: int) -> None:
    """Raises `ConfigError` unless 0 ≤ `rank` < `world`."""
    if not 0 <= rank < world:
        raise ConfigError(f"rank must lie in 0 to world - 1, got rank {rank} of world {world}.")
