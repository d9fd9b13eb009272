"""Table of cases: which family a YAML belongs to, its size, and what is said of a YAML that cannot be read."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
import torch

from slimyolo.checkpoints import save_checkpoint
from slimyolo.errors import ModelError
from slimyolo.families import FAMILIES, load_checkpoint, parse_architecture, read_architecture
from slimyolo.families.yolov8.head import head_of
from slimyolo.models import Architecture, LossSettings, build_detector

REPOSITORY = Path(__file__).resolve().parents[2]
ANCHOR_FREE = [name for name in FAMILIES if name != "yolov5"]
FILES = {"yolov8": "yolov8n", "yolov5u": "yolov5nu", "yolo11": "yolo11n", "yolo12": "yolo12n", "yolo26": "yolo26n"}


def template(name: str) -> str:
    """The YAML in the package of a built-in architecture."""
    family = next(family for family in FAMILIES.values() if name in family.architectures)
    return resources.files(family.package).joinpath(family.architectures[name].file).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for family in ANCHOR_FREE for name in FAMILIES[family].architectures])
def test_built_in_names_belong_to_their_family_and_survive_plain_data(name: str) -> None:
    architecture = read_architecture(name)
    assert name in architecture.family.architectures
    assert architecture.anchors == ()
    assert Architecture.from_plain(architecture.to_plain(), FAMILIES) == architecture


@pytest.mark.parametrize(("file", "name"), FILES.items())
def test_files_of_the_repository_are_the_built_in_ones(file: str, name: str) -> None:
    assert replace(read_architecture(REPOSITORY / "models" / f"{file}.yaml"), name=name) == read_architecture(name)


@pytest.mark.parametrize("name", ["yolov8n-p2", "yolov8n-p6", "yolo26n-p2", "yolo26n-p6"])
def test_files_of_the_hub_are_the_built_in_ones(name: str) -> None:
    file = name.replace("n-", "-")
    assert replace(read_architecture(REPOSITORY / "models" / "hub" / f"{file}.yaml"), name=name) == read_architecture(
        name
    )


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("yolov8s", "yolov8s"),
        ("yolov8s-helmets", "yolov8s"),
        ("my-yolov8x", "yolov8x"),
        ("yolov8", "yolov8n"),  # without a letter: the first size
        ("helmets", "yolov8n"),
        ("yolo11m", "yolo11m"),
        ("yolo26l", "yolo26l"),
    ],
)
def test_the_letter_of_the_size_is_taken_from_the_file_name(file: str, name: str) -> None:
    architecture = parse_architecture(template(name), file)
    assert replace(architecture, name=name) == read_architecture(name)


def test_large_sizes_have_other_blocks() -> None:
    """`C3k2` holds C3k for m, l and x whatever the row says; `A2C2f` is residual for l and x."""
    kinds = {}
    for letter in "nsmlx":
        detector = build_detector(replace(read_architecture(f"yolo12{letter}"), width_multiple=0.25), seed=0)
        kinds[letter] = (type(detector.model[2].m[0]).__name__, "model.6.gamma" in detector.state_dict())  # type: ignore[index]
    small, medium, large = ("Bottleneck", False), ("C3k", False), ("C3k", True)
    assert kinds == {"n": small, "s": small, "m": medium, "l": large, "x": large}


@pytest.mark.parametrize(
    ("name", "before", "after", "words"),
    [
        ("yolov8n", "C2f, [128, True]", "C2ff, [128, True]", r"line 14: unknown module 'C2ff'\. Did you mean 'C2f'"),
        ("yolov8n", "C2f, [128, True]", "C2f, [128, 3]", r"line 14: C2f's shortcut should be True or False, got 3"),
        ("yolov8n", "SPPF, [1024, 5]", "SPPF, [1024, 4]", r"SPPF's kernel should be an odd whole number, got 4"),
        (
            "yolo26n",
            "SPPF, [1024, 5, 3, True]",
            "SPPF, [1024, 5, 0, True]",
            r"pools should be a whole number from 1 to 16",
        ),
        ("yolov8n", "[nc]", "[nc, 7]", r"Detect takes 1 argument \(nc\), got 2"),
        ("yolov8n", "n: [0.33, 0.25, 1024]", "n: [0.33, wide]", r"scales should be a table of letters such as `n: \["),
        ("yolov8n", "nc: 80", "nd: 80", r"line 2: unknown key 'nd'\. Known keys: nc, .*scales"),
        ("yolo26n", "end2end: True", "end2end: yes please", r"end2end should be True for YOLO26, got 'yes please'"),
        ("yolo26n", "reg_max: 1 ", "reg_max: 8 ", r"reg_max should be 1 for YOLO26, got 8"),
        ("yolov8n", "nc: 80", "nc: 80\nend2end: 3", r"end2end should be True for YOLO26, got 3"),
        (
            "yolo12n",
            "A2C2f, [512, True, 4]",
            "A2C2f, [512, True, 0]",
            r"A2C2f's areas should be a whole number from 1, or -1",
        ),
        ("yolov9e", "CBFuse, [[1, 1, 1, 1]]", "CBFuse, [[1, 1, 1]]", r"got 3 pieces and 4 sources before the last"),
        (
            "yolov9e",
            "CBFuse, [[1, 1, 1, 1]]",
            "CBFuse, [[1, 1, 1, 2]]",
            r"map of 128 channels, but piece 2 is one of \[64, 1",
        ),
        ("yolov9e", "CBLinear, [[64]]", "CBLinear, [64]", r"CBLinear's widths should be a list of whole numbers"),
        ("yolov10n", "C2fCIB, [1024, True, True]", "C2fCIB, [1024, True, 7]", r"large_kernel should be True or False"),
    ],
)
def test_errors_name_the_line_and_what_is_expected(name: str, before: str, after: str, words: str) -> None:
    text = template(name)
    assert before in text
    with pytest.raises(ModelError, match=words):
        build_detector(parse_architecture(text.replace(before, after, 1), name))


@pytest.mark.parametrize(
    ("end2end", "reg_max", "family", "item"),
    [
        ("True", "1", "yolo26", "l1"),
        ("False", "1", "yolo26-one-branch", "l1"),
        ("True", "16", "yolo26-with-bins", "dfl"),
        ("False", "16", "yolo11", "dfl"),
    ],
)
def test_a_yaml_of_yolo26_may_have_one_branch_and_bins(
    end2end: str, reg_max: str, family: str, item: str, tmp_path: Path
) -> None:
    text = (
        template("yolo26n")
        .replace("end2end: True", f"end2end: {end2end}")
        .replace("reg_max: 1 ", f"reg_max: {reg_max} ")
    )
    text = text.replace("n: [0.50, 0.25, 1024]", "n: [0.33, 0.0625, 1024]").replace("nc: 80", "nc: 2")
    detector = build_detector(parse_architecture(text, "mine-yolo26n"), seed=0)
    head = head_of(detector)
    assert detector.family.name == family
    assert (head.one2one_cv2 is not None, head.reg_max) == (end2end == "True", int(reg_max))
    assert detector.suppression == ("none" if end2end == "True" else "nms")
    loss = detector.family.make_loss(detector, LossSettings(hyp=detector.family.recipe.hyp, imgsz=64))
    targets = torch.tensor([[0, 1, 0.5, 0.5, 0.4, 0.4]])
    assert item in loss(detector.heads(torch.rand(1, 3, 64, 64)), targets).items
    save_checkpoint(tmp_path / "one.pt", detector)
    again = load_checkpoint(tmp_path / "one.pt").detector().eval()
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(again(images), detector.eval()(images))


@pytest.mark.parametrize(("name", "family"), [("yolo26n", "yolo26-one-branch"), ("yolov10n", "yolov10-one-branch")])
def test_a_detector_of_one_branch_survives_a_checkpoint(name: str, family: str, tmp_path: Path) -> None:
    architecture = replace(read_architecture(name), width_multiple=0.0625, nc=2)
    detector = build_detector(architecture, seed=0).eval()
    other = detector.family.other_branch
    assert other is not None
    single = other(detector)
    save_checkpoint(tmp_path / "one.pt", single)
    again = load_checkpoint(tmp_path / "one.pt").detector().eval()
    assert again.family.name == family
    assert head_of(again).one2one_cv2 is None
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(again(images), single(images))


def test_a_mixture_of_the_blocks_of_one_family_and_the_next_is_read() -> None:
    """An own network of YOLO11 with one C2f of YOLOv8 in it: recognised as YOLO11."""
    text = template("yolo11n").replace("C3k2, [256, False, 0.25]", "C2f, [256, True]", 1)
    detector = build_detector(parse_architecture(text, "mine"), seed=0)
    assert detector.family.name == "yolo11"
    assert type(detector.model[2]).__name__ == "C2f"


def test_an_area_attention_of_odd_width_is_refused() -> None:
    text = template("yolo12n").replace("n: [0.50, 0.25, 1024]", "n: [0.50, 0.10, 1024]")
    with pytest.raises(ModelError, match=r"area attention needs a multiple of 32 channels, got 28"):
        build_detector(parse_architecture(text, "mine"))


def test_names_that_are_not_there_get_a_short_list() -> None:
    with pytest.raises(ModelError, match=r"yolov5n … yolov5x6, .*yolov8n … yolov8x-p6.* Did you mean \'yolo11n\'\?"):
        read_architecture("yolo1ln")
