"""Table of cases: what Slimming refuses, and what it warns of."""

from __future__ import annotations

import copy
import logging
from typing import Any

import pytest
import torch
from loop_networks import EXAMPLE, made, perceptron, residual, sgd, train_
from torch import nn

from slimyolo.errors import ConfigError, ModelError, TrainingError
from slimyolo.pruning import ChannelShare, LatencyBudget, MacsBudget, MacsShare, ParamsBudget, ParamsShare
from slimyolo.slimming import Slimming


@pytest.mark.parametrize(
    ("target", "options", "says"),
    [
        (MacsShare(0.5), {"steps": 0}, r"steps=0: expected the number of optimizer steps"),
        (MacsShare(0.5), {"steps": 2.5}, r"steps=2.5: expected"),
        (
            MacsShare(0.01),
            {},
            r"asks to remove 99.0% of the MACs, but with these rules at most \d\d\.\d% can be removed",
        ),
        (ParamsShare(0.9), {"keep": ["*"]}, r"No channel of this Sequential can be removed"),
        (MacsBudget(10**12), {}, r"the network has no more MACs than that; ask for less"),
        (ParamsBudget(10**12), {}, r"the network has no more parameters than that"),
        (LatencyBudget(5), {}, r"LatencyBudget: Slimming measures no times"),
        (0.5, {}, r"target 0.5: expected MacsShare"),
        (MacsShare(0.5), {"importance": "l2"}, r"importance= has no meaning for Slimming"),
        (ChannelShare(0.5), {"policy": "reference"}, r"policy='reference' has no meaning"),
        (MacsShare(0.5), {"per": "ms"}, r"per='ms': Slimming measures no times"),
        (MacsShare(0.5), {"round_to": 0}, r"round_to=0"),
        (MacsShare(0.5), {"keep": ["nothing"]}, r"keep='nothing' matches no module"),
        (MacsShare(0.5), {"reach": 0.01}, r"must begin at 0 or later"),
    ],
)
def test_what_cannot_be_asked(target: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Slimming(made(residual), EXAMPLE, target, **{"steps": 10, **options})


def test_a_network_in_which_nothing_can_fade_is_refused_with_the_reason() -> None:
    plain = nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False), nn.InstanceNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    )  # fmt: skip  # one line
    with pytest.raises(ConfigError, match=r"a norm without scales follows, which undoes any fading"):
        Slimming(plain, EXAMPLE, MacsShare(0.9), steps=10)


def test_what_is_no_network_and_what_is_sharded_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"The model is a str: expected a torch.nn.Module"):
        Slimming("network.pt", EXAMPLE, MacsShare(0.5), steps=10)  # type: ignore[type-var]
    import torch.distributed.fsdp as fsdp

    monkeypatch.setattr(fsdp, "FullyShardedDataParallel", nn.BatchNorm2d)
    with pytest.raises(ConfigError, match=r"parameters of the model are sharded"):
        Slimming(made(residual), EXAMPLE, MacsShare(0.5), steps=10)


def test_an_average_or_a_copy_of_another_network_is_refused() -> None:
    with pytest.raises(ModelError, match=r"ema is a Sequential whose parameters differ .*'0.weight'"):
        Slimming(made(residual), EXAMPLE, MacsShare(0.5), steps=10, ema=made(perceptron))
    with pytest.raises(ModelError, match=r"model is a Sequential whose parameters differ"):
        Slimming(made(residual), EXAMPLE, MacsShare(0.5), steps=10).cut(made(perceptron))


def test_a_step_without_gradients_is_refused() -> None:
    network = made(residual)
    slim = Slimming(network, EXAMPLE, MacsShare(0.5), steps=10)
    with pytest.raises(TrainingError, match=r"Call step\(\) after optimizer.step\(\) and before zero_grad\(\)"):
        slim.step()
    for name, parameter in network.named_parameters():
        parameter.grad = None if name.startswith("4.first") else torch.ones_like(parameter)
    with pytest.raises(TrainingError, match=r"for instance '4.first_norm.weight'.*keep=\['4.first_norm'\]"):
        slim.step()
    assert slim.state_dict()["step"] == 0


def test_replaced_parameters_are_noticed() -> None:
    network = made(residual)
    slim = Slimming(network, EXAMPLE, MacsShare(0.5), steps=10)
    network.load_state_dict(copy.deepcopy(network.state_dict()), assign=True)
    with pytest.raises(TrainingError, match=r"'1.weight' is not the one that Slimming was made for"):
        slim.step()


def test_more_steps_than_said_keep_the_zeros_and_warn_once(caplog: pytest.LogCaptureFixture) -> None:
    network = made(residual)
    slim = Slimming(network, EXAMPLE, MacsShare(0.5), steps=4)
    with caplog.at_level(logging.WARNING, "slimyolo"):
        train_(network, slim, sgd(network), last=7)
    assert caplog.text.count("step() was called more often than steps=4") == 1
    assert slim.cut().alive == 0


def test_an_early_cut_reaches_the_target_and_says_what_it_changed(caplog: pytest.LogCaptureFixture) -> None:
    network = made(residual)
    slim = Slimming(network, EXAMPLE, MacsShare(0.5), steps=40)
    train_(network, slim, sgd(network), last=10)
    with caplog.at_level(logging.WARNING, "slimyolo"):
        result = slim.cut()
    assert result.alive > 0
    assert result.difference > 1e-4
    assert result.report.after.macs <= 0.5 * result.report.before.macs
    assert "the cut comes at step 10 of 40, before the target is reached" in caplog.text


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({}, r"This is not the state of a Slimming"),
        ({"steps": 11}, r"saved by a Slimming with steps 11, but this one has 10"),
        ({"unit": "params"}, r"with unit params, but this one has macs"),
    ],
)
def test_a_state_of_another_run_is_refused(state: dict[str, Any], says: str) -> None:
    slim = Slimming(made(residual), EXAMPLE, MacsShare(0.5), steps=10)
    given = {**slim.state_dict(), **state} if state else {}
    with pytest.raises(TrainingError, match=says):
        slim.load_state_dict(given)


@pytest.mark.parametrize("done", [0.0, 1.5, -0.1])
def test_the_share_of_the_run_that_is_done_lies_between_0_and_1(done: float) -> None:
    slim = Slimming(made(perceptron), EXAMPLE, ChannelShare(0.3), steps=4)
    with pytest.raises(ConfigError, match=r"expected the share of the run that is done, above 0 and at most 1"):
        slim.step(done=done)
