"""Property: a consistent widths table builds a running detector with these widths; one that does not fit is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from slimyolo.costs import model_cost
from slimyolo.errors import ModelError
from slimyolo.families import read_architecture
from slimyolo.families.yolov5.head import Detect
from slimyolo.models import (
    C3,
    SPPF,
    Concat,
    Conv,
    Detector,
    LayerWidth,
    build_detector,
    narrow_,
    widths_from_plain,
    widths_of,
    widths_to_plain,
)

NANO = read_architecture("yolov5n").with_classes(2)


def random_widths(detector: Detector, random: Random) -> dict[str, LayerWidth]:
    """A random cut of every layer, followed through the graph the way a pruning plan must."""
    table = widths_of(detector)
    outputs: dict[int, int] = {-1: 3}

    def conv(name: str, inputs: int, outputs: int | None = None) -> int:
        before = table[f"{name}.conv"]
        after = random.randint(1, before.outputs) if outputs is None else outputs
        table[f"{name}.conv"] = replace(before, inputs=inputs, outputs=after)
        table[f"{name}.bn"] = LayerWidth(after, after, 1, True)
        return after

    for index, layer in enumerate(detector.model):
        row, name = detector.architecture.layers[index], f"model.{index}"
        sources = [outputs[index + source if source < 0 else source] for source in row.sources]
        if isinstance(layer, Conv):
            outputs[index] = conv(name, sources[0])
        elif isinstance(layer, C3):
            chain = conv(f"{name}.cv1", sources[0])
            for position, bottleneck in enumerate(layer.m):
                hidden = conv(f"{name}.m.{position}.cv1", chain)
                chain = conv(f"{name}.m.{position}.cv2", hidden, chain if bottleneck.add else None)
            outputs[index] = conv(f"{name}.cv3", chain + conv(f"{name}.cv2", sources[0]))
        elif isinstance(layer, SPPF):
            outputs[index] = conv(f"{name}.cv2", 4 * conv(f"{name}.cv1", sources[0]))
        elif isinstance(layer, Concat):
            outputs[index] = sum(sources)
        elif isinstance(layer, Detect):
            for level, channels in enumerate(sources):
                before = table[f"{name}.m.{level}"]
                table[f"{name}.m.{level}"] = replace(before, inputs=channels)
        else:
            outputs[index] = sources[0]
    return table


@settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**31))
def test_a_random_consistent_cut_builds_runs_and_comes_back(seed: int) -> None:
    table = random_widths(build_detector(NANO, seed=0), Random(seed))
    detector = build_detector(NANO, widths=table, seed=1).eval()
    assert widths_of(detector) == table
    assert widths_of(build_detector(NANO, widths=widths_of(detector), seed=2)) == table
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        rows, fused_rows = detector(images), detector.fused()(images)
    assert rows.shape == (2, 3 * (8 * 12 + 4 * 6 + 2 * 3), 7)
    torch.testing.assert_close(fused_rows, rows, rtol=1e-4, atol=1e-3)
    convolutions = {name: width for name, width in table.items() if isinstance(detector.get_submodule(name), nn.Conv2d)}
    cost = model_cost(detector, (64, 96))
    assert {row.name: row.params for row in cost.layers if row.name in convolutions} == {
        name: width.inputs * width.outputs * detector.get_submodule(name).kernel_size[0] ** 2
        + width.bias * width.outputs
        for name, width in convolutions.items()
    }
    loaded = build_detector(NANO, widths=table, seed=4)
    loaded.load_state_dict(detector.state_dict())
    with torch.no_grad():
        assert torch.equal(loaded.eval()(images), rows)


def test_a_table_of_unchanged_sizes_changes_nothing() -> None:
    detector = build_detector(NANO, seed=0)
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    narrow_(detector, widths_of(detector))
    assert all(torch.equal(before[name], value) for name, value in detector.state_dict().items())


def test_plain_round_trip_is_lossless() -> None:
    table = widths_of(build_detector(NANO, seed=0))
    assert widths_from_plain(json.loads(json.dumps(widths_to_plain(table)))) == table
    assert list(widths_from_plain(widths_to_plain(table))) == list(table)


def test_every_sized_kind_of_layer_can_be_resized() -> None:
    module = nn.Sequential(
        nn.Conv2d(6, 8, 3, groups=2),
        nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2, bias=False),
        nn.BatchNorm2d(6, eps=1e-4, momentum=0.2),
        nn.Conv1d(6, 6, 1),
        nn.BatchNorm1d(6, affine=False),
        nn.Linear(5, 7),
        nn.BatchNorm2d(4, affine=False, track_running_stats=False),
    ).double()
    module.eval()
    wanted = {
        "0": LayerWidth(4, 6, 2, False),
        "1": LayerWidth(6, 9, 3, True),
        "2": LayerWidth(9, 9, 1, True),
        "3": LayerWidth(9, 2, 1, True),
        "4": LayerWidth(2, 2, 1, True),
        "5": LayerWidth(3, 2, 1, False),
        "6": LayerWidth(2, 2, 1, False),
    }
    narrow_(module, wanted)
    assert widths_of(module) == wanted
    assert not module[2].training
    assert (module[2].eps, module[2].momentum, module[2].running_var.dtype) == (1e-4, 0.2, torch.float64)
    output = module[2](module[1](module[0](torch.rand(1, 4, 5, 5, dtype=torch.float64))))
    assert output.shape == (1, 9, 6, 6)
    assert module[4](module[3](torch.rand(2, 9, 4, dtype=torch.float64))).shape == (2, 2, 4)
    assert module[5](torch.rand(3, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(
    ("name", "width", "message"),
    [
        ("model.0.conf", LayerWidth(3, 16), r"names a layer 'model.0.conf' .*Did you mean 'model.0.conv'"),
        ("model.0.conv", None, r"lacks the layer 'model.0.conv' \(Conv2d\)"),
        ("model.0.conv", LayerWidth(0, 16), r"'model.0.conv' \(Conv2d\): sizes must be from 1"),
        ("model.0.conv", LayerWidth(3, 1 << 30), r"'model.0.conv' \(Conv2d\): sizes must be from 1"),
        ("model.0.conv", LayerWidth(3, 16, 2), r"'model.0.conv' \(Conv2d\): inputs and outputs must be multiples"),
        ("model.0.bn", LayerWidth(8, 9, 1, True), r"'model.0.bn' \(BatchNorm2d\): a batch norm has as many outputs"),
    ],
)
def test_tables_that_do_not_fit_are_refused_and_change_nothing(
    name: str, width: LayerWidth | None, message: str
) -> None:
    detector = build_detector(NANO, seed=0)
    table = widths_of(detector)
    table["model.1.conv"] = LayerWidth(2, 2)  # legal by itself; must not be applied before the bad one is seen
    if width is None:
        del table[name]
    else:
        table[name] = width
    with pytest.raises(ModelError, match=message):
        narrow_(detector, table)
    assert widths_of(detector) == widths_of(build_detector(NANO, seed=0))


def test_a_linear_layer_has_one_group() -> None:
    with pytest.raises(ModelError, match="a linear layer has one group"):
        narrow_(nn.Sequential(nn.Linear(4, 4)), {"0": LayerWidth(4, 4, 2)})


@pytest.mark.parametrize(
    "plain",
    [
        [],
        {"a": 3},
        {"a": {"inputs": 1, "outputs": 2, "groups": 1}},
        {"a": {"inputs": 1.0, "outputs": 2, "groups": 1, "bias": True}},
        {"a": {"inputs": 1, "outputs": 2, "groups": 1, "bias": 1}},
        {"a": {"inputs": 1, "outputs": 2, "groups": 1, "bias": True, "more": 1}},
        {3: {"inputs": 1, "outputs": 2, "groups": 1, "bias": True}},
    ],
)
def test_plain_data_that_is_no_table_is_refused(plain: object) -> None:
    with pytest.raises(ModelError, match="idths"):
        widths_from_plain(plain)
