"""Evaluation batches: pictures as they are, each with its placement and its truth in source pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from slimyolo.data.batches.batches import Batch, collate
from slimyolo.data.batches.scenes import Scene, sample_rows
from slimyolo.data.batches.train_batches import check_rank, check_sizes
from slimyolo.data.batches.workers import BatchMaker
from slimyolo.data.dataset.splits import SplitData
from slimyolo.data.pictures.image_store import CacheKind, ImageStore
from slimyolo.data.pictures.letterbox import pad_image, rect_batch_shapes
from slimyolo.geometry import Placement

__all__ = ["EvalBatches"]


@dataclass(frozen=True)
class _Order:
    images: tuple[int, ...]
    size: tuple[int, int]


class EvalBatches:
    """All images of a split, once, without augmentation.

    Each image is resized so that its longer side is `imgsz` and bordered with grey. With `rect` batches hold images
    of like proportions and are only as large as these need, plus `pad` strides (0.5 as YOLOv5's validation);
    otherwise every batch is square. With `world` processes, process `rank` gets every `world`-th batch: no image
    twice, none left out, so the numbers of batches may differ by one.

    Iterating starts from the beginning each time; worker processes stay between iterations until `close`.
    Raises `ConfigError` when arguments are out of range.
    """

    def __init__(
        self,
        split: SplitData,
        imgsz: int,
        batch_size: int,
        *,
        stride: int = 32,
        pad: float = 0.5,
        workers: int = 0,
        rect: bool = True,
        cache: CacheKind | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        check_sizes(imgsz, batch_size, stride)
        check_rank(rank, world)
        count = len(split)
        if rect:
            order, shapes = rect_batch_shapes([s.size for s in split.samples], batch_size, imgsz, stride, pad)
        else:
            order, shapes = np.arange(count), [(imgsz, imgsz)] * -(-count // batch_size)
        groups = [order[start : start + batch_size].tolist() for start in range(0, count, batch_size)]
        orders = [_Order(tuple(images), shape) for images, shape in zip(groups, shapes, strict=True)]
        self._orders = orders[rank::world]
        store = ImageStore(split.samples, imgsz, augmenting=False, cache=cache)
        largest = max((len(order.images) * 3 * order.size[0] * order.size[1] for order in orders), default=0)
        self._maker = BatchMaker(_EvalMaker(split, store), workers, largest)

    def __len__(self) -> int:
        """Batches of this process."""
        return len(self._orders)

    def __iter__(self) -> Iterator[Batch]:
        return self._maker.batches(self._orders)

    def close(self) -> None:
        """End the worker processes."""
        self._maker.close()


class _EvalMaker:
    """Makes the pictures of an order; runs in the workers."""

    def __init__(self, split: SplitData, store: ImageStore) -> None:
        self._samples, self._store = split.samples, store

    def __call__(self, order: _Order) -> Batch:
        scenes, placements, truths = [], [], []
        for number in order.images:
            sample, image = self._samples[number], self._store[number]
            height, width = image.shape[:2]
            pad = (order.size[1] - width) // 2, (order.size[0] - height) // 2
            rows, _ = sample_rows(sample, (height, width), pad)
            scenes.append(Scene(pad_image(image, order.size, pad), rows))
            scale = width / sample.size[1], height / sample.size[0]
            placements.append(Placement(scale, pad, sample.size, order.size))
            truths.append(sample_rows(sample, sample.size)[0])
        paths = [self._samples[number].image for number in order.images]
        return collate(scenes, paths, placements, truths)
