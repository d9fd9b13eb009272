"""Table of cases: repair, replayed plans, sensitivity and rounds on a tiny rendered dataset, and what they leave behind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import slimyolo
from slimyolo.checkpoints import save_checkpoint
from slimyolo.errors import ConfigError, PruningError, StorageError
from slimyolo.families import read_architecture
from slimyolo.models import build_detector
from slimyolo.pruning import PrunePlan
from slimyolo.storage import write_json
from slimyolo.tasks.chain.iterate import iterate, share_of_round
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.common.records import TrainRecord
from slimyolo.tasks.prune import cutter as cutting
from slimyolo.tasks.prune import sensitivity as sensitivity_task
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.plan import diff, show
from slimyolo.tasks.prune.plan_config import PlanDiffConfig, PlanShowConfig
from slimyolo.tasks.prune.prune import prune
from slimyolo.tasks.prune.sensitivity import read_sensitivity, sensitivity
from slimyolo.tasks.prune.sensitivity_config import SensitivityConfig

QUICK: dict[str, Any] = {"imgsz": 64, "workers": 0}


def test_repair_says_what_each_step_gained(base_run: TrainRecord, tiny_data: Path, tmp_path: Path) -> None:
    record = prune(
        PruneConfig(
            weights=base_run.best,
            data=tiny_data,
            percent=0.2,
            project=tmp_path,
            reconstruct=True,
            recalibrate=True,
            repair_images=10,
            batch_size=2,
            **QUICK,
        )
    )
    assert [step.step for step in record.repairs] == ["reconstruct", "recalibrate"]
    first, second = record.repairs
    assert first.error_after < first.error_before
    assert first.images == 10
    assert (first.error_after, first.metrics_after) == (second.error_before, second.metrics_before)
    assert second.metrics_after == record.metrics_after
    stored = json.loads((Path(record.weights).parent / "record.json").read_text())
    assert stored["repairs"][0]["error_after"] == first.error_after
    plain = prune(PruneConfig(weights=base_run.best, percent=0.2, project=tmp_path / "plain", **QUICK))
    assert plain.repairs == ()
    assert PrunePlan.from_json((Path(plain.weights).parent / "plan.json").read_text()).groups


def test_a_plan_is_shown_compared_and_replayed(base_run: TrainRecord, tiny_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    prune(PruneConfig(weights=base_run.best, percent=0.3, project=tmp_path / "a", dry_run=True, plan_out=file, **QUICK))
    assert not (tmp_path / "a").exists()
    shown = show(PlanShowConfig(file=file))
    assert shown.startswith("This cut keeps all but 30 % of the channels: importance gamma, ")
    assert "saves MACs" in shown
    assert json.loads(show(PlanShowConfig(file=file, json_output=True)))["groups"][0]["kept"] > 0
    record = prune(PruneConfig(weights=base_run.best, plan=file, project=tmp_path / "b", **QUICK))
    direct = prune(PruneConfig(weights=base_run.best, percent=0.3, project=tmp_path / "c", **QUICK))
    one, two = slimyolo.load(record.weights), slimyolo.load(direct.weights)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert record.target == f"plan {file}"
    text, equal = diff(PlanDiffConfig(first=file, second=Path(direct.weights).parent))
    assert equal
    assert "The same channels are kept in" in text
    other = prune(PruneConfig(weights=base_run.best, percent=0.6, project=tmp_path / "d", floor=0.05, **QUICK))
    with pytest.raises(
        PruningError, match=r"made for another model.*model.0.conv.weight: 16x3x6x6 in the plan, \d+x3x6x6 here"
    ):
        prune(PruneConfig(weights=other.weights, plan=file, project=tmp_path / "e", **QUICK))
    with pytest.raises(PruningError, match=r"Cannot read the plan .*--plan-out"):
        show(PlanShowConfig(file=tmp_path / "none.json"))
    with pytest.raises(PruningError, match=r"Cannot read the plan .*pt: it is not a text file\. `slimyolo prune`"):
        show(PlanShowConfig(file=Path(other.weights)))
    file.write_text("{}")
    with pytest.raises(PruningError, match=r"plan.json: This JSON is not a prune plan"):
        show(PlanShowConfig(file=file))


def test_sensitivity_measures_both_halves_of_a_split_convolution(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = build_detector(read_architecture("yolov8n").with_classes(2), names=("face", "face_mask"), seed=0).eval()
    save_checkpoint(tmp_path / "a.pt", detector)
    settings: dict[str, Any] = dict(
        weights=tmp_path / "a.pt",
        data=tiny_data,
        kept=(0.5,),
        images=2,
        layers=("model.2.cv1.*",),
        noplots=True,
        project=tmp_path,
        name="s",
        **QUICK,
    )
    first = sensitivity(SensitivityConfig(**settings))
    assert [group.name for group in first.groups] == ["model.2.cv1.conv"] * 2
    assert "model.2.m.0.cv2.conv" in {layer for group in first.groups for layer in group.layers}
    assert first.complete
    write_json(tmp_path / "s" / "sensitivity.json", replace(first, groups=first.groups[:1], complete=False))
    measured = sensitivity_task._measured
    calls: list[str] = []
    monkeypatch.setattr(
        sensitivity_task, "_measured", lambda group, *rest: (calls.append(group.name), measured(group, *rest))[1]
    )
    again = sensitivity(SensitivityConfig(**settings, resume=True))
    assert len(calls) == 1
    assert sorted(again.groups, key=str) == sorted(first.groups, key=str)
    assert again.complete


def test_sensitivity_resumes_and_caps_a_cut(
    base_run: TrainRecord, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = dict(
        weights=base_run.best,
        data=tiny_data,
        kept=(0.5, 0.25),
        images=2,
        layers=("model.4.*", "model.9.*"),
        project=tmp_path,
        name="s",
        **QUICK,
    )
    measured = sensitivity_task._measured
    calls: list[str] = []

    def stops_after_three(group: Any, *rest: Any) -> Any:
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(group.name)
        return measured(group, *rest)

    monkeypatch.setattr(sensitivity_task, "_measured", stops_after_three)
    with pytest.raises(KeyboardInterrupt):
        sensitivity(SensitivityConfig(**settings))
    monkeypatch.setattr(
        sensitivity_task, "_measured", lambda group, *rest: (calls.append(group.name), measured(group, *rest))[1]
    )
    record = sensitivity(SensitivityConfig(**settings, resume=True))
    assert record.complete
    assert len(set(calls)) == len(calls) == len(record.groups)
    assert all(point.error > 0 for group in record.groups for point in group.points)
    folder = tmp_path / "s"
    assert (folder / "sensitivity.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "sensitivity.md").read_text().startswith("| group | channels | 50% | 20% |")
    assert read_sensitivity(folder) == record.groups
    limit = sorted(group.points[0].error for group in record.groups)[len(record.groups) // 2]
    cut = prune(
        PruneConfig(weights=base_run.best, percent=0.3, caps=folder, max_error=limit, project=tmp_path / "cut", **QUICK)
    )
    kept = {layer: kept for layer, _, kept in cut.layers}
    for group in record.groups:
        gone = group.width - min(kept[layer] for layer in group.layers if layer in kept)
        assert (
            gone <= group.removable(limit) * group.width + 1
        )  # a carrier counts as kept, and as removed in the budget
    with pytest.raises(ConfigError, match=r"--resume continues .*, which was started with --images 2; got 3"):
        sensitivity(SensitivityConfig(**{**settings, "images": 3}, resume=True))
    with pytest.raises(ConfigError, match=r"--layers model.77.\* matches no layer"):
        sensitivity(SensitivityConfig(**{**settings, "name": "t", "layers": ("model.77.*",)}))
    with pytest.raises(ConfigError, match=r"there is no run 'other' with a sensitivity.json"):
        sensitivity(SensitivityConfig(**{**settings, "name": "other"}, resume=True))
    (tmp_path / "wrong.json").write_text("[]")
    with pytest.raises(StorageError, match=r"expected a mapping\)\. Make one with slimyolo sensitivity"):
        read_sensitivity(tmp_path / "wrong.json")


@pytest.mark.slow
def test_the_search_for_a_drop_repairs_as_asked(
    base_run: TrainRecord, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.1, 0.49] * 7)  # each cut is too bad as it is, and good enough when repaired
    monkeypatch.setattr(cutting.Cutter, "_map", lambda *_: next(scores))
    dense = replace(base_run.metrics, map50_95=0.5)
    monkeypatch.setattr(cutting.Cutter, "before", lambda _: dense)
    calls: list[int] = []
    fit = cutting.reconstruct_
    monkeypatch.setattr(cutting, "reconstruct_", lambda *given: (calls.append(1), fit(*given))[1])
    record = prune(
        PruneConfig(
            weights=base_run.best,
            data=tiny_data,
            max_drop=0.02,
            reconstruct=True,
            repair_images=8,
            project=tmp_path,
            batch_size=4,
            **QUICK,
        )
    )
    assert len(calls) == len(record.tried)
    assert record.repairs == ()
    assert record.after.macs < 0.3 * record.before.macs


@pytest.mark.slow
def test_rounds_reach_the_budget_and_resume(base_run: TrainRecord, tiny_data: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = dict(
        weights=base_run.best,
        data=tiny_data,
        macs=0.5,
        rounds=2,
        round_epochs=1,
        epochs=1,
        project=tmp_path,
        name="it",
        batch_size=4,
        cache="ram",
        repair_images=8,
        **QUICK,
    )
    record = iterate(IterateConfig(**settings))
    stages = ["base", "round 1 cut", "round 1", "round 2 cut", "round 2"]
    assert [row.stage for row in record.rows] == stages
    base, final = record.rows[0], record.rows[-1]
    assert 0.47 < final.macs / base.macs <= 0.5
    assert 0.68 < record.rows[1].macs / base.macs <= 0.5**0.5
    folder = Path(record.folder)
    rows = json.loads((folder / "table.json").read_text())
    (folder / "table.json").write_text(json.dumps(rows[:3]))  # as if it had been killed in the second round
    again = iterate(IterateConfig(**settings, resume=True))
    assert [row.stage for row in again.rows] == stages
    assert again.rows[-1].macs == final.macs
    with pytest.raises(ConfigError, match=r"--resume continues .*, which was started with --rounds 2; got 3"):
        iterate(IterateConfig(**{**settings, "rounds": 3}, resume=True))
    with pytest.raises(ConfigError, match="there is no run 'other'"):
        iterate(IterateConfig(**{**settings, "name": "other"}, resume=True))


def test_the_budget_is_spread_evenly() -> None:
    now = (1000, 1000)
    for number in (1, 2, 3):  # each round hits its share exactly
        share = share_of_round("macs", 0.512, number, 3, (1000, 1000), now)
        assert share == pytest.approx(0.8)
        now = (1000, round(now[1] * share))
    assert share_of_round("params", 0.5, 1, 1, (800, 9), (800, 9)) == 0.5
    assert 1 - (1 - share_of_round("channels", 0.4, 1, 2, now, now)) ** 2 == pytest.approx(0.4)
    assert share_of_round("macs", 0.9, 1, 1, (1000, 1000), (1000, 800)) < 1  # already below: next to nothing goes


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reconstruct": True}, r"--reconstruct needs training images: add --data"),
        ({"plan": "p.json", "macs": 0.5}, r"--plan decides the whole cut: leave --macs out"),
        ({"plan": "p.json", "floor": 0.2, "round_to": 8}, r"leave --floor, --round-to out"),
        ({"max_error": 0.1}, r"--max-error limits the errors that --caps allows"),
    ],
)
def test_contradictions_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PruneConfig(weights="a.pt", **settings)


def test_a_budget_that_was_missed_is_a_warning(
    base_run: TrainRecord, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prune(PruneConfig(weights=base_run.best, macs=0.001, project=tmp_path, dry_run=True, **QUICK))
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings[0] == (
        "The budget for MACs could not be reached: every remaining channel is kept by a floor. Lower --floor, or ask for less."
    )
    record = prune(PruneConfig(weights=base_run.best, macs=0.001, project=tmp_path, dry_run=True, **QUICK))
    (floors,) = [note for note in record.notes if note.startswith("At the floor of")]
    assert floors.count("(keeps ") == 8
    assert floors.endswith(" more.")
