"""Parity: a loop with wrappers, scaler, accumulation or an interruption gives what the plain loop gives."""

from __future__ import annotations

import copy
import io
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from loop_networks import EXAMPLE, adam, data, made, residual, sgd, train_
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from slimyolo.errors import TrainingError
from slimyolo.pruning import MacsShare
from slimyolo.slimming import Slimming, carry_optimizer_state_


def saved(state: dict[str, Any]) -> dict[str, Any]:
    """`state` as a file gives it back, read without running anything in it."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file, weights_only=True)
    return loaded


@pytest.mark.parametrize("stop", [1, 5, 8, 15])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(stop: int) -> None:
    whole, part = made(residual), made(residual)
    for network, pieces in ((whole, [(0, 20)]), (part, [(0, stop), (stop, 20)])):
        state: dict[str, Any] | None = None
        for first, last in pieces:
            optimizer = adam(network)
            if state is not None:
                network = made(residual, seed=5)
                optimizer = adam(network)
                network.load_state_dict(state["model"])
                optimizer.load_state_dict(state["optimizer"])
            slim = Slimming(network, EXAMPLE, MacsShare(0.5), steps=20)
            if state is not None:
                slim.load_state_dict(state["slim"])
            train_(network, slim, optimizer, first=first, last=last)
            state = saved(
                {"model": network.state_dict(), "optimizer": optimizer.state_dict(), "slim": slim.state_dict()}
            )
        if pieces == [(0, 20)]:
            wanted = slim.cut().model.state_dict()
        else:
            found = slim.cut().model.state_dict()
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)


def test_a_gradient_scaler_and_accumulation_make_no_difference() -> None:
    """The scaler's skipped step (an infinite loss) is skipped by the ranking, too."""
    network = made(residual)
    optimizer, scaler = sgd(network), torch.amp.GradScaler("cpu", init_scale=2.0**20)
    slim = Slimming(network, EXAMPLE, MacsShare(0.5), steps=10)
    network.train()
    for number, (pictures, classes) in enumerate(data(3, 20)):
        with torch.autocast("cpu", torch.bfloat16):
            loss = functional.cross_entropy(network(pictures), classes) / 2
        scaler.scale(loss * (torch.inf if number == 4 else 1)).backward()
        if number % 2 == 1:
            scaler.step(optimizer)
            scaler.update()
            slim.step()
            optimizer.zero_grad()
    assert slim.state_dict()["step"] == 10
    with torch.autocast("cpu", torch.bfloat16):  # the cut is checked in full precision all the same
        result = slim.cut()
    assert result.alive == 0
    assert result.difference < 1e-5
    assert bool(torch.isfinite(slim.state_dict()["sparsity"]["effect"]).all())


def average_of(network: nn.Module) -> AveragedModel:
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(0.9))


def test_an_average_that_slimming_knows_is_cut_without_change() -> None:
    network = made(residual)
    average = average_of(network)
    slim = Slimming(network, EXAMPLE, MacsShare(0.5), steps=12, ema=average)
    train_(network, slim, sgd(network), last=12, after=lambda: average.update_parameters(network))
    result = slim.cut(average)
    assert result.alive == 0
    assert result.difference < 1e-5
    pictures = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(result.model.eval()(pictures), average.module.eval()(pictures), rtol=1e-4, atol=1e-5)


def test_an_average_that_it_does_not_know_is_cut_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    network = made(residual)
    average = average_of(network)
    slim = Slimming(network, EXAMPLE, MacsShare(0.5), steps=12)
    train_(network, slim, sgd(network), last=12, after=lambda: average.update_parameters(network))
    with caplog.at_level(logging.WARNING, "slimyolo"):
        result = slim.cut(average)
    assert result.alive > 0
    assert result.report.after.macs <= 0.5 * result.report.before.macs
    assert f"{result.alive} of " in caplog.text
    assert "lags behind; give averaged copies to Slimming as ema=" in caplog.text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch.compile looks at it
