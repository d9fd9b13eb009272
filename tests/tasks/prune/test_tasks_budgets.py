"""Table of cases: budgets that need data or a clock, from settings to record."""

from __future__ import annotations

import pytest

from slimfaces import render_dataset
from slimyolo.errors import ConfigError, PruningError
from slimyolo.pruning import PrunePlan
from slimyolo.tasks.common.records import TrainRecord
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.drop_search import Score, search_smallest
from slimyolo.tasks.prune.prune import prune


def test_the_smallest_that_fits_is_found_by_halving() -> None:
    asked: list[float] = []

    def cut(share: float) -> float:
        asked.append(share)
        return share

    found = search_smallest(cut, lambda share: share, Score, least=0.3)
    assert 0.3 <= found.result < 0.3 + 1 / 128
    assert asked[:3] == [0.5, 0.25, 0.375]
    assert [attempt.fits for attempt in found.attempts[:3]] == [True, False, True]
    assert str(found.attempts[1]) == "25.0% of the MACs: mAP50-95 0.2500 (too much)"


def test_the_search_stops_where_floors_hold() -> None:
    found = search_smallest(lambda share: max(share, 0.6), lambda kept: kept, lambda kept: Score(1.0), least=0.3)
    assert found.result == 0.6
    assert len(found.attempts) == 1


def test_when_nothing_fits_it_says_what_was_tried() -> None:
    with pytest.raises(PruningError, match=r"or more: 50\.0% of the MACs.*Allow a larger --max-drop"):
        search_smallest(lambda share: share, lambda share: share, lambda share: Score(0.0), least=0.3)


def test_what_a_cut_surely_has_can_be_asked_for() -> None:
    found = search_smallest(
        lambda share: share, lambda share: share, lambda share: Score(share, share - 0.2), least=0.3
    )
    assert 0.5 <= found.result < 0.5 + 1 / 128
    assert str(found.attempts[1]) == "25.0% of the MACs: mAP50-95 0.2500, surely 0.0500 or more (too much)"
    with pytest.raises(
        PruningError, match=r"surely has mAP50-95 0\.3000 or more: .* More validation images, or a lower"
    ):
        search_smallest(lambda share: share, lambda share: share, lambda share: Score(share, 0.0), least=0.3)


def test_fisher_and_calibration_from_the_command(base_run: TrainRecord, tiny_data, tmp_path) -> None:  # type: ignore[no-untyped-def]
    record = prune(
        PruneConfig(
            weights=base_run.best,
            macs="70%",
            importance="fisher",
            per="macs",
            data=tiny_data,
            imgsz=64,
            workers=0,
            samples=32,
            keep=["model.0"],
            project=tmp_path,
        )
    )
    assert record.importance == "fisher per macs"
    assert record.after.macs <= 0.7 * record.before.macs
    assert {name: (before, kept) for name, before, kept in record.layers}["model.0.conv"] == (16, 16)
    assert record.constants_from == "formula"  # 10 images are one batch, and none can be held out


@pytest.mark.slow
def test_max_drop_says_what_it_tried(base_run: TrainRecord, tiny_data, tmp_path) -> None:  # type: ignore[no-untyped-def]
    record = prune(
        PruneConfig(weights=base_run.best, max_drop=0.5, data=tiny_data, imgsz=64, workers=0, project=tmp_path)
    )
    assert record.target == "max-drop 0.5"
    assert len(record.tried) >= 1
    assert "of the MACs: mAP50-95" in record.tried[0]
    assert record.metrics_before is not None
    assert record.metrics_after is not None
    assert record.metrics_after.map50_95 >= record.metrics_before.map50_95 - 0.5


@pytest.mark.slow
def test_max_drop_holds_with_confidence(base_run: TrainRecord, tiny_data, tmp_path) -> None:  # type: ignore[no-untyped-def]
    asked = {"weights": base_run.best, "max_drop": 0.5, "drop_level": "95%", "imgsz": 64, "workers": 0}
    with pytest.raises(ConfigError, match="too few of the 4 validation images have labels"):
        prune(PruneConfig(data=tiny_data, project=tmp_path, **asked))
    data = render_dataset(tmp_path / "more", train=4, val=12, size=64, seed=3)
    record = prune(PruneConfig(data=data, project=tmp_path, **asked))
    assert ", surely 0." in record.tried[0]
    assert record.differences is not None
    assert record.differences.map50_95.low is not None
    assert record.differences.map50_95.low >= -0.5


def test_latency_asks_the_given_price(base_run: TrainRecord, tmp_path) -> None:  # type: ignore[no-untyped-def]
    def price(plan: PrunePlan) -> float:
        return plan.after.macs / 1e6

    config = PruneConfig(weights=base_run.best, latency="15ms", imgsz=64, project=tmp_path, dry_run=True)
    record = prune(config, price=price)
    assert 14 < record.after.macs / 1e6 <= 15
    assert any("after, by the price function" in note for note in record.notes)
