"""Table of cases: what is copied from one detector into another, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slimyolo.checkpoints import Mismatch, TransferReport, save_checkpoint, transfer_
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.models import build_detector


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
