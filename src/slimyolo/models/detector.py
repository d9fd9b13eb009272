"""The detector: numbered layers, connected as the architecture says. In eval mode it decodes its output."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from slimyolo.errors import ModelError
from slimyolo.geometry import RowLayout, SuppressionKind
from slimyolo.models.activations import replace_activations_
from slimyolo.models.architecture import Architecture
from slimyolo.models.checking import absolute_sources, rule_of
from slimyolo.models.family import Family, Head, Raw, TwoBranches
from slimyolo.models.fusing import TrainingBranch, fuse_
from slimyolo.shown_text import counted, storable

__all__ = ["Detector", "batchnorm_names", "deployed_batchnorms"]


OTHER_METHODS = {
    "predict": "slimyolo.predict(detector, 'photo.jpg')",
    "track": "slimyolo.predict(detector, 'clip.mp4')",
    "val": "slimyolo.evaluate(detector, 'my.yaml')",
    "export": "slimyolo.export(weights='best.pt', format='onnx')",
    "prune": "slimyolo.prune(detector, target)",
    "fuse": "detector.fused()",
    "info": "slimyolo.inspect('best.pt')",
}
"""A method that detectors of other programs have → what does it here."""


class Detector(nn.Module):
    """A detector of any family, made by `build_detector`.

    Every call takes images [B, 3, H, W], float RGB in 0–1, where H and W are multiples of the largest stride. The layers
    are in `model`, so that state_dict keys equal those of published weights ("model.0.conv.weight", "model.24.anchors").
    `imgsz` is the (height, width) of the images on which it was trained, or None when that is unknown.
    """

    imgsz: tuple[int, int] | None

    def __init__(self, architecture: Architecture, layers: Sequence[nn.Module], names: Sequence[str]) -> None:
        super().__init__()
        if len(names) != architecture.nc:
            raise ModelError(
                f"{architecture.name} has {counted(architecture.nc, 'class', 'classes')}, got {counted(len(names), 'name')}: "
                f"{list(names)[:10]}."
            )
        self.architecture = architecture
        self.names = tuple(storable(str(name)) for name in names)
        self.imgsz = None
        self.model = nn.ModuleList(layers)
        self._routes = tuple(absolute_sources(row.sources, index) for index, row in enumerate(architecture.layers))
        self._finished = _finished(self._routes)
        self._joins = tuple(
            row.module != architecture.family.head_name and rule_of(architecture, row, architecture.name).many
            for row in architecture.layers
        )

    def __getattr__(self, name: str) -> Any:
        """Called for a name that the detector itself does not have. Methods of other programs are answered with ours."""
        if name in OTHER_METHODS:
            raise AttributeError(f"A detector has no {name!r} of its own. Type: {OTHER_METHODS[name]}", name=name)
        return super().__getattr__(name)

    @property
    def family(self) -> Family:
        """The family of the detector, which holds its loss, decoding, file reader and export."""
        return self.architecture.family

    @property
    def head(self) -> Head:
        """The last layer."""
        return cast(Head, self.model[-1])

    @property
    def rows(self) -> RowLayout:
        """What the columns of decoded rows hold."""
        return self.family.rows(self.nc)

    @property
    def nc(self) -> int:
        """Number of classes."""
        return self.architecture.nc

    @property
    def suppression(self) -> SuppressionKind:
        """Whether the decoded rows need NMS."""
        return self.family.suppression

    @property
    def stride(self) -> Tensor:
        """Network pixels per cell of each level, float [nl]."""
        return self.head.stride

    @property
    def anchors(self) -> Tensor:
        """Anchors in network pixels (width, height), [nl, na, 2]; empty ([0]) in families without anchors.

        No error there: `torch.jit.trace` reads every property of a module.
        """
        anchors_of = self.family.anchors_of
        return self.stride.new_zeros(0) if anchors_of is None else anchors_of(self.head)

    @property
    def rows_per_cell(self) -> int:
        """The number of decoded rows of one cell: the number of anchors of a level, or 1 in families without anchors."""
        return 1 if self.family.anchors_of is None else int(self.anchors.shape[1])

    def reference_excluded(self) -> tuple[str, ...]:
        """Module paths of the batch norms that the reference project never prunes.

        Raises `ModelError` in families for which that project has no such rule.
        """
        excluded = self.family.reference_excluded
        if excluded is None:
            raise ModelError(
                f"The reference project's rule is about YOLOv5's shortcuts; there is none for {self.family.title}. "
                "Use --policy coupled."
            )
        return excluded(self)

    def set_activation_(self, name: str) -> int:
        """Replace the activation after every convolution that has one, and return the number of replaced activations.

        `name` is written as in `Architecture.with_activation`. Raises `ModelError` for an unknown name.
        """
        self.architecture = self.architecture.with_activation(name)
        return replace_activations_(self, self.architecture.activation)

    def heads(self, images: Tensor) -> Raw:
        """[B, 3, H, W] → the head's raw output: one tensor of logits for each level, in the family's layout.

        Raises `ModelError` unless the images have 3 channels, and sides that are multiples of the largest stride.
        """
        return self.head(self.features(images))

    def pruning_forward(self, images: Tensor) -> Raw:
        """What `slimyolo.pruning` traces and compares: the raw logits (see `heads`), before anything is decoded."""
        return self.heads(images)

    def undeployed(self) -> tuple[str, ...]:
        """Module paths of the parts that only training reads: exported files do not have them, so they cost nothing."""
        parts = self.head.training_parts if isinstance(self.head, TrainingBranch) else ()
        return tuple(f"model.{len(self.model) - 1}.{part}" for part in parts)

    def drop_undeployed_(self) -> None:
        """Drop the parts that only training reads, in place. `heads` then gives what exported files compute."""
        if isinstance(self.head, TrainingBranch):
            self.head.keep_answering_branch_()

    def answering_heads(self, images: Tensor) -> Raw:
        """The raw output that `decode` reads: of two branches, that of the one-to-one branch."""
        raw = self.heads(images)
        return raw.one2one if isinstance(raw, TwoBranches) else raw

    def features(self, images: Tensor) -> list[Tensor]:
        """[B, 3, H, W] → the input of the head, [B, channels, H / stride, W / stride] for each level.

        Raises `ModelError` as `heads` does.
        """
        self._check_input(images)
        kept: dict[int, Any] = {-1: images}  # one tensor, or a tuple from a layer that returns pieces
        for index in range(len(self.model) - 1):
            layer = self.model[index]
            sources = [kept[source] for source in self._routes[index]]
            kept[index] = layer(sources if self._joins[index] else sources[0])
            for source in self._finished[index]:
                del kept[source]
        return [kept[source] for source in self._routes[-1]]

    def _check_input(self, images: Tensor) -> None:
        if not isinstance(images, Tensor):
            raise ModelError(
                f"A detector takes a tensor [B, 3, height, width] of RGB in 0–1, got {type(images).__name__}. For pictures: "
                "slimyolo.predict(detector, 'photo.jpg')."
            )
        side = self.head.largest_stride
        if images.dim() != 4 or images.shape[1] != 3 or images.shape[2] % side or images.shape[3] % side:
            raise ModelError(
                f"Images for {self.architecture.name} should be [B, 3, height, width] with sides that are multiples of "
                f"{side}, got {list(images.shape)}. Letterbox them first."
            )

    def decode(self, raw: Raw) -> Tensor:
        """The raw output of `heads` → rows [B, rows, columns] as `rows` describes them, boxes in network pixels."""
        return self.head.decode(raw)

    def forward(self, images: Tensor) -> Tensor | Raw:
        """Train mode: the raw output of `heads`. Eval mode: the rows of `decode`."""
        heads = self.heads(images)
        return heads if self.training else self.decode(heads)

    def fused(self, *, whole: bool = False) -> Detector:
        """A copy in eval mode whose batch norms are folded into the convolutions before them.

        A branch of the head that only training reads is dropped, unless `whole`: `heads` then still gives both.
        """
        copied = copy.deepcopy(self).eval()
        fuse_(copied)
        if not whole:
            copied.drop_undeployed_()
        return copied

    def deployed(self, device: torch.device | None = None, *, whole: bool = False) -> Detector:
        """The copy that predicts fastest: `fused`, on `device`, with weights in channels-last order.

        `device` None: where the detector is. Convolutions take images in channels-last order without a copy then.
        """
        copied: Detector = self.fused(whole=whole).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return copied


def _finished(routes: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    """For each layer, the outputs that no later layer needs. They are freed early, because feature maps are large."""
    last_use = {index: index for index in range(len(routes))}
    last_use.update({source: index for index, route in enumerate(routes) for source in route})
    return tuple(tuple(source for source, last in last_use.items() if last == index) for index in range(len(routes)))


def batchnorm_names(detector: nn.Module) -> tuple[str, ...]:
    """Module paths of all batch norms, in the order of the layers."""
    return tuple(name for name, module in detector.named_modules() if isinstance(module, nn.BatchNorm2d))


def deployed_batchnorms(detector: Detector) -> tuple[str, ...]:
    """`batchnorm_names` without those in parts that only training reads."""
    starts = tuple(f"{path}." for path in detector.undeployed())
    return tuple(name for name in batchnorm_names(detector) if not name.startswith(starts))
