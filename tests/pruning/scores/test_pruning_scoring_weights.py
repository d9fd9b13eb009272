"""Closed formula: scores from the weights of layers without batch normalisation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from slimyolo.pruning import score, trace


@pytest.mark.parametrize("importance", ["gamma", "l1", "l2"])
def test_a_transposed_convolution_is_scored_by_its_output_channels(importance: str) -> None:
    """They lie along axis 1 of its weight. The norm of each one, divided by the mean of these norms, is the score."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.ConvTranspose2d(3, 6, 2, stride=2), nn.ReLU(), nn.Conv2d(6, 2, 1)).eval()
    with torch.no_grad():
        network[0].weight[:, 4] = 0
    graph = trace(network, torch.zeros(1, 3, 4, 4))
    (group,) = [group for group in graph.groups if group.width == 6]
    power = 1 if importance == "l1" else 2
    norms = network[0].weight.detach().double().abs().pow(power).sum((0, 2, 3)) ** (1 / power)
    found = score(network, graph, importance)[group.id]
    assert torch.allclose(found, norms / norms.mean())
    assert found[4] == 0
