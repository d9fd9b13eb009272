"""Property: the given network is left as it was, whether it is cut, only traced or counted, or cannot be cut at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pruning_networks import BLOCKS, Network
from snapshots import unchanged
from timm_models import randomise_everything_
from torch import Tensor, nn
from zoo_images import IMAGE_NETWORKS
from zoo_others import OTHER_NETWORKS

from slimyolo.costs import model_cost
from slimyolo.errors import PruningError, SlimyoloError
from slimyolo.pruning import ChannelShare, MacsShare, PrunePlan, prune_module, replay_plan, trace

EXAMPLE = torch.zeros(2, 3, 24, 24)
NETWORKS: dict[type[nn.Module], float] = {**IMAGE_NETWORKS, **OTHER_NETWORKS}


class _Remembering(nn.Module):
    """Keeps places of the last size, counts its calls in a buffer and a list, and takes a hook off when it runs."""

    calls: Tensor
    places: Tensor | None = None

    def __init__(self, in_place: bool) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Conv2d(16, 6, 1)
        self.seen: list[Any] = []
        self.by_size: dict[str, Any] = {"sizes": []}
        self.in_place = in_place
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor) -> Tensor:
        maps = self.last(self.norm(self.first(images)).relu()).flatten(2)
        self.calls += 1
        self.seen.append(maps)
        self.by_size["sizes"].append(images.shape)
        self.places = torch.arange(maps.shape[2], device=maps.device)
        self.first.last_result = maps
        if self.in_place:
            maps = maps.clone()
            maps[:, 2::3] = maps[:, 2::3].sigmoid()
        return maps + self.places


class _Failing(_Remembering):
    """Runs, but cannot be traced: it branches on a value."""

    def forward(self, images: Tensor) -> Tensor:
        maps = super().forward(images)
        return maps * 2 if bool(maps.sum() > 0) else maps


def _with_history(module: nn.Module) -> nn.Module:
    """Training mode in one part only, gradients, a fixed parameter and a hook, as a module in use has them."""
    module.eval()
    next(part for part in module.modules() if not list(part.children())).train()
    first = next(module.parameters())
    first.grad = torch.ones_like(first)
    first.requires_grad_(False)
    module.register_forward_hook(lambda *_: None)
    return module


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_tracing_and_counting_leave_every_network_as_it_was(network: type[nn.Module]) -> None:
    torch.manual_seed(1)
    model = _with_history(randomise_everything_(network(), 2))
    with unchanged(model):
        trace(model, EXAMPLE)
    with unchanged(model):
        model_cost(model, EXAMPLE)
    with unchanged(model), pytest.raises(SlimyoloError):
        prune_module(model, EXAMPLE, ChannelShare(0.5), floor=2.0)


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.__name__)
def test_pruning_leaves_every_network_as_it_was_also_when_it_fails(network: type[nn.Module]) -> None:
    torch.manual_seed(1)
    model = _with_history(randomise_everything_(network(), 2))
    with unchanged(model):
        prune_module(model, EXAMPLE, ChannelShare(0.5))

    def failing(module: nn.Module, *inputs: Any) -> Any:
        module(*inputs)
        raise RuntimeError("after everything has run")

    with unchanged(model), pytest.raises(PruningError, match="after everything has run"):
        prune_module(model, EXAMPLE, ChannelShare(0.5), forward=failing)


@pytest.mark.parametrize("block", sorted(BLOCKS))
def test_pruning_leaves_every_block_as_it_was(block: str) -> None:
    model = _with_history(Network((block,)))
    with unchanged(model):
        prune_module(model, torch.zeros(1, 3, 16, 16), ChannelShare(0.3))


@pytest.mark.parametrize("in_place", [False, True])  # True: torch.export traces it
def test_what_a_network_keeps_while_it_runs_is_undone(in_place: bool) -> None:
    model = _with_history(_Remembering(in_place))
    images = torch.rand(1, 3, 8, 8)
    with unchanged(model):
        result = prune_module(model, images, MacsShare(0.5), calibration=[images, images])
        plan = PrunePlan.from_json(result.plan.to_json())
        replay_plan(model, plan, images)
        model_cost(model, images)
    assert result.report.removed_channels > 0
    assert result.report.max_relative_difference < 1e-5


def test_a_network_that_cannot_be_traced_is_left_as_it_was() -> None:
    model, images = _with_history(_Failing(False)), torch.rand(1, 3, 8, 8)
    with unchanged(model), pytest.raises(PruningError, match="could not capture _Failing"):
        prune_module(model, images, MacsShare(0.5))
    with unchanged(model):
        model_cost(model, images)  # counted with values


def test_a_network_in_use_is_copied_without_its_history_of_gradients() -> None:
    model, images = _Remembering(False), torch.rand(1, 3, 8, 8)
    model(images).sum().backward()  # `seen` holds a tensor that torch refuses to copy
    with unchanged(model):
        assert prune_module(model, images, MacsShare(0.5)).report.removed_channels > 0
