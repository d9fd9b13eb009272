"""Table of cases: training at the edges of what can be asked ends, and its result can be cut, tuned and exported."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from watching import NETWORK, watched

from conftest import QUICK
from slimyolo.errors import SlimyoloError
from slimyolo.exporting import open_exported
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.export.export import export
from slimyolo.tasks.measure.validate import validate
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.prune import prune
from slimyolo.tasks.train.config import FinetuneConfig, SparsifyConfig, TrainConfig
from slimyolo.tasks.train.finetune import finetune
from slimyolo.tasks.train.sparsify import sparsify
from slimyolo.tasks.train.train import train


def dataset(folder: Path, rows: str, images: int = 2, names: str = "[a]") -> Path:
    """Pictures of noise that all have the label file `rows`."""
    generator = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(images):
            noise = generator.integers(0, 255, (48, 64, 3), np.uint8)
            cv2.imwrite(str(folder / "images" / split / f"{number}.png"), noise)
            (folder / "labels" / split / f"{number}.txt").write_text(rows)
    (folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames: {names}\n")
    return folder / "data.yaml"


ONE = "0 0.5 0.5 0.4 0.4\n"
CASES: dict[str, tuple[str, int, str, dict[str, Any]]] = {
    # case → rows, images, names, settings
    "one image, one class, a batch larger than the set": (ONE, 1, "[a]", {"batch_size": 16}),
    "all boxes tiny: gone after augmentation": ("0 0.5 0.5 0.002 0.002\n" * 1, 4, "[a]", {"hyp_set": ("scale=0.9",)}),
    "a thousand classes": ("999 0.5 0.5 0.4 0.4\n", 2, str([f"c{i}" for i in range(1000)]), {}),
    "anchors fitted to one box": (ONE, 2, "[a]", {"noautoanchor": False}),
}


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if "thousand" in case else ()) for case in CASES]
)
def test_training_at_the_edges_ends(tmp_path: Path, small_cfg: str, case: str) -> None:
    rows, images, names, settings = CASES[case]
    data = dataset(tmp_path / "data", rows, images, names)
    record = train(TrainConfig(data=data, cfg=small_cfg, project=tmp_path, noplots=True, **{**QUICK, **settings}))
    assert record.epochs_done == 1
    assert Path(record.last).is_file()


def test_what_cannot_be_trained_is_refused_in_words(tmp_path: Path, small_cfg: str) -> None:
    data = dataset(tmp_path / "data", ONE)
    with pytest.raises(SlimyoloError, match="multiple of"):
        train(TrainConfig(data=data, cfg=small_cfg, project=tmp_path, **{**QUICK, "imgsz": 70}))
    empty = dataset(tmp_path / "empty", "")
    with pytest.raises(SlimyoloError, match="not a single box"):
        train(TrainConfig(data=empty, cfg=small_cfg, project=tmp_path, **QUICK))
    assert not (tmp_path / "exp").exists()


def test_a_clock_that_goes_backwards_does_not_matter(
    tmp_path: Path, small_cfg: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, clock = dataset(tmp_path / "data", ONE), iter(range(2_000_000_000, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    record = train(TrainConfig(data=data, cfg=small_cfg, project=tmp_path, noplots=True, time="10h", **QUICK))
    assert record.seconds > 0


def test_a_project_that_is_a_file_is_refused_before_any_work(tmp_path: Path, small_cfg: str) -> None:
    (tmp_path / "runs").write_text("here is a file")
    with pytest.raises(SlimyoloError, match=r"runs.*--project"):
        train(TrainConfig(data=dataset(tmp_path / "data", ONE), cfg=small_cfg, project=tmp_path / "runs", **QUICK))


@pytest.mark.slow
def test_the_chain_uses_no_network_and_the_smallest_model_still_runs(
    tiny_data: Path, small_cfg: str, tmp_path: Path
) -> None:
    """Sparse to the floors, cut as far as it goes, cut again, tuned, validated, exported, run: without one connection."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    with watched(*NETWORK) as seen:
        base = train(TrainConfig(data=tiny_data, cfg=small_cfg, project=tmp_path, noplots=True, **QUICK))
        sparse = sparsify(
            SparsifyConfig(
                data=tiny_data, weights=base.last, percent=0.8, project=tmp_path, name="sparse", noplots=True, **QUICK
            )
        )
        weights: Path = Path(sparse.last)
        for _ in range(2):
            record = prune(
                PruneConfig(weights=weights, percent=0.5, imgsz=64, project=tmp_path, name="cut", noplots=True)
            )
            weights = Path(record.weights)
        emptied = prune(
            PruneConfig(weights=weights, percent=0.99, imgsz=64, project=tmp_path, name="cut", noplots=True)
        )
        assert "floor" in " ".join(emptied.notes)  # a channel of each layer stays, and the record says so
        weights = Path(emptied.weights)
        tuned = finetune(
            FinetuneConfig(data=tiny_data, weights=weights, project=tmp_path, name="tuned", noplots=True, **QUICK)
        )
        found = [
            validate(
                ValConfig(
                    weights=tuned.best,
                    data=tiny_data,
                    imgsz=64,
                    batch_size=batch,
                    workers=workers,
                    project=tmp_path,
                    noplots=True,
                )
            ).metrics
            for batch, workers in ((1, 0), (4, 1))
        ]
        export(ExportConfig(weights=tuned.best, format=("onnx",), imgsz=64, output=tmp_path / "out"))
    assert not seen
    assert math.isclose(found[0].map50, found[1].map50, abs_tol=1e-6)
    file = next((tmp_path / "out").rglob("*.onnx"), None) or next(tmp_path.rglob("*.onnx"))
    with open_exported(file, threads=1) as model:
        assert torch.isfinite(model(torch.rand(1, 3, 64, 64))).all()


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    tiny_data: Path, small_cfg: str, tmp_path: Path
) -> None:
    from slimyolo.families import load_checkpoint

    kept = []
    for number, seed in enumerate((0, 0, 1)):
        config = TrainConfig(
            data=tiny_data,
            cfg=small_cfg,
            seed=seed,
            project=tmp_path,
            name=f"run{number}",
            noplots=True,
            **{**QUICK, "workers": number % 2, "cache": None},
        )
        kept.append(load_checkpoint(train(config).last).tensors)
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])
    assert not all(torch.equal(kept[0][name], kept[2][name]) for name in kept[0])


@pytest.mark.slow
def test_five_cuts_each_tuned_exported_and_run(tiny_data: Path, small_cfg: str, tmp_path: Path) -> None:
    weights = Path(train(TrainConfig(data=tiny_data, cfg=small_cfg, project=tmp_path, noplots=True, **QUICK)).last)
    sizes = []
    for number in range(5):
        cut = prune(PruneConfig(weights=weights, percent=0.15, imgsz=64, project=tmp_path, name=f"cut{number}"))
        tuned = finetune(
            FinetuneConfig(
                data=tiny_data, weights=cut.weights, project=tmp_path, name=f"tuned{number}", noplots=True, **QUICK
            )
        )
        weights = Path(tuned.best)
        sizes.append(os.path.getsize(weights))
        export(ExportConfig(weights=weights, format=("onnx",), imgsz=64, output=tmp_path / f"out{number}"))
        file = next(tmp_path.rglob(f"out{number}*.onnx"), None) or next((tmp_path / f"out{number}").rglob("*.onnx"))
        with open_exported(file, threads=1) as model:
            assert torch.isfinite(model(torch.rand(1, 3, 64, 64))).all()
    assert sizes == sorted(sizes, reverse=True)
