"""Steps before the first batch of a training run: reading data, fitting the model to them, freezing layers, seeds."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from slimyolo.data import (
    DatasetSpec,
    SplitData,
    empty_classes_words,
    few_images_words,
    read_split,
    shared_images_words,
    wrong_classes_words,
)
from slimyolo.errors import ConfigError
from slimyolo.models import Detector, TrainingBoxes
from slimyolo.shown_text import counted
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.hyperparameters import HyperParameters

__all__ = ["check_image_size", "freeze_", "prepare_", "read_splits", "reproducible", "seed_everything"]

log = logging.getLogger("slimyolo")


def read_splits(dataset: DatasetSpec, config: TrainConfig) -> tuple[SplitData, SplitData]:
    """(training, validation) images and labels. Logs how many there are, and what is wrong with them."""
    splits = []
    for name in ("train", "val"):
        split = read_split(dataset, name, single_class=config.single_cls)
        log.info(
            "%s: %s, %s, %d without boxes",
            name,
            counted(len(split), "image"),
            counted(split.boxes, "box", "boxes"),
            split.backgrounds,
        )
        if split.defects:
            log.warning(
                "%s: %s in images and labels, the first: %s. `slimyolo data check %s` lists all.",
                name,
                counted(len(split.defects), "defect"),
                split.defects[0],
                config.data,
            )
        if split.wrong_classes:
            log.warning("%s", wrong_classes_words(name, split.wrong_classes, split.boxes, config.data))
        splits.append(split)
    if not splits[0].boxes:
        log.warning("train: no image has a box, so the detector can only learn to detect nothing")
    for doubt in _doubts(*splits):
        log.warning("%s", doubt)
    return splits[0], splits[1]


def _doubts(train: SplitData, val: SplitData) -> list[str]:
    """Sentences about classes without boxes, and about images that are in both splits."""
    shared = {sample.image for sample in train.samples} & {sample.image for sample in val.samples}
    counts = [int(count) for count in train.class_counts()]
    found = (
        empty_classes_words("train", train.names, counts),
        shared_images_words(len(shared), len(val)),
        few_images_words("train", len(train)),
        few_images_words("val", len(val)),
    )
    return [sentence for sentence in found if sentence]


def prepare_(model: Detector, split: SplitData, config: TrainConfig, hyp: HyperParameters) -> None:
    """Fit the model to the boxes of the training images, if its family fits something (YOLOv5 fits anchors)."""
    boxes = TrainingBoxes(
        sizes=[sample.size for sample in split.samples],
        boxes=[sample.boxes for sample in split.samples],
        imgsz=config.imgsz,
        seed=config.seed,
        hyp=hyp.to_plain(),
    )
    decided = model.family.prepare_(model, boxes)
    if decided:
        log.info("%s", decided)


def freeze_(model: Detector, layers: tuple[int, ...]) -> None:
    """Switch off the gradients of these layers. Raises `ConfigError` for a layer that does not exist."""
    if not layers:
        return
    if max(layers) >= len(model.model):
        raise ConfigError(f"--freeze {max(layers)}: the model has layers 0 to {len(model.model) - 1}.")
    for index in layers:
        for parameter in model.model[index].parameters():
            parameter.requires_grad_(False)
    log.info("frozen layers: %s", ", ".join(map(str, layers)))


def seed_everything(seed: int) -> None:
    """Seed the global random generators, equally in every process."""
    torch.manual_seed(seed + 1)
    np.random.seed(seed + 1)


@contextmanager
def reproducible(wanted: bool, one_size: bool) -> Iterator[None]:
    """Inside the block, torch uses deterministic kernels only (`wanted`), or the fastest ones if all batches have `one_size`.

    A processor gives the same result in both cases. On a GPU, an operation without a deterministic kernel causes a warning
    that names it.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark_before = torch.backends.cudnn.benchmark
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.backends.cudnn.benchmark = one_size and not wanted
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = benchmark_before


def check_image_size(imgsz: int, stride: int) -> None:
    """Raise `ConfigError` unless `imgsz` is a multiple of the model's largest stride."""
    if imgsz % stride:
        raise ConfigError(
            f"--imgsz {imgsz} is not a multiple of {stride}, the model's largest stride. "
            f"Use {max(stride, round(imgsz / stride) * stride)}."
        )
