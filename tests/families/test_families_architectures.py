"""Parity: fixture d10, 61 networks of the anchor-free families for 80 and for 2 classes: keys, shapes, counts, MACs."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from slimyolo.costs import model_cost
from slimyolo.families import FAMILIES, read_architecture
from slimyolo.models import Detector, batchnorm_names, build_detector

REPOSITORY = Path(__file__).resolve().parents[2]
FACTS: dict[str, Any] = json.loads(gzip.decompress((REPOSITORY / "tests/data/d10_architectures.json.gz").read_bytes()))
CASES = [key for key in FACTS if not key.startswith("_")]
QUICK = {
    *(f"{name}|80" for name in ("yolov8n", "yolov5nu", "yolo26n", "yolov10n", "yolov8n-p6")),
    *(f"{name}|2" for name in ("yolov8n", "yolo11m", "yolo12l", "yolov9t")),
}
PARAMETERS = [case if case in QUICK else pytest.param(case, marks=pytest.mark.slow) for case in CASES]


@cache
def on_shapes(case: str) -> Detector:
    """The network of a case on the meta device: these tests look at shapes."""
    name, _, nc = case.partition("|")
    with torch.device("meta"):
        return build_detector(read_architecture(name).with_classes(int(nc)))


def state_of(case: str) -> dict[str, list[int]]:
    """Ordered keys and shapes of the state_dict, by the fixture."""
    name = case.partition("|")[0]
    return dict(FACTS[f"{name}|80"]["state"]) | dict(FACTS[case].get("state_differs_from_nc80", []))


def size(module: nn.Module) -> int:
    return sum(item.numel() for item in module.parameters())


def test_every_network_of_the_fixture_is_built_in() -> None:
    built_in = {name for key, family in FAMILIES.items() if key != "yolov5" for name in family.architectures}
    assert {case.partition("|")[0] for case in CASES} == built_in
    assert len(CASES) == 122


@pytest.mark.parametrize("case", PARAMETERS)
def test_keys_shapes_and_counts(case: str) -> None:
    facts, detector = FACTS[case], on_shapes(case)
    shapes = {key: list(value.shape) for key, value in detector.state_dict().items()}
    assert shapes == state_of(case)
    assert list(shapes) == list(state_of(case))
    assert size(detector) == facts["params"]
    assert [size(layer) for layer in detector.model] == facts["params_by_layer"]
    assert sum(isinstance(part, nn.Conv2d) for part in detector.modules()) == facts["n_conv2d"]
    norms = batchnorm_names(detector)
    assert len(norms) == facts["n_batchnorm"]
    assert sum(detector.get_submodule(name).num_features for name in norms) == facts["bn_channels"]  # type: ignore[misc]
    assert {(part.eps, part.momentum) for part in detector.modules() if isinstance(part, nn.BatchNorm2d)} == {
        (1e-3, 0.03)
    }


@pytest.mark.parametrize("case", PARAMETERS)
def test_macs_at_640(case: str) -> None:
    facts, detector = FACTS[case], on_shapes(case)
    cost = model_cost(detector, 640, forward=detector.heads)
    assert cost.uncounted == ()
    assert cost.macs == facts["macs_conv_640"] + facts["macs_attention_matmul_640"]
    assert cost.params == facts["params"]


@pytest.mark.parametrize("case", PARAMETERS)
def test_parameters_once_fused(case: str) -> None:
    """The fixture counts one branch of two, and one convolution of parallel ones."""
    facts, fused = FACTS[case], on_shapes(case).fused()
    assert not batchnorm_names(fused)
    assert size(fused) == facts["params_fused_default_head"]
    assert size(on_shapes(case)) == facts["params"]  # untouched


@pytest.mark.parametrize("name", ["yolov8n-p2", "yolo26n-p6"])
def test_strides(name: str) -> None:
    assert build_detector(read_architecture(name), seed=0).stride.tolist() == FACTS[f"{name}|80"]["stride"]
