"""Table of cases: a plan or a run's record in which any one value is another thing is refused or read, and never a traceback."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

from mutants import mutants
from slimyolo.checkpoints import save_checkpoint
from slimyolo.errors import PruningError, SlimyoloError, StorageError
from slimyolo.families import read_architecture
from slimyolo.models import build_detector
from slimyolo.pruning import compare_plans
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.plan import read_plan, show
from slimyolo.tasks.prune.plan_config import PlanShowConfig
from slimyolo.tasks.prune.prune import prune
from slimyolo.tasks.report import write_report


@pytest.fixture(scope="module")
def plan(small_cfg: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    detector = build_detector(read_architecture(small_cfg).with_classes(2), names=("a", "b"), seed=0)
    save_checkpoint(folder / "a.pt", detector)
    prune(
        PruneConfig(
            weights=folder / "a.pt", percent=0.2, imgsz=64, plan_out=folder / "plan.json", project=folder / "runs"
        )
    )
    return folder / "plan.json"


def test_a_plan_of_somebody_else(plan: Path, tmp_path: Path) -> None:
    whole, refused = read_plan(plan), 0
    tried = list(mutants(json.loads(plan.read_text()), every=29))
    for _, changed in tried:
        file = tmp_path / "plan.json"
        file.write_text(json.dumps(changed))
        try:
            made = read_plan(file)
        except SlimyoloError:
            refused += 1
            continue
        with suppress(SlimyoloError):
            made.table(), made.outline(), compare_plans(whole, made).text("a", "b")
            show(PlanShowConfig(file=file, json_output=True))
    assert refused > len(tried) // 2


def test_the_message_names_the_place(plan: Path, tmp_path: Path) -> None:
    content = json.loads(plan.read_text())
    content["groups"][1]["width"] = "ten"
    (tmp_path / "plan.json").write_text(json.dumps(content))
    with pytest.raises(PruningError, match=r"groups\.1\.width: got 'ten', expected a whole number"):
        read_plan(tmp_path / "plan.json")


def test_a_record_of_somebody_else(plan: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(plan.parent / "runs" / "exp", run)
    record, refused = json.loads((run / "record.json").read_text()), 0
    tried = list(mutants(record, every=45))
    for _, changed in tried:
        (run / "record.json").write_text(json.dumps(changed))
        try:
            write_report([run], tmp_path / "page.html")
        except SlimyoloError:
            refused += 1
    assert 0 < refused < len(tried)


def test_the_message_names_the_run_and_what_to_do(plan: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(plan.parent / "runs" / "exp", run)
    record = json.loads((run / "record.json").read_text())
    record["max_relative_difference"] = "much"
    (run / "record.json").write_text(json.dumps(record))
    with pytest.raises(StorageError, match=r"record\.json is not a record of this version \(.*Repeat the command"):
        write_report([run], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
