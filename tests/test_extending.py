"""Table of cases: each list in `docs/extending.md` is followed with a toy (for an export format see `tests/exporting`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slimyolo.checkpoints import loading, save_checkpoint
from slimyolo.data.convert.convert import Conversion, convert_dataset
from slimyolo.data.convert.formats.table import FORMATS, Format
from slimyolo.data.convert.source import Source, SourceBox, SourceImage
from slimyolo.errors import ConfigError, UnknownOperationError
from slimyolo.families.yolov5 import YOLOV5
from slimyolo.geometry import RowLayout
from slimyolo.losses import LossParts
from slimyolo.models import BLOCKS, Argument, Built, Family, Incoming, LossSettings, ModuleRule, build_detector, reading
from slimyolo.models.layers import Conv
from slimyolo.models.module_table import OUTPUTS
from slimyolo.pruning import ChannelGraph, MacsShare, ParamsShare, mask_module, prune_module, register_operation
from slimyolo.pruning.scores.weights import IMPORTANCES
from slimyolo.tracing import kinds

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


# --- an operation ---------------------------------------------------------------------------------------------------


@torch.library.custom_op("slimyolo_toys::doubled_softsign", mutates_args=())
def doubled_softsign(x: Tensor) -> Tensor:
    return 2 * x / (1 + x.abs())


@doubled_softsign.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = doubled_softsign(x)
        return result


def toy_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), Doubled()),
        *(nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12), nn.SiLU(), nn.Conv2d(12, 4, 1)),
    ).eval()


def test_an_operation_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "_TABLE", dict(kinds._TABLE))
    network = toy_network()
    with pytest.raises(UnknownOperationError, match=r"doubled_softsign.*register_operation"):
        prune_module(network, IMAGES, MacsShare(0.5))
    register_operation("slimyolo_toys.doubled_softsign", like="unary")
    result = prune_module(network, IMAGES, MacsShare(0.5))
    assert result.plan.removed_channels > 0
    torch.testing.assert_close(result.model(IMAGES), mask_module(network, result.plan)(IMAGES), rtol=1e-4, atol=1e-5)


# --- an importance --------------------------------------------------------------------------------------------------


def by_place(model: nn.Module, graph: ChannelGraph) -> Mapping[int, Tensor]:
    """The first channels of every group matter most."""
    return {group.id: torch.arange(group.width, 0, -1, dtype=torch.float64) for group in graph.groups}


def test_an_importance_is_a_function() -> None:
    result = prune_module(toy_network_of_silu(), IMAGES, ParamsShare(0.5), importance=by_place, constants="none")
    for group in result.plan.groups:
        assert list(group.kept) == list(range(len(group.kept)))


def test_a_named_importance_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def place(group: Any, tensors: Any, norms: Any, makers: Any) -> Tensor:
        return torch.arange(group.width, 0, -1, dtype=torch.float64)

    monkeypatch.setitem(IMPORTANCES, "place", place)  # type: ignore[arg-type]
    network = toy_network_of_silu()
    result = prune_module(network, IMAGES, ParamsShare(0.5), importance="place", constants="none")
    assert result.plan.importance == "place"
    assert all(list(group.kept) == list(range(len(group.kept))) for group in result.plan.groups)
    with pytest.raises(ConfigError, match="Did you mean 'place'"):
        prune_module(network, IMAGES, ParamsShare(0.5), importance="plaec")


def toy_network_of_silu() -> nn.Module:
    network = toy_network()
    assert isinstance(network, nn.Sequential)
    network[2] = nn.SiLU()
    return network


# --- a block --------------------------------------------------------------------------------------------------------


class Twin(nn.Module):
    """Two convolutions side by side, added."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.left, self.right = Conv(inputs, outputs, 3), Conv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.left(x) + self.right(x)
        return total


