"""``slimyolo inspect``: shows what a checkpoint contains. No code in the file is run."""

from __future__ import annotations

import json
from typing import Any

from slimyolo.checkpoints import CheckpointSummary
from slimyolo.families import summarise_checkpoint
from slimyolo.storage import to_plain
from slimyolo.tasks.common.weights import find_weights
from slimyolo.tasks.inspect_config import InspectConfig

__all__ = ["describe", "inspect", "summarise"]


def summarise(config: InspectConfig) -> CheckpointSummary:
    """What the checkpoint ``config.file`` contains. Raises `CheckpointError`."""
    return summarise_checkpoint(find_weights(config.file))


def inspect(config: InspectConfig) -> str:
    """The description of ``config.file`` as text, or as JSON. Raises `CheckpointError`."""
    summary = summarise(config)
    return json.dumps(to_plain(summary), indent=2, ensure_ascii=False) if config.json_output else describe(summary)


def describe(summary: CheckpointSummary) -> str:
    """The summary as aligned lines of text."""
    origin = "slimyolo" if summary.origin == "slimyolo" else f"{summary.family} (Ultralytics)"
    pruned = "no"
    if summary.pruned:
        share = 1 - summary.batchnorm_channels / summary.batchnorm_channels_dense
        pruned = (
            f"yes: {summary.pruned_layers} layers narrowed, {summary.batchnorm_channels:,} of "
            f"{summary.batchnorm_channels_dense:,} BatchNorm channels left ({share:.1%} removed)"
        )
    scales = f"depth {summary.depth_multiple:g}, width {summary.width_multiple:g}"
    state = "can be resumed" if summary.resumable else "finished (cannot be resumed)"
    epoch = "" if summary.epoch is None else f", epoch {summary.epoch + 1}"
    training = ""
    if summary.training_params:
        training = f", and {summary.training_params:,} of a branch that only training reads (export drops it)"
    rows: list[tuple[str, str]] = [
        ("File", f"{summary.path}, {summary.file_size_bytes / 1e6:.2f} MB, written by {origin}"),
        (
            "Architecture",
            f"{summary.architecture} ({summary.family}), {summary.layers} layers, {scales}, {summary.activation}",
        ),
        ("Parameters", f"{summary.params:,}{training}"),
        ("Pruned", pruned),
        ("Classes", f"{summary.nc}: {_names(summary.names)}"),
        ("Strides", ", ".join(map(str, summary.strides_px)) + " px"),
    ]
    for stride, level in zip(summary.strides_px, summary.anchors_px, strict=False):  # no anchors in some families
        rows.append((f"Anchors /{stride}", "  ".join(f"{w:g}x{h:g}" for w, h in level) + " px"))
    rows.append(("Training", f"{state}{epoch}, {'with' if summary.has_ema else 'without'} EMA weights"))
    rows += [(f"  {key}", _value(value)) for key, value in (summary.metrics or {}).items()]
    known = {key: value for key, value in summary.provenance.items() if key != "metrics" and value is not None}
    rows += [(key, _value(value)) for key, value in known.items()]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {text}" for name, text in rows)


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown}, … ({len(names) - 12} more)"


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(item) for item in value)
    return str(value)
