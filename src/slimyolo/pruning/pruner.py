"""The whole chain in one call: trace → score → select → plan → apply → verify."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from slimyolo.collection_pause import collection_paused
from slimyolo.errors import PruningError
from slimyolo.pruning.analysis.constants import analyse_constants
from slimyolo.pruning.analysis.fallbacks import Failure, Fallbacks, failing, outputs_or_failure
from slimyolo.pruning.analysis.measured_means import measure_means
from slimyolo.pruning.analysis.refusals import refuse_compiled
from slimyolo.pruning.analysis.trace import retrace, trace
from slimyolo.pruning.graph.channel_graph import ChannelGraph, Group
from slimyolo.pruning.plan.costs import CutCost
from slimyolo.pruning.plan.making import with_values
from slimyolo.pruning.plan.plan import PrunePlan
from slimyolo.pruning.rules import CutRules, RuleFields, rules_with
from slimyolo.pruning.scores.importance import scores_by
from slimyolo.pruning.selection.select import Price, select
from slimyolo.pruning.surgery.check import (
    differing,
    outputs_of,
    refuse_nonfinite,
    rms_difference,
    unseen_inputs,
    verify,
)
from slimyolo.pruning.surgery.cut import apply, mask_module
from slimyolo.pruning.surgery.precision import half_types, in_single, of_single_inputs, rounded_as, single
from slimyolo.pruning.targets import ChannelShare, LatencyBudget, Target
from slimyolo.shown_text import counted
from slimyolo.tracing.restoring import copied, left_as_it_was
from slimyolo.tracing.running import Forward, PartlyDeployed, calling, evaluating, forward_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Calibration", "PruneReport", "PruneResult", "cuttable_graph", "prune_module", "replay_plan"]

Calibration = Iterable[Any] | Callable[[PrunePlan], Sequence[Any] | None]
"""Batches of inputs, or a function (plan with constants by formula) → batches, or None if nothing has to be measured."""

M = TypeVar("M", bound=nn.Module)
_EXACT = 1e-4
_EXACT_DOUBLE = 1e-6


@dataclass(frozen=True, kw_only=True)
class PruneReport:
    """The effect of a cut: costs of one image at the traced size, and how far cut and masked model differ on unseen inputs.

    `constants_from`: "formula" (E[act(γz + β)]) or "calibration" (means on data). With "calibration", `output_error` is the
    relative root mean square difference between the outputs of the cut and the given model on the held-out batch, and
    `output_error_of_formula` is the same for the cut with constants by formula.
    """

    before: CutCost
    after: CutCost
    prunable_channels: int
    removed_channels: int
    carrier_channels: int
    zeroed_channels: int
    max_relative_difference: float
    exact: bool
    notes: tuple[str, ...]
    seconds: float
    constants_from: str = "formula"
    output_error: float | None = None
    output_error_of_formula: float | None = None

    def __repr__(self) -> str:
        return (
            f"PruneReport({self.removed_channels} of {self.prunable_channels} channels removed, parameters "
            f"{self.before.params} to {self.after.params}, MACs {self.before.macs} to {self.after.macs}, relative difference "
            f"{self.max_relative_difference:.1e}; {counted(len(self.notes), 'note')})"
        )


@dataclass(frozen=True, eq=False)
class PruneResult(Generic[M]):
    """The cut model, the plan by which it was cut, and the report."""

    model: M
    plan: PrunePlan
    report: PruneReport

    def __repr__(self) -> str:
        return f"PruneResult({type(self.model).__name__}: {self.plan.summary()})"


def prune_module(
    model: M,
    example_inputs: Any,
    target: Target,
    rules: CutRules | None = None,
    *,
    price: Price | None = None,
    calibration: Calibration | None = None,
    forward: Forward | None = None,
    **fields: Unpack[RuleFields],
) -> PruneResult[M]:
    """Cut `model` to `target` and check that the cut equals the masked model. The input model is left as it was.

    * `example_inputs`: a tensor, a tuple or a dictionary of named arguments on which the model runs.
    * `rules`, and single `fields` of it: which channels may be removed, which of them first, and what replaces them
      (`CutRules`).
    * `price`: a function that returns the milliseconds of a plan; without it, plans are timed here in eager mode.
    * `calibration`: two or more batches of inputs; the last one is held out to measure the effect. Removed channels are then
      replaced by their means on the other batches instead of E[act(γz + β)]. Where γ = 0 both are exact.
    * `forward`: `forward(model, *inputs)` runs instead of the model. Without it, a model with a method `pruning_forward` is
      run with this method (`TracedByMethod`).

    A model in half precision is cut and checked in float32; the result has the types of `model`.

    Raises `ConfigError` for contradicting arguments, `UnknownOperationError` for an operation without a rule (unless
    `on_unknown="keep"`) and `PruningError` when no cut runs and agrees.
    """
    rules = rules_with(rules, fields)
    asked = _Asked(target=target, rules=rules, price=price, calibration=calibration)
    return _prune(model, example_inputs, asked, forward)[0]


def cuttable_graph(
    model: nn.Module,
    example_inputs: Any,
    rules: CutRules | None = None,
    *,
    forward: Forward | None = None,
    **fields: Unpack[RuleFields],
) -> ChannelGraph:
    """The channel graph of `model` on which cuts run: half of the channels are cut for trial.

    A trace alone does not show which sizes are written in the code of a module, so `trace` may name groups that `prune_module`
    finds to be kept whole. Whoever wants to know what can be cut before it is decided how much, as sparsity training does,
    asks here. Arguments and errors are those of `prune_module`; `model` is not changed.
    """
    rules = replace(rules_with(rules, fields), importance=_by_place, per="channels")
    return _prune(model, example_inputs, _Asked(target=ChannelShare(0.5), rules=rules), forward)[1]


def _by_place(model: nn.Module, graph: ChannelGraph) -> dict[int, Tensor]:
    """Scores that rank the channels of each group by their number.

    Groups get scores of different sizes, so that they lose different shares: if all of them were halved, widths that must be
    equal would be equal by chance.
    """
    golden = (math.sqrt(5.0) - 1) / 2  # its multiples, modulo 1, lie far apart
    return {
        group.id: torch.linspace(0, 0.5 + group.id * golden % 1.0, group.width, dtype=torch.float64)
        for group in graph.groups
    }


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What `prune_module` was asked for."""

    target: Target
    rules: CutRules
    price: Price | None = None
    calibration: Calibration | None = None


