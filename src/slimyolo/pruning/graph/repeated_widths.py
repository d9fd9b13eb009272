"""Integer attributes that repeat the width of a part of the module's channels, but that its forward does not read.

The forward of such a module takes the width from a shape (`x.chunk(2, 1)`), while other code of the class reads the attribute
(a split by `self.c` that is only used for an export, for instance). After a cut the attribute must say the new width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from slimyolo.pruning.graph.channel_graph import SizeSite
from slimyolo.pruning.graph.size_attributes import SaysSizes, attributes_holding, names_of_forward

__all__ = ["Division", "repeating"]


@dataclass(frozen=True, eq=False)
class Division:
    """A part of the channels into which the code of the module at `path` divides them, by a split, slice or reshape."""

    path: str
    units: Tensor


def repeating(
    parts: Mapping[str, nn.Module], divisions: Iterable[Division], sites: Iterable[SizeSite]
) -> tuple[SizeSite, ...]:
    """The attributes that hold the width of a division, except those of `sites` and those that forward reads.

    The same attribute is listed once for each division of that width. A plan changes it if all of them shrink alike.
    """
    known = {(site.path, site.attribute, site.item) for site in sites}
    found = []
    for division in divisions:
        module, width = parts[division.path], division.units.numel()
        if width < 2 or isinstance(module, SaysSizes):
            continue
        read = names_of_forward(module)
        for name, item in attributes_holding(module, width, used=False):
            if name not in read and (division.path, name, item) not in known:
                found.append(SizeSite(division.path, name, item, width, division.units))
    return tuple(found)
