"""Parity: a run written down on shapes has the operations that torch.export finds; table of cases: what falls back to it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pruning_networks import BLOCKS, Network
from torch import Tensor, nn

from slimyolo.models import Detector
from slimyolo.pruning import trace
from slimyolo.pruning.recording import NotRecordable
from slimyolo.pruning.tracing import TracedProgram, capture_program, export_program, record_program

EXAMPLE = torch.zeros(1, 3, 12, 12)


def operations(program: TracedProgram) -> list[tuple[str, Any]]:
    """Operator and result shapes of each operation."""
    return [(str(n.target), shapes(n.meta.get("val"))) for n in program.nodes if n.op == "call_function"]


def shapes(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [shapes(part) for part in value]
    return tuple(value.shape) if isinstance(value, Tensor) else None


def test_every_block_is_recorded_as_exported() -> None:
    model = Network(tuple(sorted(BLOCKS))).eval()
    recorded, exported = record_program(model, EXAMPLE), export_program(model, EXAMPLE)
    assert operations(recorded) == operations(exported)
    assert set(recorded.tensors.values()) == set(exported.tensors.values())


@pytest.mark.slow
def test_yolov5n_is_recorded_as_exported(yolov5n: Detector) -> None:
    for side in (64, 320):
        images = torch.zeros(1, 3, side, side)
        recorded = record_program(yolov5n, images, Detector.heads)
        assert operations(recorded) == operations(export_program(yolov5n, images, Detector.heads))


class Caching(nn.Module):
    """Keeps what it made, as detection heads keep their grids; reads a tensor that is no buffer, and works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)
        self.grid: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.grid is None:
            self.grid = torch.ones(1, 1, *x.shape[2:], device=x.device)
        y = self.one(x)
        y += self.grid
        return self.two(F.relu_(y))


def test_recording_leaves_the_module_as_it_was() -> None:
    model = Caching().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    graph = trace(model, EXAMPLE)
    assert model.grid is None
    assert model.training
    assert all(not part._forward_hooks and not part._forward_pre_hooks for part in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [(group.name, group.width) for group in graph.groups] == [("one", 8)]


class Plain(nn.Module):
    """Holds a tensor that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.offset = nn.Conv2d(3, 8, 1), torch.arange(8.0).reshape(1, 8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return (self.one(x) + self.offset).mean((2, 3))


class Strange(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return Result(x + 1)


class Result:
    def __init__(self, value: Tensor) -> None:
        self.value = value


def test_what_needs_values_is_exported() -> None:
    with pytest.raises(RuntimeError):  # tensors of two devices
        record_program(Plain(), EXAMPLE)
    assert len(capture_program(Plain(), EXAMPLE).constants) == 1
    with pytest.raises(NotRecordable, match="outputs"):
        record_program(Strange(), EXAMPLE)


@pytest.mark.slow
def test_tracing_a_detector_does_not_import_the_compiler() -> None:
    """Importing it takes longer than the rest of `slimyolo prune`."""
    code = (
        "import sys, torch; from slimyolo.models import *; from slimyolo.pruning import *; "
        "model = build_detector(read_architecture('yolov5n')); prune_module(model, torch.zeros(1, 3, 64, 64), MacsShare(.5)); "
        "print([name for name in ('torch._dynamo', 'sympy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
