"""Properties of two processes on one machine (gloo): equal to each other bit by bit, to one process within rounding."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import team_member
import torch
from torch import Tensor, nn

from slimyolo.training import Alone, SharedBatchNorm2d, share_batchnorms_


def start_two(command: list[str], folder: Path) -> list[subprocess.Popen[str]]:
    """`command` twice, as torchrun would start it, without torchrun's own start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("team")
    processes = start_two([team_member.__file__, str(folder)], Path(__file__).parent)
    said = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def test_weights_average_and_sparsity_are_the_same_in_both(outcomes: list[dict[str, Any]]) -> None:
    first, second = outcomes
    for run in ("plain", "shared"):
        for part in ("model", "ema", "beside"):
            assert same(first[run][part], second[run][part]), (run, part)
        held = [outcome[run]["training"]["sparsity"]["held"] for outcome in outcomes]
        assert torch.equal(*held)
        assert held[0].float().mean() >= 0.4
        assert first[run]["losses"] == second[run]["losses"]


def test_the_waiting_gradients_of_one_state_are_those_of_both(outcomes: list[dict[str, Any]]) -> None:
    first, second = (outcome["plain"]["first"]["training"] for outcome in outcomes)
    assert first["gradients"]
    assert same(first["gradients"], second["gradients"])
    assert first["beside"]["gradients"]


def test_resuming_both_from_the_state_of_one_changes_nothing(outcomes: list[dict[str, Any]]) -> None:
    for outcome in outcomes:
        assert same(outcome["plain"]["model"], outcome["resumed"]["model"])
        assert same(outcome["plain"]["ema"], outcome["resumed"]["ema"])
        assert outcome["plain"]["losses"] == outcome["resumed"]["losses"]


def test_with_shared_batch_norm_two_processes_equal_one(outcomes: list[dict[str, Any]]) -> None:
    """Without it each process normalises by its own images, which one process with the whole batch does not."""
    alone = team_member.alone(shared=False)
    for part in ("model", "ema", "beside"):
        for name, value in alone[part].items():
            assert torch.allclose(outcomes[0]["shared"][part][name].float(), value.float(), atol=2e-5), (part, name)
    assert outcomes[0]["shared"]["losses"]["box"] == pytest.approx(alone["losses"]["box"], rel=1e-4)
    assert not same(outcomes[0]["plain"]["model"], outcomes[0]["shared"]["model"])


def test_words_travel(outcomes: list[dict[str, Any]]) -> None:
    for outcome in outcomes:
        assert (outcome["gathered"], outcome["told"], outcome["means"]) == ([0, 1], "by 0", {"x": 0.5})


def test_one_alone_shares_nothing() -> None:
    team, values = Alone(), torch.ones(2)
    assert (team.rank, team.world, team.gather(3), team.told("x"), team.means({"a": 1.0})) == (
        0,
        1,
        [3],
        "x",
        {"a": 1.0},
    )
    assert team.sum(values) is values
    assert team.whole(values) is values


def test_batch_norms_are_replaced_with_their_parameters() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, eps=0.5, momentum=0.2))
    weight, images = model[1].weight, torch.rand(2, 3, 4, 4)
    model.eval()
    before = model(images)
    assert share_batchnorms_(model) == 1
    assert isinstance(model[1], SharedBatchNorm2d)
    assert model[1].weight is weight
    assert (model[1].eps, model[1].momentum, model[1].training) == (0.5, 0.2, False)
    assert torch.equal(model(images), before)
