"""Sparsity with a given result: a share of the channels, or of a cost, is exactly zero at a given time and stays so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from slimyolo.errors import ConfigError, TrainingError
from slimyolo.sparsity.groups import ScaleGroup, ScaleTable, concatenated
from slimyolo.sparsity.penalty import cubic_ramp, ramp_shrinkage
from slimyolo.sparsity.protocol import RunProgress, SparsityStatus
from slimyolo.sparsity.ranking import ChannelCost, ChannelCount, Queue

__all__ = ["ShareDriven"]

_MEMORY = 64  # optimizer steps over which a channel's effect on the loss is averaged
_TENSORS = ("effect", "deadline", "held")
_NUMBERS = ("seen", "previous", "reached")


class ShareDriven:
    """Fade channels out until `share` of them is at exactly zero at `reach` of the run; then hold these zeros.

    Channels are ranked by how much losing them would change the loss. Scaling γ of channel c by 1 + t in all members of its
    group changes the loss by t · Σ γ ∂L/∂γ to first order; the running mean of the square of that sum is the worth of the
    channel (`ranking` "taylor": Molchanov et al. 2019, arXiv:1906.10771, eq. 8 at a batch-norm gate; we sum over coupled
    members before squaring). "gamma" takes the mean square of γ over the members, as network slimming does; on real photographs
    it was far worse. The cost that a channel saves does not change its rank: dividing by this cost was worse, too.

    `start`, `reach` and `fade` are shares of the run. Until `start` the effects are only observed. Then the share of channels
    that have begun to fade follows Zhu & Gupta's cubic ramp: many channels of little worth begin early, those of most worth
    last. Each channel falls to zero in even steps within `fade`. So only few channels fade at a time, and the network can move
    their work to others, which are still ranked. A channel at zero is held: γ is set to 0 again after every step, since
    momentum and weight decay may move it. It is also set to 0 in `ema` (the averaged copy, with the same parameter names),
    which never reaches zero by itself. Channels that stay are not shrunk. β is not penalised: a channel at zero still emits a
    constant, which pruning keeps.

    With `round_to`, the channels of a group fade in blocks (`Queue`), so that a cut to multiples of `round_to` finds whole
    blocks at zero.

    `cost` says which share of the whole is saved without some channels. None counts batch-normalisation channels (a coupled
    channel once for each γ that it owns), or the weights given in the groups. The share is always reached, whatever the
    loss does, and the channel that reaches it is included. Raises `ConfigError` for a share that the floors do not
    allow, and for a ramp that does not end after it begins.

    A channel may own rows of weights and biases besides its γ, or instead of it (`ScaleGroup.rows`). They count in its effect
    in the same way, and fade and are held at zero together with it. `rates` [c] divide the worth of the channels, for
    instance by the MACs that removing each of them saves.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[ScaleGroup],
        share: float,
        *,
        start: float = 0.05,
        reach: float = 0.5,
        fade: float = 0.1,
        floor: float = 0.1,
        cost: ChannelCost | None = None,
        ema: nn.Module | None = None,
        ranking: Literal["taylor", "gamma"] = "taylor",
        round_to: int = 1,
        rates: Tensor | None = None,
    ) -> None:
        _check_settings(share, start, reach, fade, floor, ranking)
        if ranking == "gamma" and not all(group.members for group in groups):
            raise ConfigError(
                "ranking='gamma' ranks channels by their BatchNorm scales, but some groups have none. Use ranking='taylor'."
            )
        self._table = ScaleTable(model, groups, floor=floor)
        self._ema = ScaleTable(ema, groups) if ema is not None else None
        self._share, self._start, self._reach, self._ranking = share, start, reach, ranking
        self._rates = rates
        self._fade = min(fade, reach - start)
        table = self._table
        self._cost: ChannelCost = ChannelCount(table.weights) if cost is None else cost
        self._queue = Queue(table.groups, table.least, self._cost, unit=round_to)
        self._check_floors(floor, round_to)
        self._effect = torch.zeros_like(table.weights)  # running mean of the squared change of the loss
        self._deadline = torch.full_like(
            table.weights, torch.inf
        )  # share of the run by which it is zero; infinite: it stays
        self._held = torch.zeros(table.count, dtype=torch.bool, device=table.entries.device)
        self._seen = 0
        self._previous = 0.0
        self._reached = False
        self._masks: list[Tensor] = []

    @property
    def settled(self) -> bool:
        """Whether the wanted share is at zero."""
        return self._reached

    @property
    def held(self) -> Tensor:
        """[c] bool on the CPU: the channels that are held at zero."""
        return self._held.cpu()

    @property
    def deadlines(self) -> Tensor:
        """[c] float64 on the CPU: the share of the run by which a channel is at zero; infinite for one that stays."""
        return self._deadline.cpu()

    @property
    def worth(self) -> Tensor:
        """[c] float64 on the CPU: by how much losing each channel would change the loss, squared, or its mean square γ."""
        if self._ranking == "taylor":
            worth = self._effect.cpu()
        else:
            worth = self._table.magnitudes(self._table.read()).double().square().cpu()
        return worth if self._rates is None else worth / self._rates

    def add_gradient(self, progress: RunProgress) -> None:
        """Measure how much each channel changes the loss. No gradient is added, since the step is proximal."""
        self._follow_()
        if self._reached or self._ranking != "taylor":
            return
        slopes = [scale.grad for scale in self._table.scales if scale.grad is not None]
        if len(slopes) < len(self._table.scales):
            raise TrainingError(
                f"{len(self._table.scales) - len(slopes)} of {len(self._table.scales)} BatchNorm scales have no gradient, so "
                f"the effect of their channels on the loss is unknown. Leave out --freeze, or use --ranking gamma."
            )
        given = concatenated([slope.reshape(-1) for slope in slopes], self._table.device)
        products = (self._table.read() * given).double()
        change = torch.zeros_like(self._effect).index_add_(0, self._table.channels, products[self._table.entries])
        self._table.rows.add_changes_(change)
        if not bool(products.isfinite().all() & change.isfinite().all()):
            return  # the loss scaler will skip this step
        self._seen += 1
        self._effect += (change.square() - self._effect) / min(self._seen, _MEMORY)

    def after_step(self, progress: RunProgress) -> None:
        """Choose the channels that begin to fade, shrink those that fade, and set those that are held to zero."""
        self._follow_()
        if not self._reached and progress.done > self._start:
            self._choose_(progress.done)
            self._shrink_(progress.done)
        self._previous = progress.done
        self._hold_()

    def status(self) -> SparsityStatus:
        """The share that is held at zero, and |γ| of all prunable channels."""
        self._follow_()
        values = self._table.read()[self._table.entries].abs().cpu()
        zeros = int((values == 0).sum())
        return SparsityStatus(
            method="share",
            zero_channels=zeros,
            channels=values.numel(),
            share=self._cost.gone(self._held.cpu()),
            target_share=self._share,
            magnitudes=values,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "groups": list(self._table.group_names),
            "share": self._share,
            **{name: getattr(self, f"_{name}").cpu() for name in _TENSORS},
            **{name: getattr(self, f"_{name}") for name in _NUMBERS},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`. Raises `TrainingError` when it belongs to other groups or another share."""
        same_groups = list(state.get("groups", ())) == list(self._table.group_names)
        if not same_groups or tuple(state["held"].shape) != tuple(self._held.shape) or state["share"] != self._share:
            raise TrainingError(
                f"The sparsity state to resume from was made for a share of {state.get('share')} over "
                f"{len(state.get('groups', ()))} channel groups; this run asks for {self._share} over "
                f"{len(self._table.group_names)}. Resume with the options of the first run, or start a new one."
            )
        if not set(_TENSORS) | set(_NUMBERS) <= set(state):
            raise TrainingError(
                "The sparsity state to resume from was written by an older slimyolo, which chose channels in another way. "
                "Finish that run with the version that began it, or start a new one."
            )
        device = self._held.device
        self._effect, self._deadline, self._held = (state[name].to(device) for name in ("effect", "deadline", "held"))
        self._seen, self._previous = int(state["seen"]), float(state["previous"])
        self._reached = bool(state["reached"])
        self._masks = []

    def _follow_(self) -> None:
        if self._table.follow_() or self._held.device != self._table.entries.device:
            device = self._table.entries.device
            self._effect, self._deadline = self._effect.to(device), self._deadline.to(device)
            self._held = self._held.to(device)
            self._masks = []

    def _choose_(self, now: float) -> None:
        span = self._reach - self._fade - self._start
        wanted = self._share * (cubic_ramp((now - self._start) / span) if span > 1e-9 else 1.0)
        fading = self._deadline.isfinite().cpu()
        if self._cost.gone(fading) >= wanted:
            return
        chosen = self._queue.next(self.worth, fading, wanted)
        self._deadline[chosen.to(self._deadline.device)] = min(now + self._fade, self._reach)

    def _shrink_(self, now: float) -> None:
        table, fading = self._table, self._deadline.isfinite()
        ended = now >= self._reach - 1e-12
        left = torch.zeros_like(self._deadline) if ended else ramp_shrinkage(self._previous, now, self._deadline)
        factors = torch.where(fading, left, torch.ones_like(left))
        flat = table.read()
        table.write_(table.scaled(flat, factors.to(flat.dtype)))
        table.rows.scale_(factors)
        gone = (factors == 0) & ~self._held
        if bool(gone.any()):
            self._held |= gone
            self._masks = []
        self._reached = ended

    def _hold_(self) -> None:
        if not self._masks:
            if not bool(self._held.any()):
                return
            self._masks = list(torch.split(self._table.entry_mask(self._held), self._table.sizes))
        with torch.no_grad():
            for table in (self._table, self._ema):
                if table is not None and table.scales:
                    torch._foreach_mul_(list(table.scales), self._masks)
                if table is not None and table.rows:
                    table.rows.zero_(self._held)

    def _check_floors(self, floor: float, round_to: int) -> None:
        most = self._queue.most()
        if self._share > most + 1e-9:
            rounding = f" and multiples of {round_to}" if round_to > 1 else ""
            raise ConfigError(
                f"A share of {self._share:g} of what can be pruned was asked for, but with a floor of {floor:g} in "
                f"every layer{rounding} at most {most:.3f} can be removed. Ask for a smaller share, or lower the floor."
            )


def _check_settings(share: float, start: float, reach: float, fade: float, floor: float, ranking: str) -> None:
    if not 0 <= share < 1:
        raise ConfigError(
            f"The share of channels to bring to zero is {share}; it must be at least 0 and below 1, such as 0.4."
        )
    if not 0 <= start < reach <= 1:
        raise ConfigError(
            f"The sparsity ramp goes from {start:g} to {reach:g} of the run. It must begin at 0 or later, end after "
            f"its beginning, and end at 1 or earlier. The default is 0.05 to 0.5."
        )
    if not 0 < fade <= 1:
        raise ConfigError(f"A channel fades within {fade:g} of the run; it must be above 0 and at most 1, such as 0.1.")
    if not 0 <= floor < 1:
        raise ConfigError(
            f"The floor is {floor}; it is the share of each layer that stays, at least 0 and below 1, such as 0.1."
        )
    if ranking not in ("taylor", "gamma"):
        raise ConfigError(f"Unknown ranking {ranking!r}; expected 'taylor' or 'gamma'.")