def _prune(
    model: M, example_inputs: Any, asked: _Asked, forward: Forward | None
) -> tuple[PruneResult[M], ChannelGraph]:
    """The result of `prune_module`, and the graph on which the cut runs and agrees with the masked model."""
    refuse_compiled(model)
    given, run = calling(example_inputs, forward_of(model, forward))
    with left_as_it_was(model):
        if not half_types(model):
            return _pruned(model, given, run, asked)
        with in_single(model) as whole:
            result, graph = _pruned(whole, single(given), of_single_inputs(run), asked)
        return _in_half(result, model), replace(graph, module=model)


def _pruned(model: M, given: tuple[Any, ...], run: Forward, asked: _Asked) -> tuple[PruneResult[M], ChannelGraph]:
    """`_prune` for a module that is not in half precision."""
    start = time.perf_counter()
    rules, target, price = asked.rules, asked.target, asked.price
    if price is None and (isinstance(target, LatencyBudget) or rules.per == "ms"):
        price = _eager_price(model, given, run)
    graph = trace(model, given, on_unknown=rules.on_unknown, forward=run)
    measuring = asked.calibration if rules.constants != "none" else None
    samples = None if measuring is None or callable(measuring) else _Samples(model, measuring, run)

    def planned(graph: ChannelGraph, samples: _Samples | None) -> PrunePlan:
        scores = scores_by(rules.importance, model, graph)
        means = None if samples is None else samples.means(graph)
        with collection_paused() if price is None else nullcontext():  # a price runs the model
            known = analyse_constants(graph, rules.constants, means)
            return select(graph, scores, target, rules, constants=known, price=price)

    inputs = unseen_inputs(given, rules.seed)
    fallbacks = Fallbacks(graph)
    while True:
        plan = planned(graph, samples)
        if callable(measuring) and samples is None:
            batches = measuring(plan)
            if batches is not None:
                samples = _Samples(model, batches, run)
                plan = planned(graph, samples)
        cut = apply(model, plan)
        outputs = outputs_or_failure(cut, inputs, run)
        failure = outputs if isinstance(outputs, Failure) else None
        if not isinstance(outputs, Failure):
            masked = mask_module(model, plan)
            difference = _difference(masked, cut, inputs, run, exact=rules.constants != "bias", outputs=outputs)
            if difference is not None:
                break
        alone = partial(_failing_alone, model, graph, rules, inputs, run)
        graph = retrace(graph, fallbacks.next(graph, failure, alone), rules.on_unknown)
    report = _report(plan, difference, time.perf_counter() - start)
    if samples is not None:
        report = samples.measured(report, graph, plan, cut)
    return PruneResult(cut, plan, report), graph


