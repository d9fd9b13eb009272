"""Table of cases: ``slimyolo bench`` on tiny networks: rows, ratios, messages, and what cannot be timed."""

from __future__ import annotations

import importlib.util
import json
import logging
from pathlib import Path

import pytest
import torch

from slimyolo.checkpoints import save_checkpoint
from slimyolo.cli.main import run_command_line
from slimyolo.costs import Timing
from slimyolo.errors import ConfigError, ExportError
from slimyolo.families import parse_architecture
from slimyolo.models import build_detector
from slimyolo.pruning import ChannelShare, prune_module
from slimyolo.tasks.common.records import SizeRecord
from slimyolo.tasks.measure.bench import BenchRow, bench, bench_table, verdict
from slimyolo.tasks.measure.bench_config import BenchConfig

SMALL = (
    "{nc: 2, depth_multiple: 1.0, width_multiple: 0.5, anchors: [[8, 8, 12, 20], [16, 16, 30, 24]], "
    "backbone: [[-1, 1, Conv, [32, 6, 2, 2]], [-1, 1, Conv, [64, 3, 2]], [-1, 1, SPPF, [64]]], "
    "head: [[-1, 1, nn.Upsample, [None, 2, nearest]], [[-1, 0], 1, Concat, [1]], [-1, 1, C3, [32]], "
    "[[5, 2], 1, Detect, [nc, anchors]]]}"
)
QUICK = {"imgsz": 64, "threads": 1, "runs": 3, "warmup": 0}


@pytest.fixture
def checkpoints(tmp_path: Path) -> tuple[Path, Path]:
    """A dense network, and the same network without 30 % of its channels."""
    dense = build_detector(parse_architecture(SMALL, name="small"), seed=0).eval()
    cut = prune_module(dense, torch.zeros(1, 3, 64, 64), ChannelShare(0.3)).model
    for name, one in (("dense.pt", dense), ("cut.pt", cut)):
        save_checkpoint(tmp_path / name, one)
    return tmp_path / "dense.pt", tmp_path / "cut.pt"


@pytest.mark.parametrize(
    "runtimes", [("torch",), pytest.param(("onnxruntime", "openvino"), marks=pytest.mark.slow)], ids="-".join
)
def test_two_networks_side_by_side(
    checkpoints: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, runtimes: tuple[str, ...]
) -> None:
    caplog.set_level(logging.INFO, "slimyolo")
    config = BenchConfig(
        weights=checkpoints,
        runtime=",".join(runtimes),
        project=tmp_path / "runs",
        json_file=tmp_path / "b.json",
        **QUICK,
    )
    record = bench(config)
    assert [row.runtime for row in record.rows] == [name for name in runtimes for _ in checkpoints]
    for place in range(0, len(record.rows), 2):
        first, second = record.rows[place : place + 2]
        assert (first.speedup, first.macs_ratio) == (None, None)
        assert second.speedup == pytest.approx(first.timing.median_ms / second.timing.median_ms)
        assert first.size is not None
        assert second.size is not None
        assert second.macs_ratio == pytest.approx(first.size.macs / second.size.macs)
        assert set(first.versions) == {first.runtime}
    assert record.prepare.median_ms > 0
    assert record.finish.median_ms > 0
    assert len(record.verdicts) == len(runtimes)
    assert "per image (noise of 480 x 640 px (height x width)" in caplog.text
    plain = json.loads((tmp_path / "b.json").read_text())
    assert plain["machine"]["cores"] == record.machine.cores
    assert (plain["threads"], plain["batch"], plain["device"]) == (1, 1, "cpu")
    assert (tmp_path / "runs" / "exp" / "record.json").is_file()
    assert torch.get_num_threads() == 1


def test_what_cannot_be_timed_is_said(
    checkpoints: tuple[Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = BenchConfig(weights=checkpoints[:1], project=tmp_path / "runs", **QUICK)
    with pytest.raises(ConfigError, match=r"None of .*dense.pt can be timed with --runtime torch --precision bf16"):
        bench(base.changed(runtime="torch", precision="bf16"))
    assert "not timed" in caplog.text
    assert "PyTorch on a processor is timed in fp32 only" in caplog.text
    with pytest.raises(ConfigError, match="can be timed with --runtime ncnn --precision fp32"):
        bench(base.changed(runtime="ncnn", batch=2))
    assert "it takes one image at a time; use --batch 1" in caplog.text
    with pytest.raises(ConfigError, match="--precision int8 needs images for calibration: add --data"):
        base.changed(precision="int8")
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda package: None)
        patch.setattr("slimyolo.tasks.measure.bench.Exports.__init__", None)  # nothing is exported before the refusal
        with pytest.raises(ExportError, match="Writing onnx needs onnx"):
            bench(base.changed(runtime=("torch", "onnxruntime")))
    with pytest.raises(ConfigError, match=r"There is no runtime 'tensorflow'\..* Known: onnxruntime, openvino"):
        bench(base.changed(runtime="tensorflow"))
    with pytest.raises(ConfigError, match="--runtime: got nothing, expected at least one value"):
        base.changed(runtime=",")
    with pytest.raises(ConfigError, match="--weights is required"):
        run_command_line(["bench"])


def row(speedup: float | None, macs: float | None) -> BenchRow:
    timing = Timing(4.0, 3.9, 4.4, 60)
    size = SizeRecord(1000, 500_000_000, 320)
    return BenchRow(
        weights="runs/a/very/long/folder/name/best.pt",
        runtime="onnxruntime",
        precision="fp32",
        timing=timing,
        speedup=speedup,
        quiet_speedup=speedup,
        macs_ratio=macs,
        size=size,
        versions={},
    )


@pytest.mark.parametrize(
    ("speedup", "macs", "words"),
    [
        (0.8, 2.0, "slower than the first (0.80 times its speed) at 1/2.00 of the MACs"),
        (1.02, 2.0, "no speed-up (1.02) at 1/2.00 of the MACs"),
        (1.3, 2.0, "1.30 times as fast at 1/2.00 of the MACs: the runtime gains less than the MACs suggest"),
        (1.8, 2.0, "1.80 times as fast at 1/2.00 of the MACs."),
        (1.8, None, "1.80 times as fast."),
    ],
)
def test_ratios_in_words(speedup: float, macs: float | None, words: str) -> None:
    assert words in verdict(row(speedup, macs))


def test_table(checkpoints: tuple[Path, Path], tmp_path: Path) -> None:
    record = bench(BenchConfig(weights=checkpoints, runtime="torch", project=tmp_path, **QUICK))
    lines = bench_table(record).splitlines()
    assert lines[0].split()[:3] == ["torch,", "fp32", "median"]
    assert [line.split()[0] for line in bench_table(record, 80).splitlines()[1:]] == ["dense.pt", "cut.pt"]
    assert {len(line) for line in bench_table(record, 80).splitlines()} == {80}
    assert "cut.pt" in lines[2]
    assert lines[1].split()[-2:] == ["—", "—"]
