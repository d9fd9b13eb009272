"""Sparsity asked for as a result: a share of the channels at exactly zero by a given moment, then held there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from slimyolo.errors import ConfigError, TrainingError
from slimyolo.sparsity.groups import ScaleGroup, ScaleTable
from slimyolo.sparsity.penalty import group_shrinkage, ramp_deadlines, ramp_shrinkage
from slimyolo.sparsity.protocol import RunProgress, SparsityStatus
from slimyolo.sparsity.ranking import doomed_positions, layer_yardsticks, most_removable

__all__ = ["ShareDriven"]

_SWAPS_END = 0.9  # of the ramp: who is doomed then stays so, and has the rest of the ramp to shrink in
_SLOWEST_UNIFORM = 0.5  # a channel that shall stay loses at most half in one uniform step


class ShareDriven:
    """Shrink until `share` of the prunable channels is at exactly zero by `reach` of the run; then hold these zeros.

    After every optimizer step the channels are ranked by magnitude (root mean square of their γ over the members of the
    group, each γ first divided by its layer's median magnitude at the start to the power `normalise`). The weakest, as
    many as the share asks for and the floors allow, are doomed: each is shrunk in even steps towards its own deadline
    (`ramp_deadlines`), a group soft-threshold with a threshold of distance left over time left. Channels that stay are
    not touched, since shrinking them costs accuracy and buys nothing. A channel that reaches zero is held: γ is put
    back to 0 after every step, whatever momentum or weight decay did, and in `ema` (the averaged copy, same parameter
    names), which never gets there by itself. β is not penalised: what a channel at zero still emits is a constant that
    pruning keeps.

    Channels compete until nine tenths of the ramp (`ranking` "live"): what the method itself has taken from a channel
    is added back before ranking, so that one which the task keeps pushing up overtakes another which it does not; it
    must be stronger by `hysteresis` (a share). "fixed" ranks once. `shrink` "all" is for comparison: one threshold for
    every channel, as an L1 penalty has, sized so that the share is reached in time.

    What counts: batch-normalisation channels, so a coupled channel counts once for each γ it owns; or the weights given
    in the groups. Reaching the share is guaranteed, since what is left of the doomed is taken at the end of the ramp.
    The channel that crosses the share is included, so the share at zero is at or just above what was asked.
    Raises `ConfigError` for a share that the floors do not allow, or a ramp that is no ramp.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[ScaleGroup],
        share: float,
        *,
        reach: float = 1 / 3,
        start: float = 0.0,
        floor: float = 0.1,
        ema: nn.Module | None = None,
        shrink: Literal["doomed", "all"] = "doomed",
        ranking: Literal["live", "fixed"] = "live",
        normalise: float = 0.5,
        hysteresis: float = 0.1,
        power: float = 3.0,
        grace: float = 0.25,
    ) -> None:
        _check_settings(share, reach, start, floor, shrink, ranking, normalise)
        self._table = ScaleTable(model, groups, floor=floor)
        self._ema = ScaleTable(ema, groups) if ema is not None else None
        self._share, self._reach, self._start = share, reach, start
        self._power, self._grace = power, grace
        self._shrink, self._ranking, self._hysteresis = shrink, ranking, hysteresis
        table = self._table
        self._target = share * float(table.weights.sum())
        self._check_floors(floor)
        self._yardsticks = layer_yardsticks(table.read(), table.sizes, normalise)
        self._taken = torch.zeros(table.count, device=table.entries.device)  # what shrinking took, normalised units
        self._position = torch.full_like(table.weights, torch.inf)  # place in the queue to zero, from the last ranking
        self._held = torch.zeros(table.count, dtype=torch.bool, device=table.entries.device)
        self._previous = start
        self._reached = False
        self._masks: list[Tensor] = []

    @property
    def settled(self) -> bool:
        """Whether the wanted share is at zero."""
        return self._reached

    def add_gradient(self, progress: RunProgress) -> None:
        """Nothing: the step is proximal."""

    def after_step(self, progress: RunProgress) -> None:
        """Shrink the doomed by one step of the ramp; put back to zero what is held."""
        self._follow_()
        if not self._reached and progress.done > self._start:
            self._descend(progress.done)
        self._hold_()

    def status(self) -> SparsityStatus:
        """How much is at zero and held, and |γ| of all prunable channels."""
        self._follow_()
        values = self._table.read()[self._table.entries].abs().cpu()
        total = float(self._table.weights.sum())
        share = float(self._table.weights[self._held].sum()) / total if total else 0.0
        zeros = int((values == 0).sum())
        return SparsityStatus("share", zeros, values.numel(), share, self._share, values)

    def state_dict(self) -> dict[str, Any]:
        """Everything the next step depends on."""
        return {
            "groups": list(self._table.group_names),
            "share": self._share,
            "yardsticks": self._yardsticks.cpu(),
            "taken": self._taken.cpu(),
            "position": self._position.cpu(),
            "held": self._held.cpu(),
            "previous": self._previous,
            "reached": self._reached,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`. Raises `TrainingError` when it belongs to other groups or another share."""
        same_groups = list(state.get("groups", ())) == list(self._table.group_names)
        if not same_groups or tuple(state["held"].shape) != tuple(self._held.shape) or state["share"] != self._share:
            raise TrainingError(
                f"The sparsity state to resume from was made for a share of {state.get('share')} over "
                f"{len(state.get('groups', ()))} channel groups; this run asks for {self._share} over "
                f"{len(self._table.group_names)}. Resume with the options of the first run, or start a new one."
            )
        device = self._held.device
        self._yardsticks = state["yardsticks"].to(device)
        self._taken = state["taken"].to(device)
        self._position = state["position"].to(device)
        self._held = state["held"].to(device)
        self._previous = float(state["previous"])
        self._reached = bool(state["reached"])
        self._masks = []

    def _follow_(self) -> None:
        if self._table.follow_() or self._held.device != self._table.entries.device:
            device = self._table.entries.device
            self._yardsticks, self._taken = self._yardsticks.to(device), self._taken.to(device)
            self._position, self._held = self._position.to(device), self._held.to(device)
            self._masks = []

    def _descend(self, now: float) -> None:
        table = self._table
        flat = table.read()
        magnitudes = table.magnitudes(flat / self._yardsticks)
        self._rank(magnitudes + self._taken, now)
        ended = now >= self._reach - 1e-12
        if ended:
            factors = torch.where(self._position.isfinite(), 0.0, 1.0)
        elif self._shrink == "doomed":
            factors = self._doomed_factors(now)
        else:
            factors = self._uniform_factors(magnitudes, now)
        factors = factors.to(flat.dtype)
        self._taken += magnitudes * (1 - factors)
        table.write_(table.scaled(flat, factors))
        gone = (factors == 0) & ~self._held
        self._held |= gone
        self._masks = []
        self._previous, self._reached = now, ended

    def _rank(self, strength: Tensor, now: float) -> None:
        swaps_end = self._start + _SWAPS_END * (self._reach - self._start)
        ranked_before = bool(self._position.isfinite().any())
        if ranked_before and (self._ranking == "fixed" or now > swaps_end):
            return
        doomed = self._position.isfinite()
        keys = torch.where(doomed, strength / (1 + self._hysteresis), strength)
        keys = torch.where(self._held, -1.0, keys)
        table = self._table
        self._position = doomed_positions(keys, table.groups, table.weights, table.least, self._target)

    def _doomed_factors(self, now: float) -> Tensor:
        deadlines = ramp_deadlines(
            self._position, start=self._start, reach=self._reach, power=self._power, grace=self._grace
        )
        factors = ramp_shrinkage(self._previous, now, deadlines)
        return torch.where(self._position.isfinite(), factors, 1.0)

    def _uniform_factors(self, magnitudes: Tensor, now: float) -> Tensor:
        doomed = self._position.isfinite()
        dearest = float(magnitudes[doomed].max()) if bool(doomed.any()) else 0.0
        threshold = dearest * (now - self._previous) / (self._reach - self._previous)
        factors = group_shrinkage(magnitudes, threshold)
        factors = torch.where(doomed, factors, factors.clamp_min(_SLOWEST_UNIFORM))
        return torch.where(self._held, 0.0, factors)

    def _hold_(self) -> None:
        if not self._masks:
            if not bool(self._held.any()):
                return
            self._masks = list(torch.split(self._table.entry_mask(self._held), self._table.sizes))
        with torch.no_grad():
            for table in (self._table, self._ema):
                if table is not None:
                    torch._foreach_mul_(list(table.scales), self._masks)

    def _check_floors(self, floor: float) -> None:
        table = self._table
        most = most_removable(table.groups, table.weights, table.least)
        if self._target > most * (1 + 1e-9):
            largest = most / float(table.weights.sum())
            raise ConfigError(
                f"A share of {self._share:g} of the prunable channels was asked for, but with a floor of {floor:g} in "
                f"every layer at most {largest:.3f} can go. Ask for less, or lower the floor."
            )


def _check_settings(
    share: float, reach: float, start: float, floor: float, shrink: str, ranking: str, normalise: float
) -> None:
    if not 0 <= share < 1:
        raise ConfigError(f"The share of channels to bring to zero is {share}; it must lie in 0 to 1, such as 0.4.")
    if not 0 <= start < reach <= 1:
        raise ConfigError(
            f"The sparsity ramp goes from {start:g} to {reach:g} of the run; it must begin at 0 or later, end after it "
            f"begins and not after 1. The default is 0 to 0.333."
        )
    if not 0 <= floor < 1:
        raise ConfigError(f"The floor is {floor}; it is the share of each layer that stays, 0 to 1, such as 0.1.")
    if shrink not in ("doomed", "all"):
        raise ConfigError(f"Unknown way to shrink {shrink!r}; expected 'doomed' or 'all'.")
    if ranking not in ("live", "fixed"):
        raise ConfigError(f"Unknown ranking {ranking!r}; expected 'live' or 'fixed'.")
    if not 0 <= normalise <= 1:
        raise ConfigError(f"The power of the layer normalisation is {normalise}; it must lie in 0 (raw γ) to 1.")
