"""Parity: a run written down on shapes has the operations that torch.export finds; table of cases: what falls back to it."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pruning_networks import BLOCKS, Network
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from slimyolo.errors import PruningError, UnknownOperationError
from slimyolo.models import Detector
from slimyolo.pruning import ChannelShare, prune_module, register_operation, trace
from slimyolo.tracing.capture import TracedProgram, capture_program, export_program, record_program
from slimyolo.tracing.recording import NotRecordable
from slimyolo.tracing.shape_rules import result_by_rule, run_on_shapes

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


class Branching(nn.Module):
    """Goes another way when the values say so."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) if bool(x.sum() > 0) else x


class Empty(nn.Module):
    def forward(self, x: Tensor) -> Any:
        return {"shape": x.shape}


def test_tensors_held_elsewhere_are_recorded() -> None:
    assert len(record_program(Plain(), EXAMPLE).constants) == 1


def test_what_needs_values_is_refused() -> None:
    with pytest.raises(PruningError, match=r"(?s)could not capture Branching .*without data-dependent branches"):
        capture_program(Branching(), EXAMPLE)
    with pytest.raises(NotRecordable, match="no tensors"):
        record_program(Empty(), EXAMPLE)


class InPlace(nn.Module):
    """Changes a tensor that it also knows under other names."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        same = F.dropout(y, training=False)
        same.relu_()
        return self.two(y)


def test_a_change_in_place_is_seen_under_every_name() -> None:
    program = record_program(InPlace(), EXAMPLE)
    second = [node for node in program.nodes if "conv2d" in str(node.target)][1]
    assert "relu" in str(second.args[0].target)


@torch.library.custom_op("slimyolo_test::double", mutates_args=())
def double(x: Tensor) -> Tensor:
    return x * 2


class Unknown(nn.Module):
    """An operator of the user's own, without a rule for shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.two = nn.Sequential(nn.Conv2d(3, 8, 1)), nn.Conv2d(8, 8, 1)
        self.three = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.three(self.two(double(self.inner(double(x)))))


def test_unknown_operations_raise_are_kept_or_are_taught() -> None:
    with pytest.raises(
        UnknownOperationError, match=r"slimyolo_test\.double in module '\(root\)' \(Unknown\).*register_operation"
    ):
        prune_module(Unknown(), EXAMPLE, ChannelShare(0.5))
    kept = prune_module(Unknown(), EXAMPLE, ChannelShare(0.5), on_unknown="keep")
    assert [group.name for group in kept.plan.groups] == ["two"]
    assert any("slimyolo_test.double is unknown" in note for note in kept.report.notes)
    register_operation("slimyolo_test.double", like="unary")
    taught = prune_module(Unknown(), EXAMPLE, ChannelShare(0.5))
    assert [group.name for group in taught.plan.groups] == ["inner.0", "two"]