def make_twin(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    return Built(Twin(incoming.channels[0], values["outputs"]), values["outputs"], incoming.strides[0])


TWINS = replace(YOLOV5, name="twins", architectures={}, blocks={**BLOCKS, "Twin": ModuleRule((OUTPUTS,), make_twin)})
TWIN_YAML = """
nc: 2
depth_multiple: 1.0
width_multiple: 0.25
anchors:
  - [10, 13, 16, 30]
backbone:
  - [-1, 1, Conv, [64, 6, 2, 2]]
  - [-1, 1, Conv, [128, 3, 2]]
  - [-1, 1, Twin, [128]]
  - [-1, 1, Conv, [128, 3, 2]]
head:
  - [[-1], 1, Detect, [nc, anchors]]
"""


def check_the_chain(architecture: Any, families: Mapping[str, Family], folder: Path) -> None:
    """Build a detector, cut it exactly, save it and load it: the outputs must be equal."""
    detector = build_detector(architecture, seed=1).eval()
    result = prune_module(detector, IMAGES, MacsShare(0.6))
    assert result.plan.removed_channels > 0
    save_checkpoint(folder / "cut.pt", result.model)
    loaded = loading.load_checkpoint(folder / "cut.pt", families).detector()
    assert loaded.architecture.family.name == architecture.family.name
    torch.testing.assert_close(loaded(IMAGES), mask_module(detector, result.plan)(IMAGES), rtol=1e-4, atol=1e-4)


def test_a_block_is_a_class_and_a_row(tmp_path: Path) -> None:
    families = {"twins": TWINS}
    architecture = reading.parse_architecture(TWIN_YAML, families, name="toy")
    check_the_chain(architecture, families, tmp_path)


# --- a family -------------------------------------------------------------------------------------------------------


class CentreHead(nn.Module):
    """A head with one box per cell: [B, 4 + nc, ny, nx] for each level; centre and size are offsets in strides."""

    stride: Tensor

    def __init__(self, nc: int, inputs: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.nc, self.largest_stride = nc, max(strides)
        self.register_buffer("stride", torch.tensor(strides, dtype=torch.float32), persistent=False)
        self.m = nn.ModuleList(nn.Conv2d(channels, 4 + nc, 1) for channels in inputs)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return [convolution(level) for convolution, level in zip(self.m, features, strict=True)]

    def decode(self, raw: Sequence[Tensor]) -> Tensor:
        levels = []
        for stride, level in zip(self.stride.tolist(), raw, strict=True):
            ny, nx = level.shape[2:]
            y, x = torch.meshgrid(torch.arange(ny) + 0.5, torch.arange(nx) + 0.5, indexing="ij")
            centres = (torch.stack((x, y)) + level[:, :2].tanh()) * stride
            sizes = level[:, 2:4].exp() * stride
            levels.append(torch.cat((centres, sizes, level[:, 4:].sigmoid()), 1).flatten(2))
        return torch.cat(levels, 2).transpose(1, 2)


def make_centre_head(architecture: Any, incoming: Incoming) -> nn.Module:
    return CentreHead(architecture.nc, incoming.channels, [int(stride) for stride in incoming.strides])


def make_centre_loss(detector: Any, settings: LossSettings) -> Any:
    def loss(raw: Sequence[Tensor], targets: Tensor, progress: Any = None) -> LossParts:
        total = torch.stack([level.square().mean() for level in raw]).sum()
        return LossParts(total * raw[0].shape[0], {"size": total.detach()})

    return loss


CENTRES = replace(
    YOLOV5,
    name="centres",
    title="Centres",
    architectures={},
    head_name="Centres",
    head_arguments=(Argument("nc", "classes"),),
    make_head=make_centre_head,
    rows=lambda nc: RowLayout(nc=nc, objectness=False),
    recognises=lambda written: written.modules[-1] == "Centres",
    make_loss=make_centre_loss,
    anchors_of=None,
    prepare_=lambda detector, boxes: "",
    reference_excluded=None,
)
CENTRE_YAML = (
    TWIN_YAML.replace("anchors:\n  - [10, 13, 16, 30]\n", "")
    .replace("Twin, [128]", "C3, [128]")
    .replace("Detect, [nc, anchors]", "Centres, [nc]")
)


def test_a_family_is_one_value(tmp_path: Path) -> None:
    families = {"yolov5": YOLOV5, "centres": CENTRES}
    architecture = reading.parse_architecture(CENTRE_YAML, families, name="toy")
    assert architecture.family == CENTRES
    check_the_chain(architecture, families, tmp_path)
    detector = build_detector(architecture, seed=0).train()
    loss = detector.family.make_loss(detector, LossSettings(hyp={}, imgsz=64))
    parts = loss(detector(IMAGES), torch.zeros(0, 6))
    parts.total.backward()
    assert all(parameter.grad is not None for parameter in detector.parameters())


# --- an annotation format -------------------------------------------------------------------------------------------


def read_toy(files: Sequence[Path], root: Path) -> Source:
    """``{"toy": {"a.jpg": ["cat", left, top, right, bottom]}}``"""
    images = [
        SourceImage(
            origin=file,
            names=(name,),
            boxes=(SourceBox(name=box[0], corners=tuple(box[1:]), place="its box"),),
        )
        for file in files
        for name, box in json.loads(file.read_text())["toy"].items()
    ]
    return Source(format="toy", names=("cat",), images=tuple(images), roots=(root,))  # type: ignore[arg-type]  # a new name


def test_an_annotation_format_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = Format(title="Toy JSON", read=read_toy, suffix=".json", recognise=lambda data: "toy" in data)
    monkeypatch.setitem(FORMATS, "toy", row)  # type: ignore[arg-type]  # a new name
    for name in ("a.jpg", "b.jpg"):
        cv2.imwrite(str(tmp_path / name), np.zeros((40, 80, 3), np.uint8))
    (tmp_path / "my.json").write_text('{"toy": {"a.jpg": ["cat", 8, 4, 24, 12], "b.jpg": ["cat", 70, 4, 99, 12]}}')
    report = convert_dataset(Conversion(source=tmp_path, folder=tmp_path / "new", shares=(0.5, 0.5)))
    assert report.lines()[0] == f"{tmp_path}: Toy JSON, 1 class (cat)"
    assert next((tmp_path / "new").glob("labels/*/a.txt")).read_text() == "0 0.2 0.2 0.2 0.2\n"
    assert report.changed == {"boxes over the edge of the picture clipped": 1}
