"""The detector: layers by number, routed as the architecture says, with decoding in eval mode."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from slimyolo.errors import ModelError
from slimyolo.families.yolov5.head import Detect
from slimyolo.geometry import RowLayout, SuppressionKind
from slimyolo.models.activations import replace_activations_
from slimyolo.models.architecture import Architecture
from slimyolo.models.checking import absolute_sources
from slimyolo.models.fusing import fuse_
from slimyolo.models.layers import C3, Bottleneck, Concat

__all__ = ["Detector", "batchnorm_names", "reference_excluded_batchnorms"]


class Detector(nn.Module):
    """An anchor-based detector, made by `build_detector`.

    Input of all calls: [B, 3, H, W] float RGB in 0–1; H and W multiples of the largest stride. The layers are in
    `model`, so that state_dict keys equal YOLOv5's ("model.0.conv.weight", "model.24.anchors").
    """

    def __init__(self, architecture: Architecture, layers: Sequence[nn.Module], names: Sequence[str]) -> None:
        super().__init__()
        if len(names) != architecture.nc:
            raise ModelError(
                f"{architecture.name} has {architecture.nc} classes, got {len(names)} names: {list(names)[:10]}."
            )
        self.architecture = architecture
        self.names = tuple(str(name) for name in names)
        self.model = nn.ModuleList(layers)
        self._routes = tuple(absolute_sources(row.sources, index) for index, row in enumerate(architecture.layers))
        self._finished = _finished(self._routes)

    @property
    def head(self) -> Detect:
        """The last layer."""
        head = self.model[-1]
        if not isinstance(head, Detect):
            raise ModelError(f"The last layer of a detector should be Detect, got {type(head).__name__}.")
        return head

    @property
    def nc(self) -> int:
        """Number of classes."""
        return self.architecture.nc

    @property
    def rows(self) -> RowLayout:
        """What the columns of the decoded rows mean."""
        return self.head.rows

    @property
    def suppression(self) -> SuppressionKind:
        """Whether NMS has to follow the decoded rows."""
        return "nms"

    @property
    def stride(self) -> Tensor:
        """Network pixels per cell of each level, float [nl]."""
        return self.head.stride

    @property
    def anchors(self) -> Tensor:
        """Anchors in network pixels (width, height), [nl, na, 2]."""
        return self.head.anchors * self.head.stride.view(-1, 1, 1)

    def set_anchors_(self, pixels: Tensor) -> None:
        """Replace the anchors by `pixels` [nl, na, 2] (width, height; network pixels). Raises `ModelError`."""
        shape = tuple(self.head.anchors.shape)
        if tuple(pixels.shape) != shape:
            raise ModelError(f"Anchors of {self.architecture.name} are {list(shape)}, got {list(pixels.shape)}.")
        architecture = self.architecture.with_anchors(pixels)
        with torch.no_grad():
            grid_units = pixels.to(self.head.anchors) / self.head.stride.view(-1, 1, 1)
            self.head.anchors.copy_(grid_units)
        self.architecture = architecture

    def set_activation_(self, name: str) -> int:
        """Replace the activation behind every convolution that has one, and return their number; `name` as in
        `Architecture.with_activation`. Raises `ModelError`."""
        self.architecture = self.architecture.with_activation(name)
        return replace_activations_(self, self.architecture.activation)

    def heads(self, images: Tensor) -> list[Tensor]:
        """[B, 3, H, W] → raw logits [B, na, H / stride, W / stride, 5 + nc] per level (x, y, w, h, object, classes).

        Raises `ModelError` when the images do not have 3 channels, or sides that are multiples of the largest stride.
        """
        result: list[Tensor] = self.head(self.features(images))
        return result

    def pruning_forward(self, images: Tensor) -> list[Tensor]:
        """What `slimyolo.pruning` traces and compares: the raw logits (see `heads`), before anything is decoded."""
        return self.heads(images)

    def features(self, images: Tensor) -> list[Tensor]:
        """[B, 3, H, W] → what the head gets, [B, channels, H / stride, W / stride] per level. Raises as `heads`."""
        self._check_input(images)
        kept: dict[int, Tensor] = {-1: images}
        for index in range(len(self.model) - 1):
            layer = self.model[index]
            sources = [kept[source] for source in self._routes[index]]
            kept[index] = layer(sources if isinstance(layer, Concat) else sources[0])
            for source in self._finished[index]:
                del kept[source]
        return [kept[source] for source in self._routes[-1]]

    def _check_input(self, images: Tensor) -> None:
        side = self.head.largest_stride
        if images.dim() != 4 or images.shape[1] != 3 or images.shape[2] % side or images.shape[3] % side:
            raise ModelError(
                f"Images for {self.architecture.name} should be [B, 3, height, width] with sides that are multiples of "
                f"{side}, got {list(images.shape)}. Letterbox them first."
            )

    def decode(self, heads: Sequence[Tensor]) -> Tensor:
        """Raw logits per level → [B, rows, 5 + nc]: cx, cy, w, h in network pixels, objectness and classes (0–1)."""
        return self.head.decode(heads)

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        """Train mode: the raw logits of `heads`. Eval mode: the rows of `decode`."""
        heads = self.heads(images)
        return heads if self.training else self.decode(heads)

    def fused(self) -> Detector:
        """A copy in eval mode whose batch norms are folded into the convolutions before them."""
        copied = copy.deepcopy(self).eval()
        fuse_(copied)
        return copied


def _finished(routes: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """Per layer, the outputs that nothing needs after it: the large maps of the backbone are freed early."""
    last_use = {index: index for index in range(len(routes))}
    last_use.update({source: index for index, route in enumerate(routes) for source in route})
    return tuple(
        tuple(source for source, last in last_use.items() if last == index) for index in range(len(routes))
    )  # fmt: skip


def batchnorm_names(detector: nn.Module) -> tuple[str, ...]:
    """Module paths of all batch norms, in the order of the layers."""
    return tuple(name for name, module in detector.named_modules() if isinstance(module, nn.BatchNorm2d))


def reference_excluded_batchnorms(detector: nn.Module) -> tuple[str, ...]:
    """Module paths of the batch norms that the reference project never prunes, in the order of the layers.

    For each bottleneck with a shortcut: those of the enclosing C3's `cv1`, and of both convolutions of the bottleneck.
    """
    excluded: set[str] = set()
    for name, module in detector.named_modules():
        if not isinstance(module, C3):
            continue
        for inner_name, inner in module.m.named_children():
            if isinstance(inner, Bottleneck) and inner.add:
                excluded.add(f"{name}.cv1.bn")
                excluded.update(f"{name}.m.{inner_name}.{part}.bn" for part in ("cv1", "cv2"))
    return tuple(name for name in batchnorm_names(detector) if name in excluded)
