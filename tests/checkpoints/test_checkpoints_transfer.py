"""Table of cases: what is copied from one detector into another, and what is said about the rest."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch

import slimyolo.families
from slimyolo.checkpoints import Mismatch, TransferReport, save_checkpoint, transfer_
from slimyolo.families import load_checkpoint, parse_architecture, read_architecture, summarise_checkpoint
from slimyolo.models import Detector, build_detector
from slimyolo.tasks.train.assemble.starting import starting_detector
from slimyolo.tasks.train.config import TrainConfig


def test_everything_but_the_head_and_the_anchors_crosses_class_counts(tmp_path: Path) -> None:
    source = build_detector(read_architecture("yolov5n"), seed=0)
    target = build_detector(read_architecture("yolov5n").with_classes(2), seed=1)
    save_checkpoint(tmp_path / "a.pt", source)
    anchors, head = target.anchors.clone(), target.model[24].m[0].weight.clone()
    report = transfer_(target, load_checkpoint(tmp_path / "a.pt"))
    assert len(report.matched) == 342
    assert report.mismatched[0] == Mismatch("model.24.m.0.weight", (255, 64, 1, 1), (21, 64, 1, 1))
    assert (len(report.mismatched), report.missing, report.unexpected) == (6, (), ())
    assert report.excluded == ("model.24.anchors",)
    assert not report.complete
    for name in report.matched:
        assert torch.equal(target.state_dict()[name], source.state_dict()[name])
    assert torch.equal(target.model[24].m[0].weight, head)
    assert torch.equal(target.anchors, anchors)
    text = report.summary()
    assert "342 of 349 tensors taken" in text
    assert "6 of another shape, initial value kept: model.24.m.0.weight 255×64×1×1 → 21×64×1×1" in text
    assert "1 left out on purpose: model.24.anchors" in text


def test_the_average_is_taken(tmp_path: Path) -> None:
    source = build_detector(read_architecture("yolov5n"), seed=0)
    average = build_detector(read_architecture("yolov5n"), seed=1)
    save_checkpoint(tmp_path / "a.pt", source, ema=average)
    target = build_detector(read_architecture("yolov5n"), seed=2)
    assert transfer_(target, load_checkpoint(tmp_path / "a.pt"), exclude=()).complete
    assert torch.equal(target.model[0].conv.weight, average.model[0].conv.weight)


def tiny(names: tuple[str, ...], seed: int, family: str = "yolo26") -> Detector:
    text = (Path(slimyolo.families.__file__).parent / family / f"{family}.yaml").read_text(encoding="utf-8")
    text = re.sub(r"n: \[[^]]*\]", "n: [0.33, 0.0625, 1024]", text, count=1)
    architecture = parse_architecture(text, f"tiny_{family}n").with_classes(len(names))
    return build_detector(architecture, names=names, seed=seed)


@pytest.mark.parametrize(
    ("before", "after", "taken", "words"),
    [
        (("cat", "dog", "cow"), ("dog", "bird"), {0: 1}, "rows of 1 of 2 classes taken by name: dog"),
        (("cat", "dog"), ("dog", "cat"), {0: 1, 1: 0}, "rows of 2 of 2 classes taken by name: dog, cat"),
        (("cat", "dog", "cow"), ("dog", "cat", "bull"), {0: 1, 1: 0, 2: 2}, "rows of 3 of 3 classes"),  # cow, renamed
        (("cat", "dog"), ("bird", "fish", "bee"), {}, None),
    ],
)
def test_class_rows_follow_the_names(
    before: tuple[str, ...], after: tuple[str, ...], taken: dict[int, int], words: str | None, tmp_path: Path
) -> None:
    source, target = tiny(before, 0), tiny(after, 1)
    save_checkpoint(tmp_path / "a.pt", source)
    own = {name: value.clone() for name, value in target.state_dict().items()}
    report = transfer_(target, load_checkpoint(tmp_path / "a.pt"))
    for branch in ("cv3", "one2one_cv3"):
        for end in ("weight", "bias"):
            name = f"model.23.{branch}.1.2.{end}"
            for place in range(len(after)):
                wanted = source.state_dict()[name][taken[place]] if place in taken else own[name][place]
                assert torch.equal(target.state_dict()[name][place], wanted)
    if words is None:
        assert (report.by_class, len(report.mismatched)) == ((), 12)
    else:
        assert words in report.summary()
        assert (len(report.by_class), report.mismatched) == (12, ())


def test_a_detector_for_other_classes_keeps_the_hidden_class_layers(tmp_path: Path) -> None:
    """The width of the hidden class layers depends on the number of classes; the trained ones are worth more than that."""
    names = tuple(f"c{number}" for number in range(40))
    source = tiny(names, 0, "yolov8")
    save_checkpoint(tmp_path / "a.pt", source)
    config = TrainConfig(weights=tmp_path / "a.pt", data="data.yaml")
    detector = starting_detector(config, ("c7", "new"))
    own, theirs = detector.state_dict(), source.state_dict()
    for name, value in own.items():
        if ".cv3." not in name or ".2." not in name.partition(".cv3.")[2]:
            assert torch.equal(value, theirs[name]), name
    last = "model.22.cv3.0.2"
    assert torch.equal(own[f"{last}.weight"][0], theirs[f"{last}.weight"][7])
    assert own[f"{last}.weight"].shape[1] == theirs[f"{last}.weight"].shape[1] == 40
    # the new class starts as rare as in a new detector
    assert own[f"{last}.bias"][1].item() == pytest.approx(math.log(5 / 2 / (640 / 8) ** 2))
    save_checkpoint(tmp_path / "b.pt", detector)
    summary = summarise_checkpoint(tmp_path / "b.pt")
    assert (summary.pruned, summary.nc) == (False, 2)


def test_the_rows_of_classes_in_another_order_are_moved(tmp_path: Path) -> None:
    source = tiny(("cat", "dog"), 0, "yolov8")
    save_checkpoint(tmp_path / "a.pt", source)
    config = TrainConfig(weights=tmp_path / "a.pt", data="data.yaml")
    moved = starting_detector(config, ("dog", "cat"))
    name = "model.22.cv3.0.2.weight"
    assert torch.equal(moved.state_dict()[name], source.state_dict()[name][[1, 0]])
    renamed = starting_detector(config, ("kitten", "dog"))
    assert torch.equal(renamed.state_dict()[name], source.state_dict()[name])
    assert renamed.names == ("kitten", "dog")


def test_missing_and_unexpected_are_told_apart_and_dtypes_converted() -> None:
    target = torch.nn.Linear(2, 3)
    bias = target.bias.detach().clone()
    report = transfer_(target, {"weight": torch.ones(3, 2, dtype=torch.float16), "other": torch.zeros(1)})
    assert report == TransferReport(("weight",), ("bias",), (), ("other",))
    assert torch.equal(target.weight, torch.ones(3, 2))
    assert target.weight.dtype == torch.float32
    assert torch.equal(target.bias, bias)
    assert "1 not in the checkpoint, initial value kept: bias" in report.summary()
    assert "1 only in the checkpoint, not used: other" in report.summary()


def test_shapes_are_not_broadcast() -> None:
    target = torch.nn.Linear(2, 3)
    report = transfer_(target, {"weight": torch.ones(1, 2), "bias": torch.ones(())})
    assert [item.name for item in report.mismatched] == ["weight", "bias"]
    assert "bias scalar → 3" in report.summary()


@pytest.mark.parametrize(
    ("exclude", "left_out"),
    [
        (("anchors",), ["model.24.anchors"]),  # the last part of a name
        (("model.24",), 7),  # a layer
        (("model.2",), 5 * 6),  # only layer 2, not 20 to 24
        (("model.0.conv.weight",), ["model.0.conv.weight"]),  # a full name
        (("anch",), []),  # not a substring
        ((), []),
    ],
)
def test_exclude_takes_whole_parts_of_names(exclude: tuple[str, ...], left_out: list[str] | int) -> None:
    detector = build_detector(read_architecture("yolov5n"), seed=0)
    report = transfer_(detector, detector.state_dict(), exclude=exclude)
    if isinstance(left_out, int):
        assert len(report.excluded) == left_out
    else:
        assert list(report.excluded) == left_out
    assert report.complete


def test_long_lists_are_cut_in_the_summary_only() -> None:
    names = tuple(f"layer{index}" for index in range(20))
    report = TransferReport((), names, (), ())
    assert "layer7 and 12 more" in report.summary()
    assert "layer8" not in report.summary()
    assert len(report.missing) == 20
