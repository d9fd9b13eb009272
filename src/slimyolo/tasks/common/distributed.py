"""Several processes that train together (torchrun): which one this is, its device and its share of a batch.

``torchrun --nproc_per_node N -m slimyolo train …`` starts N processes with RANK, LOCAL_RANK, WORLD_SIZE and the address of
the first one set; without these a process is alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import torch

from slimyolo.errors import ConfigError, TrainingError
from slimyolo.tasks.common.devices import pick_device
from slimyolo.training import Alone, Team, Together

__all__ = ["joined_team", "loader_processes", "refuse_several_processes", "share_of_batch"]

_PATIENCE = timedelta(days=1)  # one process may read or write for a long time; one that has died is noticed at once
_LOST = ("closed by peer", "Connection reset", "Socket Timeout", "connection to rank", "Broken pipe", "NCCL", "gloo")


@contextmanager
def joined_team(device_name: str) -> Iterator[tuple[Team, torch.device]]:
    """(the team that torchrun has made this process part of, its device); alone, and any device, without torchrun.

    With a GPU each process takes the one of its local rank and NCCL connects them; on processors gloo does. Raises
    `ConfigError` for a device that does not fit, `TrainingError` when another process of the team has ended.
    """
    if _world() == 1:
        yield Alone(), pick_device(device_name)
        return
    from torch import distributed

    device = local_device(device_name, os.environ, torch.cuda.device_count())
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Together(device), device
    except RuntimeError as error:
        if any(sign in str(error) for sign in _LOST):
            raise TrainingError(
                f"Process {distributed.get_rank()} of {_world()}: another process of this run has ended; its message "
                f"says why. The run goes on after its last whole epoch with --resume."
            ) from error
        raise
    distributed.destroy_process_group()  # only here: after a failure the others may never answer


def local_device(name: str, environment: Mapping[str, str], gpus: int) -> torch.device:
    """The device of this process among several: the GPU of its local rank, or the processor."""
    local, here = int(environment.get("LOCAL_RANK", "0")), int(environment.get("LOCAL_WORLD_SIZE", "1"))
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    if name not in ("auto", "cuda"):
        raise ConfigError(
            f"--device {name}: torchrun gives each process its own GPU. Leave --device out, and choose the GPUs with "
            f"CUDA_VISIBLE_DEVICES=0,1."
        )
    if here > gpus:
        raise ConfigError(
            f"torchrun started {here} processes on this machine, which has {gpus} GPUs. Use --nproc_per_node {gpus or 1}, "
            f"or --device cpu."
        )
    return torch.device("cuda", local)


def share_of_batch(batch_size: int, world: int) -> int:
    """The images per step of one of `world` processes. Raises `ConfigError` unless they divide `batch_size`."""
    if batch_size % world:
        below, above = max(batch_size // world, 1) * world, -(-batch_size // world) * world
        raise ConfigError(
            f"--batch-size {batch_size} is for all processes together and cannot be shared evenly by {world}. "
            f"Use {below if below == above else f'{below} or {above}'}."
        )
    return batch_size // world


def loader_processes(asked: int) -> int:
    """`asked` loader processes, or fewer where the processes on this machine would together have more than cores."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return asked if here == 1 else min(asked, max(1, (os.cpu_count() or 1) // here))


def refuse_several_processes(command: str) -> None:
    """Raise `ConfigError` for a command that one process has to run."""
    if _world() > 1:
        raise ConfigError(
            f"`slimyolo {command}` runs in one process, but torchrun started {_world()}. Start it without torchrun; "
            f"`train`, `sparsify` and `finetune` can run under torchrun, one after the other."
        )


def _world() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
