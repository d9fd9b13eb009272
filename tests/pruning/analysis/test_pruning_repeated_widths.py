"""Property: integer attributes that repeat a cut width say the new width, the cut equals the mask, attention is cut, too."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from slimyolo.pruning import MacsShare, PruneResult, mask_module, prune_module, replay_plan, verify


def _layer(inputs: int, outputs: int, size: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, padding=size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.SiLU())


class _Halves(nn.Module):
    """Forward halves the maps without saying the width; another path, for an export, reads it from an attribute."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.half = width
        self.enter, self.leave = _layer(inputs, 2 * width), _layer(3 * width, inputs)
        self.middle = _layer(width, width, 3)  # its own width shrinks to another number

    def forward(self, maps: Tensor) -> Tensor:
        first, second = self.enter(maps).chunk(2, 1)
        result: Tensor = self.leave(torch.cat((first, second, self.middle(second)), 1))
        return result

    def forward_by_sizes(self, maps: Tensor) -> Tensor:
        first, second = self.enter(maps).split([self.half, self.half], 1)
        result: Tensor = self.leave(torch.cat((first, second, self.middle(second)), 1))
        return result


class _Heads(nn.Module):
    """Attention over the places of a map: queries and keys are narrower than values; the result has the shape of the input."""

    def __init__(self, width: int, heads: int, share: float = 0.5) -> None:
        super().__init__()
        self.num_heads, self.value_dim, self.query_dim = heads, width // heads, int(width // heads * share)
        self.factor = self.query_dim**-0.5
        self.mixed = _layer(width, heads * (2 * self.query_dim + self.value_dim))[:2]
        self.places, self.out = _layer(width, width, 3, groups=width)[:2], _layer(width, width)[:2]

    def forward(self, maps: Tensor) -> Tensor:
        batch, width, high, wide = maps.shape
        mixed = self.mixed(maps).view(batch, self.num_heads, 2 * self.query_dim + self.value_dim, high * wide)
        query, key, value = mixed.split([self.query_dim, self.query_dim, self.value_dim], 2)
        weights = ((query.transpose(2, 3) @ key) * self.factor).softmax(3)
        seen = (value @ weights.transpose(2, 3)).view(batch, width, high, wide)
        result: Tensor = self.out(seen + self.places(value.reshape(batch, width, high, wide)))
        return result


class _HalfWithHeads(nn.Module):
    """Attention with a shortcut on half of the maps, which are divided by an attribute."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.half = width
        self.enter, self.leave = _layer(inputs, 2 * width), _layer(2 * width, inputs)
        self.heads = _Heads(width, 2)

    def forward(self, maps: Tensor) -> Tensor:
        kept, seen = self.enter(maps).split((self.half, self.half), 1)
        seen = seen + self.heads(seen)
        result: Tensor = self.leave(torch.cat((kept, seen), 1))
        return result


def _network(*blocks: nn.Module) -> nn.Sequential:
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(_layer(3, 24, 3), *blocks, nn.Conv2d(24, 5, 1))
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                for tensor in (part.weight, part.bias, part.running_mean):
                    tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return network.eval()


def _half(network: nn.Sequential) -> PruneResult[nn.Sequential]:
    result = prune_module(network, torch.zeros(1, 3, 8, 8), MacsShare(0.5))
    assert verify(mask_module(network, result.plan), result.model, torch.rand(2, 3, 10, 6)) < 1e-5
    return result


def test_an_attribute_that_only_another_path_reads_says_the_new_width() -> None:
    network = _network(_Halves(24, 16))
    result = _half(network)
    block = result.model[1]
    width = block.enter[0].out_channels // 2
    assert (block.half, network[1].half) == (width, 16)
    assert width < 16
    assert block.middle[0].out_channels != width  # the other layer of the same old width does not decide
    maps = torch.rand(2, 24, 6, 6)[:, : block.enter[0].in_channels]
    assert torch.equal(block.forward_by_sizes(maps), block(maps))
    again = replay_plan(
        _network(_Halves(24, 16)), type(result.plan).from_json(result.plan.to_json()), torch.zeros(1, 3, 8, 8)
    )
    assert again.model[1].half == width


class _TwoWidths(_Halves):
    """Divides a second result, too, into parts of the same width, which shrink to another number."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__(inputs, width)
        self.more = _layer(inputs, 2 * width, 3)
        self.leave = _layer(5 * width, inputs)

    def forward(self, maps: Tensor) -> Tensor:
        first, second = self.enter(maps).chunk(2, 1)
        third, fourth = self.more(maps).chunk(2, 1)
        result: Tensor = self.leave(torch.cat((first, second, third, fourth, self.middle(second)), 1))
        return result


def test_an_attribute_that_may_stand_for_two_widths_is_left_with_a_note() -> None:
    network = _network(_TwoWidths(24, 16))
    network[1].more[1].weight.data.mul_(4)
    result = _half(network)
    block = result.model[1]
    widths = sorted({block.enter[0].out_channels // 2, block.more[0].out_channels // 2})
    assert (block.half, len(widths)) == (16, 2)
    note = f"1: the attribute 'half' (16) repeats several widths that became {widths[0]} and {widths[1]}; it is left as it was"
    assert result.report.notes[-1].startswith(note)


@pytest.mark.parametrize(
    ("heads", "share"),
    [
        (1, 0.5),
        (2, 0.5),
        (4, 0.5),  # as many heads as channels of a query: two attributes hold 4
        (2, 1.0),  # queries as wide as values: two attributes hold 16
    ],
)
def test_attention_with_a_shortcut_is_cut_inside_its_heads(heads: int, share: float) -> None:
    block = _HalfWithHeads(24, 32)
    block.heads = _Heads(32, heads, share)
    query_dim = block.heads.query_dim
    result = _half(_network(block))
    cut = result.model[1]
    width = cut.enter[0].out_channels // 2
    assert result.report.notes == ()
    assert (cut.half, cut.heads.num_heads * cut.heads.value_dim) == (width, width)
    assert cut.heads.num_heads == heads
    assert width < 32
    assert cut.heads.query_dim < query_dim or heads == 4
    assert share < 1 or cut.heads.query_dim != cut.heads.value_dim  # each shrinks for itself
    assert cut.heads.mixed[0].out_channels == heads * (2 * cut.heads.query_dim + cut.heads.value_dim)
    assert cut.heads.factor == query_dim**-0.5  # the scale of the products belongs to the weights
