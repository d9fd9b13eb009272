"""Table of cases: memory, time, precision, batches kept for inspection, deterministic kernels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from slimyolo.errors import LossNotFiniteError, TrainingError
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.families.yolov5.loss import DetectionLoss
from slimyolo.losses import LossParts
from slimyolo.models import build_detector
from slimyolo.tasks.common.devices import has_fast_bf16
from slimyolo.tasks.common.records import TrainRecord
from slimyolo.tasks.train.assemble.epochs_in_time import epochs_that_fit
from slimyolo.tasks.train.assemble.memory import answering_out_of_memory, images_that_fit, measured_batch_size
from slimyolo.tasks.train.assemble.preparing import reproducible
from slimyolo.tasks.train.config import TrainConfig, duration_seconds
from slimyolo.tasks.train.train import train
from slimyolo.training import Fp32

QUICK: dict[str, Any] = {"imgsz": 64, "workers": 0, "cache": "ram", "noautoanchor": True, "cfg": "yolov5n"}


@pytest.mark.parametrize(
    ("each", "base", "budget", "most", "size"),
    [
        (10, 0, 1000, 64, 64),  # the cap
        (10, 500, 1000, 64, 48),  # 50 fit, 48 is a multiple of 8
        (10, 0, 75, 64, 7),
        (10, 90, 75, 64, 1),  # too little for one: one is tried
        (10, 0, 1000, 5, 5),  # no more images than there are
    ],
)
def test_as_many_images_as_fit(each: float, base: float, budget: float, most: int, size: int) -> None:
    assert images_that_fit(each, base, budget, most) == size


def test_a_processor_is_asked_for_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_detector(read_architecture("yolov5n").with_classes(2), names=("a", "b"), seed=0)
    monkeypatch.setattr("slimyolo.tasks.train.assemble.memory.free_memory_bytes", lambda device: 60_000_000)
    sizes = [measured_batch_size(model, side, 100, torch.device("cpu"), Fp32()) for side in (64, 128)]
    assert 16 >= sizes[0] > sizes[1] >= 1  # four times the pixels
    monkeypatch.setattr("slimyolo.tasks.train.assemble.memory.free_memory_bytes", lambda device: 10**12)
    assert measured_batch_size(model, 64, 100, torch.device("cpu"), Fp32()) == 16


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried …"),
        MemoryError(),
    ],
)
def test_out_of_memory_is_answered_with_what_to_lower(error: Exception) -> None:
    config = TrainConfig(
        data="d.yaml", cfg="yolov5n", batch_size=64, imgsz=640, cache="ram", workers=4, precision="fp32"
    )
    says = r"Out of memory on cpu with --batch-size 64 at --imgsz 640 .*--batch-size 32 .*--imgsz 480 .*--workers 2.*--cache"
    with pytest.raises(TrainingError, match=says), answering_out_of_memory(config, torch.device("cpu")):
        raise error
    with pytest.raises(TrainingError, match="--precision auto"), answering_out_of_memory(config, torch.device("cuda")):
        raise error
    with pytest.raises(RuntimeError, match="another"), answering_out_of_memory(config, torch.device("cpu")):
        raise RuntimeError("another")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 7200),
        ("90m", 5400),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("45s", 45),
        ("2", None),
        ("", None),
        ("0h", None),
        ("h", None),
        ("2 h", None),
        ("1..5h", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration_seconds(text) == seconds


def test_epochs_that_fit_into_a_budget() -> None:
    assert epochs_that_fit(3600, 60, 100) == 57
    assert epochs_that_fit(3600, 60, 20) == 20
    assert epochs_that_fit(10, 60, 20) == 1


@pytest.mark.parametrize(
    ("flags", "supported", "fast"),
    [
        (("avx2",), False, False),
        (("avx512f", "avx512_bf16"), True, True),
        (("amx_bf16",), True, True),
        (("avx512f",), True, False),  # torch would emulate it
        (("avx512_bf16",), False, False),
    ],
)
def test_bf16_is_asked_for_not_guessed(flags: tuple[str, ...], supported: bool, fast: bool) -> None:
    assert has_fast_bf16(flags, supported) is fast


def test_deterministic_kernels_inside_only() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    with reproducible(True, one_size=True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
    assert not torch.are_deterministic_algorithms_enabled()
    with reproducible(False, one_size=True):
        assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.benchmark


def test_time_and_memory_decide_and_the_decision_is_kept(tiny_data: Path, tmp_path: Path) -> None:
    record = train(
        TrainConfig(
            data=tiny_data, epochs=2000, time="3s", batch_size=-1, project=tmp_path, deterministic=True, **QUICK
        )
    )
    options = yaml.safe_load((Path(record.folder) / "opt.yaml").read_text())
    assert options["batch_size"] == 8  # of ten images, a multiple of 8
    assert 1 <= record.epochs_done <= options["epochs"] < 2000
    assert json.loads((Path(record.folder) / "record.json").read_text())["provenance"]["settings"]["time"] == "3s"


def test_a_bad_batch_is_kept_and_named(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(2))

    def spoiled(self: DetectionLoss, heads: Any, targets: Any, *rest: Any) -> LossParts:
        parts = original(self, heads, targets, *rest)
        return parts if next(calls, None) is not None else LossParts(parts.total * float("nan"), parts.items)

    original = DetectionLoss.__call__
    monkeypatch.setattr(DetectionLoss, "__call__", spoiled)
    config = TrainConfig(data=tiny_data, epochs=1, batch_size=4, project=tmp_path, **QUICK)
    with pytest.raises(
        LossNotFiniteError, match=r"became nan in epoch 1 of 1, batch 3 of 3.*bad_batch.npz: numpy.load"
    ):
        train(config)
    kept = np.load(tmp_path / "exp" / "bad_batch.npz")
    assert kept["images"].shape == (2, 3, 64, 64)
    assert kept["images"].dtype == np.uint8
    assert kept["targets"].shape[1] == 6
    assert [Path(path).suffix for path in kept["paths"]] == [".jpg"] * 2


def test_the_usual_options_work_together_and_frozen_layers_stay(
    base_run: TrainRecord, tiny_data: Path, tmp_path: Path
) -> None:
    record = train(
        TrainConfig(
            data=tiny_data,
            weights=base_run.best,
            epochs=2,
            batch_size=4,
            project=tmp_path,
            freeze=2,
            cos_lr=True,
            label_smoothing=0.1,
            multi_scale=True,
            close_mosaic=1,
            image_weights=True,
            patience=5,
            seed=3,
            **QUICK,
        )
    )
    before, after = (load_checkpoint(path).tensors for path in (base_run.best, record.best))
    frozen = [
        name for name in before if name.startswith(("model.0.", "model.1.")) and name.endswith(("weight", "bias"))
    ]
    assert len(frozen) == 6
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert not torch.equal(before["model.2.cv1.conv.weight"], after["model.2.cv1.conv.weight"])
