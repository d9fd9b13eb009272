"""Table of cases: which formats exist, which are refused with which message, and which packages they need."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from slimyolo.errors import ExportError
from slimyolo.exporting import (
    FORMATS,
    ExportSettings,
    Suppression,
    check_settings,
    find_format,
    format_names,
    require_packages,
)
from slimyolo.exporting.formats.tensorrt import trtexec_line

WRITTEN = "slimyolo writes: onnx, openvino, ncnn, torchscript, coreml, litert, tensorrt."


def test_the_table_is_keyed_by_its_own_names() -> None:
    assert format_names() == ("onnx", "openvino", "ncnn", "torchscript", "coreml", "litert", "tensorrt")
    for name, row in FORMATS.items():
        assert find_format(name) is row
        assert row.name == name
    assert [name for name, row in FORMATS.items() if row.example is None] == ["coreml", "tensorrt"]
    assert {find_format(name).name for name in ("engine", "tflite", "mlpackage")} == {"tensorrt", "litert", "coreml"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("onxx", rf"no such format\. Did you mean 'onnx'\? {WRITTEN}"),
        ("TorchScript", r"Did you mean 'torchscript'\?"),
        ("opnvino", r"no such format\. Did you mean 'openvino'\?"),
        ("wrong", rf"--format wrong: there is no such format\. {WRITTEN}$"),
        *(
            (name, rf"does not write this format\. {WRITTEN}$")
            for name in ("saved_model", "pb", "edgetpu", "tfjs", "paddle")
        ),
    ],
)
def test_formats_that_are_refused(name: str, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        find_format(name)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("ncnn", ExportSettings(dynamic=True), r"--dynamic: ncnn files take images of one size\. Leave it out"),
        ("ncnn", ExportSettings(batch=2), r"--batch-size 2: ncnn files take one image at a time\. Leave it out"),
        (
            "ncnn",
            ExportSettings(nms=Suppression(0.2, 0.4, 9)),
            r"--nms: ncnn files cannot contain NMS\. .* the example",
        ),
        ("coreml", ExportSettings(dynamic=True), r"--dynamic: coreml files"),
        ("litert", ExportSettings(half=True), r"--half: litert files are not written in 16 bits\. Leave it out"),
    ],
)
def test_what_a_format_cannot(name: str, settings: ExportSettings, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        check_settings(find_format(name), settings)


def test_what_the_others_can() -> None:
    everything = ExportSettings(dynamic=True, batch=2, half=True, nms=Suppression(0.2, 0.4, 9))
    for name in ("onnx", "openvino", "torchscript", "tensorrt"):
        check_settings(find_format(name), everything)


def test_a_missing_package_is_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: dict[str, Any] = {"onnxruntime": None, "onnxslim": None, "openvino": None}
    for package in gone:
        monkeypatch.setitem(sys.modules, package, None)
    words = r"Writing onnx needs onnxruntime, which .* pip install 'slimyolo\[export\]'"
    with pytest.raises(ExportError, match=words):
        require_packages(FORMATS["onnx"])
    with pytest.raises(ExportError, match="needs onnxruntime, onnxslim, which"):
        require_packages(FORMATS["onnx"], simplify=True)
    with pytest.raises(ExportError, match=r"pip install 'slimyolo\[export,openvino\]'"):
        require_packages(FORMATS["openvino"])
    require_packages(FORMATS["torchscript"], simplify=True)


def test_the_line_that_builds_an_engine() -> None:
    settings = ExportSettings(size=(320, 256), dynamic=True, half=True)
    assert trtexec_line("best_tensorrt.onnx", settings, 32) == (
        "trtexec --onnx=best_tensorrt.onnx --saveEngine=best.engine --fp16 --minShapes=images:1x3x32x32 "
        "--optShapes=images:1x3x320x256 --maxShapes=images:16x3x640x512"
    )
    plain = trtexec_line("a_tensorrt.onnx", ExportSettings(), 32)
    assert plain == "trtexec --onnx=a_tensorrt.onnx --saveEngine=a.engine"
