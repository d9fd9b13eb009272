"""One of two processes that train the toy together; started by test_training_team.py. Writes what it came out with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from toy_run import ToyBatch, ToyBatches, layer_groups, toy_net, toy_objective

from slimyolo.sparsity import ShareDriven
from slimyolo.training import (
    Alone,
    CheckpointObserver,
    ConstantSchedule,
    Ema,
    EpochReport,
    Progress,
    Team,
    Together,
    build_optimizer,
    fit,
    share_batchnorms_,
)

EPOCHS, BATCHES, IMAGES = 3, 5, 8


class Part:
    """This process's images of the global batches."""

    def __init__(self, rank: int, world: int) -> None:
        self._whole, self._rank, self._world = ToyBatches(BATCHES, IMAGES), rank, world

    def __len__(self) -> int:
        return BATCHES

    def epoch(self, epoch: int) -> Iterator[ToyBatch]:
        for batch in self._whole.epoch(epoch):
            mine = slice(self._rank * IMAGES // self._world, (self._rank + 1) * IMAGES // self._world)
            yield replace(batch, images=batch.images[mine], targets=batch.targets[mine], paths=batch.paths[mine])


def train(team: Team, shared: bool, state: dict[str, Any] | None = None) -> dict[str, Any]:
    """Accumulates two batches a step, so that one of five waits for the next epoch."""
    model = toy_net(seed=0 if team.rank == 0 else 5)  # process 1 must take over the weights of process 0
    if shared:
        share_batchnorms_(model)
    team.align_(model)
    ema, beside = Ema(model), nn.ModuleList([nn.Linear(3, 3)])
    if state is not None:
        model.load_state_dict(state["model"])
        ema.module.load_state_dict(state["ema"])
    team.align_(beside)
    optimizer = build_optimizer(model, weight_decay=0.01)
    optimizer.add_param_group({"params": beside.parameters()})
    saved: list[dict[str, Any]] = []

    def save(report: EpochReport) -> None:
        tensors = {"model": report.model.state_dict(), "ema": report.averaged.state_dict()}
        copies = {name: {key: value.clone() for key, value in kept.items()} for name, kept in tensors.items()}
        saved.append({**copies, "training": report.training_state(), "losses": dict(report.losses)})

    def objective(model: nn.Module, images: torch.Tensor, targets: torch.Tensor, progress: Progress) -> Any:
        loss = toy_objective(model, images, targets)
        return replace(loss, total=loss.total + 0.1 * len(images) * beside[0](images.mean((2, 3))).square().mean())

    fit(
        model,
        Part(team.rank, team.world),
        objective,
        optimizer,
        ConstantSchedule(0.05, accumulate=2),
        epochs=EPOCHS,
        sparsity=ShareDriven(model, layer_groups(model), 0.4, reach=0.7, ema=ema.module),
        ema=ema,
        clip=1.0,
        observers=[CheckpointObserver(save)],
        team=team,
        beside=beside,
        resume_state=None if state is None else state["training"],
    )
    return {"first": saved[0], **saved[-1], "beside": {k: v.clone() for k, v in beside.state_dict().items()}}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    team = Together(torch.device("cpu"))
    plain = train(team, shared=False)
    outcome = {
        "plain": plain,
        "shared": train(team, shared=True),
        "resumed": train(team, shared=False, state=team.told(plain["first"])),
        "gathered": team.gather(team.rank),
        "told": team.told(f"by {team.rank}"),
        "means": team.means({"x": float(team.rank)}),
    }
    torch.save(outcome, folder / f"{team.rank}.pt")
    distributed.destroy_process_group()


def alone(shared: bool) -> dict[str, Any]:
    return train(Alone(), shared)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