def _failing_alone(
    model: M,
    graph: ChannelGraph,
    rules: CutRules,
    inputs: Sequence[Any],
    run: Forward,
    groups: Sequence[Group],
) -> Failure | None:
    """The place where `model` fails when channels of `groups` are cut, and no others.

    Nine of twenty go: half of a width is often a multiple of what the code asks for.
    """
    rules = replace(rules, policy="coupled", per="channels", constants="none")
    part = replace(graph, groups=tuple(groups))
    scores = _by_place(model, part)
    known = analyse_constants(part, "none", None)
    return failing(apply(model, select(part, scores, ChannelShare(0.45), rules, constants=known)), inputs, run)


def _in_half(result: PruneResult[M], given: nn.Module) -> PruneResult[M]:
    """A result in float32, with the types of `given`, which is in half precision."""
    types = " and ".join(sorted({str(kind).removeprefix("torch.") for kind in half_types(given).values()}))
    note = f"The weights are {types}: the network was cut and checked in float32, and then rounded to {types} again."
    report = replace(result.report, notes=(*result.report.notes, note))
    return PruneResult(rounded_as(result.model, given), result.plan, report)


def replay_plan(
    model: M, plan: PrunePlan, example_inputs: Any, *, forward: Forward | None = None, seed: int = 0
) -> PruneResult[M]:
    """Make the cut of `plan` again on the model for which it was made, and check it as `prune_module` does.

    Raises `PruningError`, which says what differs, for another model.
    """
    refuse_compiled(model)
    given, run = calling(example_inputs, forward_of(model, forward))
    with left_as_it_was(model):
        if not half_types(model):
            return _replayed(model, plan, unseen_inputs(given, seed), run)
        with in_single(model) as whole:
            result = _replayed(whole, plan, unseen_inputs(single(given), seed), of_single_inputs(run))
        return _in_half(result, model)


def _replayed(model: M, plan: PrunePlan, inputs: tuple[Any, ...], run: Forward) -> PruneResult[M]:
    """`replay_plan` for a module that is not in half precision."""
    start = time.perf_counter()
    try:
        cut, masked = apply(model, plan), mask_module(model, plan)
        outputs = outputs_of(cut, inputs, run)
        difference = _difference(masked, cut, inputs, run, exact=plan.constants != "bias", outputs=outputs)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise PruningError(
            f"The plan was changed or damaged: its cut cannot be made ({type(error).__name__}: {str(error)[:200]}). Make a "
            "new plan with prune_module or `slimyolo prune`."
        ) from error
    if difference is None:
        raise PruningError(
            "The plan's cut does not agree with the masked model. Make a new plan with prune_module or `slimyolo prune`."
        )
    return PruneResult(cut, plan, _report(plan, difference, time.perf_counter() - start))


