"""Closed formulas and tables of cases: optimizer groups, averaging, precision, stopping, multi-scale."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slimyolo.errors import ConfigError
from slimyolo.training import (
    Autocast,
    EarlyStopping,
    Ema,
    Fp32,
    MultiScale,
    NoEma,
    NoResizing,
    NoStopping,
    Progress,
    Settings,
    apply_settings_,
    build_optimizer,
    ema_decay,
    parameter_groups,
    random_state,
    restore_random_state_,
)

HERE = Progress(0, 2, 0, 3)


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1), nn.GroupNorm(1, 2))


def test_groups_are_biases_weights_and_scales() -> None:
    model = net()
    biases, weights, scales = parameter_groups(model)
    assert [id(p) for p in biases] == [id(model[1].bias), id(model[2].bias), id(model[3].bias)]
    assert [id(p) for p in weights] == [id(model[0].weight), id(model[2].weight)]
    assert [id(p) for p in scales] == [id(model[1].weight), id(model[3].weight)]


def test_a_shared_parameter_comes_once() -> None:
    shared = nn.Linear(2, 2)
    assert len(parameter_groups(nn.Sequential(shared, shared))[1]) == 1


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_decay_acts_on_weights_only_and_settings_arrive(name: str) -> None:
    optimizer = build_optimizer(net(), name, lr0=0.02, momentum=0.9, weight_decay=0.1)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.1, 0.0]
    apply_settings_(optimizer, Settings((0.1, 0.2, 0.3), 0.5, 1))
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2, 0.3]
    momenta = [group.get("momentum", group.get("betas", (None,))[0]) for group in optimizer.param_groups]
    assert momenta == ([0.5] * 3 if name == "SGD" else [0.9] * 3)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_fused_steps_equal_plain_ones(name: str) -> None:
    torch.manual_seed(0)
    model = net().to(memory_format=torch.channels_last)
    plain_model = copy.deepcopy(model)
    optimizer = build_optimizer(model, name, weight_decay=0.01)
    biases, weights, scales = parameter_groups(plain_model)
    groups: list[dict[str, Any]] = [{"params": biases}, {"params": weights, "weight_decay": 0.01}, {"params": scales}]
    plain = {
        "SGD": lambda: torch.optim.SGD(groups, lr=0.01, momentum=0.937, nesterov=True),
        "Adam": lambda: torch.optim.Adam(groups, lr=0.01, betas=(0.937, 0.999)),
        "AdamW": lambda: torch.optim.AdamW(groups, lr=0.01, betas=(0.937, 0.999), weight_decay=0.0),
    }[name]()
    for _ in range(3):
        for mine, theirs in zip(model.parameters(), plain_model.parameters(), strict=True):
            mine.grad = torch.randn_like(mine)
            theirs.grad = mine.grad.clone()
        optimizer.step()
        plain.step()
    for mine, theirs in zip(model.parameters(), plain_model.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "sgd"}, r"Unknown optimizer 'sgd'; expected one of SGD, Adam, AdamW"),
        ({"name": "AdamWW"}, "Did you mean 'AdamW'"),
        ({"lr0": float("inf")}, "lr0 is inf"),
        ({"momentum": 1.0}, "momentum is 1.0.*below 1"),
        ({"weight_decay": -1.0}, "weight_decay is -1"),
    ],
)
def test_impossible_optimizers_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build_optimizer(net(), **options)


def test_ema_decay_equals_the_fixture(data_folder: Path) -> None:
    for updates, decay in json.loads((data_folder / "d6_schedules.json").read_text())["ema_decay"]:
        assert ema_decay(updates) == decay


def test_ema_averages_floating_state_and_leaves_counters() -> None:
    torch.manual_seed(0)
    model = net()
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    ema = Ema(model)
    for update in range(1, 6):
        model(torch.randn(2, 3, 8, 8))  # moves the statistics
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        ema.update(model)
        decay = ema_decay(update)
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                expected[name] = decay * expected[name] + (1 - decay) * value
    assert ema.updates == 5
    for name, value in ema.module.state_dict().items():
        assert torch.allclose(value, expected[name], atol=1e-6), name
    assert int(ema.module.state_dict()["1.num_batches_tracked"]) == 0
    assert not ema.module.training
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())


def test_ema_follows_a_model_whose_memory_moved() -> None:
    model = net()
    ema = Ema(model, decay=0.5, tau=1e-9)
    ema.update(model)
    model.to(memory_format=torch.channels_last)
    with torch.no_grad():
        model[0].weight.add_(1)
    before = ema.module[0].weight.clone()  # type: ignore[index]
    ema.update(model)
    assert torch.allclose(ema.module[0].weight, before + 0.5)  # type: ignore[index]


def test_ema_can_start_from_another_average() -> None:
    model, start = net(), net()
    ema = Ema(model, start=start)
    assert torch.equal(ema.module[0].weight, start[0].weight)  # type: ignore[index]
    ema.load_state_dict({"updates": 7})
    assert ema.state_dict() == {"updates": 7}


def test_doing_nothing_is_an_object() -> None:
    nothing = NoEma()
    nothing.update(net(), HERE)
    nothing.load_state_dict(nothing.state_dict())
    assert nothing.module is None
    stopper = NoStopping()
    stopper.load_state_dict(stopper.state_dict())
    assert not stopper.stop(3, 0.0)
    images = torch.zeros(1, 3, 4, 4)
    assert NoResizing()(images, HERE) is images
    Fp32().load_state_dict(Fp32().state_dict())


@pytest.mark.parametrize(
    ("patience", "values", "stops_after"),
    [
        (2, [0.1, 0.2, 0.2, 0.1, 0.1], 4),  # an equal value counts as the best reached again
        (2, [0.3, 0.2, 0.2, 0.9], 2),
        (0, [0.3] + [0.1] * 20, None),
        (2, [None, None, None, 0.1, 0.0, 0.0], 5),  # epochs that do not count do not stop
    ],
)
def test_early_stopping(patience: int, values: list[float | None], stops_after: int | None) -> None:
    stopper = EarlyStopping(patience)
    stopped = None
    for epoch, value in enumerate(values):
        resumed = EarlyStopping(patience)
        resumed.load_state_dict(stopper.state_dict())
        stopper = resumed
        if stopper.stop(epoch, value):
            stopped = epoch
            break
    assert stopped == stops_after


@pytest.mark.parametrize(
    ("values", "stops_after"),
    [
        ([0.1, 0.2, 0.2, 0.2], 3),  # an equal value is no improvement
        ([0.0, 0.0, 0.0, 0.0, 0.1, 0.1, 0.1], 6),  # … unless the best is still 0
    ],
)
def test_early_stopping_strictly(values: list[float], stops_after: int) -> None:
    stopper = EarlyStopping(2, strictly=True)
    assert [stopper.stop(epoch, value) for epoch, value in enumerate(values)].index(True) == stops_after


def test_autocast_runs_in_half_precision_and_steps_with_true_gradients() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        weight = nn.Parameter(torch.ones(2, 2))
        optimizer = torch.optim.SGD([weight], lr=1.0)
        precision = Autocast("cpu", dtype, initial_scale=1024.0)
        with precision.forward():
            out = torch.ones(1, 2) @ weight
        assert out.dtype == dtype
        precision.backward(out.float().sum())
        precision.unscale(optimizer)
        assert weight.grad is not None
        assert torch.equal(weight.grad, torch.ones(2, 2))
        precision.step(optimizer)
        assert torch.equal(weight.detach(), torch.zeros(2, 2))
        again = Autocast("cpu", dtype)
        again.load_state_dict(precision.state_dict())
        assert again.state_dict() == precision.state_dict()


def test_a_step_that_overflowed_is_left_out() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    precision = Autocast("cpu", torch.float16, initial_scale=1024.0)
    precision.backward((weight * torch.tensor([float("inf"), 1.0])).sum())
    precision.unscale(optimizer)
    precision.step(optimizer)
    assert torch.equal(weight.detach(), torch.ones(2))
    assert precision.state_dict()["scale"] == 512.0


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"torch.float64.*fp32\|bf16\|fp16"):
        Autocast("cpu", torch.float64)


def test_multi_scale_draws_multiples_of_the_stride_from_the_batch_number() -> None:
    images = torch.rand(1, 3, 64, 96)
    sizes = set()
    for step in range(60):
        progress = Progress(0, 1, step, 60)
        resized = MultiScale(32, seed=3)(images, progress)
        assert torch.equal(resized, MultiScale(32, seed=3)(images, progress))
        height, width = resized.shape[-2:]
        assert height % 32 == width % 32 == 0
        sizes.add(max(height, width))
    assert sizes == {32, 64, 96, 128}  # half of 96 rounds down to a stride


def test_random_state_covers_python_numpy_and_torch() -> None:
    state = random_state()
    first = (random.random(), float(np.random.rand()), float(torch.rand(())), random.gauss(0, 1))
    restore_random_state_(state)
    assert (random.random(), float(np.random.rand()), float(torch.rand(())), random.gauss(0, 1)) == first
