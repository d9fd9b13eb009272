"""Table of cases: which runtime runs the network of a checkpoint, and what is said when one cannot."""

from __future__ import annotations

import logging

import pytest
import torch

from slimyolo.errors import ConfigError, ExportError
from slimyolo.families import read_architecture
from slimyolo.models import Detector, build_detector
from slimyolo.tasks.common import network_runtime as module
from slimyolo.tasks.common.network_runtime import NetworkWork, convolution_gflops, network_runtime, pays
from slimyolo.tasks.common.opened_model import size_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def detector() -> Detector:
    """yolov5n of two classes: 1.03 GFLOPs at 320 px."""
    return build_detector(read_architecture("yolov5n").with_classes(2), seed=0).eval()


@pytest.mark.parametrize(
    ("images", "come_in", "threads", "expected"),
    [
        (200, "batches", 1, False),
        (400, "batches", 1, False),
        (500, "batches", 1, True),
        (500, "batches", 2, False),  # two threads take half the time, but one makes the graph
        (2000, "batches", 2, True),
        (2000, "batches", 16, False),
        (49, "single images", 1, False),
        (150, "single images", 1, True),  # a single image gains more
        (200, "single images", 2, False),
        (300, "single images", 2, True),
        (0, "single images", 1, False),  # a camera
    ],
)
def test_it_pays_from_so_many_images(
    detector: Detector, images: int, come_in: str, threads: int, expected: bool
) -> None:
    work = NetworkWork(images=images, imgsz=320, come_in=come_in)  # type: ignore[arg-type]
    assert pays(detector, work, threads) == expected


@pytest.mark.parametrize("name", ["yolov5n", "yolov10n"])
def test_the_quick_count_is_that_of_the_slow_one(name: str) -> None:
    detector = build_detector(read_architecture(name).with_classes(2), seed=0)
    weights = {key: value.clone() for key, value in detector.state_dict().items()}
    assert convolution_gflops(detector, 320) == pytest.approx(size_of(detector, 320).gflops, rel=0.02)
    assert detector.training
    assert all(torch.equal(value, weights[key]) for key, value in detector.state_dict().items())


def test_larger_images_pay_sooner(detector: Detector) -> None:
    work = [NetworkWork(images=200, imgsz=imgsz, come_in="batches") for imgsz in (320, 640)]
    assert [pays(detector, one, 1) for one in work] == [False, True]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runtimes in which a network was opened. Nothing is opened."""
    names: list[str] = []

    def note(detector: Detector, runtime: str, *, version: str) -> None:
        names.append(runtime)

    monkeypatch.setattr(module, "in_runtime", note)
    monkeypatch.setattr(module, "can_run_graphs", lambda runtime: True)
    monkeypatch.setattr(module, "runtime_words", lambda network: "onnxruntime 1.0")
    return names


def many() -> NetworkWork:
    return NetworkWork(images=100_000, imgsz=320, come_in="batches")


def not_called() -> NetworkWork:
    raise AssertionError("the work was counted although it does not matter")


def test_who_asks_gets_it(detector: Detector, opened: list[str]) -> None:
    network_runtime(detector, "openvino", not_called, CPU)
    network_runtime(detector, "torch", not_called, CPU)
    network_runtime(detector, "auto", many, CPU)
    network_runtime(detector, "auto", lambda: NetworkWork(images=60, imgsz=64, come_in="batches"), CPU)
    assert opened == ["openvino", "onnxruntime"]


def test_a_gpu_runs_it_itself(detector: Detector, opened: list[str]) -> None:
    assert network_runtime(detector, "auto", not_called, torch.device("cuda")) is None
    with pytest.raises(
        ConfigError, match=r"--runtime onnxruntime runs checkpoints on the processor, not on cuda\. Add --device cpu"
    ):
        network_runtime(detector, "onnxruntime", not_called, torch.device("cuda"))
    assert opened == []


def test_without_the_package_pytorch_runs_it(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "can_run_graphs", lambda runtime: False)
    assert network_runtime(detector, "auto", not_called, CPU) is None


def test_a_network_that_cannot_be_run_is_told_in_one_line(
    detector: Detector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(detector: Detector, runtime: str, *, version: str) -> None:
        raise ExportError("The network cannot be run in onnxruntime: no such operation. Use --runtime torch.")

    monkeypatch.setattr(module, "in_runtime", fail)
    monkeypatch.setattr(module, "can_run_graphs", lambda runtime: True)
    caplog.set_level(logging.INFO, "slimyolo")
    assert network_runtime(detector, "auto", many, CPU) is None
    assert caplog.messages == [
        "PyTorch runs the network. The network cannot be run in onnxruntime: no such operation. Use --runtime torch."
    ]
    with pytest.raises(ExportError):  # who asks for it is told that it cannot be had
        network_runtime(detector, "onnxruntime", many, CPU)