def _report(plan: PrunePlan, difference: float, seconds: float) -> PruneReport:
    """The report of a cut by `plan` that differs from the masked model by `difference`."""
    return PruneReport(
        before=plan.before,
        after=plan.after,
        prunable_channels=plan.prunable_channels,
        removed_channels=plan.removed_channels,
        carrier_channels=plan.carrier_channels,
        zeroed_channels=plan.zeroed_channels,
        max_relative_difference=difference,
        exact=plan.constants != "bias",
        notes=(*plan.notes, *_approximation_note(plan.constants, difference)),
        seconds=seconds,
    )


def _approximation_note(constants: str, difference: float) -> tuple[str, ...]:
    if constants != "bias":
        return ()
    note = (
        f"constants='bias' is an approximation at padded borders: on unseen random inputs the cut model differs from the "
        f"masked one by {difference:.1e} of the largest output. constants='carrier' is exact."
    )
    return (note,)


class _Samples:
    """Calibration batches. Constants are measured on all batches except the last one, on which their effect is measured."""

    def __init__(self, model: nn.Module, batches: Iterable[Any], forward: Forward) -> None:
        self._model, self._forward = model, forward
        given = list(batches)
        if len(given) < 2:
            raise PruningError(
                f"calibration has {counted(len(given), 'batch', 'batches')}: expected two or more, since the last is held "
                f"out to measure the effect."
            )
        self._used, self._held_out = given[:-1], given[-1]

    def means(self, graph: ChannelGraph) -> dict[str, Tensor]:
        """Mean outputs of the channels, by emitter node."""
        return measure_means(self._model, graph, self._used, self._forward)

    def measured(self, report: PruneReport, graph: ChannelGraph, plan: PrunePlan, cut: nn.Module) -> PruneReport:
        """`report` with the output error of the cut, and of the same cut with the formula's constants."""
        values = analyse_constants(graph, plan.constants).emitted
        by_formula = replace(plan, emissions=with_values(graph, plan.emissions, values))
        ours, formula = (
            rms_difference(self._model, other, self._held_out, self._forward)
            for other in (cut, mask_module(self._model, by_formula))
        )
        note = (
            f"constants measured on {len(self._used)} batches: relative output error on the held-out batch {ours:.4f}; with "
            f"constants by formula {formula:.4f}"
        )
        return replace(
            report,
            notes=(*report.notes, note),
            constants_from="calibration",
            output_error=ours,
            output_error_of_formula=formula,
        )


def _difference(
    masked: nn.Module,
    cut: nn.Module,
    inputs: Sequence[Any],
    forward: Forward,
    *,
    exact: bool,
    outputs: list[Tensor],
) -> float | None:
    """The difference between the masked model and the cut, which gives `outputs`; None when it is more than rounding."""
    try:
        difference = differing(outputs_of(masked, inputs, forward), outputs)
    except PruningError:  # other shapes
        return None
    if math.isinf(difference):
        refuse_nonfinite(masked, inputs, forward=forward)
    if not exact or difference <= _EXACT:
        return difference
    doubles = tuple(i.double() if isinstance(i, Tensor) and i.is_floating_point() else i for i in inputs)
    try:
        precise = verify(copied(masked).double(), copied(cut).double(), doubles, forward=forward)
    except RuntimeError:  # a model with a fixed precision inside
        precise = difference
    return difference if precise <= _EXACT_DOUBLE else None


def _eager_price(model: nn.Module, given: Sequence[Any], forward: Forward) -> Price:
    """A price: the median milliseconds of the cut model in eager mode with the current threads, 3 warm-up and 9 timed runs."""

    def measure(plan: PrunePlan) -> float:
        cut = apply(model, plan)
        if isinstance(cut, PartlyDeployed):
            cut.drop_undeployed_()
        times = []
        with evaluating(cut), torch.no_grad():
            for _ in range(12):
                start = time.perf_counter()
                forward(cut, *given)
                times.append((time.perf_counter() - start) * 1e3)
        return sorted(times[3:])[4]

    return measure
