"""Two processes that train one network together with DistributedDataParallel (gloo); each writes what it came out with."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from loop_networks import EXAMPLE, data, made, residual, sgd
from torch import distributed, multiprocessing
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from slimyolo.pruning import MacsShare
from slimyolo.slimming import Slimming


def member(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    network = DistributedDataParallel(made(residual, seed=rank))  # process 1 takes over the weights of process 0
    slim = Slimming(network, EXAMPLE, MacsShare(0.5), steps=8)
    optimizer = sgd(network)
    for pictures, classes in data(11, 8):
        mine = slice(rank * 8, rank * 8 + 8)
        optimizer.zero_grad()
        functional.cross_entropy(network(pictures[mine]), classes[mine]).backward()
        optimizer.step()
        slim.step()
    result = slim.cut()
    told = {"held": slim.state_dict()["sparsity"]["held"], "model": result.model.state_dict(), "alive": result.alive}
    torch.save(told, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    multiprocessing.spawn(member, args=(sys.argv[1],), nprocs=2)
