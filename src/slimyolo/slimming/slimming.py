"""`Slimming`: fades channels of any network out while somebody's own training loop trains it, and cuts them at the end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from slimyolo.errors import ConfigError, TrainingError
from slimyolo.pruning import (
    Calibration,
    ChannelGraph,
    CostTable,
    CutRules,
    PrunePlan,
    RuleFields,
    Target,
    prune_module,
    rules_with,
    verify,
)
from slimyolo.pruning.surgery.check import unseen_inputs
from slimyolo.slimming.channels import FadingChannels, fading_channels
from slimyolo.slimming.cost import CostShare
from slimyolo.slimming.goal import UNIT_WORDS, check_rules, share_to_remove
from slimyolo.slimming.records import Moment, SlimmingResult, SlimmingStatus
from slimyolo.slimming.wrappers import eager, network_in, same_network_in
from slimyolo.sparsity import ChannelCost, ChannelCount, Queue, ScaleTable, ShareDriven
from slimyolo.tracing.running import Forward

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Slimming"]

log = logging.getLogger("slimyolo")

M = TypeVar("M", bound=nn.Module)


class Slimming(Generic[M]):
    """Makes a network smaller while your own loop trains it.

    ::

        slim = Slimming(model, example, MacsShare(0.5), steps=epochs * len(loader))
        for inputs, wanted in loader:  # your loop
            loss(model(inputs), wanted).backward()
            optimizer.step()
            slim.step()  # after each optimizer step, before the gradients are set to zero
            optimizer.zero_grad()
        smaller = slim.cut().model

    * `model`: the network, also in DistributedDataParallel or compiled; its weights are changed in place by `step`. `example`:
      inputs on which it runs, as in `prune_module`. `forward` as there.
    * `target`: what a cut has to reach: `MacsShare`, `ParamsShare`, `MacsBudget`, `ParamsBudget` or `ChannelShare`.
    * `steps`: how many optimizer steps the run has.
    * `start`, `reach`, `fade`: shares of the run. Until `start`, channels are only ranked. At `reach` as many channels are at
      zero as the target needs, and they stay at zero. Each channel fades within `fade`.
    * `ema`: an averaged copy of the network, whose channels at zero are held at zero, too.
    * `rules`, and single fields of it: `CutRules`. Channels are ranked by what losing them would change in your loss, so
      `importance` and `policy` have no meaning here, and `per` divides this effect by the cost of a channel.

    The method is `slimyolo.sparsity.ShareDriven`. Where a layer has no scale (γ) of a norm, the rows of its weight fade. Layers
    whose parameters are frozen are kept whole (`kept` says which). Raises `ConfigError` when the target cannot be reached.
    """

    def __init__(
        self,
        model: M,
        example: Any,
        target: Target,
        *,
        steps: int,
        start: float = 0.05,
        reach: float = 0.5,
        fade: float = 0.1,
        ema: nn.Module | None = None,
        forward: Forward | None = None,
        rules: CutRules | None = None,
        **fields: Unpack[RuleFields],
    ) -> None:
        """It takes more than eight arguments, since each is one decision that a user may want to take; all but `steps` have
        a default."""
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ConfigError(
                f"steps={steps!r}: expected the number of optimizer steps of the run, for instance epochs * len(loader)."
            )
        self._network: M = network_in(model)  # type: ignore[assignment]  # without its wrapper it is the user's network
        self._rules = rules_with(rules, fields)
        check_rules(self._rules)
        self._forward, self._target, self._steps = forward, target, steps
        self._example = _on_device_of(self._network, example)
        with eager(self._network):
            self._fading = fading_channels(self._network, self._example, self._rules, forward)
        averaged = None if ema is None else same_network_in(ema, self._network, "ema")
        self._unit, self._share = share_to_remove(target, self._fading.graph)
        self._cost = self._make_cost()
        self._check_reachable()
        self._method = ShareDriven(
            self._network,
            self._fading.groups,
            self._share,
            start=start,
            reach=reach,
            fade=fade,
            cost=self._cost,
            ema=averaged,
            round_to=self._rules.round_to,
            rates=self._rates(),
        )
        self._parameters = _holders(self._network, self._fading)
        self._step = 0

    @property
    def settled(self) -> bool:
        """Whether all channels that the target needs are at zero. From then on a cut changes nothing, at any step."""
        return self._method.settled

    @property
    def kept(self) -> tuple[str, ...]:
        """Sentences that say which channels are kept whole, and why."""
        return self._fading.kept

    @property
    def status(self) -> SlimmingStatus:
        """How far the slimming is."""
        held, fading = self._method.held, self._method.deadlines.isfinite()
        return SlimmingStatus(
            step=self._step,
            steps=self._steps,
            unit=UNIT_WORDS[self._unit],
            gone=self._cost.gone(held),
            target=self._share,
            zero=int(held.sum()),
            fading=int((fading & ~held).sum()),
            channels=held.numel(),
            settled=self.settled,
        )

    def step(self, done: float | None = None) -> None:
        """Take one step. Call it after each optimizer step, while the gradients of that step are still there.

        `done` is the share of the run that is done with this step (above 0, at most 1). None means the steps so far divided by
        `steps`; give it when nobody knows the number of optimizer steps beforehand, because accumulation changes, for instance.
        Gradients may be averaged over processes, clipped, or multiplied by a loss scale: a common factor does not change which
        channel counts least. A step whose gradients are infinite or NaN, which a gradient scaler skips, is not used for ranking.
        Raises `TrainingError` when there are no gradients, or when parameters of the network were replaced.
        """
        if done is not None and not 0 < done <= 1:
            raise ConfigError(f"done={done!r}: expected the share of the run that is done, above 0 and at most 1.")
        self._check_parameters()
        if not self.settled:
            self._check_gradients()
        self._step += 1
        if done is None and self._step == self._steps + 1:
            log.warning(
                "slimming: step() was called more often than steps=%d. The channels at zero stay at zero; give the number of "
                "optimizer steps of the whole run, so that channels fade as slowly as the run allows.",
                self._steps,
            )
        moment = Moment(min(self._step / self._steps, 1.0) if done is None else done)
        self._method.add_gradient(moment)
        self._method.after_step(moment)

    def cut(self, model: nn.Module | None = None, *, calibration: Calibration | None = None) -> SlimmingResult[M]:
        """The network without the channels that were chosen, cut to the target; the given network is not changed.

        `model` is another copy of the network, for instance its average or the best checkpoint; None means the network that
        trains. Without `ema=`, an average reaches zero late or never: its channels that are not at zero are removed all the
        same, and replaced by the constant that fits best (`calibration` as in `prune_module` measures it). Then, and when it
        is called before `settled`, a warning says how many channels were not at zero.
        """
        network: Any = self._network if model is None else same_network_in(model, self._network, "model")
        kind = next(network.parameters()).device.type
        with eager(network), torch.autocast(kind, enabled=False):
            found = prune_module(
                network,
                _on_device_of(network, self._example),
                self._target,
                replace(self._rules, importance=self._order, per="channels"),
                forward=self._forward,
                calibration=calibration,
            )
            inputs = unseen_inputs(_on_device_of(network, self._example), self._rules.seed)
            difference = verify(network, found.model, _named_again(self._example, inputs), forward=self._forward)
        alive = _alive(network, found.plan)
        if alive:
            log.warning("%s", self._why_alive(alive, found.plan, difference))
        plan = replace(found.plan, importance="effect on the loss, while training")
        return SlimmingResult(found.model, plan, found.report, difference, alive)

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors, from which a run goes on exactly; save it beside the model and the optimizer."""
        return {
            "format": "slimyolo slimming",
            "step": self._step,
            "steps": self._steps,
            "unit": self._unit,
            "sparsity": self._method.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict`. Raises `TrainingError` when it belongs to another network, target or number of steps."""
        if not isinstance(state, Mapping) or state.get("format") != "slimyolo slimming":
            raise TrainingError("This is not the state of a Slimming: give the result of its state_dict().")
        for name, mine in (("steps", self._steps), ("unit", self._unit)):
            if state[name] != mine:
                raise TrainingError(
                    f"The state was saved by a Slimming with {name} {state[name]}, but this one has {mine}. Make it with the "
                    f"same target and steps as in the first run."
                )
        self._method.load_state_dict(state["sparsity"])
        self._step = int(state["step"])

    def _make_cost(self) -> ChannelCost:
        fading = self._fading
        if self._unit == "channels":
            weights = [group.weight for group in fading.groups if group.weight is not None]
            return ChannelCount(torch.cat(weights)) if weights else ChannelCount(torch.ones(1))
        positions = _positions(fading)
        return CostShare(fading.graph, self._unit, fading.ids, positions, reserved=fading.reserved, added=fading.added)

    def _check_reachable(self) -> None:
        """Raise `ConfigError` when the target asks for nothing, or for more than the rules allow."""
        word, target = UNIT_WORDS[self._unit], self._target
        if not self._fading.groups:
            raise ConfigError(
                f"No channel of this {type(self._network).__name__} can be removed: {_shortened(self._fading.kept)}."
            )
        if self._share <= 0:
            raise ConfigError(f"{target}: the network has no more {word} than that; ask for less.")
        table = ScaleTable(self._network, self._fading.groups)
        most = Queue(table.groups, table.least, self._cost, unit=self._rules.round_to).most()
        if self._share > most + 1e-9:
            raise ConfigError(
                f"{target} asks to remove {self._share:.1%} of the {word}, but with these rules at most {most:.1%} can be "
                f"removed (a floor of {self._rules.least_share:g} of each layer stays; change floor=, keep= or the target). "
                f"Kept whole: {_shortened(self._fading.kept)}."
            )

    def _rates(self) -> Tensor | None:
        """What removing each channel of the dense network saves, divided by the mean; None when `per` is "channels"."""
        per, graph = self._rules.per, self._fading.graph
        if per == "channels":
            return None
        table = CostTable(graph)
        savings = [table.saving({}, number, 1)[0 if per == "params" else 1] for number in self._fading.ids]
        rates = torch.tensor(savings, dtype=torch.float64)[_positions(self._fading)]
        return (rates / rates.mean()).clamp_min(1e-9)

    def _check_parameters(self) -> None:
        for holder, name, parameter, path in self._parameters:
            if holder._parameters.get(name) is not parameter:
                raise TrainingError(
                    f"The parameter {path!r} is not the one that Slimming was made for. Load weights with load_state_dict "
                    f"without assign=True, and make Slimming after the network is sharded, converted or quantised."
                )

    def _check_gradients(self) -> None:
        missing = [path for _, _, parameter, path in self._parameters if parameter.grad is None]
        if len(missing) == len(self._parameters):
            raise TrainingError(
                "No parameter of the network has a gradient. Call step() after optimizer.step() and before zero_grad(), and "
                "make Slimming from the network that trains, not from a copy of it."
            )
        if missing:
            raise TrainingError(
                f"{len(missing)} parameters have no gradient, for instance {missing[0]!r}, so the effect of their channels on "
                f"the loss is unknown. Keep layers that some steps leave out, for instance "
                f"keep=[{missing[0].rpartition('.')[0]!r}], or freeze them with requires_grad_(False)."
            )

    def _order(self, model: nn.Module, graph: ChannelGraph) -> dict[int, Tensor]:
        """Scores by group of `graph`: channels at zero or fading come first, in their order; then the others by their effect."""
        deadlines, worth = self._method.deadlines, self._method.worth
        rest = 2.0 + worth / worth.max().clamp_min(torch.finfo(worth.dtype).tiny)
        scores = torch.where(deadlines.isfinite(), deadlines, rest)
        known = _by_place(self._fading, scores)
        found = {}
        for group in graph.groups:
            values = torch.full((group.width,), torch.inf, dtype=torch.float64)
            for member in group.members:
                places = known.get((member.tensor, member.axis))
                if places is not None:
                    values = torch.minimum(values, places[member.index].amin(1))
            found[group.id] = values
        return found

    def _why_alive(self, alive: int, plan: PrunePlan, difference: float) -> str:
        if not self.settled:
            why = f"the cut comes at step {self._step} of {self._steps}, before the target is reached; cut when `settled` is True"
        else:
            why = "this copy of the network lags behind; give averaged copies to Slimming as ema=, or cut the network itself"
        return (
            f"slimming: {alive} of {plan.removed_channels} removed channels are not at zero, so the cut changes the outputs (by "
            f"{difference:.1e} of the largest): {why}."
        )


def _positions(fading: FadingChannels) -> Tensor:
    """[c]: the place of each channel's group in `fading.groups`."""
    widths = torch.tensor([group.width for group in fading.groups], dtype=torch.int64)
    return torch.repeat_interleave(torch.arange(len(fading.groups)), widths)


def _by_place(fading: FadingChannels, scores: Tensor) -> dict[tuple[str, int], Tensor]:
    """(tensor, axis) → the score [size of the axis] of the channel at each place, infinite where no channel stands."""
    found: dict[tuple[str, int], Tensor] = {}
    shapes = dict(fading.graph.module.named_parameters(remove_duplicate=False))
    first = 0
    for group in fading.groups:
        mine = scores[first : first + group.width]
        named = [(name, 0, index) for name, _, index in group.members]
        for name, axis, index in (*named, *group.rows):
            size = shapes[name].shape[axis]
            place = found.setdefault((name, axis), torch.full((size,), torch.inf, dtype=torch.float64))
            place[index] = mine
        first += group.width
    return found


def _holders(network: nn.Module, fading: FadingChannels) -> list[tuple[nn.Module, str, nn.Parameter, str]]:
    """(module, attribute, parameter, full name) of every tensor that fades."""
    names = [name for group in fading.groups for name, *_ in (*group.members, *group.rows)]
    found = []
    for path in dict.fromkeys(names):
        owner, _, leaf = path.rpartition(".")
        found.append((network.get_submodule(owner), leaf, network.get_parameter(path), path))
    return found


def _alive(network: nn.Module, plan: PrunePlan) -> int:
    """How many removed channels of layers are not at zero in `network`."""
    tensors = dict(network.named_parameters(remove_duplicate=False))
    count = 0
    for emission in plan.emissions:
        weight = tensors[emission.weight].detach()
        rows = weight.index_select(emission.axis, torch.tensor(emission.channels, device=weight.device))
        count += int((rows.movedim(emission.axis, 0).reshape(len(emission.channels), -1) != 0).any(1).sum())
    return count


def _on_device_of(network: nn.Module, example: Any) -> Any:
    home = next(network.parameters(), torch.zeros(0)).device
    return tree_map(lambda item: item.to(home) if isinstance(item, Tensor) else item, example)


def _named_again(example: Any, inputs: tuple[Any, ...]) -> Any:
    """`inputs` under the names of a dictionary of examples."""
    return dict(zip(example, inputs, strict=True)) if isinstance(example, Mapping) else inputs


def _shortened(sentences: tuple[str, ...]) -> str:
    if not sentences:
        return "nothing"
    more = f" (and {len(sentences) - 3} more)" if len(sentences) > 3 else ""
    return "; ".join(sentences[:3]) + more
