"""`PrunePlan`: a cut as pure data. It can be printed, saved as JSON, compared and replayed on the same model.

A plan is read and printed without torch. What it says about a module is in `plan.modules`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slimyolo.errors import PruningError
from slimyolo.one_line import one_line_repr
from slimyolo.pruning.plan.costs import CutCost
from slimyolo.pruning.plan.outline import outline
from slimyolo.pruning.plan.stated_kinds import check_kinds
from slimyolo.pruning.targets import Target, target_from_plain, target_to_plain
from slimyolo.shown_text import told_apart

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ConsumerPlan", "Emission", "GroupPlan", "MemberPlan", "PrunePlan", "SizeChange"]

_VERSION = 1


@one_line_repr
@dataclass(frozen=True)
class MemberPlan:
    """An axis of a tensor. Channel `i` of the group stands at all positions of the tuple `index[i]`."""

    tensor: str
    axis: int
    index: tuple[tuple[int, ...], ...]


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class GroupPlan:
    """The channels of a group that stay. `kept` includes the `carrier`, a channel that stays as a constant.

    `saves` is the cost that cutting this group alone would save in the dense model (None in plans of older versions).
    """

    name: str
    layers: tuple[str, ...]
    width: int
    kept: tuple[int, ...]
    carrier: int | None
    members: tuple[MemberPlan, ...]
    gammas: int
    saves: CutCost | None = None


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class Emission:
    """How channels are made constant: γ, or the row along `axis`, of `weight` becomes zero, and `bias` becomes `values`."""

    kind: str  # "norm" | "linear"
    weight: str
    axis: int
    bias: str | None
    channels: tuple[int, ...]
    values: tuple[float, ...]


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class ConsumerPlan:
    """How a convolution or linear layer is changed to replace the constants that it no longer receives.

    `folded`: (input channel, constant), subtracted from `running_mean` or added to `bias`, which is made when it is missing.
    `carried`: (input channel, constant, carrier channel, carrier value), added to the weights of the carrier channel.
    `cleared`: input channels that are carriers; their old weights are set to zero first.
    """

    weight: str
    axis: int
    groups: int
    bias: str | None
    running_mean: str | None
    folded: tuple[tuple[int, float], ...]
    carried: tuple[tuple[int, float, int, float], ...]
    cleared: tuple[int, ...]

    @property
    def output_axis(self) -> int:
        """The axis of the weight along which channels leave: 0, or 1 for a transposed convolution."""
        return 1 - self.axis


@dataclass(frozen=True)
class SizeChange:
    """An integer attribute of a module that shrinks with its channels."""

    path: str
    attribute: str
    item: int | None
    old: int
    new: int


@dataclass(frozen=True, kw_only=True)
class PrunePlan:
    """The whole cut. Counts are in BatchNorm channels: a coupled channel counts once for each γ that it owns.

    `tensors` holds the name and shape of every tensor of the model for which it was made (empty in plans of older versions).
    """

    spec: str
    target: Target
    policy: str
    importance: str
    constants: str
    round_to: int
    input_shape: tuple[int, ...]
    groups: tuple[GroupPlan, ...]
    emissions: tuple[Emission, ...]
    carriers: tuple[Emission, ...]
    consumers: tuple[ConsumerPlan, ...]
    sizes: tuple[SizeChange, ...]
    before: CutCost
    after: CutCost
    prunable_channels: int
    removed_channels: int
    zeroed_channels: int
    notes: tuple[str, ...]
    tensors: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def __repr__(self) -> str:
        return f"PrunePlan({self.summary()})"  # one line: all indices would be hundreds of thousands of letters

    @property
    def carrier_channels(self) -> int:
        """Channels that stay as constant carriers; each group has one at most."""
        return sum(group.carrier is not None for group in self.groups)

    def check(self, module: nn.Module) -> None:
        """Raise `PruningError`, which names the differences, unless this plan was made for a model with the same tensors."""
        from slimyolo.pruning.plan.modules import check_module  # it imports torch

        check_module(self, module)

    def table(self) -> str:
        """For each group: its layers, channels before and kept, carriers, and what cutting this group alone saves."""
        head = ("layer", "before", "kept", "", "carrier", "saves params", "saves MACs")
        rows = [head]
        labels = iter(told_apart(layer for group in self.groups for layer in group.layers or (group.name,)))
        for group in self.groups:
            for place, layer in enumerate(islice(labels, len(group.layers) or 1)):
                first = place == 0
                saved = group.saves if first else None
                rows.append(
                    (
                        layer if first else f"  + {layer}",
                        str(group.width),
                        str(len(group.kept)),
                        f"{len(group.kept) / group.width:.0%}",
                        "" if group.carrier is None else "1",
                        "" if saved is None else f"{saved.params:,}",
                        "" if saved is None else f"{saved.macs / 1e6:,.2f} M",
                    )
                )
        widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        return "\n".join(line.rstrip() for line in [*lines, self.summary()])

    def outline(self) -> str:
        """`summary` below a table of a dozen rows: for each part of the network, how many channels stay."""
        return f"{outline(self.groups)}\n{self.summary()}"

    def summary(self) -> str:
        """One line: channels removed and cost before → after."""
        return (
            f"{self.removed_channels} of {self.prunable_channels} prunable channels removed "
            f"({self.carrier_channels} of them stay as constant carriers); parameters {self.before.params:,} → "
            f"{self.after.params:,}, MACs {self.before.macs / 1e6:,.1f} M → {self.after.macs / 1e6:,.1f} M at "
            f"{'x'.join(str(n) for n in self.input_shape)}"
        )

    def to_json(self) -> str:
        """The plan as JSON text, from which `from_json` makes an equal plan."""
        plain = {**vars(self), "target": target_to_plain(self.target)}
        document = {"format": "slimyolo prune plan", "version": _VERSION, **plain}
        return json.dumps(document, default=vars, separators=(",", ":"))  # asdict would copy every index first

    @classmethod
    def from_json(cls, text: str) -> PrunePlan:
        """The inverse of `to_json`. Raises `PruningError` for any other text, or a plan of a newer version."""
        try:
            plain: dict[str, Any] = json.loads(text)
            if not isinstance(plain, dict) or plain.pop("format", None) != "slimyolo prune plan":
                raise PruningError("This JSON is not a prune plan; make one with `slimyolo prune --plan-out FILE`.")
            version = plain.pop("version", 0)
            if version != _VERSION:
                raise PruningError(
                    f"The plan has version {version}, but this slimyolo reads version {_VERSION}: upgrade slimyolo."
                )
            plan = cls(**_from_plain(plain))
            check_kinds(plan, cls, "")
            if any(group.width < 1 for group in plan.groups):
                raise ValueError("a group without channels")
            return plan
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise PruningError(
                f"The prune plan is damaged ({error}); make it again with `slimyolo prune --plan-out FILE`."
            ) from error

    def save(self, path: Path) -> None:
        """Write the JSON to `path`, whole or not at all."""
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.write_text(self.to_json(), encoding="utf-8")
        os.replace(part, path)

    def silent(self, module: nn.Module) -> bool:
        """True when the scales of all removed channels are 0 in `module`; their constants are exact then."""
        from slimyolo.pruning.plan.modules import all_silent

        return all_silent(self, module)

    def living(self, module: nn.Module) -> tuple[int, int]:
        """(living, removed): how many of the removed channels still work in `module`, the model before the cut.

        Channels are counted once for each of their scales: γ of a norm, or the row of a weight. One is living when its
        scale is above a twentieth of the median of those that stay in the same layer. Sparse training leaves less than
        that (0 with `ShareDriven`, about a hundredth with L1), a dense network half of it and more.
        """
        from slimyolo.pruning.plan.modules import count_living

        return count_living(self, module)


def _from_plain(plain: dict[str, Any]) -> dict[str, Any]:
    groups = tuple(
        GroupPlan(
            **{
                **item,
                "saves": None if item.get("saves") is None else CutCost(**item["saves"]),
                "layers": tuple(item["layers"]),
                "kept": tuple(item["kept"]),
                "members": tuple(
                    MemberPlan(m["tensor"], m["axis"], tuple(tuple(row) for row in m["index"])) for m in item["members"]
                ),
            }
        )
        for item in plain["groups"]
    )

    def emission(item: dict[str, Any]) -> Emission:
        return Emission(**{**item, "channels": tuple(item["channels"]), "values": tuple(item["values"])})

    def consumer(item: dict[str, Any]) -> ConsumerPlan:
        rows = {key: tuple(tuple(row) for row in item[key]) for key in ("folded", "carried")}
        return ConsumerPlan(**{**item, **rows, "cleared": tuple(item["cleared"])})

    return {
        **plain,
        "target": target_from_plain(plain["target"]),
        "input_shape": tuple(plain["input_shape"]),
        "groups": groups,
        "emissions": tuple(emission(item) for item in plain["emissions"]),
        "carriers": tuple(emission(item) for item in plain["carriers"]),
        "consumers": tuple(consumer(item) for item in plain["consumers"]),
        "sizes": tuple(SizeChange(**item) for item in plain["sizes"]),
        "before": CutCost(**plain["before"]),
        "after": CutCost(**plain["after"]),
        "notes": tuple(plain["notes"]),
        "tensors": tuple((name, tuple(shape)) for name, shape in plain.get("tensors", ())),
    }