class Shared(nn.Module):
    """One layer under two names, one weight in two layers, and a list beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.again, self.three.weight, self.out = self.two, self.two.weight, nn.Conv2d(8, 2, 1)
        self.listed = [self.out.weight]

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(self.three(F.relu(self.again(F.relu(self.two(self.one(x)))))), self.listed[0])


def test_shared_layers_and_weights_are_recorded_once_and_left_as_they_were() -> None:
    model = Shared()
    before = {name: (id(tensor), tensor.clone()) for name, tensor in model.named_parameters(remove_duplicate=False)}
    program = record_program(model, EXAMPLE)
    assert not program.constants
    assert sum(str(node.target) == "aten.conv2d.default" for node in program.nodes) == 5
    after = dict(model.named_parameters(remove_duplicate=False))
    assert all(
        id(after[name]) == known and torch.equal(after[name], values) for name, (known, values) in before.items()
    )


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor, *, factor: Tensor) -> Tensor:
        return self.two(self.one(images) * factor)


def test_inputs_may_be_named() -> None:
    inputs = {"images": EXAMPLE, "factor": torch.ones(1)}
    result = prune_module(Named(), inputs, ChannelShare(0.5))
    assert result.model.one.weight.shape[0] == 4


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


@pytest.mark.parametrize("operator", [torch.ops.aten.add.Tensor, torch.ops.aten.mul.Tensor, torch.ops.aten.div.Tensor])
@pytest.mark.parametrize("batch", [1, 2])
def test_shapes_and_strides_of_sums_of_halves_are_those_of_torch(operator: Any, batch: int) -> None:
    first, second = torch.empty(batch, 8, 4, 4, device="meta").chunk(2, 1)
    whole = torch.empty(batch, 4, 4, 4, device="meta")
    last = torch.empty(batch, 4, 4, 4, device="meta").to(memory_format=torch.channels_last)
    for pair in itertools.product((first, second, whole, last), (first, second, whole, last, 2.0)):
        ours, theirs = run_on_shapes(operator, pair, {}), operator(*pair)
        assert (ours.shape, ours.stride(), ours.dtype) == (theirs.shape, theirs.stride(), theirs.dtype)


def _meta(*shape: int, last: bool = False, dtype: torch.dtype = torch.float32) -> Tensor:
    made = torch.empty(*shape, device="meta", dtype=dtype)
    return made.to(memory_format=torch.channels_last) if last else made


_ATEN = torch.ops.aten
_MAP, _LAST = _meta(2, 8, 7, 6), _meta(2, 8, 7, 6, last=True)
_CHANNELS = [_meta(8)] * 4


@pytest.mark.parametrize(
    ("operator", "given", "ruled"),
    [
        (_ATEN.convolution.default, (_MAP, _meta(4, 8, 3, 3), None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1), True),
        (
            _ATEN.convolution.default,
            (_MAP, _meta(4, 2, 3, 1), _meta(4), [1, 2], [0, 1], [2, 1], False, [0, 0], 4),
            True,
        ),
        (_ATEN.convolution.default, (_MAP, _meta(8, 4, 2, 2), None, [2, 2], [0, 0], [1, 1], True, [0, 0], 1), False),
        (_ATEN.convolution.default, (_meta(2, 8, 9), _meta(4, 8, 3), None, [1], [0], [1], False, [0], 1), False),
        (_ATEN.native_batch_norm.default, (_MAP, *_CHANNELS, False, 0.1, 1e-5), True),
        (_ATEN.native_batch_norm.default, (_LAST, *_CHANNELS, False, 0.1, 1e-5), True),
        (_ATEN.native_batch_norm.default, (_MAP, *_CHANNELS, True, 0.1, 1e-5), False),  # training
        (_ATEN.max_pool2d_with_indices.default, (_MAP, [5, 5], [1, 1], [2, 2]), True),
        (_ATEN.max_pool2d_with_indices.default, (_MAP, [2, 2]), True),
        (_ATEN.max_pool2d_with_indices.default, (_MAP, [2, 2], [2, 2], [0, 0], [1, 1], True), False),  # rounded up
        (_ATEN.avg_pool2d.default, (_MAP, [2, 2], [1, 1], [0, 0], False, True), True),
        (_ATEN.avg_pool2d.default, (_MAP, [2, 2]), True),
        (_ATEN.avg_pool2d.default, (_MAP, [2, 2], [2, 2], [0, 0], True), False),
        (_ATEN.upsample_nearest2d.default, (_MAP, [14, 12], 2.0, 2.0), True),
        (_ATEN.upsample_nearest2d.default, (_LAST, [14, 12]), False),
        (_ATEN.bmm.default, (_meta(3, 4, 5), _meta(3, 6, 5).transpose(1, 2)), True),
        (_ATEN.matmul.default, (_meta(2, 3, 5, 4).transpose(2, 3), _meta(2, 3, 5, 6)), True),
        (_ATEN.matmul.default, (_meta(2, 3, 4, 5), _meta(5, 6)), False),
        (_ATEN._softmax.default, (_MAP, 3, False), True),
        (_ATEN._softmax.default, (_LAST, 1, False), False),
        (_ATEN.softmax.int, (_MAP, -1), True),
        (_ATEN.softmax.int, (_MAP, -1, torch.float64), False),
        (_ATEN.hardswish.default, (_LAST,), True),
        (_ATEN.leaky_relu.default, (_MAP, 0.1), True),
        (_ATEN.hardtanh.default, (_MAP, 0.0, 6.0), True),
        (_ATEN.silu_.default, (_MAP,), True),
        (_ATEN.leaky_relu_.default, (_meta(2, 8, 3, dtype=torch.float16), 0.1), True),
    ],
)
def test_shapes_and_strides_of_rules_are_those_of_torch(operator: Any, given: tuple[Any, ...], ruled: bool) -> None:
    ours, theirs = result_by_rule(operator, given, {}), operator(*given)
    assert (ours is not None) == ruled
    for one, two in zip(tree_leaves(ours), tree_leaves(theirs), strict=True) if ruled else ():
        assert (one.shape, one.stride(), one.dtype) == (two.shape, two.stride(), two.dtype)


def test_counting_and_tracing_detectors_imports_neither_the_compiler_nor_sympy() -> None:
    code = """
import sys, torch
from slimyolo.costs import model_cost
from slimyolo.families import read_architecture
from slimyolo.models import build_detector
from slimyolo.pruning import trace
for name in ("yolov5n", "yolov9t", "yolo11n"):
    detector = build_detector(read_architecture(name))
    for one in (detector, detector.fused()):
        model_cost(one, 320, forward=one.heads)
trace(detector, torch.zeros(1, 3, 320, 320))
assert not [name for name in ("torch._dynamo", "sympy") if name in sys.modules]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_shortcut_over_a_half_does_not_import_the_compiler() -> None:
    code = """
import sys, torch
from torch import nn
from slimyolo.tracing.capture import record_program
class Half(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 1), nn.Conv2d(4, 4, 1)
    def forward(self, images):
        first, second = self.one(images).chunk(2, 1)
        return torch.cat((first, second + self.two(second)), 1)
record_program(Half().eval(), torch.zeros(1, 3, 4, 4))
assert not [name for name in sys.modules if name.startswith("torch._dynamo")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
