"""Property: a module that says where its sizes come from is cut as it says, and the cut equals the mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slimyolo.pruning import ChannelShare, mask_module, prune_module, trace, verify


class _Halves(nn.Module):
    """One convolution's output in two parts; the second has the size that the convolution behind it reads."""

    pruning_sizes = "weights"

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.second, self.last = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(16, 4, 1)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.norm(self.first(images)).relu()
        width = self.second.in_channels
        kept, passed = torch.split(maps, [maps.shape[1] - width, width], 1)
        result: Tensor = self.last(torch.cat((kept, self.second(passed).relu()), 1))
        return result


class _WholePieces(_Halves):
    """The same code, whose class asks for its channels to be kept."""

    pruning_sizes = "whole"


def _with_small_scales(module: nn.Module, channels: list[int]) -> nn.Module:
    scales = torch.rand(16, generator=torch.Generator().manual_seed(0)) + 1.0
    scales[channels] = 0.0
    module.get_parameter("norm.weight").data.copy_(scales)
    return module.eval()


def test_the_parts_of_a_split_shrink_each_for_itself() -> None:
    """Five channels of the first part go and one of the second, which no split into equal parts allows."""
    module = _with_small_scales(_Halves(), [0, 1, 2, 3, 4, 9])
    graph = trace(module, torch.zeros(1, 3, 8, 8))
    assert graph.kept == ()
    result = prune_module(module, torch.zeros(1, 3, 8, 8), ChannelShare(6 / 24))
    assert (result.model.first.out_channels, result.model.second.in_channels) == (10, 7)
    masked = mask_module(module, result.plan)
    assert verify(masked, result.model, torch.rand(2, 3, 10, 12)) < 1e-6


def test_pieces_that_are_to_stay_whole_stay() -> None:
    module = _with_small_scales(_WholePieces(), [0, 1, 2, 3, 4, 9])
    graph = trace(module, torch.zeros(1, 3, 8, 8))
    assert [group.name for group in graph.groups] == ["second"]
    assert any("split" in text for text in graph.kept)
