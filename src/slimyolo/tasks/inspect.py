"""``slimyolo inspect``: shows what a checkpoint contains. No code in the file is run."""

from __future__ import annotations

import json
import shutil
import textwrap
from typing import Any

from slimyolo.checkpoints import CheckpointSummary
from slimyolo.families import summarise_checkpoint
from slimyolo.shown_text import counted, file_size
from slimyolo.storage import to_plain
from slimyolo.tasks.common.weights import find_weights
from slimyolo.tasks.inspect_config import InspectConfig

__all__ = ["describe", "inspect", "summarise"]

TOGETHER = "\N{NO-BREAK SPACE}"  # a line does not end here
LEAST_TEXT = 30  # characters beside the names, on a terminal however narrow


def summarise(config: InspectConfig) -> CheckpointSummary:
    """What the checkpoint ``config.file`` contains. Raises `CheckpointError`."""
    return summarise_checkpoint(find_weights(config.file))


def inspect(config: InspectConfig) -> str:
    """The description of ``config.file`` as text, or as JSON. Raises `CheckpointError`."""
    summary = summarise(config)
    if config.json_output:
        return json.dumps(to_plain(summary), indent=2, ensure_ascii=False)
    return describe(summary, shutil.get_terminal_size().columns)


def describe(summary: CheckpointSummary, columns: int = 80) -> str:
    """The summary as aligned lines of text, which fit into `columns`. ``--json`` holds all values as they are."""
    origin = "slimyolo" if summary.origin == "slimyolo" else f"{summary.family} (Ultralytics)"
    pruned = "no"
    if summary.pruned:
        share = 1 - summary.batchnorm_channels / summary.batchnorm_channels_dense
        pruned = (
            f"yes: {counted(summary.pruned_layers, 'layer')} narrowed, {summary.batchnorm_channels:,} of "
            f"{summary.batchnorm_channels_dense:,} BatchNorm channels left ({share:.1%} removed)"
        )
    scales = f"depth {summary.depth_multiple:g}, width {summary.width_multiple:g}"
    state = "can be resumed" if summary.resumable else "finished (cannot be resumed)"
    epoch = "" if summary.epoch is None else f", epoch {summary.epoch + 1}"
    training = ""
    if summary.training_params:
        training = f", and {summary.training_params:,} of a branch that only training reads (export drops it)"
    rows: list[tuple[str, str]] = [
        ("File", f"{summary.path}, {file_size(summary.file_size_bytes)}, written by {origin}"),
        (
            "Architecture",
            f"{summary.architecture} ({summary.family}), {counted(summary.layers, 'layer')}, {scales}, {summary.activation}",
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
    return "\n".join(line for name, text in rows for line in _wrapped(name, text, width + 2, columns))


def _wrapped(name: str, text: str, indent: int, columns: int) -> list[str]:
    """`text` beside `name`, on as many lines as it takes. Words that belong together stay on one line."""
    lines = textwrap.wrap(
        text,
        max(columns, indent + LEAST_TEXT),
        initial_indent=f"{name:{indent}}",
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(TOGETHER, " ") for line in lines] or [name]


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown}, … ({len(names) - 12} more)"


def _empty(value: Any) -> bool:
    return value is None or value in ("", [], {}, ())


def _pair(key: object, item: Any) -> str:
    """A key and its value, which stay on one line unless the value is made of several."""
    if isinstance(item, (dict, list, tuple)):
        return f"{key}{TOGETHER}{_value(item)}"
    return f"{key} {_value(item)}".replace(" ", TOGETHER)


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        told = [_pair(key, item) for key, item in value.items() if not _empty(item)]
        unset = [str(key) for key, item in value.items() if _empty(item)]
        return ", ".join(told) + (f"; without a value: {', '.join(unset)}" if unset else "")
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(item) for item in value)
    return str(value)
