"""Table of cases: which formats there are, which are refused and with what words, and what is missing to write them."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from slimyolo.errors import ExportError
from slimyolo.exporting import FORMATS, find_format, format_names, require_packages


def test_the_table_is_keyed_by_its_own_names() -> None:
    assert format_names() == ("onnx", "torchscript")
    for name, row in FORMATS.items():
        assert find_format(name) is row
        assert row.name == name
        assert row.suffix.startswith(".")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("onxx", r"no such format\. Did you mean 'onnx'\? Written today: onnx, torchscript\."),
        ("TorchScript", r"Did you mean 'torchscript'\?"),
        ("opnvino", r"no such format\. Did you mean 'openvino'\?"),
        ("wrong", r"--include wrong: there is no such format\. Written today: onnx, torchscript\.$"),
        ("openvino", r"does not write this format yet\. Written today: onnx, torchscript\. OpenVINO reads the ONNX"),
        ("ncnn", r"yet\. .*\. pnnx makes an ncnn model"),
        ("engine", r"yet\. .*\. `trtexec --onnx=FILE` makes a TensorRT engine"),
        ("coreml", r"yet\. .*\. coremltools"),
        *((name, r"yet\. Written today: onnx, torchscript\.$")
          for name in ("tflite", "saved_model", "pb", "edgetpu", "tfjs", "paddle")),
    ],
)  # fmt: skip
def test_formats_that_are_refused(name: str, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        find_format(name)


def test_a_missing_package_is_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: dict[str, Any] = {"onnxruntime": None, "onnxslim": None}
    for package in gone:
        monkeypatch.setitem(sys.modules, package, None)
    words = r"Writing onnx needs onnxruntime, which .* pip install 'slimyolo\[export\]'"
    with pytest.raises(ExportError, match=words):
        require_packages(FORMATS["onnx"])
    with pytest.raises(ExportError, match="needs onnxruntime, onnxslim, which"):
        require_packages(FORMATS["onnx"], simplify=True)
    require_packages(FORMATS["torchscript"], simplify=True)
