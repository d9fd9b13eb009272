"""Property: an exported file with weights of other sizes runs, and has the size of a network that was cut to them."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from slimyolo.errors import ExportError
from slimyolo.exporting import ExportSettings, FileMetadata, find_format, open_exported, resized_onnx
from slimyolo.models import Detector
from slimyolo.pruning import ChannelShare, prune_module


def test_the_file_of_a_cut_network_without_exporting_it(small_detector: Detector, tmp_path: Path) -> None:
    settings = ExportSettings(size=(32, 32), metadata=FileMetadata(names=("face", "masqué"), stride=4, imgsz=(32, 32)))
    path = tmp_path / "dense.onnx"
    find_format("onnx").write(small_detector.fused(), path, settings)
    cut = prune_module(small_detector, torch.zeros(1, 3, 32, 32), ChannelShare(0.4)).model
    shapes = {name: tuple(m.weight.shape) for name, m in cut.named_modules() if isinstance(m, torch.nn.Conv2d)}
    resized = tmp_path / "cut.onnx"
    resized.write_bytes(resized_onnx(path.read_bytes(), shapes))
    sizes = {tensor.name: tuple(tensor.dims) for tensor in onnx.load(resized).graph.initializer}
    assert {name: sizes[f"{name}.weight"] for name in shapes} == shapes
    assert len({shape[0] for shape in shapes.values()}) > 3, "the cut did change widths"
    with open_exported(resized) as model:
        assert model(torch.rand(1, 3, 32, 32)).shape == (1, 640, 7)
    with pytest.raises(ExportError, match=r"has no weight model\.99\.conv\.weight"):
        resized_onnx(path.read_bytes(), {"model.99.conv": (1, 1, 1, 1)})
