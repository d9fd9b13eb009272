"""Table of cases: weights that are NaN or infinite, variances below zero, and scales that are all equal or all zero."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from slimyolo.checkpoints import save_checkpoint
from slimyolo.errors import CheckpointError, PruningError
from slimyolo.families import read_architecture
from slimyolo.models import Detector, build_detector
from slimyolo.pruning import ChannelShare, prune_module
from slimyolo.tasks.common.opened_model import open_model
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.prune import prune

Change = Callable[[dict[str, Tensor]], None]


def checkpoint(path: Path, cfg: str, change: Change) -> Path:
    """A file with an untrained detector whose tensors `change` has changed."""
    detector = build_detector(read_architecture(cfg).with_classes(2), names=("a", "b"), seed=0)
    change(dict(detector.state_dict()))
    save_checkpoint(path, detector)
    return path


def put(name: str, value: float) -> Change:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors[name].view(-1)[1] = value

    return change


def all_scales(value: float) -> Change:
    def change(tensors: dict[str, Tensor]) -> None:
        for name, tensor in tensors.items():
            if name.endswith(".bn.weight"):
                tensor.fill_(value)

    return change


WRONG = [
    ("model.1.conv.weight", math.nan, r"model\.1\.conv\.weight are NaN or infinite"),
    ("model.1.conv.weight", -math.inf, r"model\.1\.conv\.weight are NaN or infinite"),
    ("model.1.bn.running_mean", math.nan, r"model\.1\.bn\.running_mean are NaN or infinite"),
    ("model.1.bn.running_var", -1e-3, r"model\.1\.bn\.running_var are variances below zero"),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG)
def test_values_that_make_every_answer_meaningless_are_refused_when_a_model_is_opened(
    name: str, value: float, said: str, small_cfg: str, tmp_path: Path
) -> None:
    """prune, val, predict, serve, export, bench and the trainings all open a checkpoint in this way."""
    file = checkpoint(tmp_path / "a.pt", small_cfg, put(name, value))
    with pytest.raises(CheckpointError, match=rf"a\.pt: 1 of the \d+ values of {said}.*take an earlier checkpoint"):
        open_model(file)


def test_prune_refuses_them_before_it_makes_a_folder(small_cfg: str, tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "a.pt", small_cfg, put("model.1.conv.weight", math.nan))
    with pytest.raises(CheckpointError, match="take an earlier checkpoint"):
        prune(PruneConfig(weights=file, percent=0.5, imgsz=64, project=tmp_path))
    assert not (tmp_path / "exp").exists()


def test_a_scale_below_zero_and_values_of_any_size_are_read(small_cfg: str, tmp_path: Path) -> None:
    for number, (name, value) in enumerate([("model.1.bn.weight", -2.0), ("model.1.conv.weight", 3e38)]):
        open_model(checkpoint(tmp_path / f"{number}.pt", small_cfg, put(name, value)))


@pytest.mark.parametrize(("value", "policy"), [(0.5, "coupled"), (0.5, "skip-shortcuts")])
def test_scales_that_are_all_equal(value: float, policy: str, small_cfg: str, tmp_path: Path) -> None:
    """Equal scores are ordered by their place, so that the share that was asked for goes. The reference's rule removes nothing,
    and says so."""
    detector = build_detector(read_architecture(small_cfg).with_classes(2), names=("a", "b"), seed=0)
    all_scales(value)(dict(detector.state_dict()))
    cut = prune_module(
        detector,
        torch.zeros(1, 3, 64, 64),
        ChannelShare(0.5),
        policy=policy,
        forward=Detector.heads,  # type: ignore[arg-type]
    )
    before, after = sum(p.numel() for p in detector.parameters()), sum(p.numel() for p in cut.model.parameters())
    assert (after < before) == (policy == "coupled")
    assert ("no score is below 0.5, which is also the lowest" in " ".join(cut.plan.notes)) == (policy != "coupled")
    assert torch.isfinite(cut.model.eval()(torch.rand(1, 3, 64, 64))).all()


def test_a_network_in_memory_that_answers_nan() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()
    assert isinstance(network[3].bias, Tensor)
    network[3].bias.data.fill_(math.nan)
    with pytest.raises(PruningError, match=r"answers NaN or infinity.*Look for such values"):
        prune_module(network, torch.rand(1, 3, 8, 8), ChannelShare(0.5))
