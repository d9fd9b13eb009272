"""Several processes that train together (torchrun): which one this is, its device and its share of a batch.

``torchrun --nproc_per_node N -m slimyolo train …`` starts N processes. It sets RANK, LOCAL_RANK, WORLD_SIZE and the address
of the first process in their environment. A process without these variables is alone.
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

_PATIENCE = timedelta(days=1)  # one process may read or write for a long time; a process that ended is noticed at once
_LOST = ("closed by peer", "Connection reset", "Socket Timeout", "connection to rank", "Broken pipe", "NCCL", "gloo")


@contextmanager
def joined_team(device_name: str) -> Iterator[tuple[Team, torch.device]]:
    """The team of processes that this one belongs to, and the device of this process. Without torchrun it is alone.

    With GPUs each process takes the GPU of its local rank, and NCCL connects the processes; on processors gloo connects
    them. Raises `ConfigError` for a device that does not fit, `TrainingError` when another process of the team has ended.
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
                f"says why. Continue the run after its last whole epoch with --resume."
            ) from error
        raise
    distributed.destroy_process_group()  # only after success: after a failure the other processes may never answer


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
    """The images per step of each of `world` processes. Raises `ConfigError` unless `world` divides `batch_size`."""
    if batch_size % world:
        below, above = max(batch_size // world, 1) * world, -(-batch_size // world) * world
        raise ConfigError(
            f"--batch-size {batch_size} is for all processes together and cannot be shared evenly by {world}. "
            f"Use {below if below == above else f'{below} or {above}'}."
        )
    return batch_size // world


def loader_processes(asked: int) -> int:
    """The number of loader processes: `asked`, or fewer when all loader processes of this machine exceed its cores."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return asked if here == 1 else min(asked, max(1, (os.cpu_count() or 1) // here))


def refuse_several_processes(command: str) -> None:
    """Raise `ConfigError` when torchrun started several processes: `command` runs in one."""
    if _world() > 1:
        raise ConfigError(
            f"`slimyolo {command}` runs in one process, but torchrun started {_world()}. Start it without torchrun; "
            f"`train`, `sparsify` and `finetune` can run under torchrun, one after the other."
        )


def _world() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
