"""Closed formula and parity: MACs of recurrent layers, einsum and products, by hand and as `model_cost` counts them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from slimyolo.costs import model_cost
from slimyolo.pruning import ChannelShare, prune_module
from slimyolo.tracing.capture import record_program
from slimyolo.tracing.multiplications import product_macs, unknown_macs


def _macs(module: nn.Module, *inputs: Tensor) -> float:
    return sum(product_macs(node) for node in record_program(module.eval(), inputs).nodes if node.op == "call_function")


class _Runs(nn.Module):
    """Any function of the inputs and of the weights of a layer."""

    def __init__(self, function: Callable[..., Any], layer: nn.Module | None = None) -> None:
        super().__init__()
        self.layer, self._function = layer, function

    def forward(self, *inputs: Tensor) -> Any:
        return self._function(*inputs) if self.layer is None else self._function(self.layer, *inputs)


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent_layers(kind: Any, gates: int, layers: int, directions: int) -> None:
    steps, batch, inputs, hidden = 7, 3, 10, 6
    module = kind(inputs, hidden, layers, bidirectional=directions == 2, batch_first=True)
    first = directions * gates * hidden * (inputs + hidden)
    later = directions * gates * hidden * (directions * hidden + hidden)
    expected = steps * batch * (first + (layers - 1) * later)
    sequence = torch.zeros(batch, steps, inputs)
    assert _macs(module, sequence) == expected == model_cost(module, (sequence,)).macs


def test_an_lstm_with_a_projection() -> None:
    projected = nn.LSTM(10, 8, proj_size=5, bias=False)
    assert _macs(projected, torch.zeros(4, 2, 10)) == 4 * 2 * (4 * 8 * 10 + 4 * 8 * 5 + 5 * 8)


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1)])
def test_recurrent_cells(kind: Any, gates: int) -> None:
    module = kind(10, 6)
    assert (
        _macs(module, torch.zeros(3, 10)) == 3 * gates * 6 * (10 + 6) == model_cost(module, (torch.zeros(3, 10),)).macs
    )


@pytest.mark.parametrize(
    ("equation", "shapes", "expected"),
    [
        ("bchw,oc->bohw", [(2, 5, 3, 4), (7, 5)], 2 * 3 * 4 * 5 * 7),  # a 1×1 convolution
        ("bcn,bcm", [(2, 5, 3), (2, 5, 4)], 2 * 5 * 3 * 4),  # no arrow: b and c stand twice, so they are summed
        ("...ij,jk->...ik", [(2, 6, 3, 4), (4, 5)], 2 * 6 * 3 * 4 * 5),  # an ellipsis of two axes
        ("i,j->ij", [(3,), (4,)], 0),  # outer product: nothing is added up
        ("ij->ji", [(3, 4)], 0),  # one operand
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], 2 * 3 * 4 + 2 * 4 * 5),  # from the left
        ("bij,bjk->bik", [(1, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),  # a batch axis of size 1
    ],
)
def test_einsum(equation: str, shapes: list[tuple[int, ...]], expected: int) -> None:
    operands = [torch.zeros(shape) for shape in shapes]
    module = _Runs(lambda *given: torch.einsum(equation, *given))
    assert _macs(module, *operands) == expected


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (torch.matmul, [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        (torch.mv, [(3, 4), (4,)], 12),
        (torch.dot, [(4,), (4,)], 4),
        (lambda x: x @ x, [(4, 4)], 64),  # the same operand twice
        (lambda x: functional.scaled_dot_product_attention(x, x, x), [(1, 2, 5, 8)], 2 * 2 * 5 * 5 * 8),
        (torch.relu, [(4,)], 0),
    ],
)
def test_products(function: Callable[..., Any], shapes: list[tuple[int, ...]], expected: int) -> None:
    assert _macs(_Runs(function), *[torch.zeros(shape) for shape in shapes]) == expected


class _Transformed(nn.Module):
    """A convolution before a Fourier transform, whose multiplications no formula here gives."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, images: Tensor) -> Tensor:
        return torch.fft.rfft2(self.two(self.one(images).relu())).real


def test_what_is_not_counted_is_said() -> None:
    program = record_program(_Transformed().eval(), torch.zeros(1, 3, 8, 8))
    assert [str(node.target) for node in program.nodes if node.op == "call_function" and unknown_macs(node)] == [
        "aten.fft_rfft2.default"
    ]
    report = prune_module(_Transformed(), torch.zeros(1, 3, 8, 8), ChannelShare(0.3), importance="l2").report
    said = "(root): the MACs of fft_rfft2 have no formula; they are not counted, so a budget leaves them out"
    assert [note for note in report.notes if note.startswith(said)]
