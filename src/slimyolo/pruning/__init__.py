"""Pruning of any `nn.Module`: a chain of pure steps, trace → score → select → plan → apply → verify.

`prune_module` runs the whole chain in one call. Only functions whose name ends in `_` change the module that they are given.
This package and `slimyolo.tracing` know nothing of detectors: they can be used for a network of your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
    from slimyolo.pruning.analysis.constants import Constants, analyse_constants
    from slimyolo.pruning.analysis.trace import trace
    from slimyolo.pruning.graph.channel_graph import ChannelGraph, Consumer, Emitter, Group, Member, Strategy
    from slimyolo.pruning.graph.size_attributes import SaysSizes
    from slimyolo.pruning.plan.comparing import PlanDifference, compare_plans
    from slimyolo.pruning.plan.costs import CostTable, CutCost, PriceTable
    from slimyolo.pruning.plan.plan import GroupPlan, PrunePlan
    from slimyolo.pruning.pruner import Calibration, PruneReport, PruneResult, cuttable_graph, prune_module, replay_plan
    from slimyolo.pruning.repair.batchnorm import recalibrate_batchnorm_
    from slimyolo.pruning.repair.reconstruct import LayerRepair, ReconstructionReport, reconstruct_
    from slimyolo.pruning.rules import PER, POLICIES, CutRules, RuleFields, rules_with
    from slimyolo.pruning.scores.data import DATA_IMPORTANCES, DataImportance, fisher_scores, taylor_scores
    from slimyolo.pruning.scores.importance import ImportanceLike
    from slimyolo.pruning.scores.weights import IMPORTANCES, Scores, score
    from slimyolo.pruning.selection.floors import kept_groups
    from slimyolo.pruning.selection.scale_groups import ScaleRef, scale_groups
    from slimyolo.pruning.selection.select import Price, select
    from slimyolo.pruning.selection.sensitivity import (
        GroupSensitivity,
        SensitivityPoint,
        caps_from_sensitivity,
        lone_cuts,
    )
    from slimyolo.pruning.standalone.writing import write_standalone
    from slimyolo.pruning.surgery.check import OutputReference, output_error, verify
    from slimyolo.pruning.surgery.cut import apply, mask_module
    from slimyolo.pruning.targets import (
        ChannelShare,
        LatencyBudget,
        MacsBudget,
        MacsShare,
        ParamsBudget,
        ParamsShare,
        Target,
        target_words,
    )
    from slimyolo.tracing.kinds import register_operation
    from slimyolo.tracing.running import TracedByMethod

__all__ = [
    "DATA_IMPORTANCES",
    "IMPORTANCES",
    "PER",
    "POLICIES",
    "Calibration",
    "ChannelGraph",
    "ChannelShare",
    "Constants",
    "Consumer",
    "CostTable",
    "CutCost",
    "CutRules",
    "DataImportance",
    "Emitter",
    "Group",
    "GroupPlan",
    "GroupSensitivity",
    "ImportanceLike",
    "LatencyBudget",
    "LayerRepair",
    "MacsBudget",
    "MacsShare",
    "Member",
    "OutputReference",
    "ParamsBudget",
    "ParamsShare",
    "PlanDifference",
    "Price",
    "PriceTable",
    "PrunePlan",
    "PruneReport",
    "PruneResult",
    "ReconstructionReport",
    "RuleFields",
    "SaysSizes",
    "ScaleRef",
    "Scores",
    "SensitivityPoint",
    "Strategy",
    "Target",
    "TracedByMethod",
    "analyse_constants",
    "apply",
    "caps_from_sensitivity",
    "compare_plans",
    "cuttable_graph",
    "fisher_scores",
    "kept_groups",
    "lone_cuts",
    "mask_module",
    "output_error",
    "prune_module",
    "recalibrate_batchnorm_",
    "reconstruct_",
    "register_operation",
    "replay_plan",
    "rules_with",
    "scale_groups",
    "score",
    "select",
    "target_words",
    "taylor_scores",
    "trace",
    "verify",
    "write_standalone",
]

names_on_first_use(
    __name__,
    {
        "slimyolo.pruning.analysis.constants": "Constants analyse_constants",
        "slimyolo.pruning.analysis.trace": "trace",
        "slimyolo.pruning.graph.channel_graph": "ChannelGraph Consumer Emitter Group Member Strategy",
        "slimyolo.pruning.graph.size_attributes": "SaysSizes",
        "slimyolo.pruning.plan.comparing": "PlanDifference compare_plans",
        "slimyolo.pruning.plan.costs": "CostTable CutCost PriceTable",
        "slimyolo.pruning.plan.plan": "GroupPlan PrunePlan",
        "slimyolo.pruning.pruner": "Calibration PruneReport PruneResult cuttable_graph prune_module replay_plan",
        "slimyolo.pruning.repair.batchnorm": "recalibrate_batchnorm_",
        "slimyolo.pruning.repair.reconstruct": "LayerRepair ReconstructionReport reconstruct_",
        "slimyolo.pruning.rules": "PER POLICIES CutRules RuleFields rules_with",
        "slimyolo.pruning.scores.data": "DATA_IMPORTANCES DataImportance fisher_scores taylor_scores",
        "slimyolo.pruning.scores.importance": "ImportanceLike",
        "slimyolo.pruning.scores.weights": "IMPORTANCES Scores score",
        "slimyolo.pruning.selection.floors": "kept_groups",
        "slimyolo.pruning.selection.scale_groups": "ScaleRef scale_groups",
        "slimyolo.pruning.selection.select": "Price select",
        "slimyolo.pruning.selection.sensitivity": "GroupSensitivity SensitivityPoint caps_from_sensitivity lone_cuts",
        "slimyolo.pruning.standalone.writing": "write_standalone",
        "slimyolo.pruning.surgery.check": "OutputReference output_error verify",
        "slimyolo.pruning.surgery.cut": "apply mask_module",
        "slimyolo.pruning.targets": "ChannelShare LatencyBudget MacsBudget MacsShare ParamsBudget ParamsShare Target "
        "target_words",
        "slimyolo.tracing.kinds": "register_operation",
        "slimyolo.tracing.running": "TracedByMethod",
    },
)
