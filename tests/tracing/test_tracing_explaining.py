"""Table of cases: a network that cannot be captured is answered in a sentence that names its module and the line."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slimyolo.errors import PruningError
from slimyolo.pruning import ChannelShare, prune_module

EXAMPLE = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A stem and a part, in which something goes wrong."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 1)
        self.blocks = nn.ModuleList([nn.Identity(), part])

    def forward(self, images: Tensor) -> Any:
        return self.blocks[1](self.stem(images))


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if bool(x.mean() > 0) else x


class Count(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : int(x.max().item()) + 1]


class Loop(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        while bool(x.sum() > 1):
            x = x / 2
        return x


class Mask(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Any:
        return self.conv(x), x.permute(0, 2, 3, 1)[x[:, 0] > 0]


class Talkative(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("my own trouble.\n" + "line\n" * 40)


class Numpy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy() * 2)


ON_VALUES = "because what it computes depends on values of the input (in module 'blocks.1' ("
CASES = [
    (Branch(), ON_VALUES + "Branch), ", "if bool(x.mean() > 0)"),
    (Count(), ON_VALUES + "Count), ", "int(x.max().item())"),
    (Loop(), ON_VALUES + "Loop), ", "while bool(x.sum() > 1)"),
    (Mask(), "The size of what aten.index returns in module 'blocks.1' depends on values of the input", "Pass forward="),
    (Talkative(), "not run on the example input (ValueError in module 'blocks.1' (Talkative), ", ": my own trouble)."),
    (nn.Conv2d(4, 8, 1), "(RuntimeError in module 'blocks.1' (Conv2d), ", "expected input[1, 8, 8, 8] to have 4 channels"),
    (Numpy(), "could not capture Net (RuntimeError in module 'blocks.1' (Numpy), ", "x.detach().numpy()"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "said", "too"), CASES, ids=lambda one: type(one).__name__)
def test_what_failed_where_and_what_to_do(
    part: nn.Module, said: str, too: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PruningError) as caught:
        prune_module(Net(part).eval(), EXAMPLE, ChannelShare(0.3))
    message = str(caught.value)
    assert said in message
    assert too in message
    assert "forward=" in message
    assert message.count("\n") == 0
    assert len(message) < 700
    if "line" in said:
        assert re.search(r"test_tracing_explaining\.py line \d+: `", message)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")  # torch would print the graph of the whole network two or three times


def test_the_whole_network_is_named_when_no_module_of_it_failed() -> None:
    with pytest.raises(
        PruningError, match=r"could not capture Branch because .* \(in Branch, test_tracing_explaining\.py line"
    ):
        prune_module(Branch(), EXAMPLE, ChannelShare(0.3))


def test_what_forward_prints_itself_is_not_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    import sys

    class Printing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            print("seen", file=sys.stderr)
            return self.two(torch.as_tensor(self.one(x).tolist() if x.ndim == 0 else self.one(x)))

    prune_module(Printing().eval(), EXAMPLE, ChannelShare(0.3))
    assert "seen" in capfd.readouterr().err
