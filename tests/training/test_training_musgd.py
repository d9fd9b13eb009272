"""Closed formula: MuSGD against its equations, parameter by parameter; then the rule that picks an optimizer."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from slimyolo.training import MuSGD, Settings, apply_settings_, build_optimizer, fitting_optimizer, orthogonalised

LR, MOMENTUM, DECAY = 0.02, 0.9, 0.01


def gradients_of(model: nn.Module, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(parameter.shape, generator=generator) for parameter in model.parameters()]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, bias=False),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 4, (3, 1)),
        nn.Flatten(),
        nn.Linear(4, 10),
    )


def muon_of(gradient: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor]:
    """(v made orthogonal and scaled, m) of the equations in `MuSGD`, in float32."""
    buffer = MOMENTUM * buffer + (1 - MOMENTUM) * gradient
    matrix = (MOMENTUM * buffer + (1 - MOMENTUM) * gradient).flatten(1)
    turned = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    turned = turned / (turned.norm() + 1e-7)
    for _ in range(5):
        square = turned @ turned.T
        turned = 3.4445 * turned + (-4.7750 * square + 2.0315 * square @ square) @ turned
    turned = turned.T if matrix.shape[0] > matrix.shape[1] else turned
    scale = max(1, gradient.shape[-2] / gradient.shape[-1]) ** 0.5
    return turned.reshape(gradient.shape) * scale, buffer


def test_three_steps_follow_the_equations() -> None:
    model = network()
    optimizer = MuSGD(model.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    wanted = [parameter.detach().clone() for parameter in model.parameters()]
    plain, muon = ([torch.zeros_like(value) for value in wanted] for _ in range(2))
    for seed in range(3):
        gradients = gradients_of(model, seed)
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
        for place, gradient in enumerate(gradients):
            decayed = gradient + DECAY * wanted[place]
            plain[place] = MOMENTUM * plain[place] + decayed
            change = LR * (decayed + MOMENTUM * plain[place])
            if gradient.ndim in (2, 4):
                turned, muon[place] = muon_of(gradient, muon[place])
                change = change + 0.2 * LR * turned
            wanted[place] = wanted[place] - change
    for parameter, value in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.detach(), value, rtol=0, atol=3 * 0.2 * LR * 0.04)  # bfloat16 inside
    names = {name for state in optimizer.state.values() for name in state}
    assert names == {"momentum_buffer", "momentum_buffer_muon"}
    assert sum("momentum_buffer_muon" in state for state in optimizer.state.values()) == 4


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (16, 16)])
def test_orthogonalised_brings_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalised(matrices).float())
    assert orthogonalised(matrices).shape == matrices.shape
    assert float(values.max()) < 1.3
    assert float(values.median()) > 0.6


def test_a_matrix_of_zeros_stays_zero() -> None:
    assert not bool(orthogonalised(torch.zeros(2, 4, 6)).any())


def test_going_on_from_its_state_changes_no_bit() -> None:
    one = network()
    first = MuSGD(one.parameters(), lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    for seed in range(4):
        if seed == 2:
            other = copy.deepcopy(one)
            second = MuSGD(other.parameters(), lr=1.0)
            second.load_state_dict(copy.deepcopy(first.state_dict()))
        for parameter, gradient in zip(one.parameters(), gradients_of(one, seed), strict=True):
            parameter.grad = gradient
        first.step()
    for seed in (2, 3):
        for parameter, gradient in zip(other.parameters(), gradients_of(other, seed), strict=True):
            parameter.grad = gradient
        second.step()
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_closure_is_called_once_with_gradients_and_its_loss_returned() -> None:
    model, seen = nn.Linear(2, 1), []
    optimizer = MuSGD(model.parameters())

    def closure() -> float:
        seen.append(torch.is_grad_enabled())
        return 3.0

    assert optimizer.step(closure) == 3.0
    assert seen == [True]


def test_faster_modules_have_groups_of_their_own() -> None:
    model = network()
    optimizer = build_optimizer(model, "MuSGD", weight_decay=0.1, faster=[model[2], model[5]])
    apply_settings_(optimizer, Settings((0.1, 0.01, 0.02), 0.8, 1))
    groups = [
        (len(group["params"]), group["lr"], group["weight_decay"], group["momentum"])
        for group in optimizer.param_groups
    ]
    assert groups == [
        (2, 0.1, 0.0, 0.8),
        (2, 0.01, 0.1, 0.8),
        (1, 0.02, 0.0, 0.8),
        (2, pytest.approx(0.3), 0.0, 0.8),
        (2, 0.03, 0.1, 0.8),
        (0, 0.06, 0.0, 0.8),
    ]
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))], "weight_decay": 0.0})
    apply_settings_(optimizer, Settings((0.1, 0.01, 0.02), 0.8, 1))
    assert optimizer.param_groups[-1]["lr"] == 0.02


@pytest.mark.parametrize(
    ("images", "batch", "epochs", "nc", "wanted"),
    [
        (640, 16, 100, 2, ("AdamW", 0.001667, 0.9)),  # 10 steps of 64 an epoch
        (640, 16, 1000, 2, ("AdamW", 0.001667, 0.9)),  # 10,000 is not more than 10,000
        (641, 16, 1000, 2, ("MuSGD", 0.01, 0.9)),
        (6400, 128, 200, 80, ("AdamW", 0.000119, 0.9)),  # a larger batch counts as it is
    ],
)
def test_the_rule_that_picks_an_optimizer(
    images: int, batch: int, epochs: int, nc: int, wanted: tuple[str, float, float]
) -> None:
    chosen = fitting_optimizer(images, batch, epochs, nc)
    assert (chosen.name, chosen.lr0, chosen.momentum) == wanted


def test_a_run_with_musgd_learns(toy: SimpleNamespace) -> None:
    from slimyolo.training import ConstantSchedule, fit

    model, losses = toy.net(), []

    class Watch:
        def __getattr__(self, name: str) -> object:
            return (lambda report: losses.append(report.losses)) if name == "epoch_done" else (lambda *_: None)

    fit(
        model,
        toy.batches(),
        toy.objective,
        build_optimizer(model, "MuSGD"),
        ConstantSchedule(0.01),
        epochs=5,
        observers=[Watch()],  # type: ignore[list-item]
    )
    first, last = (sum(losses[place].values()) for place in (0, -1))
    assert last < first
