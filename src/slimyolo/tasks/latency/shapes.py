"""What the time of a detector depends on: the shapes of its weights, the sizes of its maps, its activation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slimyolo.costs import ConvolutionShape

if TYPE_CHECKING:
    from slimyolo.models import Detector
    from slimyolo.pruning import ChannelGraph, GroupPlan
    from slimyolo.storage import RecordValue

__all__ = [
    "CutGroup",
    "NetworkFacts",
    "Shapes",
    "cut_groups",
    "graph_groups",
    "random_shapes",
    "shapes_after",
    "shapes_in",
    "shapes_without",
]

Shapes = Mapping[str, tuple[int, ...]]
"""Maps the module path of each convolution to the shape of its weight."""
LEAST = 0.1


@dataclass(frozen=True)
class CutGroup:
    """Channels that are cut together. Without n of the `width` channels, each axis in `axes` is n · copies shorter.

    `axes` are (name of the tensor, axis, copies).
    """

    width: int
    axes: tuple[tuple[str, int, int], ...]


def cut_groups(groups: Sequence[GroupPlan]) -> tuple[CutGroup, ...]:
    """The groups of a plan, whatever the plan keeps of them."""
    return tuple(
        CutGroup(group.width, tuple((one.tensor, one.axis, len(one.index[0])) for one in group.members))
        for group in groups
    )


def graph_groups(graph: ChannelGraph) -> tuple[CutGroup, ...]:
    """The groups of a traced graph, in the order of its plans."""
    return tuple(
        CutGroup(group.width, tuple((one.tensor, one.axis, int(one.index.shape[1])) for one in group.members))
        for group in graph.groups
    )


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """A detector as the latency model sees it.

    | field | content |
    |---|---|
    | `size` | (height, width) of the image in pixels |
    | `activation` | the name of the activation |
    | `shapes` | the weight shape of each convolution that runs |
    | `places` | for each of them (number of groups, positions of its output) |
    """

    size: tuple[int, int]
    activation: str
    shapes: Shapes
    places: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, detector: Detector, size: tuple[int, int]) -> NetworkFacts:
        """The facts of the fused `detector`: without convolutions that are merged, or that only training reads."""
        import torch  # not needed for facts that are read from a file

        from slimyolo.costs import model_cost

        fused = detector.fused()
        macs = {layer.name: layer.macs for layer in model_cost(fused, size, forward=fused.heads).layers}
        layers = {
            name: module
            for name, module in fused.named_modules()
            if isinstance(module, torch.nn.Conv2d) and macs[name] > 0
        }
        return cls(
            size=size,
            activation=detector.architecture.activation,
            shapes={name: tuple(layer.weight.shape) for name, layer in layers.items()},
            places={name: (layer.groups, macs[name] // layer.weight.numel()) for name, layer in layers.items()},
        )

    def network(self, shapes: Shapes) -> list[ConvolutionShape]:
        """The convolutions of a network with these weight shapes, for the latency model."""
        found = []
        for path, shape in sorted(shapes.items()):
            groups, positions = self.places[path]
            if groups > 1 and shape[1] == 1:  # a depthwise convolution has as many groups as channels are left
                groups = shape[0]
            found.append(ConvolutionShape(shape[0], shape[1] * groups, groups, shape[2] * shape[3], positions))
        return found

    def to_plain(self) -> dict[str, Any]:
        """JSON-ready data; `of_record` is its inverse."""
        return {
            "size": list(self.size),
            "activation": self.activation,
            "network": {path: list(shape) for path, shape in self.shapes.items()},
            "positions": {path: list(place) for path, place in self.places.items()},
        }

    @classmethod
    def of_record(cls, record: RecordValue) -> NetworkFacts:
        """The facts that `to_plain` wrote. Raises `StorageError` for other data."""
        height, width = (side.whole(least=1) for side in record["size"].rows(count=2))
        shapes = shapes_in(record["network"])
        places = {path: place.rows(count=2) for path, place in record["positions"].named().items()}
        if places.keys() != shapes.keys():
            raise record.refusal("its layers and their positions differ")
        return cls(
            size=(height, width),
            activation=record["activation"].text(),
            shapes=shapes,
            places={path: (groups.whole(least=1), positions.whole()) for path, (groups, positions) in places.items()},
        )

    @property
    def fingerprint(self) -> str:
        """A checksum of all facts: two detectors with the same one take the same time."""
        return hashlib.sha256(json.dumps(self.to_plain(), sort_keys=True).encode()).hexdigest()[:24]


def shapes_in(record: RecordValue) -> dict[str, tuple[int, ...]]:
    """Weight shapes of convolutions, ``[out, in, height, width]``, by the path of the layer."""
    return {path: tuple(side.whole(least=1) for side in shape.rows(count=4)) for path, shape in record.named().items()}


def shapes_after(dense: Shapes, groups: Sequence[GroupPlan]) -> dict[str, tuple[int, ...]]:
    """The weight shapes of the convolutions that a plan's `groups` leave."""
    return shapes_without(dense, cut_groups(groups), [group.width - len(group.kept) for group in groups])


def random_shapes(
    dense: Shapes, groups: Sequence[CutGroup], generator: np.random.Generator
) -> dict[str, tuple[int, ...]]:
    """Weight shapes of a network of random widths.

    A share of channels to keep is drawn for the whole network, and a slope that changes it with depth; each layer varies
    around the result. The widths of some networks are multiples of 8 or 16.
    """
    usual, slope = generator.uniform(0.25, 1.0), generator.normal(0, 0.8)
    unit = int(generator.choice((1, 1, 8, 8, 16)))
    gone = []
    for place, group in enumerate(groups):
        depth = place / max(len(groups) - 1, 1) - 0.5
        share = float(np.clip(usual * np.exp(slope * depth + generator.normal(0, 0.3)), LEAST, 1.0))
        kept = max(1, round(group.width * share / unit) * unit)
        gone.append(group.width - min(kept, group.width))
    return shapes_without(dense, groups, gone)


def shapes_without(dense: Shapes, groups: Sequence[CutGroup], gone: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The weight shapes without `gone` channels of each of `groups`."""
    left = {path: list(shape) for path, shape in dense.items()}
    for group, count in zip(groups, gone, strict=True):
        for tensor, axis, copies in group.axes:
            path = tensor.removesuffix(".weight")
            if path in left and tensor.endswith(".weight"):
                left[path][axis] -= count * copies
    return {path: tuple(shape) for path, shape in left.items()}
