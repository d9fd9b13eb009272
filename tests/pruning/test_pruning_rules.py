"""Table of cases: what `CutRules` refuses; property: rules given whole, or field by field, make the same cut."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from pruning_networks import Network, randomise_
from torch import Tensor, nn

import slimyolo.pruning as engine
from slimyolo.errors import ConfigError
from slimyolo.models import Detector
from slimyolo.pruning import (
    ChannelShare,
    CutRules,
    MacsShare,
    PrunePlan,
    prune_module,
    rules_with,
    score,
    select,
    trace,
)
from slimyolo.tasks.prune.cutter import cut_detector

EXAMPLE = torch.zeros(1, 3, 12, 12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"policy": "x"}, r"policy='x': expected one of coupled, reference\."),
        ({"policy": "couple"}, r"Did you mean 'coupled'\?"),
        ({"per": "mac"}, r"per='mac': expected one of channels, macs, params, ms\. Did you mean 'macs'\?"),
        ({"constants": "x"}, r"constants='x': expected one of carrier, bias, none\."),
        ({"on_unknown": "x"}, r"on_unknown='x': expected 'raise' or 'keep'\."),
        ({"round_to": 0}, r"round_to=0: expected a whole number of at least 1, for instance 8\."),
        ({"round_to": True}, r"round_to=True: expected a whole number"),
        ({"round_to": 2.0}, r"round_to=2\.0: expected a whole number"),
        ({"floor": 1.0}, r"floor=1\.0: expected a share from 0 to below 1, for instance 0\.1\."),
        ({"floor_of": {"a": 1.5}}, r"floor_of 'a': 1\.5 is not a share from 0 to 1, for instance 0\.5\."),
        ({"cap_of": {"a": -1}}, r"cap_of 'a': -1 is not a share from 0 to 1, for instance 0\.3\."),
    ],
)
def test_what_makes_no_sense_is_refused_when_made(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CutRules(**fields)
    with pytest.raises(ConfigError, match=message):
        rules_with(CutRules(), fields)  # type: ignore[arg-type]


def test_both_spellings_of_the_reference_policy_are_one() -> None:
    assert CutRules(policy="skip-shortcuts") == CutRules(policy="reference")
    assert CutRules(policy="skip-shortcuts").least_share == 0.0
    assert CutRules().least_share == 0.1


def test_the_strictest_of_floor_and_cap_counts() -> None:
    rules = CutRules(floor=0.2, floor_of={"a": 0.5, "a.b": 0.1}, cap_of={"a.*": 0.3})
    cases = {"c": 0.2, "a": 0.5, "a.b": 0.7, "a.b.conv": 0.7}
    assert {layer: pytest.approx(rules.share_kept_of(layer)) for layer in cases} == cases


def test_rules_given_whole_or_field_by_field_make_the_same_plan() -> None:
    model = randomise_(Network(("spp", "residual")), 1)
    rules = CutRules(round_to=2, floor=0.2, keep=("stem",), per="macs", importance="l2")
    whole = prune_module(model, EXAMPLE, MacsShare(0.6), rules).plan
    single = prune_module(
        model, EXAMPLE, MacsShare(0.6), round_to=2, floor=0.2, keep=("stem",), per="macs", importance="l2"
    ).plan
    changed = prune_module(
        model,
        EXAMPLE,
        MacsShare(0.6),
        CutRules(round_to=8, per="macs"),
        round_to=2,
        floor=0.2,
        keep=["stem"],
        importance="l2",
        floor_of=None,
    ).plan
    graph = trace(model, EXAMPLE)
    selected = select(graph, score(model, graph, "l2"), MacsShare(0.6), rules)
    assert whole.to_json() == single.to_json() == changed.to_json() == selected.to_json()


def test_a_detector_leaves_the_layers_around_shortcuts_whole(yolov5n: Detector) -> None:
    plans = [
        cut_detector(yolov5n, ChannelShare(0.3), imgsz=64, policy=policy).plan
        for policy in ("skip-shortcuts", "reference")
    ]
    assert plans[0] == plans[1]
    assert plans[0].policy == "reference"
    assert cut_detector(yolov5n, MacsShare(0.7), imgsz=64, policy="skip-shortcuts").plan.policy == "coupled"


class Decoding(nn.Module):
    """Sorts its outputs, which no cut network could do alike; says that its maps are what counts."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Network(("spp",))

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).flatten().sort().values  # type: ignore[no-any-return]

    def pruning_forward(self, images: Tensor) -> Tensor:
        return self.network(images)  # type: ignore[no-any-return]


def test_a_module_says_how_it_is_traced() -> None:
    model = randomise_(Decoding(), 2)
    by_method = prune_module(model, EXAMPLE, ChannelShare(0.4)).plan
    given = prune_module(model, EXAMPLE, ChannelShare(0.4), forward=Decoding.pruning_forward).plan
    assert by_method == given
    assert by_method.removed_channels > 0
    assert trace(model, EXAMPLE).kept == trace(model, EXAMPLE, forward=Decoding.pruning_forward).kept


def test_constants_are_measured_only_where_a_function_gives_batches() -> None:
    model = randomise_(Network(("spp",)), 3)
    asked: list[PrunePlan] = []

    def batches(plan: PrunePlan) -> list[Tensor] | None:
        asked.append(plan)
        return None if len(asked) == 1 else [torch.rand(2, 3, 12, 12) for _ in range(3)]

    reports = [prune_module(model, EXAMPLE, ChannelShare(0.4), calibration=batches).report for _ in range(2)]
    assert [report.constants_from for report in reports] == ["formula", "calibration"]
    assert not asked[0].silent(model)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.zeros_(part.weight)
    assert prune_module(model, EXAMPLE, ChannelShare(0.4)).plan.silent(model)


def test_a_plan_is_saved_whole(tmp_path: Path) -> None:
    plan = prune_module(randomise_(Network(("spp",)), 1), EXAMPLE, ChannelShare(0.4)).plan
    plan.save(tmp_path / "plan.json")
    assert PrunePlan.from_json((tmp_path / "plan.json").read_text()) == plan
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_names_of_the_first_version_stay() -> None:
    assert engine.PriceTable is engine.CostTable
    assert all(hasattr(engine, name) for name in engine.__all__)


def test_no_function_of_the_engine_takes_more_than_eight_arguments() -> None:
    folder = Path(engine.__file__).parent
    tasks = folder.parent / "tasks"
    files = [*folder.rglob("*.py"), *(tasks / "prune").glob("*.py"), *(tasks / "latency").glob("*.py")]
    wide = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                names = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                if len(names) - (names[:1] == ["self"]) > 8:
                    wide.append(f"{file.name}: {node.name}")
    assert wide == []