def test_a_compiled_network_is_slimmed_like_the_plain_one() -> None:
    plain, compiled, in_place = (made(residual) for _ in range(3))
    wrapped: Any = torch.compile(compiled, backend="eager")
    in_place.compile(backend="eager")
    found = []
    for network, called in ((plain, plain), (compiled, wrapped), (in_place, in_place)):
        slim = Slimming(called, EXAMPLE, MacsShare(0.5), steps=6)
        train_(called, slim, sgd(network), last=6)
        result = slim.cut()
        assert result.alive == 0
        assert type(result.model) is nn.Sequential
        found.append([part.weight.shape for part in result.model.modules() if isinstance(part, nn.Conv2d)])
    assert found[0] == found[1] == found[2]


def test_two_processes_decide_alike_and_like_one(tmp_path: Path) -> None:
    script = Path(__file__).with_name("slimming_member.py")
    ran = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=280, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert torch.equal(first["held"], second["held"])
    assert int(first["held"].sum()) > 0
    assert first["model"].keys() == second["model"].keys()
    for name, value in first["model"].items():
        if "running" not in name:  # DDP does not average the statistics of batches
            assert torch.equal(value, second["model"][name]), name
    assert first["alive"] == second["alive"] == 0


@pytest.mark.parametrize("make_optimizer", [sgd, adam])
def test_the_optimizer_of_the_cut_network_goes_on_where_the_old_one_was(make_optimizer: Any) -> None:
    """One more step of both networks on the same batch moves the channels that stay in the same way."""
    network = made(residual)
    slim = Slimming(network, EXAMPLE, MacsShare(0.5), steps=20)
    optimizer = make_optimizer(network)
    train_(network, slim, optimizer, last=12)
    with torch.no_grad():  # without constants, all gradients of the two networks are equal
        held = {name for name, part in network.named_modules() if isinstance(part, nn.BatchNorm2d)}
        for name in held:
            part = network.get_submodule(name)
            part.bias[part.weight == 0] = 0
    result = slim.cut()
    fresh = make_optimizer(result.model)
    carry_optimizer_state_(fresh, optimizer, cut=result.model, given=network, plan=result.plan)
    kept = {}
    for group in result.plan.groups:
        for member in group.members:
            kept[member.tensor, member.axis] = sorted(
                place for channel in group.kept for place in member.index[channel]
            )
    pictures, classes = next(data(9, 1))
    for one, its in ((network, optimizer), (result.model, fresh)):
        one.eval()
        its.zero_grad()
        functional.cross_entropy(one(pictures), classes).backward()
        its.step()
    for name, smaller in result.model.named_parameters():
        whole = network.get_parameter(name).detach()
        for axis in range(whole.ndim):
            if (name, axis) in kept:
                whole = whole.index_select(axis, torch.tensor(kept[name, axis]))
        torch.testing.assert_close(smaller.detach(), whole, rtol=1e-3, atol=1e-5)


def test_an_optimizer_that_keeps_other_tensors_is_refused() -> None:
    network = made(residual)
    slim = Slimming(network, EXAMPLE, MacsShare(0.5), steps=4)
    optimizer = torch.optim.Adafactor(network.parameters(), lr=0.01)
    train_(network, slim, optimizer, last=4)
    result = slim.cut()
    fresh = torch.optim.Adafactor(result.model.parameters())
    with pytest.raises(TrainingError, match=r"keeps 'row_var' of .* Make a new optimizer for the cut network"):
        carry_optimizer_state_(fresh, optimizer, cut=result.model, given=network, plan=result.plan)
    with pytest.raises(TrainingError, match=r"a parameter that is not one of the cut network"):
        carry_optimizer_state_(optimizer, optimizer, cut=result.model, given=network, plan=result.plan)
    other = copy.deepcopy(network)
    momentum = sgd(network)
    functional.cross_entropy(network(next(data(1, 1))[0]), next(data(1, 1))[1]).backward()
    momentum.step()
    with pytest.raises(TrainingError, match=r"but the plan says .* of one cut"):
        carry_optimizer_state_(sgd(other), momentum, cut=other, given=network, plan=result.plan)
