"""The layers of a YOLOv8 that the reference project's rule would not prune, because a shortcut adds their outputs."""

from __future__ import annotations

from torch import nn

from slimyolo.families.yolov8.blocks import C2f
from slimyolo.models import C3, Bottleneck, batchnorm_names

__all__ = ["reference_excluded_batchnorms"]


def reference_excluded_batchnorms(detector: nn.Module) -> tuple[str, ...]:
    """Module paths of the batch norms that the rule for YOLOv5 excludes, applied to `C3` and to its successor `C2f`.

    For each bottleneck with a shortcut, these are the batch norms of `cv1` of the enclosing block and of both convolutions
    of the bottleneck.
    """
    excluded: set[str] = set()
    for name, module in detector.named_modules():
        if not isinstance(module, C3 | C2f):
            continue
        for inner_name, inner in module.m.named_children():
            if isinstance(inner, Bottleneck) and inner.add:
                excluded.add(f"{name}.cv1.bn")
                excluded.update(f"{name}.m.{inner_name}.{part}.bn" for part in ("cv1", "cv2"))
    return tuple(name for name in batchnorm_names(detector) if name in excluded)
