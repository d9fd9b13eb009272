"""Finds the constant that every channel leaves behind when it is removed, and what can take this constant.

A channel is removed by giving a layer parameters that make the channel constant: γ = 0 and a chosen β for a norm, or a row of
zeros and a bias for a convolution. The rest of the network computes with this constant as with any value. So the masked network
(`mask_module`) is the same module with other numbers, and a cut that accounts for every arriving constant equals it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from slimyolo.one_line import one_line_repr
from slimyolo.pruning.analysis.constant_flow import flow_constants
from slimyolo.pruning.graph.activations import activation_of, expected_value, preimage
from slimyolo.pruning.graph.channel_graph import ChannelGraph, Consumer, Emitter
from slimyolo.pruning.graph.constant_values import Arrival
from slimyolo.pruning.rules import check_constants

__all__ = ["WEAKEST_CARRIER", "Constants", "analyse_constants"]

WEAKEST_CARRIER = 1e-3  # smallest value of a carrier: with a smaller one, the weights that read it would be too large


@one_line_repr
@dataclass(frozen=True, eq=False, kw_only=True)
class Constants:
    """Result of `analyse_constants`. A carrier is a channel that stays and gives a constant to layers that need one.

    | field                          | content                                                                           |
    |--------------------------------|-----------------------------------------------------------------------------------|
    | `emitted`, `carried`           | by emitter node, the parameter value (β or bias) of each channel when it is       |
    |                                | removed, or becomes a carrier                                                     |
    | `arrivals`, `carrier_arrivals` | by consumer node, what then arrives there                                         |
    | `needs_carrier`                | bool [units]: the constant reaches a consumer with zero padding                   |
    | `zeroed`                       | bool [units]: made to emit zero, because nothing can carry its constant           |
    | `stuck`                        | bool [units]: cannot be removed                                                   |
    """

    mode: str
    emitted: Mapping[str, Tensor]
    carried: Mapping[str, Tensor]
    arrivals: Mapping[str, Arrival]
    carrier_arrivals: Mapping[str, Arrival]
    needs_carrier: Tensor
    zeroed: Tensor
    stuck: Tensor


def analyse_constants(
    graph: ChannelGraph, mode: str = "carrier", means: Mapping[str, Tensor] | None = None
) -> Constants:
    """Constants of all channels of the graph, as if each were removed.

    `mode`: "carrier" (exact), "bias" (a consumer with padding is treated as if it had none) or "none" (β = 0, as in the
    reference project). `means` maps emitter nodes to the measured mean outputs of their channels, after the activation. They
    are used instead of E[act(γz + β)].
    """
    check_constants(mode)
    return _Analysis(graph, mode, means or {}).result()


class _Analysis:
    def __init__(self, graph: ChannelGraph, mode: str, means: Mapping[str, Tensor]) -> None:
        self._graph, self._mode, self._means = graph, mode, means
        self._nodes: dict[str, Node] = {node.name: node for node in graph.program.nodes}
        self._tensors = {
            **dict(graph.module.named_parameters(remove_duplicate=False)),
            **dict(graph.module.named_buffers(remove_duplicate=False)),
        }
        counts = [int(e.units.max()) for e in graph.emitters if e.units.numel()]
        counts += [int(c.units.max()) for c in graph.consumers if c.units.numel()]
        counts += [int(g.units.max()) for g in graph.groups]
        counts += [int(a.units.max()) for a in graph.adders if a.units.numel()]
        self._units = max(counts, default=0) + 1
        self._shared = _shared_weights(graph)
        self._solved: dict[Any, float] = {}

    def result(self) -> Constants:
        emitters = self._graph.emitters
        estimate = self._by_weight(self._estimates())
        zero = self._by_weight({e.node: self._silent(e) for e in emitters})
        carried = self._by_weight({e.node: self._carrier(e) for e in emitters})
        zeroed = torch.zeros(self._units, dtype=torch.bool)
        if self._mode == "none":
            zeroed[1:] = True
        chosen = self._mixed(estimate, zero, zeroed)
        arrivals = self._flow(chosen)
        carriers = self._flow(carried) if self._mode != "bias" else arrivals
        needs, broken = self._judge(arrivals, carriers)
        if bool(broken.any()):
            zeroed |= broken
            chosen = self._mixed(estimate, zero, zeroed)
            arrivals = self._flow(chosen)
            needs, broken = self._judge(arrivals, carriers)
        zeroed[0] = False
        return Constants(
            mode=self._mode,
            emitted=chosen,
            carried=carried,
            arrivals=arrivals,
            carrier_arrivals=carriers,
            needs_carrier=needs,
            zeroed=zeroed & ~broken,
            stuck=broken,
        )

    def _by_weight(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`values` by emitter node. A layer that is used several times gets one value for all of its uses."""
        made: dict[str, Tensor] = {}
        for emitter in sorted(self._graph.emitters, key=lambda e: e.shadowed):  # those with an effect come first
            made.setdefault(emitter.weight, values[emitter.node])
        return {
            e.node: torch.zeros_like(made[e.weight]) if e.shadowed else made[e.weight] for e in self._graph.emitters
        }

    # -- what emitters can give -----------------------------------------------------------------------------------

    def _value(self, name: str) -> Tensor:
        return self._tensors[name].detach().double().cpu()

    def _estimates(self) -> dict[str, Tensor]:
        """By emitter node, the parameter value with which a channel emits its mean output."""
        found: dict[str, Tensor] = {}
        alike: dict[Any, list[Emitter]] = defaultdict(list)  # emitters behind equal activations are solved together
        for emitter in self._graph.emitters:
            zeros = torch.zeros(emitter.units.numel(), dtype=torch.float64)
            found[emitter.node] = zeros
            if not emitter.shadowed:
                found[emitter.node] = zeros if emitter.bias is None else self._value(emitter.bias).clone()
                if emitter.kind == "norm" or (emitter.bias is not None and emitter.node in self._means):
                    node = self._nodes[emitter.activation] if emitter.activation is not None else None
                    alike[None if node is None else _activation_key(node)].append(emitter)
        for emitters in alike.values():
            biases = self._solve(emitters, [found[emitter.node] for emitter in emitters])
            found.update({emitter.node: bias for emitter, bias in zip(emitters, biases, strict=True)})
        return found

    def _solve(self, emitters: Sequence[Emitter], biases: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The biases whose activations are the mean outputs. The old bias is kept where it is right or no other fits."""
        node = None if emitters[0].activation is None else self._nodes[emitters[0].activation]
        activation = activation_of(node)
        norms = [emitter.kind == "norm" for emitter in emitters]
        scales = [
            self._value(e.weight) if norm else torch.zeros_like(b)
            for e, norm, b in zip(emitters, norms, biases, strict=True)
        ]
        scale, bias, sizes = torch.cat(scales), torch.cat(list(biases)), [len(one) for one in biases]
        parts = torch.split(expected_value(activation, scale, bias), sizes)
        wanted = torch.cat([self._means.get(e.node, one).double() for e, one in zip(emitters, parts, strict=True)])
        linear = torch.cat(
            [torch.full_like(b, not norm, dtype=torch.bool) for b, norm in zip(biases, norms, strict=True)]
        )
        changed = linear | ((scale != 0) & (activation(bias) != wanted))
        if node is None:
            bias = torch.where(changed, wanted, bias)
        elif bool(changed.any()):
            solved = preimage(activation, wanted[changed], bias[changed])
            bias[changed] = torch.where(torch.isnan(solved), bias[changed], solved)
        return torch.split(bias, sizes)

    def _silent(self, emitter: Emitter) -> Tensor:
        """The parameter value with which the emitter emits zero; NaN where no value does so."""
        count = emitter.units.numel()
        zeros = torch.zeros(count, dtype=torch.float64)
        if emitter.shadowed or emitter.activation is None:
            return zeros
        found = self._giving(self._nodes[emitter.activation], 0.0)
        return zeros + found if emitter.bias is not None else zeros

    def _carrier(self, emitter: Emitter) -> Tensor:
        """The parameter value with which the emitter emits 1, or at least a number far from zero."""
        count = emitter.units.numel()
        ones = torch.ones(count, dtype=torch.float64)
        if emitter.shadowed or emitter.bias is None:
            return torch.zeros_like(ones)
        if emitter.activation is None:
            return ones
        found = self._giving(self._nodes[emitter.activation], 1.0)
        return ones if math.isnan(found) else ones * found

    def _giving(self, node: Node, wanted: float) -> float:
        """The input near `wanted` for which the activation at `node` gives `wanted`; NaN when there is none."""
        key = (*_activation_key(node), wanted)
        if key not in self._solved:
            activation = activation_of(node)
            goal = torch.full((1,), wanted, dtype=torch.float64)
            at_zero = wanted == 0.0 and float(activation(goal)) == 0.0
            self._solved[key] = 0.0 if at_zero else float(preimage(activation, goal, goal))
        return self._solved[key]

    # -- where constants arrive -----------------------------------------------------------------------------------

    def _mixed(self, estimate: Mapping[str, Tensor], zero: Mapping[str, Tensor], zeroed: Tensor) -> dict[str, Tensor]:
        mixed = {}
        for emitter in self._graph.emitters:
            silent = zero[emitter.node]
            use = zeroed[emitter.units] & ~torch.isnan(silent)
            mixed[emitter.node] = torch.where(use, silent, estimate[emitter.node])
        return mixed

    def _flow(self, parameters: Mapping[str, Tensor]) -> dict[str, Arrival]:
        emitted = {}
        for emitter in self._graph.emitters:
            # the emitter emits its parameter value; the activation is another operation, which is followed separately
            emitted[emitter.node] = torch.where(emitter.units == 0, torch.nan, parameters[emitter.node])
        return flow_constants(self._graph, emitted)

    def _judge(self, arrivals: Mapping[str, Arrival], carriers: Mapping[str, Arrival]) -> tuple[Tensor, Tensor]:
        """(units whose constant needs a carrier, units whose constant nothing can take)."""
        needs = torch.zeros(self._units, dtype=torch.bool)
        broken = torch.zeros(self._units, dtype=torch.bool)
        for consumer in self._graph.consumers:
            arrival = arrivals[consumer.node]
            units = consumer.units
            alive = units != 0
            broken[units[alive & torch.isnan(arrival.values)]] = True
            sent = alive & (torch.nan_to_num(arrival.values) != 0)
            by_bias = consumer.flat & (arrival.patterns == 0) if self._mode != "bias" else torch.ones_like(sent)
            folds = sent & by_bias
            if not self._can_fold(consumer):
                broken[units[folds]] = True
            unlike = self._unlike(consumer, arrivals, carriers)
            broken[units[sent & unlike]] = True
            carry = sent & ~by_bias
            needs[units[carry]] = True
            other = carriers[consumer.node]
            weak = (
                torch.isnan(other.values)
                | (other.values.abs() < WEAKEST_CARRIER)
                | (other.patterns != arrival.patterns)
            )
            broken[units[carry & weak]] = True
        for adder in self._graph.adders:
            added = arrivals.get(adder.node)
            loud = torch.ones_like(adder.units, dtype=torch.bool) if added is None else added.values != 0
            broken[adder.units[loud]] = True
        broken[0] = needs[0] = False
        return needs & ~broken, broken

    def _unlike(self, consumer: Consumer, arrivals: Mapping[str, Arrival], carriers: Mapping[str, Arrival]) -> Tensor:
        """Channels whose constants differ between the uses of one weight, which has one bias for all uses."""
        unlike = torch.zeros_like(consumer.units, dtype=torch.bool)
        for other in self._shared.get(consumer.weight, ()):
            if (other.flat, other.running_mean, other.groups) != (
                consumer.flat,
                consumer.running_mean,
                consumer.groups,
            ):
                return torch.ones_like(unlike)
            for known in (arrivals, carriers):
                one, two = known[consumer.node], known[other.node]
                unlike |= torch.nan_to_num(one.values) != torch.nan_to_num(two.values)
                unlike |= (one.patterns != 0) != (two.patterns != 0)
        return unlike

    def _can_fold(self, consumer: Consumer) -> bool:
        if consumer.bias is not None or consumer.running_mean is not None:
            return True
        owner = self._graph.module.get_submodule(consumer.owner)
        return "bias" in owner._parameters and isinstance(owner, torch.nn.Module)


def _activation_key(node: Node) -> tuple[Any, str, str]:
    return node.target, str(node.args[1:]), str(node.kwargs)


def _shared_weights(graph: ChannelGraph) -> dict[str, list[Consumer]]:
    """The uses of each weight that is read more than once."""
    uses: dict[str, list[Consumer]] = {}
    for consumer in graph.consumers:
        uses.setdefault(consumer.weight, []).append(consumer)
    return {weight: several for weight, several in uses.items() if len(several) > 1}
