"""What scores and calibration need of a dataset: training images as the detector takes them, and its loss on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

from torch import Tensor, nn

from slimyolo.data import Batch, EvalBatches, LoaderSettings, Sharding, SplitData
from slimyolo.models import Detector, LossSettings
from slimyolo.tasks.train.hyperparameters import PRESETS

__all__ = ["detection_loss", "spread_batches"]


def spread_batches(split: SplitData, images: int, *, imgsz: int, batch_size: int, stride: int) -> list[Batch]:
    """About `images` images, spread evenly over `split`, without augmentation, square, in batches."""
    batches = -(-len(split) // batch_size)
    wanted = max(1, min(batches, -(-images // batch_size)))
    settings = LoaderSettings(imgsz=imgsz, batch_size=batch_size, stride=stride)
    every = Sharding(rank=0, world=max(1, batches // wanted))  # takes batches from the whole split
    loader = EvalBatches(split, settings, rect=False, shard=every)
    with closing(loader):
        return _first(iter(loader), wanted)


def _first(batches: Iterator[Batch], count: int) -> list[Batch]:
    return [batch for _, batch in zip(range(count), batches, strict=False)]


def detection_loss(detector: Detector, imgsz: int) -> Callable[[nn.Module, Batch], Tensor]:
    """The training loss of a batch with the gains of ``scratch-low``, summed over its images."""
    loss = detector.family.make_loss(detector, LossSettings(hyp=PRESETS["scratch-low"].to_plain(), imgsz=imgsz))

    def of_batch(model: nn.Module, batch: Batch) -> Tensor:
        assert isinstance(model, Detector)  # it was made for one
        device = next(model.parameters()).device
        return loss(model.heads(batch.images.to(device).float() / 255), batch.targets.to(device)).total

    return of_batch
