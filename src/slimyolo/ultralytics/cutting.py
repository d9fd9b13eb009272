"""Cuts the network of a `YOLO` and writes a ``.pt`` file that their package opens without slimyolo."""

from __future__ import annotations

import logging
import os
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from slimyolo.errors import ConfigError
from slimyolo.pruning import CutRules, PruneResult, Target, prune_module
from slimyolo.storage import atomic_file
from slimyolo.ultralytics.theirs import Yolo, image_sides, input_channels, network_of
from slimyolo.ultralytics.widths import guard_

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from slimyolo.pruning import RuleFields

__all__ = ["prune"]

log = logging.getLogger("slimyolo")


def prune(
    model: Yolo,
    target: Target,
    path: str | os.PathLike[str],
    rules: CutRules | None = None,
    *,
    imgsz: int | tuple[int, int] | None = None,
    **fields: Unpack[RuleFields],
) -> PruneResult[Any]:
    """Cut the network of a `YOLO` to `target`, write it to `path` (``.pt``), and return it opened: ``prune(...).model``.

    `model` is not changed. The file holds the package's own classes and nothing of slimyolo, in float32: plain
    ``YOLO(path)`` validates, predicts and exports it. To train it, use `finetune_trainer`; the plain trainer stops with a
    sentence that says so. `rules` and `fields` are those of `prune_module`; `imgsz` is the side of the images (or their
    height and width) for MACs and for the check of the cut; default: that of the model's training. Raises `PruningError`
    when no cut runs and agrees.
    """
    network = network_of(model)
    place = Path(path)
    if place.suffix != ".pt":
        raise ConfigError(f"{place}: the name of the file must end in .pt, for instance cut.pt.")
    sides = image_sides(imgsz if imgsz is not None else model.overrides.get("imgsz", 640))
    dense = deepcopy(network).cpu().float().eval().requires_grad_(True)
    example = torch.zeros(1, input_channels(dense), *sides)
    result = prune_module(dense, example, target, rules, **fields)
    if not result.plan.silent(dense):
        log.warning(
            "This cut removes channels that are not at zero, so the accuracy falls until it is fine-tuned. Train with "
            "trainer=sparse_trainer(model, %r) first; then the cut changes nothing.",
            target,
        )
    guard_(result.model)
    _write(model, result.model, place)
    return PruneResult(type(model)(str(place)), result.plan, result.report)  # type: ignore[call-arg]


def _write(model: Yolo, cut: nn.Module, path: Path) -> None:
    nothing = dict.fromkeys(("ema", "optimizer", "updates", "scaler", "best_fitness", "train_results", "train_metrics"))
    content = {"train_args": dict(model.overrides), **(model.ckpt or {}), **nothing, "epoch": -1, "model": cut}
    with atomic_file(path) as file:
        torch.save(content, file)
