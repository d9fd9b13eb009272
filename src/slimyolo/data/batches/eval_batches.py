"""Evaluation batches: images without augmentation, each with its placement and its ground truth in source pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from slimyolo.data.batches.batch import Batch, collate
from slimyolo.data.batches.scenes import Scene, sample_rows
from slimyolo.data.batches.settings import ALONE, LoaderSettings, Sharding
from slimyolo.data.batches.workers import BatchMaker
from slimyolo.data.dataset.splits import SplitData
from slimyolo.data.pictures.image_store import ImageStore
from slimyolo.data.pictures.letterbox import pad_image, rect_batch_shapes
from slimyolo.geometry import Placement

__all__ = ["EvalBatches"]


@dataclass(frozen=True)
class _Order:
    images: tuple[int, ...]
    size: tuple[int, int]


class EvalBatches:
    """All images of a split, each once, without augmentation.

    Each image is resized so that its longer side is `settings.imgsz`, and gets a grey border. With `rect` a batch holds
    images with similar proportions and is only as large as they need, plus `pad` strides (0.5, as in YOLOv5's validation);
    without it every batch is square. With ``settings.frame`` every image is fitted into that rectangle instead.

    With several processes (`shard`), process `rank` gets every `world`-th batch. Each image comes exactly once, so the
    number of batches may differ by one between processes.

    Each iteration starts from the beginning. Worker processes stay alive between iterations, until `close`.
    """

    def __init__(
        self,
        split: SplitData,
        settings: LoaderSettings,
        *,
        rect: bool = True,
        pad: float = 0.5,
        shard: Sharding = ALONE,
    ) -> None:
        count, imgsz, batch_size, recipe = len(split), settings.imgsz, settings.batch_size, settings.recipe
        frame = settings.frame or (imgsz, imgsz)
        if rect and settings.frame is None:
            sizes = [sample.size for sample in split.samples]
            order, shapes = rect_batch_shapes(sizes, batch_size, imgsz, settings.stride, pad)
        else:
            order, shapes = np.arange(count), [frame] * -(-count // batch_size)
        groups = [order[start : start + batch_size].tolist() for start in range(0, count, batch_size)]
        orders = [_Order(tuple(images), shape) for images, shape in zip(groups, shapes, strict=True)]
        self._orders = orders[shard.rank :: shard.world]
        store = ImageStore(
            split.samples, frame, shrinking=recipe.shrinking, rounding=recipe.rounding, cache=settings.cache
        )
        largest = max((len(order.images) * 3 * order.size[0] * order.size[1] for order in orders), default=0)
        self._maker = BatchMaker(_EvalMaker(split, store), settings.workers, largest)

    def __len__(self) -> int:
        """Number of batches of this process."""
        return len(self._orders)

    def __iter__(self) -> Iterator[Batch]:
        return self._maker.batches(self._orders)

    def close(self) -> None:
        """End the worker processes."""
        self._maker.close()


class _EvalMaker:
    """Makes the batch of an order. It runs in the workers."""

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
