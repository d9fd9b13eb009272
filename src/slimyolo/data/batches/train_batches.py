"""Training batches: the order of the images, the share of each process and the augmentation, all from one seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from slimyolo.data.batches.augmentation import Augmentation, copy_paste, flip, mix, random_affine, shift_colours
from slimyolo.data.batches.batch import Batch, collate
from slimyolo.data.batches.mosaic import mosaic
from slimyolo.data.batches.scenes import Scene, sample_rows
from slimyolo.data.batches.settings import ALONE, LoaderSettings, LoadingRecipe, Sharding
from slimyolo.data.batches.workers import BatchMaker
from slimyolo.data.dataset.splits import SplitData
from slimyolo.data.pictures.image_store import ImageStore
from slimyolo.data.pictures.letterbox import letterbox, rect_batch_shapes
from slimyolo.errors import ConfigError, DataError

__all__ = ["ImageWeights", "TrainBatches", "class_balance_weights", "image_weights_of_classes"]

ImageWeights = Callable[[int], npt.ArrayLike]
_PARTNERS = 7  # three images for the mosaic, four for the second mosaic of mix-up


@dataclass(frozen=True, kw_only=True)
class _Order:
    """The description of one batch.

    `images[k]` is the image at position `positions[k]` of the epoch; `partners[k]` are the images for its mosaics.
    """

    epoch: int
    positions: tuple[int, ...]
    images: tuple[int, ...]
    partners: tuple[tuple[int, ...], ...]
    size: tuple[int, int]
    augmentation: Augmentation


class TrainBatches:
    """Batches of augmented images, epoch after epoch.

    `settings.batch_size` counts the images of a batch **of this process**. With several processes (`shard`) the global
    batch has ``world * batch_size`` images, and each process makes its part of it. The global batches do not depend on
    the number of processes, as long as their size stays the same. Every process gets the same number of batches: the
    last global batch, which may be short, is divided evenly (when it has fewer images than there are processes, images
    are repeated).

    Each image has a random generator of its own, made from (`seed`, epoch, position in the epoch). So the batches are the
    same for any number of workers, and an epoch can be started at any step.

    With `rect` a batch holds images with similar proportions and is only as large as they need; there is no mosaic and no
    mix-up, and the batches of an epoch come in random order. `image_weights(epoch)` gives weights ``[n images]``; each
    epoch then draws its images with replacement, in proportion to these weights. From epoch `plain_from` (counted from 0)
    there is no mosaic and no mix-up.

    Raises `ConfigError` when arguments are out of range or contradict one another.
    """

    def __init__(
        self,
        split: SplitData,
        settings: LoaderSettings,
        augmentation: Augmentation,
        *,
        seed: int = 0,
        rect: bool = False,
        image_weights: ImageWeights | None = None,
        plain_from: int | None = None,
        shard: Sharding = ALONE,
    ) -> None:
        if rect and image_weights is not None:
            raise ConfigError(
                "--rect and --image-weights contradict each other: the first fixes the batches, the second draws them at "
                "random. Leave one of them out."
            )
        if seed < 0:
            raise ConfigError(f"--seed must be 0 or more, got {seed}.")
        self._split, self._settings, self._shard = split, settings, shard
        self._augmentation = augmentation.without_mosaic() if rect else augmentation
        self._seed, self._rect, self._image_weights, self._plain_from = seed, rect, image_weights, plain_from
        imgsz, recipe = settings.imgsz, settings.recipe
        store = ImageStore(
            split.samples, (imgsz, imgsz), shrinking="linear", rounding=recipe.rounding, cache=settings.cache
        )
        make = _SceneMaker(split, store, imgsz, recipe, seed)
        self._maker = BatchMaker(make, settings.workers, settings.batch_size * 3 * imgsz * imgsz)

    def __len__(self) -> int:
        """The number of batches in an epoch, the same for every process."""
        return -(-len(self._split) // self._global_batch_size)

    def epoch(self, epoch: int, start_step: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from step `start_step` on. Only the newest iterator can be used."""
        return self._maker.batches(self._orders(epoch)[start_step:])

    def close(self) -> None:
        """End the worker processes."""
        self._maker.close()

    @property
    def _global_batch_size(self) -> int:
        return self._settings.batch_size * self._shard.world

    def _orders(self, epoch: int) -> list[_Order]:
        # images use the seeds (seed, epoch, 1 + position), so (seed, epoch, 0) is free for the epoch as a whole
        generator = np.random.default_rng((self._seed, epoch, 0))
        plain = self._plain_from is not None and epoch >= self._plain_from
        augmentation = self._augmentation.without_mosaic() if plain else self._augmentation
        if self._rect:
            batches, shapes = self._rect_batches(generator)
        else:
            images = self._image_order(epoch, generator)
            step, imgsz = self._global_batch_size, self._settings.imgsz
            batches = [images[start : start + step] for start in range(0, len(images), step)]
            shapes = [(imgsz, imgsz)] * len(batches)
        pool = np.concatenate(batches)
        partners = pool[generator.integers(0, len(pool), (len(pool), _PARTNERS))]
        orders, start = [], 0
        for batch, shape in zip(batches, shapes, strict=True):
            positions = start + self._share(len(batch))
            start += len(batch)
            orders.append(
                _Order(
                    epoch=epoch,
                    positions=tuple(positions.tolist()),
                    images=tuple(pool[positions].tolist()),
                    partners=tuple(tuple(row) for row in partners[positions].tolist()),
                    size=shape,
                    augmentation=augmentation,
                )
            )
        return orders

    def _share(self, count: int) -> npt.NDArray[np.int64]:
        """The places of a global batch of `count` images that belong to this process."""
        rank, world = self._shard.rank, self._shard.world
        if count < world:
            return np.asarray([rank % count], np.int64)
        return np.array_split(np.arange(count, dtype=np.int64), world)[rank]

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
        step, settings = self._global_batch_size, self._settings
        sizes = [sample.size for sample in self._split.samples]
        order, shapes = rect_batch_shapes(sizes, step, settings.imgsz, settings.stride, pad=0.0)
        shuffled = generator.permutation(len(shapes))
        return [order[number * step : (number + 1) * step] for number in shuffled], [shapes[n] for n in shuffled]


