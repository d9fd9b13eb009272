"""Property tests over networks as people write them: cut = masked, forward and backward, and enough is cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from comparisons import gradient_of_input, largest_difference
from timm_models import randomise_everything_
from torch import nn
from zoo_images import IMAGE_NETWORKS
from zoo_others import OTHER_NETWORKS

from slimyolo.pruning import ChannelShare, mask_module, prune_module, verify

EXAMPLE = torch.zeros(2, 3, 24, 24)
NETWORKS = {**IMAGE_NETWORKS, **OTHER_NETWORKS}


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
