"""The whole chain in one call: trace → score → select → plan → apply → verify."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from slimyolo.errors import ConfigError, PruningError
from slimyolo.models import Detector
from slimyolo.pruning.analysis.constants import analyse_constants
from slimyolo.pruning.analysis.fallbacks import Fallbacks, failing
from slimyolo.pruning.analysis.measured_means import measure_means, rms_difference
from slimyolo.pruning.analysis.trace import retrace, trace
from slimyolo.pruning.graph.channel_graph import ChannelGraph
from slimyolo.pruning.plan.making import with_values
from slimyolo.pruning.plan.plan import PrunePlan
from slimyolo.pruning.plan.prices import CutCost
from slimyolo.pruning.scores.data import DATA_IMPORTANCES, DataImportance
from slimyolo.pruning.scores.weights import Scores, score
from slimyolo.pruning.selection.select import select
from slimyolo.pruning.surgery.check import unseen_inputs, verify
from slimyolo.pruning.surgery.cut import apply, mask_module
from slimyolo.pruning.targets import LatencyBudget, Target
from slimyolo.tracing.capture import Forward, calling, evaluating

__all__ = ["PruneReport", "PruneResult", "prune_module", "replay_plan"]

Importance = Callable[[nn.Module, ChannelGraph], Scores]
ImportanceLike = str | Scores | Importance
"""A name of `IMPORTANCES`, scores by group id, or a function of model and graph that gives them (`DataImportance`)."""

M = TypeVar("M", bound=nn.Module)
_EXACT = 1e-4
_EXACT_DOUBLE = 1e-6


@dataclass(frozen=True)
class PruneReport:
    """What a cut did: costs of one image at the traced size, and how far cut and masked model differ on unseen inputs.

    `constants_from`: "formula" (E[act(γz + β)]) or "calibration" (means on data); then `output_error` is the root mean
    square difference of the cut and the given model's outputs on the held-out batch, relative, and
    `output_error_of_formula` what the formula's constants would have given there.
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


@dataclass(frozen=True, eq=False)
class PruneResult(Generic[M]):
    """The cut model, the plan it was cut by, and the report."""

    model: M
    plan: PrunePlan
    report: PruneReport


def prune_module(
    model: M,
    example_inputs: Any,
    target: Target,
    *,
    importance: ImportanceLike = "gamma",
    per: str = "channels",
    round_to: int = 1,
    constants: str = "carrier",
    keep: Sequence[str] = (),
    on_unknown: str = "raise",
    policy: str = "coupled",
    frozen: Sequence[str] = (),
    floor: float | None = None,
    floor_of: Mapping[str, float] | None = None,
    cap_of: Mapping[str, float] | None = None,
    price: Callable[[PrunePlan], float] | None = None,
    calibration: Iterable[Any] | None = None,
    forward: Forward | None = None,
    seed: int = 0,
) -> PruneResult[M]:
    """Cut `model` to `target` and prove that the cut equals the masked model.

    `example_inputs` is a tensor, a tuple or a dictionary of named arguments the model runs on; the input model is not
    touched. `constants`: "carrier" (exact), "bias" (padded consumers approximated) or "none" (the reference: β zeroed).
    `calibration` are batches of inputs, the last of them held out: constants are then the channels' means on data instead
    of E[act(γz + β)]; either way they are exact where γ = 0. `importance` is a name of `IMPORTANCES`, scores by group id,
    or a function that gives them, such as `DataImportance`. `price` gives the milliseconds of a plan (default: eager
    timing here). Other arguments as in `trace` and `select`. A `Detector` is traced through its raw heads. Raises
    `UnknownOperationError` for an operation without a rule (unless `on_unknown="keep"`) and `PruningError` when no cut runs
    and agrees.
    """
    start = time.perf_counter()
    given, run = calling(example_inputs, _heads if forward is None and isinstance(model, Detector) else forward)
    graph = trace(model, given, on_unknown=on_unknown, forward=run)
    samples = _Samples(model, calibration, run) if calibration is not None and constants != "none" else None
    inputs = unseen_inputs(given, seed)
    fallbacks = Fallbacks(graph)
    while True:
        scores, named = _scores(model, graph, importance)
        measure = price
        if measure is None and (isinstance(target, LatencyBudget) or per == "ms"):
            measure = _eager_price(model, given, run)
        known = analyse_constants(graph, constants, samples.means(graph) if samples is not None else None)
        plan = select(
            graph, scores, target, keep=keep, frozen=frozen, floor=floor, floor_of=floor_of, cap_of=cap_of,
            round_to=round_to, policy=policy, constants=known, per=per, price=measure, importance=named,
        )  # fmt: skip
        cut = apply(model, plan)
        failure = failing(cut, inputs, run)
        if failure is None:
            difference = _difference(mask_module(model, plan), cut, inputs, run, exact=constants != "bias")
            if difference is not None:
                break
        graph = retrace(graph, fallbacks.next(graph, failure), on_unknown)
    report = PruneReport(
        plan.before, plan.after, plan.prunable_channels, plan.removed_channels, plan.carrier_channels,
        plan.zeroed_channels, difference, constants != "bias", (*plan.notes, *_approximation_note(constants, difference)),
        time.perf_counter() - start,
    )  # fmt: skip
    if samples is not None:
        report = samples.measured(report, graph, plan, cut)
    return PruneResult(cut, plan, report)


