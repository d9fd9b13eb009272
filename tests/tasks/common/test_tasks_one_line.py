"""Property: what Python prints of a result is one short line."""

from __future__ import annotations

from pathlib import Path

import slimyolo
from slimyolo.checkpoints import save_checkpoint
from slimyolo.data import SplitData
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.models import build_detector
from slimyolo.pruning import PruneResult


def test_one_line(tmp_path: Path) -> None:
    detector = build_detector(read_architecture("yolov5n").with_classes(1), seed=0).eval()
    save_checkpoint(tmp_path / "a.pt", detector)
    pruned = slimyolo.prune(detector, imgsz=64)
    result = PruneResult(pruned.model, pruned.plan, pruned.report)
    split = SplitData(name="val", root=Path(), names=("a",), samples=(), defects=(), fingerprint="")
    for one in (pruned, pruned.plan, result, split, load_checkpoint(tmp_path / "a.pt")):
        text = repr(one)
        assert text.startswith(f"{type(one).__name__}(")
        assert "\n" not in text
        assert len(text) < 400