class _SceneMaker:
    """Makes the batch of an order. It runs in the workers."""

    def __init__(self, split: SplitData, store: ImageStore, imgsz: int, recipe: LoadingRecipe, seed: int) -> None:
        self._samples, self._store, self._imgsz, self._recipe, self._seed = split.samples, store, imgsz, recipe, seed

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
            scene = random_affine(scene, order.size, augmentation, generator, self._recipe)
        coloured = shift_colours(scene.image, augmentation, generator, self._recipe)
        scene = Scene(coloured, scene.rows, scene.polygons)
        return flip(scene, augmentation, generator)

    def _mosaic(self, images: tuple[int, ...], augmentation: Augmentation, generator: np.random.Generator) -> Scene:
        if self._recipe.mosaic_order == "shuffled":
            images = tuple(generator.permutation(images).tolist())
        parts = [(self._store[image], self._samples[image]) for image in images]
        scene = mosaic(parts, self._imgsz, generator)
        if augmentation.copy_paste:
            scene = copy_paste(scene, augmentation.copy_paste, generator)
        return random_affine(scene, (self._imgsz, self._imgsz), augmentation, generator, self._recipe)

    def _single(self, image: int, size: tuple[int, int]) -> Scene:
        sample = self._samples[image]
        if self._recipe.single_pictures == "centred":
            picture = self._store[image]
            height, width = picture.shape[:2]
            return Scene(picture, *sample_rows(sample, (height, width)))
        resized, placement = letterbox(self._store[image], size)
        inner = placement.source_size
        shown = round(inner[0] * placement.scale[1]), round(inner[1] * placement.scale[0])
        rows, polygons = sample_rows(sample, shown, placement.pad)
        return Scene(resized, rows, polygons)


def class_balance_weights(split: SplitData) -> npt.NDArray[np.float64]:
    """The weight ``[nc]`` of each class: 1 / its number of boxes, scaled to the mean 1. A class without boxes counts one box."""
    inverse = 1 / np.maximum(split.class_counts(), 1)
    weights: npt.NDArray[np.float64] = inverse / inverse.mean()
    return weights


def image_weights_of_classes(split: SplitData, class_weights: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The weight ``[n images]`` of each image: the sum over its boxes of the weights of their classes.

    With ``class_balance_weights(split) * (1 - map_per_class) ** 2`` this equals ``--image-weights`` of YOLOv5.
    """
    weights = np.asarray(class_weights, np.float64)
    return np.asarray([weights[sample.boxes[:, 0].astype(np.int64)].sum() for sample in split.samples], np.float64)