class _Samples:
    """Calibration batches: constants are measured on all but the last, which is held out to see what they are worth."""

    def __init__(self, model: nn.Module, batches: Iterable[Any], forward: Forward | None) -> None:
        self._model, self._forward = model, forward
        given = list(batches)
        if len(given) < 2:
            raise PruningError(
                f"calibration has {len(given)} batches: expected two or more, since the last is held out to measure the effect."
            )
        self._used, self._held_out = given[:-1], given[-1]

    def means(self, graph: ChannelGraph) -> dict[str, Tensor]:
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
            f"constants measured on {len(self._used)} batches: output error on the held-out batch {ours:.4f} (relative); with "
            f"constants by formula {formula:.4f}"
        )
        return replace(
            report, notes=(*report.notes, note), constants_from="calibration", output_error=ours,
            output_error_of_formula=formula,
        )  # fmt: skip


def _scores(model: nn.Module, graph: ChannelGraph, importance: ImportanceLike) -> tuple[Scores, str]:
    """The scores, and what the plan calls them."""
    if isinstance(importance, str):
        if importance in DATA_IMPORTANCES:
            raise ConfigError(
                f"importance={importance!r} is measured on data: pass importance=DataImportance({importance!r}, batches, loss)."
            )
        return score(model, graph, importance), importance
    if isinstance(importance, Mapping):
        return importance, "given"
    return importance(model, graph), importance.kind if isinstance(importance, DataImportance) else "given"


def replay_plan(
    model: M, plan: PrunePlan, example_inputs: Any, *, forward: Forward | None = None, seed: int = 0
) -> PruneResult[M]:
    """Make the cut of `plan` again on the model it was made for, and prove it as `prune_module` does.

    Raises `PruningError`, which says what differs, on another model.
    """
    start = time.perf_counter()
    given, run = calling(example_inputs, _heads if forward is None and isinstance(model, Detector) else forward)
    exact = plan.constants != "bias"
    try:
        cut, masked = apply(model, plan), mask_module(model, plan)
        difference = _difference(masked, cut, unseen_inputs(given, seed), run, exact=exact)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise PruningError(
            f"The plan was altered or damaged: its cut cannot be made ({type(error).__name__}: {str(error)[:200]}). Make a "
            "new plan with prune_module or `slimyolo prune`."
        ) from error
    if difference is None:
        raise PruningError(
            "The plan's cut does not agree with the masked model. Make a new plan with prune_module or `slimyolo prune`."
        )
    report = PruneReport(
        plan.before, plan.after, plan.prunable_channels, plan.removed_channels, plan.carrier_channels,
        plan.zeroed_channels, difference, exact, (*plan.notes, *_approximation_note(plan.constants, difference)),
        time.perf_counter() - start,
    )  # fmt: skip
    return PruneResult(cut, plan, report)


def _approximation_note(constants: str, difference: float) -> tuple[str, ...]:
    if constants != "bias":
        return ()
    note = (
        f"constants='bias' is an approximation at padded borders: on unseen random inputs the cut model differs from the "
        f"masked one by {difference:.1e} of the largest output. constants='carrier' is exact."
    )
    return (note,)


def _heads(detector: Detector, images: Tensor) -> list[Tensor]:
    return detector.heads(images)


def _difference(
    masked: nn.Module, cut: nn.Module, inputs: Sequence[Any], forward: Forward, *, exact: bool
) -> float | None:
    """How far the cut model is from the masked one; None when that is more than rounding."""
    try:
        difference = verify(masked, cut, inputs, forward=forward)
    except PruningError:  # other shapes
        return None
    if not exact or difference <= _EXACT:
        return difference
    doubles = tuple(i.double() if isinstance(i, Tensor) and i.is_floating_point() else i for i in inputs)
    try:
        precise = verify(deepcopy(masked).double(), deepcopy(cut).double(), doubles, forward=forward)
    except RuntimeError:  # a model with a fixed precision inside
        precise = difference
    return difference if precise <= _EXACT_DOUBLE else None


def _eager_price(model: nn.Module, given: Sequence[Any], forward: Forward) -> Callable[[PrunePlan], float]:
    """Median milliseconds of the cut model in eager mode, threads as they are, 3 warm-up and 9 timed runs."""

    def measure(plan: PrunePlan) -> float:
        cut = apply(model, plan)
        times = []
        with evaluating(cut), torch.no_grad():
            for _ in range(12):
                start = time.perf_counter()
                forward(cut, *given)
                times.append((time.perf_counter() - start) * 1e3)
        return sorted(times[3:])[4]

    return measure
