"""Table test: architectures of timm, cut at 30, 50 and 70 %, equal their masked models, forward and backward."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from comparisons import gradient_of_input, largest_difference
from timm_models import ARCHITECTURES, QUICK, build, find_timm, input_of
from torch import Tensor, nn

from slimyolo.pruning import ChannelShare, mask_module, prune_module, verify

pytestmark = [
    pytest.mark.skipif(find_timm() is None, reason="timm is not installed (pip install --no-deps timm)"),
    pytest.mark.filterwarnings("ignore"),  # timm's own
]
ROWS = [
    pytest.param(name, share, marks=() if name in QUICK and share == 0.5 else pytest.mark.slow)
    for name in ARCHITECTURES
    for share in (0.3, 0.5, 0.7)
]


def rounding_of(model: nn.Module, images: Tensor) -> float:
    """How far the model in float32 is from itself in float64: a few random networks multiply rounding errors."""
    with torch.no_grad():
        single, double = model.eval()(images), deepcopy(model).double().eval()(images.double())
    return largest_difference(single.double(), double)


@pytest.mark.parametrize(("name", "share"), ROWS)
def test_architectures_are_cut_exactly(name: str, share: float) -> None:
    model, example = build(name), input_of(name)
    result = prune_module(model, example, ChannelShare(share))
    assert 0 < result.report.removed_channels <= share * result.report.prunable_channels
    masked = mask_module(model, result.plan)
    unseen = torch.randn(2, *example.shape[1:], generator=torch.Generator().manual_seed(7))
    allowed = max(1e-4, 10 * rounding_of(masked, unseen))
    assert verify(masked, result.model, unseen) < allowed
    gradients = [gradient_of_input(module, unseen[:1]) for module in (masked, result.model)]
    assert largest_difference(*gradients) < allowed  # the cut has its constants in float32
