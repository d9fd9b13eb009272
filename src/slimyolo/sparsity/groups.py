"""Says which γ shrink together, and holds all of them as one flat vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from slimyolo.errors import ModelError, nearest_name_hint
from slimyolo.one_line import one_line_repr
from slimyolo.sparsity.rows import ChannelRows

__all__ = ["ScaleGroup", "ScaleTable"]


@one_line_repr
@dataclass(frozen=True)
class ScaleGroup:
    """Channels that are kept or removed together in all `members`.

    A member is (γ parameter name, β parameter name, index [width] int64): channel c of the group owns γ[index[c]]. A
    layer that is coupled with no other is a group of one member; a residual chain has one member for each layer that adds to
    it. `weight` [width] is how much each channel counts in the share. With None, each channel counts as many times as it has
    batch-normalisation channels, which is the number of members. For a share of MACs or parameters, give the MACs or
    parameters of each channel.

    A layer without batch normalisation has no γ. Then the row of its weight that makes a channel is shrunk: a row is
    (tensor name, axis, index [width] int64), and channel c of the group owns the slice index[c] along that axis. `rows`
    may also list biases, which shrink together with the channel (axis 0). `floor` is the share of this group that must
    stay; with None, the floor of the table counts.
    """

    name: str
    members: tuple[tuple[str, str, Tensor], ...]
    weight: Tensor | None = None
    rows: tuple[tuple[str, int, Tensor], ...] = ()
    floor: float | None = None

    @property
    def width(self) -> int:
        """Channels of the group."""
        return next((int(index.numel()) for *_, index in (*self.members, *self.rows)), 0)


class ScaleTable:
    """All γ of some groups as one vector, with the maps from γ entries to channels.

    Shapes: n γ values (whole layers, laid end to end), e entries (γ values that belong to a group), c channels.
    `entries` [e] → 0…n−1, `channels` [e] → 0…c−1, `groups` [c], `weights` [c] float64, `members` [c] (entries a channel
    owns), `least` [groups] (channels that must stay). Everything lies on the device of the γ. `rows` are the slices of other
    tensors that belong to the channels. A table may have rows alone; then n and e are 0.
    """

    def __init__(self, model: nn.Module, groups: Sequence[ScaleGroup], *, floor: float = 0.0) -> None:
        self.names = tuple(dict.fromkeys(gamma for group in groups for gamma, _, _ in group.members))
        self.rows = ChannelRows(groups, parameters_named(model, row_names(groups)))
        if not self.names and not self.rows:
            raise ModelError(
                "There is no batch-normalisation channel to shrink: every layer is excluded or the model has none. "
                "Sparse training needs a model with batch normalisation; train it without sparsity instead."
            )
        self.scales = parameters_named(model, self.names)
        self.sizes = [scale.numel() for scale in self.scales]
        starts = dict(zip(self.names, _running_starts(self.sizes), strict=True))
        sizes = dict(zip(self.names, self.sizes, strict=True))
        entries: list[Tensor] = []
        channels: list[Tensor] = []
        first = 0
        for group in groups:
            for gamma, _, index in group.members:
                _check_member(group, gamma, index, sizes[gamma])
                entries.append(index.to(torch.int64).cpu() + starts[gamma])
                channels.append(torch.arange(first, first + group.width))
            first += group.width
        device = self.device
        nothing = torch.zeros(0, dtype=torch.int64)
        flat = torch.cat([nothing, *entries])
        self._refuse_double_owners(flat)
        self.entries = flat.to(device)
        self.channels = torch.cat([nothing, *channels]).to(device)
        self.count = first
        self.members = torch.bincount(self.channels, minlength=first).to(torch.float32)
        widths = torch.tensor([group.width for group in groups])
        self.groups = torch.repeat_interleave(torch.arange(len(groups)), widths).to(device)
        self.weights = torch.cat([_channel_weights(group) for group in groups]).to(device)
        shares = [floor if group.floor is None else group.floor for group in groups]
        least = [least_channels(group.width, share) for group, share in zip(groups, shares, strict=True)]
        self.least = torch.tensor(least).to(device)
        self.group_names = tuple(group.name for group in groups)

    @property
    def device(self) -> torch.device:
        """The device of the model's γ, or of its rows when there is no γ."""
        return self.scales[0].device if self.scales else self.rows.device

    def follow_(self) -> bool:
        """Move the maps to the device of the model's γ; True when that device had changed."""
        device = self.device
        if self.entries.device == device:
            return False
        for name in ("entries", "channels", "members", "groups", "weights", "least"):
            setattr(self, name, getattr(self, name).to(device))
        return True

    def read(self) -> Tensor:
        """A copy of all γ, [n]."""
        self.follow_()
        return concatenated([scale.detach().reshape(-1) for scale in self.scales], self.device)

    def write_(self, flat: Tensor) -> None:
        """Put `flat` [n] into the model's γ."""
        self.follow_()
        if not self.scales:
            return
        with torch.no_grad():
            torch._foreach_copy_(list(self.scales), list(torch.split(flat, self.sizes)))

    def magnitudes(self, flat: Tensor) -> Tensor:
        """Root mean square over the members of each channel, [c]."""
        squares = flat[self.entries].square()
        sums = torch.zeros(self.count, device=flat.device).index_add_(0, self.channels, squares)
        return (sums / self.members).sqrt_()

    def scaled(self, flat: Tensor, factors: Tensor) -> Tensor:
        """`flat` [n] with the entries of each channel multiplied by its factor [c]."""
        result = flat.clone()
        result[self.entries] = flat[self.entries] * factors[self.channels]
        return result

    def entry_mask(self, gone: Tensor) -> Tensor:
        """[n] float: 0 at the entries of channels that are `gone` [c], 1 elsewhere."""
        mask = torch.ones(sum(self.sizes), device=gone.device)
        mask[self.entries[gone[self.channels]]] = 0.0
        return mask

    def _refuse_double_owners(self, flat: Tensor) -> None:
        owners = torch.bincount(flat, minlength=sum(self.sizes))
        if flat.numel() and int(owners.max()) > 1:
            position = int(owners.argmax())
            starts = _running_starts(self.sizes)
            layer = max(i for i, start in enumerate(starts) if start <= position)
            raise ModelError(
                f"γ {self.names[layer]!r}, channel {position - starts[layer]}, belongs to two scale groups; "
                f"a channel can be cut only once. Merge these groups."
            )


