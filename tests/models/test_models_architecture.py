"""Table of cases: architecture YAML — its forms, the plain round trip, and every error with its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from slimyolo.errors import ModelError
from slimyolo.families import FAMILIES, parse_architecture, read_architecture
from slimyolo.models import Architecture, build_detector, spread_anchors

SMALL = """\
nc: 3
depth_multiple: 0.33
width_multiple: 0.25
anchors:
  - [10, 13, 16, 30]
  - [30, 61, 62, 45]
backbone:
  - [-1, 1, Conv, [64, 6, 2, 2]]
  - [-1, 3, C3, [128]]
  - [-1, 1, Conv, [256, 3, 2]]
head:
  - [-1, 1, nn.Upsample, [None, 2, 'nearest']]
  - [[-1, 1], 1, Concat, [1]]
  - [-1, 3, C3, [128, False]]
  - [[5, 2], 1, Detect, [nc, anchors]]
"""  # line 1 is `nc: 3`, line 8 the first layer, line 15 the head


def parse(text: str = SMALL) -> Architecture:
    return parse_architecture(text, name="small", shown="small.yaml")


def test_rows_and_multiples_are_read_as_written() -> None:
    architecture = parse()
    assert (architecture.nc, architecture.depth_multiple, architecture.width_multiple) == (3, 0.33, 0.25)
    assert architecture.anchors == (((10.0, 13.0), (16.0, 30.0)), ((30.0, 61.0), (62.0, 45.0)))
    assert [row.module for row in architecture.layers] == [
        "Conv",
        "C3",
        "Conv",
        "nn.Upsample",
        "Concat",
        "C3",
        "Detect",
    ]
    assert architecture.layers[4].sources == (-1, 1)
    assert architecture.layers[3].args == ("None", 2, "nearest")
    detector = build_detector(architecture, seed=0)
    assert detector.stride.tolist() == [2, 4]
    assert [head.shape for head in detector.heads(torch.zeros(1, 3, 8, 16))] == [(1, 2, 4, 8, 8), (1, 2, 2, 4, 8)]


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("None, 2, 'nearest'", 'None, 2, "nearest"'),
        ("None, 2, 'nearest'", "null, 2, nearest"),  # YAML's own word for None
        ("128, False", "128, 'False'"),  # in quotes it is text, and still meant as False
        ("128, False", "128, false"),
        ("[nc, anchors]", "[3, anchors]"),  # the class count as a number, when it agrees
        ("[-1, 3, C3, [128]]", "[[-1], 3, C3, [128]]"),
        ("- [10, 13, 16, 30]", "- [[10, 13], [16, 30]]"),
    ],
)
def test_other_ways_to_write_the_same(written: str, same: str) -> None:
    assert written in SMALL
    first, second = (build_detector(parse(text), seed=0) for text in (SMALL, SMALL.replace(written, same)))
    assert str(first) == str(second)
    assert torch.equal(first.anchors, second.anchors)


def test_a_number_of_anchors_gives_that_many_on_each_level() -> None:
    text = SMALL.replace("anchors:\n  - [10, 13, 16, 30]\n  - [30, 61, 62, 45]\n", "anchors: 3\n")
    architecture = parse(text)
    assert architecture.anchors == spread_anchors(2, 3)
    assert build_detector(architecture, seed=0).anchors.shape == (2, 3, 2)
    sizes = [pair[0] for level in spread_anchors(3, 3) for pair in level]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (10.0, 400.0)
    assert spread_anchors(1, 1) == (((63.0, 63.0),),)


def test_plain_data_round_trip_is_lossless_and_json_ready() -> None:
    for architecture in (parse(), read_architecture("yolov5x6").with_classes(2)):
        plain = json.loads(json.dumps(architecture.to_plain()))
        assert Architecture.from_plain(plain, FAMILIES) == architecture
        assert Architecture.from_plain(plain, FAMILIES).to_plain() == architecture.to_plain()


def test_with_classes_and_with_anchors_change_only_that() -> None:
    architecture = parse()
    other = architecture.with_classes(7).with_anchors(torch.arange(1.0, 17.0).view(2, 4, 2))
    assert (other.nc, len(other.anchors[0]), other.layers) == (7, 4, architecture.layers)
    assert architecture.nc == 3
    with pytest.raises(ModelError, match=r"has 2 levels, got anchors for 3"):
        architecture.with_anchors(torch.ones(3, 3, 2))
    with pytest.raises(ModelError, match=r"should be \[levels, anchors, 2\]"):
        architecture.with_anchors([[1.0, 2.0], [3.0, 4.0]])  # type: ignore[list-item]
    with pytest.raises(ModelError, match="should be above 0"):
        architecture.with_anchors(torch.zeros(2, 3, 2))


@pytest.mark.parametrize(
    ("written", "broken", "message"),
    [
        # unknown names, with the nearest known one
        ("Concat, [1]", "Concatenate, [1]", r"line 13: unknown module 'Concatenate'. Did you mean 'Concat'"),
        ("3, C3, [128]]", "3, C33, [128]]", r"line 9: unknown module 'C33'. Did you mean 'C3'\?"),
        ("Conv, [64", "__import__('os').system, [64", r"line 8: "),
        ("nc: 3", "ncs: 3", r"line 1: unknown key 'ncs'. Did you mean 'nc'\?"),
        ("nc: 3\n", "", r"small.yaml: the key 'nc' is missing"),
        ("nc: 3", "nc: 3\nnc: 4", r"line 2: the key 'nc' is given twice"),
        # argument counts and kinds
        ("Conv, [256, 3, 2]", "Conv, []", r"line 10: Conv takes 1 to 6 arguments \(outputs, kernel=1, .*got 0"),
        ("Conv, [256, 3, 2]", "Conv, [256, 3, 2, 1, 1, True, 9]", r"line 10: Conv takes 1 to 6 arguments .*got 7"),
        ("Conv, [256, 3, 2]", "Conv, [256, three, 2]", r"line 10: Conv's kernel should be a whole number .* 'three'"),
        ("Conv, [256, 3, 2]", "Conv, [0, 3, 2]", r"line 10: Conv's outputs should be a whole number from 1"),
        ("Conv, [256, 3, 2]", "Conv, [2.5, 3, 2]", r"line 10: Conv's outputs should be a whole number"),
        ("Conv, [256, 3, 2]", "Conv, 256", r"line 10: the arguments of Conv should be a list, got 256"),
        ("128, False", "128, 0", r"line 14: C3's shortcut should be True or False, got 0"),
        ("None, 2, 'nearest'", "64, 2, 'nearest'", r"line 12: nn.Upsample's size should be None"),
        ("None, 2, 'nearest'", "None, 2, 'cubic'", r"line 12: nn.Upsample's mode should be 'nearest' or"),
        ("Concat, [1]", "Concat, [0]", r"line 13: Concat's dimension should be 1"),
        ("[nc, anchors]", "[nc]", r"line 15: Detect takes 2 arguments \(nc, anchors\), got 1"),
        ("[nc, anchors]", "[4, anchors]", r"line 15: Detect is given 4 classes but nc is 3"),
        ("[nc, anchors]", "[nc*2, anchors]", r"line 15: Detect's nc should be nc, got 'nc\*2'"),
        # sources
        ("[[-1, 1], 1, Concat", "[[-1, 9], 1, Concat", r"line 13: 'from' 9 of layer 4 \(Concat\) is out of .* 0 to 3"),
        ("[[-1, 1], 1, Concat", "[[-1, -8], 1, Concat", r"line 13: 'from' -8 of layer 4 .*out of range"),
        ("[-1, 1, Conv, [64", "[-2, 1, Conv, [64", r"line 8: 'from' -2 of layer 0 .* the first layer takes -1"),
        ("[-1, 3, C3, [128]]", "[x, 3, C3, [128]]", r"line 9: 'from' should be a layer number .*, got 'x'"),
        ("[-1, 3, C3, [128]]", "[[-1, 0], 3, C3, [128]]", r"line 9: C3 takes one 'from', got \[-1, 0\]. Concat joins"),
        # rows
        ("[-1, 3, C3, [128]]", "[-1, 3, C3]", r"line 9: a layer is \[from, number, module, args\], got"),
        ("[-1, 3, C3, [128]]", "[-1, 0, C3, [128]]", r"line 9: 'number' should be from 1"),
        ("[-1, 3, C3, [128]]", "[-1, 3, 7, [128]]", r"line 9: the module should be a name such as Conv, got 7"),
        ("[-1, 3, C3, [128]]", "[-1, 3, C3, {a: 1}]", r"line 9: expected a number, a name or a list"),
        ("[-1, 3, C3, [128]]", "[-1, 3, C3, [2020-01-01]]", r"line 9: an argument should be a number, text"),
        ("[-1, 3, C3, [128]]", "[-1, 3, C3, [!!python/name:os.system x]]", r"line 9: cannot read"),
        ("[[5, 2], 1, Detect", "[[5, 2], 2, Detect", r"line 15: the number of Detect should be 1"),
        ("[[5, 2], 1, Detect", "[[5], 1, Detect", r"line 15: Detect has 1 level, but there are anchors for 2"),
        ("  - [[5, 2], 1, Detect, [nc, anchors]]\n", "", r"line 14: the last layer, and only the last, should"),
        ("[-1, 3, C3, [128]]", "[[-1], 1, Detect, [nc, anchors]]", r"line 9: the last layer, and only the last"),
        # numbers
        ("nc: 3", "nc: many", r"nc should be a whole number from 1 to 100000, got 'many'"),
        ("nc: 3", "nc: 0", r"nc should be a whole number"),
        ("depth_multiple: 0.33", "depth_multiple: -1", r"depth_multiple should be a number above 0"),
        ("width_multiple: 0.25", "width_multiple: .nan", r"width_multiple should be a number above 0"),
        ("[10, 13, 16, 30]", "[10, 13, 16]", r"should be numbers in pairs \(width, height\)"),
        ("[10, 13, 16, 30]", "[10, 13]", r"every level needs the same number of anchors, at least 1; got \[1, 2\]"),
        ("[10, 13, 16, 30]", "[10, -13, 16, 30]", r"anchor widths and heights should be above 0"),
        ("anchors:\n  - [10, 13, 16, 30]\n  - [30, 61, 62, 45]\n", "anchors: 0\n", r"from 1 to 100, got 0"),
        ("anchors:\n  - [10, 13, 16, 30]\n  - [30, 61, 62, 45]\n", "anchors: x\n", r"should be one list \[w, h"),
        # not YAML, not an architecture
        ("nc: 3", "nc: [3", r"small.yaml, line \d+: not valid YAML"),
        (SMALL, "just text", r"an architecture is a mapping with the keys nc, "),
        (SMALL[SMALL.index("head:") :], "head: 3\n", r"line 11: head should be a list of layers"),
    ],
)
def test_errors_name_the_file_the_line_and_what_was_expected(written: str, broken: str, message: str) -> None:
    assert written in SMALL
    with pytest.raises(ModelError, match=message) as caught:
        parse(SMALL.replace(written, broken))
    assert "small.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("written", "broken", "message"),
    [
        # a map of stride 4 beside one of stride 2
        ("[-1, 1, nn.Upsample, [None, 2, 'nearest']]", "[-1, 1, Conv, [256]]", r"line 13: .*input pixels per cell"),
        (
            "[-1, 3, C3, [128]]",
            "[-1, 3, C3, [128, True, 1, 0.01]]",
            r"line 9: .*a convolution needs channels, got 16 in",
        ),
        (
            "[-1, 1, Conv, [256, 3, 2]]",
            "[-1, 1, GhostBottleneck, [256, 3]]",
            r"line 10: .*GhostBottleneck has stride 2",
        ),
        ("[-1, 3, C3, [128]]", "[-1, 3, C3Ghost, [128, True, 1, 0.23]]", r"line 9: .*even number of outputs, got 3"),
        (
            "[-1, 3, C3, [128]]",
            "[-1, 9, C3, [65536]]",
            r"line 9: .*have [0-9,]+ parameters or more, expected at most 1,000,000,000",
        ),
        # 3 input channels do not divide into 2 groups
        ("Conv, [64, 6, 2, 2]", "Conv, [64, 6, 2, 2, 2]", r"line 8: layer 0 \(Conv, 3 channels in\) cannot be made"),
    ],
)
def test_rows_that_do_not_fit_one_another_fail_on_building(written: str, broken: str, message: str) -> None:
    architecture = parse(SMALL.replace(written, broken))
    with pytest.raises(ModelError, match=message):
        build_detector(architecture)


def test_missing_files_and_names(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Cannot read the architecture yolov5z: .*yolov5n … .*Did you mean 'yolov5"):
        read_architecture("yolov5z")
    with pytest.raises(ModelError, match="Cannot read the architecture"):
        read_architecture(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ModelError, match="is not text"):
        read_architecture(tmp_path / "binary.yaml")
    (tmp_path / "empty.yaml").write_bytes(b"")
    with pytest.raises(ModelError, match="an architecture is a mapping"):
        read_architecture(tmp_path / "empty.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (1 << 21))
    with pytest.raises(ModelError, match="has 2,097,152 bytes, and at most 1 MiB"):
        read_architecture(tmp_path / "large.yaml")
    (tmp_path / "own.yaml").write_text(SMALL)
    assert read_architecture(str(tmp_path / "own.yaml")).name == "own"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nc": "2"}, "nc should be a whole number"),
        ({"nc": True}, "nc should be a whole number"),
        ({"layers": []}, "there are no layers"),
        ({"layers": "Conv"}, "row 0: a layer is"),
        ({"layers": 5}, "layers should be a list of rows"),
        ({"layers": [[-1, 1, "Conv", [object()]]]}, "row 0: an argument should be"),
        ({"anchors": 3}, "anchors should be one list"),
        ({"anchors": []}, "every level needs the same number of anchors"),
        ({"colour": 1}, "Unknown architecture key 'colour'"),
        ({"name": 5}, "name should be text"),
    ],
)
def test_plain_data_is_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Architecture.from_plain({**parse().to_plain(), **change}, FAMILIES)


def test_plain_data_of_another_kind() -> None:
    with pytest.raises(ModelError, match="should be a mapping, got list"):
        Architecture.from_plain([], FAMILIES)
    with pytest.raises(ModelError, match="lacks nc, depth_multiple"):
        Architecture.from_plain({"name": "x"}, FAMILIES)
    plain = parse().to_plain()
    plain["layers"][1][2] = "C4"
    with pytest.raises(ModelError, match=r"row 1: unknown module 'C4'"):
        build_detector(Architecture.from_plain(plain, FAMILIES))


def test_names_of_version_0_1_are_still_found() -> None:
    import slimyolo.families
    import slimyolo.models

    assert slimyolo.models.parse_architecture is slimyolo.families.parse_architecture
    assert slimyolo.models.read_architecture is slimyolo.families.read_architecture
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        slimyolo.models.other  # noqa: B018
