"""Repairs a cut network without labels: every layer is fitted to its outputs in the dense network.

The layers are fitted one by one, in the order in which they run. Ridge regression finds the weights and the intercept of a
convolution or linear layer from its inputs *in the cut network as repaired so far* to its outputs *in the dense network*
(of the kept channels). So each layer also corrects errors that are left from the layers before it.

Sources: He, Zhang and Sun 2017, "Channel pruning for accelerating very deep neural networks", section 3.3 (asymmetric
reconstruction); Luo, Wu and Lin 2017, "ThiNet". Here every layer is fitted, with an intercept, over any graph, and the
penalty is on the change of the weights, not on the weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.errors import ConfigError, PruningError
from slimyolo.one_line import one_line_repr
from slimyolo.pruning.plan.plan import PrunePlan
from slimyolo.pruning.repair.halting import HaltingPass, Halts, halting
from slimyolo.pruning.repair.regression import Layer, RowSums, fits_regression, layer_rows, positions_of, solve_ridge
from slimyolo.pruning.surgery.check import OutputReference
from slimyolo.pruning.surgery.cut import dropped_places
from slimyolo.tracing.calls import argument, convolution_call, running_mean_behind
from slimyolo.tracing.capture import TracedProgram, capture_program
from slimyolo.tracing.kinds import Kind, kind_of
from slimyolo.tracing.running import Forward, evaluating, forward_of

__all__ = ["LayerRepair", "ReconstructionReport", "reconstruct_"]

HELD_OUT = 8  # of every eight images, one only measures the result, one chooses the ridge, and six fit the layers
ROWS_PER_WEIGHT = 16
ROWS_AT_LEAST = 4096
RIDGES = (1e-3, 1e-2, 1e-1)
NEGLIGIBLE = 1e-10  # squared relative error below which a layer needs no repair


@dataclass(frozen=True, kw_only=True)
class LayerRepair:
    """Error of one layer's output against the dense one on held-out images, √(Σ(y − ŷ)² / Σ(y − ȳ)²), before and after.

    The layers before this one are already repaired when `before` is measured. `ridge` is the chosen ridge; None means that no
    fit was better than the old weights, so that the layer was not changed.
    """

    layer: str
    rows: int
    before: float
    after: float
    ridge: float | None


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class ReconstructionReport:
    """The result of `reconstruct_`. Errors of the network's outputs are measured by `output_error` on held-out images.

    `skipped`: layers that were not fitted, each with the reason.
    """

    layers: tuple[LayerRepair, ...]
    skipped: tuple[str, ...]
    images: int
    held_out: int
    error_before: float
    error_after: float
    seconds: float


def reconstruct_(
    cut: nn.Module,
    dense: nn.Module,
    plan: PrunePlan,
    batches: Iterable[Tensor],
    *,
    ridge: float | Sequence[float] = RIDGES,
    forward: Forward | None = None,
    memory_bytes: int = 2 << 30,
    seed: int = 0,
) -> ReconstructionReport:
    """Fit every convolution and linear layer of `cut` to the outputs of `dense`; `plan` is the cut between the two.

    `batches` are inputs of both networks, with at least 8 images in all; each batch is run once. More batches are added at
    layers with smaller maps, so that the tensors that wait at a layer take less than `memory_bytes`. `ridge` is a parameter of
    `solve_ridge`; if several are given, each layer takes the one that is best on images set aside for that purpose. `forward`
    is as in `prune_module`. If a BatchNorm follows a layer without a bias, the intercept is put into its running mean. Channels
    that carry constants are not changed. Recalibrate BatchNorm after this, not before.

    Raises `PruningError` for fewer than 8 images, for a plan of another model, or for renewed BatchNorm statistics.
    """
    ridges = (float(ridge),) if isinstance(ridge, (int, float)) else tuple(ridge)
    if not ridges or not all(0.0 <= one < float("inf") for one in ridges):
        raise ConfigError(f"ridge={ridge!r}: expected a number of at least 0, or several, for instance 1e-2.")
    plan.check(dense)
    started = time.perf_counter()
    run = forward_of(cut, forward)
    source = iter(batches)
    first = next(source, None)
    if first is None:
        raise PruningError("reconstruct_ got no batches: pass a few hundred training images.")
    sites, skipped = _sites(capture_program(cut, first[:1], run), cut, dense, plan)
    before = deepcopy(cut)
    with evaluating(cut, dense), closing(_Repair(cut, dense, _chain(first, source), run, memory_bytes)) as repair:
        generator = torch.Generator().manual_seed(seed)
        layers = []
        names = [site.layer for site in sites]
        with halting(dense, names, before=False) as dense_halts, halting(cut, names, before=True) as cut_halts:
            repair.halts = (dense_halts, cut_halts)
            for site in sites:
                layers.append(repair.layer_(site, ridges, generator))
            repair.close()
        judges = repair.held_out
        if not judges:
            raise PruningError(
                f"reconstruct_ got {repair.images} images: expected at least {HELD_OUT}; a few hundred are better."
            )
        reference = OutputReference(dense, judges, forward=run)
        errors = [reference.error(model) for model in (before, cut)]
    return ReconstructionReport(
        layers=tuple(layers),
        skipped=skipped,
        images=repair.images,
        held_out=sum(len(images) for images in judges),
        error_before=errors[0],
        error_after=errors[1],
        seconds=time.perf_counter() - started,
    )


def _chain(first: Tensor, rest: Iterator[Tensor]) -> Iterator[Tensor]:
    yield first
    yield from rest


@dataclass(frozen=True, eq=False)
class _Site:
    """A layer to fit: the dense channels of its rows, which rows may change, and the running mean for its intercept."""

    layer: str
    rows: Tensor
    free: Tensor
    running_mean: str | None


def _sites(
    program: TracedProgram, cut: nn.Module, dense: nn.Module, plan: PrunePlan
) -> tuple[list[_Site], tuple[str, ...]]:
    drops = dropped_places(plan)
    carriers = _carrier_places(plan)
    uses: dict[str, list[str | None]] = {}
    for node in program.nodes:
        if node.op != "call_function" or kind_of(node.target) not in (Kind.CONVOLUTION, Kind.LINEAR):
            continue
        weight = (
            convolution_call(node).weight if kind_of(node.target) is Kind.CONVOLUTION else argument(node, 1, "weight")
        )
        name = program.tensors.get(getattr(weight, "name", ""))
        if name is not None:
            uses.setdefault(name, []).append(running_mean_behind(node, program.tensors))
    sites, skipped = [], []
    for weight, means in uses.items():
        layer = weight.rpartition(".")[0]
        part, whole = cut.get_submodule(layer), dense.get_submodule(layer)
        if len(means) != 1 or not fits_regression(part):
            skipped.append(f"{layer}: {'used more than once' if len(means) != 1 else f'a {type(part).__name__}'}")
            continue
        gone = drops.get((weight, 0), set())
        rows = torch.tensor([row for row in range(whole.weight.shape[0]) if row not in gone])  # type: ignore[index]
        carrier = carriers.get(weight, set())
        free = torch.tensor([int(row) not in carrier for row in rows])
        mean = means[0] if part.bias is None else None
        _check_statistics(cut, dense, mean, rows, free)
        sites.append(_Site(layer, rows, free, mean))
    return sites, tuple(skipped)


def _carrier_places(plan: PrunePlan) -> dict[str, set[int]]:
    """Weight → rows that make a constant carrier."""
    found: dict[str, set[int]] = {}
    for group in plan.groups:
        for member in group.members:
            if member.axis == 0 and group.carrier is not None:
                found.setdefault(member.tensor, set()).update(member.index[group.carrier])
    return found


def _check_statistics(cut: nn.Module, dense: nn.Module, mean: str | None, rows: Tensor, free: Tensor) -> None:
    if mean is None:
        return
    norm = mean.rpartition(".")[0]
    own, wanted = (model.get_submodule(norm).running_var for model in (cut, dense))
    if not torch.allclose(own.cpu()[free], wanted.cpu()[rows][free]):  # type: ignore[index]
        raise PruningError(
            f"The BatchNorm {norm} of the cut model has other statistics than the dense model's. Reconstruct first, then "
            f"recalibrate BatchNorm."
        )


class _Repair:
    """The passes of all batches, which wait at one layer after another."""

    def __init__(
        self, cut: nn.Module, dense: nn.Module, source: Iterator[Tensor], forward: Forward, memory_bytes: int
    ) -> None:
        self._cut, self._dense, self._source = cut, dense, source
        self._forward, self._memory = forward, memory_bytes
        self._passes: list[tuple[HaltingPass, HaltingPass, Tensor]] = []
        self.halts = (Halts(), Halts())
        self.images = 0
        self.held_out: list[Tensor] = []
        self._exhausted = False

    def layer_(self, site: _Site, ridges: Sequence[float], generator: torch.Generator) -> LayerRepair:
        """Bring all batches to the layer and fit it."""
        layer: Any = self._cut.get_submodule(site.layer)
        sums, chooser, judge = self._sums(site, layer, self._bring(site.layer), generator)
        weight, intercept = _parameters(self._cut, self._dense, layer, site)
        free = site.free.to(weight.device).reshape(intercept.shape)
        movable = layer.bias is not None or site.running_mean is not None

        def fitted(rows: RowSums, ridge: float) -> tuple[Tensor, Tensor]:
            solved, shifted = solve_ridge(rows, weight, intercept, ridge, free_intercept=movable)
            return torch.where(free[..., None], solved, weight), torch.where(free, shifted, intercept)

        before = _error(judge, weight, intercept, free)
        best, chosen = _error(chooser, weight, intercept, free), None
        if best > NEGLIGIBLE:
            for ridge in ridges:
                error = _error(chooser, *fitted(sums, ridge), free)
                if error < best:
                    best, chosen = error, ridge
        if chosen is None:
            return LayerRepair(layer=site.layer, rows=sums.count, before=before**0.5, after=before**0.5, ridge=None)
        solved, shifted = fitted(sums.plus(chooser), chosen)
        _write_(self._cut, layer, site, solved, shifted - intercept)
        return LayerRepair(
            layer=site.layer,
            rows=sums.count + chooser.count,
            before=before**0.5,
            after=_error(judge, solved, shifted, free) ** 0.5,
            ridge=chosen,
        )

    def close(self) -> None:
        """Abandon the passes that still wait at a layer."""
        for one, two, _ in self._passes:
            one.abandon()
            two.abandon()
        self._passes = []

    def _bring(self, layer: str) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(input in the cut network, output in the dense one, numbers of the images) for each batch that fits into memory."""
        seen = []
        for place in range(len(self._passes)):
            seen.append(self._at(place, layer))
        while not self._exhausted:
            held = sum(4 * (one.numel() + two.numel()) for one, two, _ in seen)
            if seen and 2 * held * (len(seen) + 1) / len(seen) > self._memory:
                break
            images = next(self._source, None)
            if images is None:
                self._exhausted = True
                break
            self._start(images)
            seen.append(self._at(len(self._passes) - 1, layer))
        return seen

    def _at(self, place: int, layer: str) -> tuple[Tensor, Tensor, Tensor]:
        dense, cut, numbers = self._passes[place]
        return cut.go_to(layer), dense.go_to(layer), numbers

    def _start(self, images: Tensor) -> None:
        numbers = torch.arange(self.images, self.images + len(images))
        self.images += len(images)
        judging = numbers % HELD_OUT == HELD_OUT - 1
        if bool(judging.any()):
            self.held_out.append(images[judging.to(images.device)])
        dense, cut = (
            HaltingPass(halts, _call(model, images, self._forward))
            for halts, model in zip(self.halts, (self._dense, self._cut), strict=True)
        )
        self._passes.append((dense, cut, numbers))

    def _sums(
        self, site: _Site, layer: Layer, seen: list[tuple[Tensor, Tensor, Tensor]], generator: torch.Generator
    ) -> tuple[RowSums, RowSums, RowSums]:
        """Sums over three sets of images: those that fit the layer, those that choose the ridge, and the held-out ones."""
        groups = 1 if isinstance(layer, nn.Linear) else layer.groups
        inputs, outputs = layer.weight[0].numel(), layer.weight.shape[0] // groups
        sums, chooser, judge = (RowSums.empty(groups, inputs, outputs, layer.weight.device) for _ in range(3))
        wanted = -(-max(ROWS_AT_LEAST, ROWS_PER_WEIGHT * inputs) // len(seen))
        for given, target, numbers in seen:
            total = positions_of(layer, target)
            chosen = torch.randperm(total, generator=generator)[:wanted].to(given.device)
            rows, values = layer_rows(layer, given, target, chosen)
            values = values[:, site.rows.to(values.device)].reshape(len(chosen), groups, outputs).transpose(0, 1)
            part = (numbers.to(given.device) % HELD_OUT)[chosen * len(numbers) // total] - (HELD_OUT - 3)
            for place, own in enumerate((sums, chooser, judge)):
                mine = part.clamp_min(0) == place
                own.add_(rows[:, mine], values[:, mine])
        return sums, chooser, judge


def _call(model: nn.Module, images: Tensor, forward: Forward) -> Callable[[], object]:
    return lambda: forward(model, images)


def _parameters(cut: nn.Module, dense: nn.Module, layer: Layer, site: _Site) -> tuple[Tensor, Tensor]:
    """Weight [g, o, k] and intercept [g, o] for the fit. The intercept is the bias, or how far folding moved the running mean."""
    groups = 1 if isinstance(layer, nn.Linear) else layer.groups
    weight = layer.weight.detach().double().reshape(groups, layer.weight.shape[0] // groups, -1)
    if layer.bias is not None:
        return weight, layer.bias.detach().double().reshape(groups, -1)
    if site.running_mean is None:
        return weight, torch.zeros(weight.shape[:2], dtype=torch.float64, device=weight.device)
    own, whole = cut.get_buffer(site.running_mean).double(), dense.get_buffer(site.running_mean).double()
    return weight, (whole[site.rows.to(whole.device)] - own).reshape(groups, -1)


def _error(sums: RowSums, weight: Tensor, intercept: Tensor, free: Tensor) -> float:
    """Squared relative error over the rows that may change."""
    wrong, spread = sums.error(weight, intercept)
    return float(wrong[free].sum() / spread[free].sum().clamp_min(1e-12))


def _write_(cut: nn.Module, layer: Layer, site: _Site, weight: Tensor, shift: Tensor) -> None:
    layer.weight.data.copy_(weight.reshape(layer.weight.shape))
    if layer.bias is not None:
        layer.bias.data.add_(shift.reshape(-1).to(layer.bias))
    elif site.running_mean is not None:
        mean = cut.get_buffer(site.running_mean)
        mean.sub_(shift.reshape(-1).to(mean))