def row_names(groups: Sequence[ScaleGroup]) -> tuple[str, ...]:
    """The tensors of which groups own rows, each once."""
    return tuple(dict.fromkeys(name for group in groups for name, _, _ in group.rows))


def concatenated(parts: Sequence[Tensor], device: torch.device) -> Tensor:
    """The parts end to end; an empty vector on `device` when there is none."""
    return torch.cat(list(parts)) if parts else torch.zeros(0, device=device)


def least_channels(width: int, floor: float) -> int:
    """Channels of a group of `width` that must stay: the `floor` share rounded up, at least 1."""
    return min(width, max(1, math.ceil(floor * width - 1e-9)))


def parameters_named(model: nn.Module, names: Sequence[str]) -> list[nn.Parameter]:
    """The parameters of `model` of these names; `ModelError` for a name it does not have."""
    known = dict(model.named_parameters())
    for name in names:
        if name not in known:
            raise ModelError(
                f"The model has no parameter {name!r} to shrink.{nearest_name_hint(name, known)} "
                f"Make the groups from this model."
            )
    return [known[name] for name in names]


def _running_starts(sizes: Sequence[int]) -> list[int]:
    starts, total = [], 0
    for size in sizes:
        starts.append(total)
        total += size
    return starts


def _channel_weights(group: ScaleGroup) -> Tensor:
    if group.weight is None:
        return torch.full((group.width,), float(len(group.members)), dtype=torch.float64)
    weight = group.weight.detach().to("cpu", torch.float64).reshape(-1)
    if weight.numel() != group.width or not bool((weight >= 0).all()):
        raise ModelError(
            f"Scale group {group.name!r} has {group.width} channels, but its weights are "
            f"{weight.numel()} numbers (expected {group.width}, none negative)."
        )
    return weight


def _check_member(group: ScaleGroup, gamma: str, index: Tensor, size: int) -> None:
    if index.numel() != group.width:
        raise ModelError(
            f"Scale group {group.name!r}: {gamma!r} has an index of {index.numel()} channels, "
            f"but its first member has {group.width}. All members must have the same width."
        )
    if index.numel() and not (int(index.min()) >= 0 and int(index.max()) < size):
        raise ModelError(
            f"Scale group {group.name!r}: the index of {gamma!r} goes from {int(index.min())} to {int(index.max())}, "
            f"but the parameter has {size} channels. Make the groups from this model."
        )
