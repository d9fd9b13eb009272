"""Property: a run that is killed (SIGKILL) at any moment and gone on with ends with the same losses and weights."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from slimyolo.checkpoints import save_checkpoint, saving
from slimyolo.errors import StorageError
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.models import build_detector
from slimyolo.tasks.common.records import TrainRecord
from slimyolo.tasks.train import finish
from slimyolo.tasks.train import saving as checkpoint_files
from slimyolo.tasks.train.config import FinetuneConfig, SparsifyConfig, TrainConfig
from slimyolo.tasks.train.finetune import finetune
from slimyolo.tasks.train.resume import resumed_config
from slimyolo.tasks.train.sparsify import sparsify
from slimyolo.tasks.train.train import train
from slimyolo.training import Ema

QUICK: dict[str, Any] = {"imgsz": 64, "batch_size": 4, "nominal_batch": 8, "workers": 0, "cache": "ram", "epochs": 3}
COMMANDS: dict[str, tuple[type[TrainConfig], Callable[[Any], TrainRecord]]] = {
    "train": (TrainConfig, train),
    "sparsify": (SparsifyConfig, sparsify),
    "finetune": (FinetuneConfig, finetune),
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_step(number: int) -> None:
    """Die after the so-manyth optimizer step of this process."""
    update, steps = Ema.update, iter(range(number - 1))

    def counting(self: Ema, *arguments: Any) -> None:
        update(self, *arguments)
        if next(steps, None) is None:
            die()

    Ema.update = counting  # type: ignore[method-assign, assignment]


def in_writing(number: int) -> None:
    """Die with the so-manyth checkpoint half written."""
    write, calls = saving._write, iter(range(number - 1))

    def half(content: Any, file: Any) -> None:
        if next(calls, None) is None:
            file.write(b"half a checkpoint")
            file.flush()
            die()
        write(content, file)

    saving._write = half


def between_best_and_last(number: int) -> None:
    """Die after the so-manyth best.pt, before the last.pt of the same epoch."""
    save, calls = save_checkpoint, iter(range(number - 1))

    def stopping(path: Any, *arguments: Any, **named: Any) -> None:
        save(path, *arguments, **named)
        if Path(path).name == "best.pt" and next(calls, None) is None:
            die()

    checkpoint_files.save_checkpoint = stopping  # type: ignore[attr-defined]


def after_the_record(number: int) -> None:
    """Die with the record written, before last.pt is stripped."""
    write = finish.write_json  # type: ignore[attr-defined]
    finish.write_json = lambda *arguments: (write(*arguments), die())  # type: ignore[attr-defined]


def killed(
    task: Callable[[Any], TrainRecord], config: TrainConfig, prepare: Callable[[int], None], number: int
) -> None:
    """Run `task` in a process that `prepare` has made die at some moment."""

    def life() -> None:
        prepare(number)
        task(config)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
        process = multiprocessing.get_context("fork").Process(target=life)
        process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def check(command: str, settings: dict[str, Any], folder: Path, kills: list[tuple[Callable[[int], None], int]]) -> None:
    kind, task = COMMANDS[command]
    whole = task(kind(**settings, project=folder, name="whole"))
    config = kind(**settings, project=folder, name="killed")
    for prepare, number in kills:
        killed(task, config, prepare, number)
        config = resumed_config(kind, folder / "killed" / "weights" / "last.pt", {})
    resumed = task(config)
    first, second = (load_checkpoint(record.last).tensors for record in (whole, resumed))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert all(torch.equal(a, b) for a, b in zip(*(tensors(record.best) for record in (whole, resumed)), strict=True))
    rows = [(Path(record.folder) / "results.csv").read_text() for record in (whole, resumed)]
    assert rows[0] == rows[1]
    assert whole.metrics == resumed.metrics
    assert whole.best_epoch == resumed.best_epoch
    assert not list((folder / "killed").glob("**/.*.part"))


def tensors(path: str) -> Iterator[torch.Tensor]:
    return iter(load_checkpoint(path).tensors.values())


@pytest.fixture(scope="module")
def small_cfg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """yolov5n at a quarter of its width: the same layers, less work."""
    text = Path("models/yolov5n.yaml").read_text().replace("width_multiple: 0.25", "width_multiple: 0.0625")
    path = tmp_path_factory.mktemp("cfg") / "small.yaml"
    path.write_text(text)
    return path


def test_sparse_training_survives_kills_in_its_first_epoch_in_writing_and_between(
    tiny_data: Path, small_cfg: Path, tmp_path: Path
) -> None:
    """Two optimizer steps fall into the first epoch, and accumulated gradients wait at its end."""
    settings = {**QUICK, "data": tiny_data, "cfg": str(small_cfg), "percent": 0.3, "image_weights": True}
    kills = [(at_step, 1), (in_writing, 1), (between_best_and_last, 1)]
    check("sparsify", settings, tmp_path, kills)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train", "finetune"])
@pytest.mark.parametrize(
    "kills",
    [
        [(at_step, 1), (at_step, 3), (in_writing, 2)],
        [(in_writing, 3), (between_best_and_last, 1), (after_the_record, 1)],
    ],
)
def test_every_training_survives_kills(
    command: str, kills: Any, tiny_data: Path, small_cfg: Path, tmp_path: Path
) -> None:
    start = tmp_path / "start.pt"
    save_checkpoint(
        start, build_detector(read_architecture(small_cfg).with_classes(2), names=("face", "face_mask"), seed=3)
    )
    check(command, {**QUICK, "data": tiny_data, "weights": start, "optimizer": "AdamW"}, tmp_path, kills)


def test_a_full_disk_leaves_the_previous_checkpoint_whole(tmp_path: Path, small_cfg: Path) -> None:
    detector, path = build_detector(read_architecture(small_cfg), seed=3), tmp_path / "last.pt"
    save_checkpoint(path, detector)
    before = path.read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"Cannot write .*last.pt: File too large.*free space"):
            save_checkpoint(path, detector, ema=detector)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]
