"""Reads images of a dataset for scores, constants and repairs, and makes the loss for scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice

from torch import Tensor, nn

from slimyolo.data import Batch, EvalBatches, LoaderSettings, Sharding, SplitData
from slimyolo.models import Detector, LossSettings
from slimyolo.tasks.common.measuring import Measuring, evaluation_batches
from slimyolo.tasks.train.hyperparameters import read_hyperparameters

__all__ = ["detection_loss", "plain_images", "spread_batches"]


def plain_images(split: SplitData, count: int, how: Measuring, stride: int) -> Iterator[Tensor]:
    """The first `count` images of a split (whole batches), letterboxed to squares, float in 0–1: [B, 3, imgsz, imgsz].

    `how` gives the image size, the batch size and the number of loader processes; its other fields are not used.
    """
    with closing(evaluation_batches(split, replace(how, rect=False), stride)) as batches:
        for batch in islice(batches, -(-count // how.batch_size)):
            yield batch.images.float() / 255


def spread_batches(split: SplitData, images: int, *, imgsz: int, batch_size: int, stride: int) -> list[Batch]:
    """Batches of about `images` square images, spread evenly over `split`, without augmentation."""
    batches = -(-len(split) // batch_size)
    wanted = max(1, min(batches, -(-images // batch_size)))
    settings = LoaderSettings(imgsz=imgsz, batch_size=batch_size, stride=stride)
    every = Sharding(rank=0, world=max(1, batches // wanted))  # takes batches from the whole split
    loader = EvalBatches(split, settings, rect=False, shard=every)
    with closing(loader):
        return list(islice(loader, wanted))


def detection_loss(detector: Detector, imgsz: int) -> Callable[[nn.Module, Batch], Tensor]:
    """The training loss of a batch with the default gains of the detector's family, summed over its images."""
    hyp = read_hyperparameters(None, family=detector.family.recipe.hyp).to_plain()
    loss = detector.family.make_loss(detector, LossSettings(hyp=hyp, imgsz=imgsz))

    def of_batch(model: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(model, Detector)  # the loss was made for a detector
        device = next(model.parameters()).device
        return loss(model.heads(batch.images.to(device).float() / 255), batch.targets.to(device)).total

    return of_batch
