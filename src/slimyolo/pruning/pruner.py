"""The whole chain in one call: trace → score → select → plan → apply → verify."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from slimyolo.errors import PruningError
from slimyolo.models import Detector
from slimyolo.pruning.fallbacks import Fallbacks, failing
from slimyolo.pruning.graph_building import retrace, trace
from slimyolo.pruning.plan import PrunePlan
from slimyolo.pruning.prices import CutCost
from slimyolo.pruning.scoring import score
from slimyolo.pruning.selecting import select
from slimyolo.pruning.surgery import apply, mask_module
from slimyolo.pruning.targets import LatencyBudget, Target
from slimyolo.pruning.tracing import Forward, calling, evaluating
from slimyolo.pruning.verifying import unseen_inputs, verify

__all__ = ["PruneReport", "PruneResult", "prune_module"]

M = TypeVar("M", bound=nn.Module)
_EXACT = 1e-4
_EXACT_DOUBLE = 1e-6


@dataclass(frozen=True)
class PruneReport:
    """What a cut did: costs of one image at the traced size, and how far cut and masked model differ on unseen inputs."""

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
    importance: str | Mapping[int, Tensor] = "gamma",
    round_to: int = 1,
    constants: str = "carrier",
    keep: Sequence[str] = (),
    on_unknown: str = "raise",
    policy: str = "coupled",
    frozen: Sequence[str] = (),
    floor: float | None = None,
    price: Callable[[PrunePlan], float] | None = None,
    forward: Forward | None = None,
    seed: int = 0,
) -> PruneResult[M]:
    """Cut `model` to `target` and prove that the cut equals the masked model.

    `example_inputs` is a tensor, a tuple or a dictionary of named arguments the model runs on; the input model is not
    touched. `constants`: "carrier" (exact), "bias" (padded consumers approximated) or "none" (the reference: β zeroed).
    Other arguments as in `trace` and `select`. A `Detector` is traced through its raw heads. Raises `UnknownOperationError` for an operation without a
    rule (unless `on_unknown="keep"`) and `PruningError` when no cut runs and agrees.
    """
    start = time.perf_counter()
    given, run = calling(example_inputs, _heads if forward is None and isinstance(model, Detector) else forward)
    graph = trace(model, given, on_unknown=on_unknown, forward=run)
    inputs = unseen_inputs(given, seed)
    fallbacks = Fallbacks(graph)
    while True:
        scores = score(model, graph, importance) if isinstance(importance, str) else importance
        named = importance if isinstance(importance, str) else "given"
        measure = price
        if measure is None and isinstance(target, LatencyBudget):
            measure = _eager_price(model, given, run)
        plan = select(
            graph, scores, target, keep=keep, frozen=frozen, floor=floor, round_to=round_to, policy=policy,
            constants=constants, price=measure, importance=named,
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
