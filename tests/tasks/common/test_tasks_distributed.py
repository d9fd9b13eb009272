"""Table of cases: which device and share of a batch a process gets; and one real run of two processes (slow)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from slimyolo.errors import ConfigError
from slimyolo.families import load_checkpoint
from slimyolo.tasks.chain.compress import compress
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.common.distributed import loader_processes, local_device, share_of_batch
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.prune import prune


@pytest.mark.parametrize(
    ("name", "local", "here", "gpus", "device"),
    [
        ("auto", 1, 2, 2, "cuda:1"),
        ("cuda", 0, 2, 4, "cuda:0"),
        ("auto", 1, 2, 0, "cpu"),
        ("cpu", 1, 2, 8, "cpu"),
    ],
)
def test_each_process_takes_the_gpu_of_its_local_rank(name: str, local: int, here: int, gpus: int, device: str) -> None:
    environment = {"LOCAL_RANK": str(local), "LOCAL_WORLD_SIZE": str(here)}
    assert local_device(name, environment, gpus) == torch.device(device)


@pytest.mark.parametrize(
    ("name", "gpus", "says"),
    [
        ("cuda:1", 2, r"--device cuda:1: torchrun gives each process its own GPU.*CUDA_VISIBLE_DEVICES"),
        ("auto", 1, r"started 2 processes on this machine, which has 1 GPUs. Use --nproc_per_node 1"),
    ],
)
def test_devices_that_do_not_fit_are_refused(name: str, gpus: int, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        local_device(name, {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}, gpus)


def test_the_batch_is_shared_evenly_or_not_at_all() -> None:
    assert share_of_batch(64, 4) == 16
    with pytest.raises(ConfigError, match=r"--batch-size 18 .* cannot be shared evenly by 4. Use 16 or 20"):
        share_of_batch(18, 4)
    with pytest.raises(ConfigError, match=r"--batch-size 3 .* by 4. Use 4\."):
        share_of_batch(3, 4)


def test_loader_processes_do_not_outnumber_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loader_processes(5) == 5
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert (loader_processes(5), loader_processes(0)) == (2, 0)


def test_commands_of_one_process_refuse_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"`slimyolo compress` runs in one process, but torchrun started 2"):
        compress(CompressConfig(data="d.yaml", cfg="yolov5n"))
    with pytest.raises(ConfigError, match=r"`slimyolo prune` runs in one process"):
        prune(PruneConfig(weights="x.pt"))


@pytest.mark.slow
def test_two_processes_make_one_run(tiny_data: Path, tmp_path: Path) -> None:
    """torchrun itself starts them. The metrics of the last epoch are those that a single process measures."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        "29655",
        "-m",
        "slimyolo",
        "train",
        "--data",
        str(tiny_data),
        "--cfg",
        "yolov5n",
        "--epochs",
        "2",
        "--imgsz",
        "64",
        "--batch-size",
        "4",
        "--workers",
        "0",
        "--project",
        str(tmp_path),
        "--sync-bn",
        "--device",
        "cpu",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["exp"]
    record = json.loads((tmp_path / "exp" / "record.json").read_text())
    assert record["metrics"]["images"] == 4
    assert load_checkpoint(record["best"]).training is None
    assert done.stdout.count("run folder:") == 1


@pytest.mark.slow
def test_the_end_of_one_process_ends_the_other(tiny_data: Path, tmp_path: Path) -> None:
    """The first process is killed, so it cannot print anything; the other one prints what happened and how to continue."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "slimyolo",
        "train",
        "--data",
        str(tiny_data),
        "--cfg",
        "yolov5n",
        "--epochs",
        "500",
        "--imgsz",
        "64",
        "--batch-size",
        "4",
        "--workers",
        "0",
        "--project",
        str(tmp_path),
        "--device",
        "cpu",
    ]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    both = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    deadline = time.monotonic() + 200
    while not (tmp_path / "exp" / "results.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.5)
    both[1].kill()
    both[1].communicate()
    said = both[0].communicate(timeout=60)[0]
    assert both[0].returncode == 2, said
    assert "slimyolo: Process 0 of 2: another process of this run has ended" in said
    assert load_checkpoint(tmp_path / "exp" / "weights" / "last.pt").training is not None
