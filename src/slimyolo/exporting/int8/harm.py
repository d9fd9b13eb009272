"""Finds the convolutions that suffer most from 8 bits: rounds each one alone, in PyTorch, and compares the outputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from slimyolo.geometry import RowLayout
from slimyolo.models import Detector

__all__ = ["convolution_harm", "row_damage"]

CONFIDENT = 0.1
WEIGHT_LEVELS = 63  # symmetric, 7 bits
ACTIVATION_LEVELS = 255


def convolution_harm(detector: Detector, images: Sequence[Tensor]) -> dict[str, float]:
    """Module path of each convolution → the damage (`row_damage`) when only its weights, input and output are rounded.

    `images` are batches [B, 3, H, W] float32 RGB 0–1, which also give the ranges of values. `detector` is not changed.
    """
    model = detector.fused().requires_grad_(False)
    layers = {name: part for name, part in model.named_modules() if isinstance(part, nn.Conv2d)}
    with torch.no_grad():
        ranges, reference = _watched(model, layers, images)
        found = {}
        for name, layer in layers.items():
            source, target = ranges[name]
            kept = layer.weight.data
            layer.weight.data = _rounded_weight(kept)
            handles = (
                layer.register_forward_pre_hook(lambda _, given, span=source: (_rounded(given[0], span),)),
                layer.register_forward_hook(lambda _, __, out, span=target: _rounded(out, span)),
            )
            found[name] = row_damage([model(batch) for batch in images], reference, model.rows)
            for handle in handles:
                handle.remove()
            layer.weight.data = kept
    return found


def row_damage(got: Sequence[Tensor], reference: Sequence[Tensor], layout: RowLayout) -> float:
    """How much worse the rows `got` are than `reference`, both batches of decoded rows [B, rows, columns].

    It is the sum of the absolute differences of scores divided by the sum of the scores, plus the mean difference of
    confident boxes (score above 0.1) relative to their size. 0 means equal rows; 1 means that nothing is detected.
    """
    wrong = total = boxes = 0.0
    count = 0
    for rows, others in zip(reference, got, strict=True):
        scores, found = layout.scores(rows), layout.scores(others)
        wrong += float((scores - found).abs().sum())
        total += float(scores.sum())
        sure = scores.amax(-1) > CONFIDENT
        if bool(sure.any()):
            expected, got_boxes = layout.boxes(rows[sure]), layout.boxes(others[sure])
            sides = expected[:, 2:].mean(-1, keepdim=True)
            boxes += float(((expected - got_boxes).abs() / sides).mean(-1).sum())
            count += int(sure.sum())
    return wrong / max(total, torch.finfo(torch.float32).tiny) + boxes / max(count, 1)


Span = tuple[float, float]


def _watched(
    model: Detector, layers: dict[str, nn.Conv2d], images: Sequence[Tensor]
) -> tuple[dict[str, tuple[Span, Span]], list[Tensor]]:
    """The smallest and largest value of each layer's input and output over all images, and the rows of all images."""
    ranges: dict[str, tuple[Span, Span]] = dict.fromkeys(layers, ((0.0, 0.0), (0.0, 0.0)))
    handles = []
    for name, layer in layers.items():

        def look(_: nn.Module, given: tuple[Tensor, ...], out: Tensor, name: str = name) -> None:
            source, target = ranges[name]
            ranges[name] = _widened(source, given[0]), _widened(target, out)

        handles.append(layer.register_forward_hook(look))
    rows = [model(batch) for batch in images]
    for handle in handles:
        handle.remove()
    return ranges, rows


def _widened(span: Span, values: Tensor) -> Span:
    return min(span[0], float(values.min())), max(span[1], float(values.max()))


def _rounded(values: Tensor, span: Span) -> Tensor:
    """`values` rounded to the nearest of 256 levels between the ends of `span`, which must include 0."""
    step = max(span[1] - span[0], torch.finfo(torch.float32).tiny) / ACTIVATION_LEVELS
    zero = round(-span[0] / step)
    return ((values / step).round().add(zero).clamp(0, ACTIVATION_LEVELS) - zero) * step


def _rounded_weight(weight: Tensor) -> Tensor:
    """`weight` rounded symmetrically, with one scale per filter."""
    step = weight.abs().amax((1, 2, 3), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / WEIGHT_LEVELS
    return (weight / step).round() * step
