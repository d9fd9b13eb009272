"""Table of cases: what a family without anchors, with blocks and YAML keys of its own may be; a toy of one goes every way."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from slimyolo.checkpoints import loading, save_checkpoint, summary, transfer_
from slimyolo.errors import CheckpointError, ModelError
from slimyolo.families import FAMILIES, load_checkpoint, read_architecture
from slimyolo.families.yolov5 import YOLOV5
from slimyolo.geometry import RowLayout
from slimyolo.models import (
    BLOCKS,
    OUTPUTS,
    Architecture,
    Argument,
    Built,
    FollowsWidths,
    Incoming,
    ModuleRule,
    TwoBranches,
    build_detector,
    map_raw,
    narrow_,
    reading,
    widths_of,
)


class Pieces(nn.Module):
    """A 1 × 1 convolution whose output is given as several maps."""

    def __init__(self, inputs: int, pieces: Sequence[int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, sum(pieces), 1)
        self.pieces = list(pieces)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        result: tuple[Tensor, ...] = self.conv(features).split(self.pieces, 1)
        return result


class PieceSum(nn.Module):
    """The second piece of the first source plus the second source."""

    def forward(self, sources: list[Any]) -> Tensor:
        result: Tensor = sources[0][1] + sources[1]
        return result


class Scaled(nn.Module, FollowsWidths):
    """A convolution times one learned number a channel."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1)
        self.gamma = nn.Parameter(torch.ones(outputs))

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = self.conv(features) * self.gamma.view(1, -1, 1, 1)
        return result

    def follow_widths_(self) -> None:
        if len(self.gamma) != self.conv.out_channels:
            self.gamma = nn.Parameter(torch.ones(self.conv.out_channels))


