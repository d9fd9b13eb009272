"""Parity: our optimizers compute what torch's own classes compute, to the last bit, and do not import torch's compiler."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from slimyolo.training import OPTIMIZERS, MuSGD, build_optimizer, parameter_groups

TORCHS: dict[str, Callable[[list[dict[str, object]]], Optimizer]] = {
    "SGD": lambda groups: SGD(groups, lr=0.01, momentum=0.937, nesterov=True, fused=True),
    "Adam": lambda groups: Adam(groups, lr=0.01, betas=(0.937, 0.999), fused=True),
    "AdamW": lambda groups: AdamW(groups, lr=0.01, betas=(0.937, 0.999), fused=True),
    "MuSGD": lambda groups: MuSGD(groups, lr=0.01, momentum=0.937),
}


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2))


def trained(model: nn.Module, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    for step in range(3):
        optimizer.zero_grad(set_to_none=True)
        model(torch.linspace(0, step + 1, 384).view(2, 3, 8, 8)).square().mean().backward()
        optimizer.step()
    assert all(bool(tensor.isfinite().all()) for tensor in model.parameters())
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_that_of_torch(name: str) -> None:
    ours, theirs = network(), network()
    one = build_optimizer(ours, name, weight_decay=0.0005)
    groups = [
        {**group, "params": [*part]} for group, part in zip(one.param_groups, parameter_groups(theirs), strict=True)
    ]
    other = TORCHS[name](groups)
    assert isinstance(one, type(other))
    assert type(one).__name__ == type(other).__name__
    got, expected = trained(ours, one), trained(theirs, other)
    assert all(torch.equal(got[key], expected[key]) for key in expected)
    states = deepcopy(one.state_dict()), deepcopy(other.state_dict())  # they fit one another
    other.load_state_dict(states[0])
    one.load_state_dict(states[1])
    got, expected = trained(ours, one), trained(theirs, other)
    assert all(torch.equal(got[key], expected[key]) for key in expected)


def test_hooks_of_a_program_are_called() -> None:
    model, called = network(), []
    optimizer = build_optimizer(model, "SGD")
    optimizer.register_step_post_hook(lambda *_: called.append("after"))
    trained(model, optimizer)
    assert called == ["after"] * 3


def test_no_compiler_is_imported() -> None:
    program = (
        "import json, sys, torch\n"
        "from slimyolo.training import OPTIMIZERS, build_optimizer\n"
        "for name in OPTIMIZERS:\n"
        "    layer = torch.nn.Linear(3, 2)\n"
        "    optimizer = build_optimizer(layer, name)\n"
        "    layer(torch.ones(1, 3)).sum().backward()\n"
        "    optimizer.step()\n"
        "    optimizer.zero_grad()\n"
        "    optimizer.load_state_dict(optimizer.state_dict())\n"
        "print(json.dumps([name for name in ('torch._dynamo', 'sympy') if name in sys.modules]))\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(run.stdout) == []
