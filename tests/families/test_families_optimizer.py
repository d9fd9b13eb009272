"""Parity: groups of parameters against those in ultralytics' own training checkpoints (fixture d15)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slimyolo.families import load_checkpoint
from slimyolo.training import Progress, Recipe, apply_settings_, build_optimizer

KINDS = {"bias": 0, "weight": 1, "muon": 1, "bn": 2}  # which of our three learning rates a group of theirs follows


def groups_of(shared_folder: Path, name: str) -> tuple[Path, list[dict[str, Any]]]:
    folder = shared_folder / "fixtures" / "d15_checkpoints"
    if not folder.is_dir():
        pytest.skip("the fixture d15 is not here")
    about = json.loads((folder / "expected.json").read_text())["files"][f"{name}.pt"]
    return folder / f"{name}.pt", about["optimizer_param_groups"]


@pytest.mark.parametrize(("name", "optimizer"), [("tiny8_training", "SGD"), ("tiny26_training", "MuSGD")])
def test_groups_as_in_the_file(shared_folder: Path, name: str, optimizer: str) -> None:
    path, theirs = groups_of(shared_folder, name)
    detector = load_checkpoint(path).detector()
    recipe = detector.family.recipe
    faster = recipe.faster(detector) if optimizer == "MuSGD" else ()
    ours = build_optimizer(detector, optimizer, weight_decay=0.0005, faster=faster)
    schedule = Recipe(batch_size=16, warmup_epochs=0, **recipe.schedule)
    apply_settings_(ours, schedule(Progress(1, 3, 0, 1)))  # the file was written after epoch 1 of 3

    wanted: dict[tuple[int, float, float], int] = {}
    for group in theirs:
        if group["params"]:
            key = (KINDS[group["param_group"]], round(group["lr"], 6), group["weight_decay"])
            wanted[key] = wanted.get(key, 0) + group["params"]
    found = {(g["rate"], round(g["lr"], 6), g["weight_decay"]): len(g["params"]) for g in ours.param_groups}
    assert found == wanted
    assert {group["momentum"] for group in ours.param_groups} == {group["momentum"] for group in theirs}