class Ends(nn.Module):
    """A head with one row for each cell and no objectness."""

    stride: Tensor

    def __init__(self, nc: int, inputs: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.nc, self.largest_stride = nc, max(strides)
        self.register_buffer("stride", torch.tensor(strides, dtype=torch.float32), persistent=False)
        self.m = nn.ModuleList(nn.Conv2d(channels, 4 + nc, 1) for channels in inputs)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return [convolution(level) for convolution, level in zip(self.m, features, strict=True)]

    def decode(self, raw: Sequence[Tensor]) -> Tensor:
        return torch.cat([level.flatten(2) for level in raw], 2).transpose(1, 2).sigmoid()


def _pieces(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    pieces = values["pieces"]
    return Built(Pieces(incoming.channels[0], pieces), sum(pieces), incoming.strides[0], pieces)


def _piece_sum(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    assert incoming.pieces == ((8, 16), ())
    return Built(PieceSum(), incoming.channels[1], incoming.strides[1])


def _scaled(incoming: Incoming, values: Mapping[str, Any]) -> Built:
    assert incoming.scale in "ns"
    outputs = values["outputs"] * (2 if incoming.scale == "s" else 1)  # the block of the larger scale is another one
    return Built(Scaled(incoming.channels[0], outputs), outputs, incoming.strides[0])


def _head(architecture: Architecture, incoming: Incoming) -> nn.Module:
    return Ends(architecture.nc, incoming.channels, [int(stride) for stride in incoming.strides])


TOY = replace(
    YOLOV5,
    name="toy",
    title="Toy",
    architectures={},
    blocks={
        **BLOCKS,
        "Pieces": ModuleRule((Argument("pieces", "channel list"),), _pieces),
        "PieceSum": ModuleRule((Argument("which", "index list"),), _piece_sum, many=True),
        "Scaled": ModuleRule((OUTPUTS,), _scaled),
    },
    head_name="Ends",
    head_arguments=(Argument("nc", "classes"),),
    make_head=_head,
    rows=lambda nc: RowLayout(nc, objectness=False),
    recognises=lambda written: "Ends" in written.modules,
    yaml_keys={"end2end": True},
    anchors_of=None,
    dataset_tensors=(),
    suppression="none",
    reference_excluded=None,
)
TOYS = {**FAMILIES, "toy": TOY}
YAML = """
nc: 3
end2end: true
scales:  # depth, width, most channels
  n: [0.5, 0.25, 64]
  s: [1.0, 0.50]
backbone:
  - [-1, 1, Conv, [64, 3, 2]]
  - [-1, 4, C3, [128]]
  - [0, 1, Pieces, [[8, 16]]]
head:
  - [[2, 1], 1, PieceSum, [[1]]]
  - [-1, 1, Scaled, [32]]
  - [[4], 1, Ends, [nc]]
"""


def parse(text: str = YAML, name: str = "yolo3n") -> Architecture:
    return reading.parse_architecture(text, TOYS, name=name, shown=f"{name}.yaml")


@pytest.mark.parametrize(
    ("name", "extra", "expected"),
    [
        ("yolo3n", "", ("n", 0.5, 0.25, 64)),
        ("yolov3s", "", ("s", 1.0, 0.5, None)),
        ("yolo3s-mine", "", ("s", 1.0, 0.5, None)),
        ("yolo3", "", ("n", 0.5, 0.25, 64)),  # no letter: the first scale
        ("yolo3x", "", ("n", 0.5, 0.25, 64)),  # a letter that is not in the table: the first scale
        ("mine", "", ("n", 0.5, 0.25, 64)),
        ("mine", "scale: s\n", ("s", 1.0, 0.5, None)),  # as in the dictionary of a checkpoint
    ],
)
def test_the_scale_comes_from_the_name(name: str, extra: str, expected: tuple[Any, ...]) -> None:
    architecture = parse(extra + YAML, name)
    got = (architecture.scale, architecture.depth_multiple, architecture.width_multiple, architecture.max_channels)
    assert got == expected
    assert architecture.family == TOY
    assert Architecture.from_plain(architecture.to_plain(), TOYS) == architecture


def test_without_scales_nothing_is_multiplied() -> None:
    architecture = parse(YAML[: YAML.index("scales")] + YAML[YAML.index("backbone") :])
    assert (architecture.depth_multiple, architecture.width_multiple) == (1, 1)
    assert (architecture.scale, architecture.max_channels) == ("", None)


def test_a_yolov5_file_may_have_scales(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "models" / "yolov5s.yaml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith(("depth_multiple", "width_multiple"))]
    path = tmp_path / "yolov5s.yaml"
    path.write_text("\n".join(["scales: {n: [0.33, 0.25], s: [0.33, 0.50]}", *lines]))
    assert replace(read_architecture(path), scale="") == read_architecture("yolov5s")


@pytest.mark.parametrize(
    ("written", "broken", "message"),
    [
        ("nc: 3", "nc: 3\ndepth_multiple: 1", r"give either scales, or depth_multiple and width_multiple, not both"),
        ("  s: [1.0, 0.50]", "  s: [1.0]", r"scales should be a table of letters such as `n: \[0.33, 0.25, 1024\]`"),
        ("  s: [1.0, 0.50]", "  small: [1.0, 0.5]", r"scales should be a table of letters"),
        ("  n: [0.5, 0.25, 64]", "  n: [0.5, 0.25, -1]", r"max_channels should be a whole number above 0, got -1"),
        ("  n: [0.5, 0.25, 64]", "  n: [0.5, 0]", r"width_multiple should be a number above 0"),
        ("end2end: true", "end2end: false", r"line 3: end2end should be True for Toy, got False"),
        ("end2end: true", "end2ends: true", r"line 3: unknown key 'end2ends'. Did you mean 'end2end'"),
        ("end2end: true", "anchors: 3", r"line 10: unknown module 'Pieces'"),  # YOLOv5 asks for it first
        ("Pieces, [[8, 16]]", "Pieces, [[8, 0]]", r"line 10: Pieces's pieces should be a list of whole numbers from 1"),
        ("PieceSum, [[1]]", "PieceSum, [1]", r"line 12: PieceSum's which should be a list of whole numbers from 0"),
        ("[-1, 1, Scaled", "[-1, 1, Scales", r"line 13: unknown module 'Scales'. Did you mean 'Scaled'"),
        ("Ends, [nc]", "Ends, [4]", r"line 14: Ends is given 4 classes but nc is 3"),
    ],
)
def test_errors_name_the_line_and_what_was_expected(written: str, broken: str, message: str) -> None:
    assert written in YAML
    with pytest.raises(ModelError, match=message):
        parse(YAML.replace(written, broken))


def test_the_detector_is_built_and_runs() -> None:
    small, large = (build_detector(parse(name=name), seed=0).eval() for name in ("yolo3n", "yolo3s"))
    assert small.model[0].conv.out_channels == 16  # 64 at most, times a quarter
    assert large.model[1].cv3.conv.out_channels == 64  # 128, times a half
    assert len(small.model[1].m) == 2  # four, times a half
    assert (small.model[4].conv.out_channels, large.model[4].conv.out_channels) == (8, 32)
    rows = small(torch.rand(1, 3, 8, 8))
    assert rows.shape == (1, 16, small.rows.columns) == (1, 16, 7)
    assert (small.rows_per_cell, small.suppression) == (1, "none")


def test_anchors_are_asked_for_in_vain() -> None:
    architecture = parse()
    detector = build_detector(architecture, seed=0)
    assert detector.anchors.shape == (0,)  # no error: torch.jit.trace reads every property
    with pytest.raises(ModelError, match="Toy detectors have no anchors, got 1 level"):
        replace(architecture, anchors=(((8.0, 8.0),),))
    with pytest.raises(ModelError, match=r"there is none for Toy. Use --policy coupled"):
        detector.reference_excluded()


def test_a_checkpoint_names_its_family(tmp_path: Path) -> None:
    detector = build_detector(parse(), names=("a", "b", "c"), seed=0).eval()
    save_checkpoint(tmp_path / "toy.pt", detector)
    content = torch.load(tmp_path / "toy.pt", weights_only=True)
    assert (content["version"], content["architecture"]["family"], "anchors" in content) == (2, "toy", False)
    again = loading.load_checkpoint(tmp_path / "toy.pt", TOYS)
    assert again.architecture == detector.architecture
    images = torch.rand(1, 3, 8, 8)
    assert torch.equal(again.detector()(images), detector(images))
    about = summary.summarise_checkpoint(tmp_path / "toy.pt", TOYS)
    assert (about.family, about.anchors_px, about.strides_px) == ("Toy", (), (2,))
    with pytest.raises(CheckpointError, match=r"unknown family 'toy'. Known families: yolov5.*pip install --upgrade"):
        load_checkpoint(tmp_path / "toy.pt")


def test_nothing_is_left_out_of_a_transfer() -> None:
    first, second = (build_detector(parse(), seed=seed) for seed in (0, 1))
    report = transfer_(second, first.state_dict())
    assert report.complete
    assert not report.excluded


def test_own_parameters_follow_the_widths() -> None:
    detector = build_detector(parse(), seed=0)
    table = widths_of(detector)
    table["model.4.conv"] = replace(table["model.4.conv"], outputs=5)
    table["model.5.m.0"] = replace(table["model.5.m.0"], inputs=5)
    cut = build_detector(parse(), widths=table, seed=0).eval()
    assert cut.model[4].gamma.shape == (5,)
    assert cut(torch.rand(1, 3, 8, 8)).shape == (1, 16, 7)
    before = cut.model[4].gamma
    narrow_(cut, table)
    assert cut.model[4].gamma is before  # what fits stays


def test_families_are_shared_compared_by_name_and_found_again_by_a_pickle() -> None:
    assert copy.deepcopy(TOY) is TOY
    assert copy.copy(TOY) is TOY
    assert replace(TOY, title="other") == TOY != YOLOV5
    assert len({TOY, replace(TOY, title="other"), YOLOV5}) == 2
    assert pickle.loads(pickle.dumps(YOLOV5)) is YOLOV5
    assert repr(TOY) == "Family('toy')"


def test_raw_outputs_are_mapped_tensor_by_tensor() -> None:
    one, two = torch.ones(1), torch.full((1,), 2.0)
    assert map_raw(torch.neg, [one, two]) == [-one, -two]
    branches = map_raw(torch.neg, TwoBranches([one], [two]))
    assert isinstance(branches, TwoBranches)
    assert (branches.one2many, branches.one2one) == ([-one], [-two])
