"""Parity (d6) and tables of cases: learning rates, momentum, accumulation, weight decay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slimyolo.errors import ConfigError
from slimyolo.training import (
    ConstantSchedule,
    Progress,
    Recipe,
    Settings,
    accumulation_after_warmup,
    cosine_factor,
    linear_factor,
    scaled_weight_decay,
)


@pytest.mark.parametrize("case", range(4))
def test_every_batch_equals_the_fixture_to_the_last_digit(data_folder: Path, case: int) -> None:
    table = json.loads((data_folder / "d6_schedules.json").read_text())["schedules"][case]
    recipe = Recipe(batch_size=table["batch"], cosine=table["cos_lr"])
    assert recipe.warmup_iterations(table["nb"], table["epochs"]) == table["warmup_iters"]
    assert scaled_weight_decay(0.0005, table["batch"]) == table["weight_decay_scaled"]
    rows = {row[0]: row for row in table["rows"]}
    last_step, updates, compared = -1, 0, 0
    for iteration in range(table["epochs"] * table["nb"]):
        progress = Progress(iteration // table["nb"], table["epochs"], iteration % table["nb"], table["nb"])
        settings = recipe(progress)
        stepped = iteration - last_step >= settings.accumulate
        if stepped:
            last_step, updates = iteration, updates + 1
        if iteration in rows:
            bias, weights, scales = settings.learning_rates
            assert weights == scales
            numbers = [iteration, progress.epoch, bias, weights, settings.momentum, settings.accumulate]
            assert [*numbers, int(stepped), updates] == rows[iteration]
            compared += 1
    assert compared == len(rows)


def test_the_rate_is_one_epoch_late_unless_asked_otherwise() -> None:
    progress = Progress(25, 30, 0, 8)
    assert Recipe(batch_size=16)(progress).learning_rates[0] == 0.01 * linear_factor(24, 30, 0.01)
    assert Recipe(batch_size=16, one_epoch_late=False)(progress).learning_rates[0] == 0.01 * linear_factor(25, 30, 0.01)


def test_warmup_can_be_left_out_or_capped() -> None:
    first = Progress(0, 10, 0, 4)
    assert Recipe(batch_size=64, warmup_epochs=0)(first) == Settings((0.01, 0.01, 0.01), 0.937, 1)
    assert Recipe(batch_size=64).warmup_iterations(4, 10) == 100
    assert Recipe(batch_size=64, warmup_at_most=0.1).warmup_iterations(4, 10) == 4
    assert Recipe(batch_size=64, warmup_at_most=0.0)(first).learning_rates == (0.01, 0.01, 0.01)


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 0), (2, 7), (3, 14), (30, 21)])
def test_the_later_recipe_in_closed_form(epochs: int, warmup: int) -> None:
    batches, batch, lr0, lrf = 7, 16, 0.01, 0.01
    recipe = Recipe(batch_size=batch, one_epoch_late=False, shortest_warmup=0, spare_last_epoch=True)
    assert recipe.warmup_iterations(batches, epochs) == warmup  # round(min(3, E - 1) * batches)
    for iteration in range(epochs * batches):
        epoch, step = divmod(iteration, batches)
        settings = recipe(Progress(epoch, epochs, step, batches))
        top = lr0 * ((1 - epoch / epochs) * (1 - lrf) + lrf)
        done = min(iteration / warmup, 1) if warmup else 1
        bias, weights, scales = settings.learning_rates
        assert bias == pytest.approx(0.1 + (top - 0.1) * done if iteration <= warmup else top)
        assert weights == scales == pytest.approx(top * done if iteration <= warmup else top)
        assert settings.momentum == pytest.approx(0.8 + (0.937 - 0.8) * done)
        assert settings.accumulate == (max(1, round(1 + 3 * done)) if iteration <= warmup else 4)


def test_later_recipe_of_three_epochs_runs_its_second_at_the_rate_seen_in_a_file() -> None:
    recipe = Recipe(batch_size=16, warmup_epochs=0, one_epoch_late=False, shortest_warmup=0, spare_last_epoch=True)
    assert recipe(Progress(1, 3, 0, 1)).learning_rates == pytest.approx((0.0067,) * 3)  # param groups in fixture d15


@pytest.mark.parametrize(
    ("batch", "accumulate", "decay"),
    [
        (1, 64, 0.0005),
        (16, 4, 0.0005),
        (24, 3, 0.0005 * 72 / 64),  # 64 / 24 rounds to 3
        (43, 1, 0.0005 * 43 / 64),
        (64, 1, 0.0005),
        (128, 1, 0.001),  # half of one rounds to 0, at least 1
    ],
)
def test_accumulation_and_weight_decay_follow_the_batch(batch: int, accumulate: int, decay: float) -> None:
    assert accumulation_after_warmup(batch) == accumulate
    assert scaled_weight_decay(0.0005, batch) == pytest.approx(decay)


def test_weight_decay_counts_no_more_batches_than_the_run_has() -> None:
    assert scaled_weight_decay(0.0005, 16, batches=3) == pytest.approx(0.0005 * 48 / 64)
    assert scaled_weight_decay(0.0005, 16, batches=100) == scaled_weight_decay(0.0005, 16)


def test_factors_begin_at_one_and_end_at_the_last() -> None:
    for factor in (linear_factor, cosine_factor):
        assert factor(0, 30, 0.01) == pytest.approx(1)
        assert factor(30, 30, 0.01) == pytest.approx(0.01)
        assert factor(15, 30, 0.01) == pytest.approx(0.505)


def test_progress_counts() -> None:
    progress = Progress(2, 3, 4, 5)
    assert (progress.iteration, progress.iterations, progress.done, progress.is_last) == (14, 15, 1.0, True)
    assert not Progress(2, 3, 3, 5).is_last
    assert ConstantSchedule(0.1, 0.5, 2)(progress) == Settings((0.1, 0.1, 0.1), 0.5, 2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 0}, "batch size is 0"),
        ({"batch_size": 4, "lr0": -1.0}, "lr0 is -1"),
        ({"batch_size": 4, "lrf": float("nan")}, "lrf is nan"),
        ({"batch_size": 4, "warmup_epochs": -3}, "warmup_epochs is -3"),
    ],
)
def test_impossible_numbers_are_refused(options: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Recipe(**options)  # type: ignore[arg-type]
