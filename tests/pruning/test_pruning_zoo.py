"""Property tests over networks as people write them: cut = masked, forward and backward, and enough is cut."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from timm_models import randomise_everything_
from torch import Tensor, nn
from zoo_images import IMAGE_NETWORKS
from zoo_others import OTHER_NETWORKS

from slimyolo.pruning import ChannelShare, mask_module, prune_module, verify
from slimyolo.tracing.outputs import output_tensors

EXAMPLE = torch.zeros(2, 3, 24, 24)
NETWORKS = {**IMAGE_NETWORKS, **OTHER_NETWORKS}


def gradient_of_input(model: nn.Module, images: Tensor) -> Tensor:
    """Of the sum of all squared outputs, in double precision: a ReLU at zero must not depend on rounding."""
    double = deepcopy(model).double().eval()
    given = images.double().requires_grad_()
    sum(out.square().sum() for out in output_tensors(double(given)) if out.is_floating_point()).backward()  # type: ignore[union-attr]
    assert given.grad is not None
    return given.grad


def largest_difference(one: Tensor, two: Tensor) -> float:
    """Relative to the largest value; everything at zero agrees with itself."""
    return float((one - two).abs().max() / one.abs().max().clamp_min(1e-30))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_hand_written_networks_are_cut_exactly(network: type[nn.Module]) -> None:
    torch.manual_seed(1)
    model: Any = randomise_everything_(network(), 2)
    result = prune_module(model, EXAMPLE, ChannelShare(0.5))
    assert result.report.after.macs <= NETWORKS[network] * result.report.before.macs
    masked, unseen = mask_module(model, result.plan), torch.randn(3, 3, 24, 24)
    assert verify(masked, result.model, unseen) < 1e-4
    gradients = [gradient_of_input(module, unseen[:1]) for module in (masked, result.model)]
    assert largest_difference(*gradients) < 1e-4
