"""Parity: a network in ONNX Runtime and in OpenVINO computes what it computes in PyTorch; and a table of what can go wrong."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from exporting_networks import make_small_detector

from slimyolo.errors import ConfigError, ExportError, ModelError
from slimyolo.exporting import GRAPH_RUNTIMES, in_runtime
from slimyolo.exporting.graphs import running
from slimyolo.exporting.graphs.heads_graph import graph_key, heads_graph
from slimyolo.families import read_architecture
from slimyolo.models import Detector, build_detector

FAMILIES = ("yolov5n", "yolov8n", "yolo11n", "yolo26n")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of graphs, in a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "slimyolo" / "graphs"


@pytest.fixture(scope="module")
def detector() -> Detector:
    return make_small_detector()


def in_one(detector: Detector, runtime: str) -> running.GraphDetector:
    pytest.importorskip(runtime)
    return in_runtime(detector, runtime, version="0", threads=1)


def check(detector: Detector, network: running.GraphDetector) -> None:
    """Compare the decoded rows for images of several sizes, in batches of several sizes."""
    stride = int(detector.stride.max())
    for number, shape in enumerate(((1, 2, 3), (9, 3, 2), (2, 3, 3), (1, 2, 3))):
        size = (shape[0], 3, shape[1] * stride, shape[2] * stride)
        images = torch.rand(size, generator=torch.Generator().manual_seed(number))
        with torch.inference_mode():
            expected, found = detector(images), network(images)
        assert found.shape == expected.shape
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("runtime", GRAPH_RUNTIMES)
def test_it_computes_the_same_for_images_of_any_size(detector: Detector, runtime: str) -> None:
    network = in_one(detector, runtime)
    check(detector, network)
    assert (network.names, network.rows, network.suppression) == (detector.names, detector.rows, detector.suppression)
    assert runtime in network.versions
    assert repr(network).startswith(f"GraphDetector(runtime='{runtime}'")


@pytest.mark.slow
@pytest.mark.parametrize("runtime", GRAPH_RUNTIMES)
@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_computes_the_same(name: str, runtime: str) -> None:
    detector = build_detector(read_architecture(name).with_classes(3), seed=0).eval()
    check(detector, in_one(detector, runtime))


def test_the_graph_is_made_once(detector: Detector, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_one(detector, "onnxruntime")
    (file,) = folder.iterdir()
    monkeypatch.setattr(running, "heads_graph", lambda fused: pytest.fail("the graph was made again"))
    check(detector, in_one(detector, "onnxruntime"))
    assert [one.name for one in folder.iterdir()] == [file.name]


@pytest.mark.parametrize("content", [b"", b"not a graph", None], ids=["empty", "other bytes", "another network"])
def test_a_graph_that_is_no_use_is_made_again(detector: Detector, folder: Path, content: bytes | None) -> None:
    if content is None:
        other = make_small_detector()
        with torch.no_grad():
            other.model[0].conv.weight.mul_(1.1)
        content = heads_graph(other.fused())
    key = graph_key(detector, "0")
    running.KEPT.put(key, content)
    check(detector, in_one(detector, "onnxruntime"))
    assert running.KEPT.get(key) not in (None, content)


def test_nothing_has_to_be_kept(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nothing")
    check(detector, in_one(detector, "onnxruntime"))


def test_the_key_says_what_the_graph_depends_on(detector: Detector) -> None:
    keys = {graph_key(detector, "0"), graph_key(make_small_detector(), "0")}
    assert len(keys) == 1  # the same content, wherever it comes from
    keys.add(graph_key(detector, "1"))
    other = make_small_detector()
    other.set_activation_("relu")
    keys.add(graph_key(other, "0"))
    with torch.no_grad():
        other.model[0].conv.weight[0, 0, 0, 0] += 1e-6
    keys.add(graph_key(other, "0"))
    assert len(keys) == 4


def test_what_cannot_be_had(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"There is no runtime 'onnxrutime'.* Did you mean 'onnxruntime'\?"):
        in_runtime(detector, "onnxrutime", version="0")
    monkeypatch.setattr(running, "heads_graph", lambda fused: b"not a graph")
    with pytest.raises(ExportError, match=r"The network cannot be run in onnxruntime: .*Use --runtime torch\."):
        in_one(detector, "onnxruntime")
    monkeypatch.setattr(running, "heads_graph", heads_graph)
    monkeypatch.setattr(running, "_LARGEST_DIFFERENCE", -1.0)
    with pytest.raises(ExportError, match=r"what it computes differs from what PyTorch computes\. Use --runtime torch"):
        in_one(detector, "onnxruntime")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"--runtime openvino needs onnx, openvino, .*slimyolo\[export,openvino\]"):
        in_runtime(detector, "openvino", version="0")


def test_a_failure_while_it_runs_names_the_way_out(detector: Detector) -> None:
    network = in_one(detector, "onnxruntime")
    with pytest.raises(ModelError, match=r"could not run the network on images \[1, 4, 64, 64\].*--runtime torch"):
        network(torch.zeros(1, 4, 64, 64))
