"""Parity: all eleven models of fixture d1 — keys and shapes, parameters, strides, anchors, excluded batch norms."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from slimyolo.families import FAMILIES, read_architecture
from slimyolo.families.yolov5.shortcuts import reference_excluded_batchnorms
from slimyolo.models import Architecture, Detector, batchnorm_names, build_detector

REPOSITORY = Path(__file__).resolve().parents[2]
FACTS: dict[str, Any] = json.loads(gzip.decompress((REPOSITORY / "tests/data/d1_architectures.json.gz").read_bytes()))
NAMES = [name for name in FACTS if not name.startswith("_")]


@cache
def built(name: str) -> Detector:
    architecture = read_architecture(name.removesuffix("_nc2")).with_classes(FACTS[name]["nc"])
    return on_shapes(architecture)


def on_shapes(architecture: Architecture) -> Detector:
    """Built without drawing 140 million random numbers: these tests look at shapes."""
    with torch.device("meta"):
        return build_detector(architecture)


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_has_the_keys_and_shapes_of_yolov5(name: str) -> None:
    shapes = {key: list(value.shape) for key, value in built(name).state_dict().items()}
    assert shapes == FACTS[name]["state_dict"]
    assert list(shapes) == list(FACTS[name]["state_dict"])
    assert len(shapes) == FACTS[name]["n_state_keys"]


@pytest.mark.parametrize("name", NAMES)
def test_parameter_counts_unfused_and_fused(name: str) -> None:
    detector = built(name)
    assert sum(item.numel() for item in detector.parameters()) == FACTS[name]["params_unfused"]
    fused = detector.fused()
    assert sum(item.numel() for item in fused.parameters()) == FACTS[name]["params_fused"]
    assert not batchnorm_names(fused)
    assert sum(item.numel() for item in detector.parameters()) == FACTS[name]["params_unfused"]  # untouched


@pytest.mark.parametrize("name", NAMES)
def test_batch_norms_and_those_the_reference_never_prunes(name: str) -> None:
    detector, facts = built(name), FACTS[name]
    excluded = reference_excluded_batchnorms(detector)
    assert sorted(excluded) == sorted(facts["bn_excluded_by_ref"])
    assert len(batchnorm_names(detector)) == facts["bn_total"]
    channels = {name: detector.get_submodule(name).num_features for name in batchnorm_names(detector)}
    assert sum(channels.values()) == facts["bn_channels_total"]
    assert (
        sum(count for name, count in channels.items() if name not in excluded) == facts["bn_channels_prunable_by_ref"]
    )
    for name in channels:
        assert (detector.get_submodule(name).eps, detector.get_submodule(name).momentum) == (1e-3, 0.03)


@pytest.mark.parametrize("name", ["yolov5n", "yolov5n6", "yolov5n_nc2"])
def test_strides_anchors_and_layers(name: str) -> None:
    facts = FACTS[name]
    detector = build_detector(read_architecture(name.removesuffix("_nc2")).with_classes(facts["nc"]), seed=0)
    assert detector.stride.tolist() == facts["stride"]
    assert detector.anchors.tolist() == facts["anchors_pixels"]
    assert detector.architecture.depth_multiple == facts["depth_multiple"]
    for layer, expected in zip(detector.model, facts["top_level_layers"], strict=True):
        assert type(layer).__name__ == expected["type"]
        assert sum(item.numel() for item in layer.parameters()) == expected["np"]


@pytest.mark.parametrize("name", FAMILIES["yolov5"].architectures)
def test_yaml_files_of_the_repository_are_the_built_in_families(name: str) -> None:
    folder = REPOSITORY / "models" / ("hub" if name.endswith("6") else ".")
    assert read_architecture(folder / f"{name}.yaml") == read_architecture(name)
    assert FACTS[name]["cfg"] == f"models/{'hub/' if name.endswith('6') else ''}{name}.yaml"


@pytest.mark.parametrize("name", ["yolov5n", "yolov5s"])
def test_mask_yaml_is_the_family_with_two_classes(name: str) -> None:
    mask = read_architecture(REPOSITORY / "models" / f"{name}_mask.yaml")
    family = read_architecture(name).with_classes(2)
    assert (mask.nc, mask.layers, mask.anchors) == (2, family.layers, family.anchors)
    shapes = [value.shape for value in on_shapes(mask).state_dict().values()]
    assert shapes == [value.shape for value in on_shapes(family).state_dict().values()]
    if name == "yolov5n":
        assert [list(shape) for shape in shapes] == list(FACTS["yolov5n_nc2"]["state_dict"].values())
