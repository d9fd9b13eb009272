"""Table of cases: what a family's recipe, the hyper-parameters and the options make of a run together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from slimyolo.errors import ConfigError, SlimyoloError
from slimyolo.families import FAMILIES
from slimyolo.models import Family, TrainingRecipe
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.train.assemble import assemble
from slimyolo.tasks.train.assemble.recipe import hyperparameters_of, run_recipe
from slimyolo.tasks.train.config import FinetuneConfig, TrainConfig
from slimyolo.tasks.train.resume import resumed_config
from slimyolo.training import Alone

YOLOV5 = FAMILIES["yolov5"]
LATER = dataclasses.replace(
    YOLOV5,
    name="later",
    title="Later",
    recipe=TrainingRecipe(
        hyp={"box": 7.5, "lrf": 0.01},
        unused=("obj", "anchor_t"),
        optimizer="auto",
        close_mosaic=10,
        schedule={"one_epoch_late": False, "shortest_warmup": 0, "spare_last_epoch": True},
        loading={"rounding": "up"},
        decay_of_short_runs=True,
        strict_patience=True,
        rule="ultralytics",
        finetune_lr_whole_from=None,
    ),
)


def config(**values: Any) -> TrainConfig:
    return TrainConfig(data="data.yaml", cfg="yolov5n", **values)


def test_yolov5_is_as_it_was() -> None:
    recipe = run_recipe(config(), YOLOV5, images=100, nc=2)
    assert (recipe.optimizer, recipe.momentum, recipe.close_mosaic) == ("SGD", 0.937, 0)
    assert (recipe.hyp.box, recipe.hyp.lr0, recipe.hyp.warmup_bias_lr) == (0.05, 0.01, 0.1)
    assert recipe.weight_decay == 0.0005
    schedule = recipe.schedule(config())
    assert (schedule.one_epoch_late, schedule.shortest_warmup, schedule.spare_last_epoch) == (True, 100, False)


@pytest.mark.parametrize(
    ("family", "values", "images", "wanted"),
    [
        (YOLOV5, {"optimizer": "AdamW"}, 100, ("AdamW", 0.01, 0.937, 0.1, 0)),
        (LATER, {}, 100, ("AdamW", 0.001667, 0.9, 0.0, 10)),
        (LATER, {"epochs": 4}, 100, ("AdamW", 0.001667, 0.9, 0.0, 2)),  # at most half of a short run is without mosaic
        (LATER, {"epochs": 1}, 100, ("AdamW", 0.001667, 0.9, 0.0, 0)),
        (LATER, {"epochs": 4, "close_mosaic": 4}, 100, ("AdamW", 0.001667, 0.9, 0.0, 4)),
        (LATER, {"epochs": 20}, 100, ("AdamW", 0.001667, 0.9, 0.0, 10)),
        (LATER, {}, 6400, ("MuSGD", 0.01, 0.9, 0.0, 10)),  # 20,000 steps
        (LATER, {"optimizer": "SGD", "close_mosaic": 0}, 100, ("SGD", 0.01, 0.937, 0.1, 0)),
        (LATER, {"optimizer": "SGD", "hyp_set": ("lr0=0.02",)}, 100, ("SGD", 0.02, 0.937, 0.1, 10)),
        (YOLOV5, {"optimizer": "auto"}, 100, ("AdamW", 0.001667, 0.9, 0.0, 0)),
    ],
)
def test_who_has_the_last_word(family: Family, values: dict[str, Any], images: int, wanted: tuple[Any, ...]) -> None:
    recipe = run_recipe(config(**values), family, images=images, nc=2)
    found = (recipe.optimizer, recipe.hyp.lr0, recipe.momentum, recipe.hyp.warmup_bias_lr, recipe.close_mosaic)
    assert found == wanted


def test_a_family_changes_defaults_and_a_named_preset_changes_them_back() -> None:
    tune = {"data": "data.yaml", "weights": "best.pt"}
    assert hyperparameters_of(FinetuneConfig(**tune), YOLOV5).lrf == 0.1
    assert hyperparameters_of(FinetuneConfig(**tune), LATER).lrf == 0.01
    assert hyperparameters_of(FinetuneConfig(**tune, hyp="scratch"), LATER).lrf == 0.1
    assert hyperparameters_of(FinetuneConfig(**tune, hyp="scratch"), LATER).box == 7.5


def test_short_runs_of_later_families_decay_less() -> None:
    short = run_recipe(config(batch_size=16, epochs=1, optimizer="SGD"), LATER, images=30, nc=2)
    assert short.weight_decay == pytest.approx(0.0005 * 16 * 2 / 64)
    assert run_recipe(config(batch_size=16, epochs=1), YOLOV5, images=30, nc=2).weight_decay == 0.0005


def test_the_rest_of_the_recipe_arrives() -> None:
    recipe = run_recipe(config(), LATER, images=100, nc=2)
    schedule = recipe.schedule(config(), step_every_batch=True)
    assert (schedule.one_epoch_late, schedule.spare_last_epoch, schedule.nominal_batch) == (False, True, 64)
    assert recipe.loading().rounding == "up"
    stopper = recipe.stopper(1)
    assert [stopper.stop(epoch, 0.5) for epoch in range(2)] == [False, True]  # equal is no progress
    assert recipe.augmentation().mosaic == 1.0


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"hyp_set": ("obj=0.5",)}, "hyper-parameter obj is 0.5, but Later does not use it"),
        (
            {"hyp_set": ("lr0=0.02",)},
            "lr0 is 0.02, but --optimizer auto, the default of Later, picks this number itself",
        ),
        ({"hyp_set": ("momentum=0.8",)}, "momentum is 0.8, but --optimizer auto"),
    ],
)
def test_numbers_without_effect_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        run_recipe(config(**values), LATER, images=100, nc=2)


@pytest.mark.parametrize(
    ("family", "values", "lr0"),
    [
        (LATER, {}, 0.25 * 0.001667),
        (LATER, {"optimizer": "SGD"}, 0.25 * 0.01),
        (LATER, {"hyp": "scratch-low"}, 0.25 * 0.001667),
        (LATER, {"lr_factor": 1.0}, 0.001667),
        (LATER, {"activation": "relu"}, 0.001667),  # the network has to learn anew
        (LATER, {"optimizer": "SGD", "hyp_set": ("lr0=0.02",)}, 0.02),  # what is given counts as it is
        (LATER, {"optimizer": "SGD", "hyp_set": ("lr0=0.02",), "lr_factor": 0.5}, 0.01),
        (YOLOV5, {}, 0.01),  # 100 epochs: as the reference
        (YOLOV5, {"epochs": 20}, 0.01),
        (YOLOV5, {"epochs": 19}, 0.25 * 0.01),  # too short to come back from the whole rate
        (YOLOV5, {"epochs": 10, "lr_factor": 1.0}, 0.01),
    ],
)
def test_a_fine_tuning_begins_with_a_share_of_the_rate(family: Family, values: dict[str, Any], lr0: float) -> None:
    gentle = FinetuneConfig(data="data.yaml", weights="pruned.pt", **values)
    assert run_recipe(gentle, family, images=100, nc=2).hyp.lr0 == pytest.approx(lr0)


def test_the_families_say_how_they_are_fine_tuned() -> None:
    shares = {name: [family.recipe.finetune_share(epochs) for epochs in (1, 100)] for name, family in FAMILIES.items()}
    assert shares == {name: [0.25, 1.0 if name == "yolov5" else 0.25] for name in FAMILIES}
    chain = CompressConfig(data="data.yaml", weights="a.pt", epochs=0, finetune_lr_factor=0.5)
    assert chain.finetune_config(Path("run"), Path("cut.pt"), Path("base.pt")).lr_factor == 0.5


def test_a_fine_tuning_of_an_older_version_goes_on_as_it_began(tmp_path: Path) -> None:
    for name, stored in (("old", {}), ("new", {"lr_factor": None})):
        weights = tmp_path / name / "weights" / "last.pt"
        weights.parent.mkdir(parents=True)
        weights.touch()
        options = {"command": "finetune", "data": "data.yaml", "weights": "a.pt", **stored}
        (tmp_path / name / "opt.yaml").write_text(yaml.safe_dump(options))
        assert resumed_config(FinetuneConfig, weights, {}).lr_share(0.25) == (1.0 if name == "old" else 0.25)


@pytest.mark.parametrize(("kind", "said"), [("bf16", True), ("fp32", False)])
def test_a_training_says_which_number_format_was_picked(
    kind: str, said: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(assemble, "automatic_precision", lambda device: kind)
    with caplog.at_level("INFO", logger="slimyolo"), pytest.raises(SlimyoloError):
        assemble.assemble(config(), Alone(), torch.device("cpu"), step_every_batch=False)  # there is no data.yaml
    assert (f"precision: {kind}, which cpu computes fastest" in caplog.text) == said
