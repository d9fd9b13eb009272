"""``slimyolo inspect``: shows what a checkpoint contains, or what an exported file states. No code in the file is run."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from slimyolo.checkpoints import CheckpointSummary
from slimyolo.exporting import ExportedSummary, is_exported, runtimes, summarise_exported
from slimyolo.families import summarise_checkpoint
from slimyolo.shown_text import counted, file_size
from slimyolo.storage import to_plain
from slimyolo.tasks.common.weights import find_weights
from slimyolo.tasks.inspect_config import InspectConfig

__all__ = ["describe", "describe_exported", "inspect", "summarise"]

TOGETHER = "\N{NO-BREAK SPACE}"  # a line does not end here
FILE = "File"
CHECKSUM = re.compile(r"[0-9a-f]{32,}")
CHECKSUM_SHOWN = 12  # digits; --json holds all
WEIGHTS = {"fp32": "32 bits", "fp16": "16 bits", "int8": "8 bits (quantised)"}
LONGEST_PAIR = 40  # characters; a longer name with its value may be divided between its words
LEAST_TEXT = 30  # characters beside the names, on a terminal however narrow


def summarise(config: InspectConfig) -> CheckpointSummary | ExportedSummary:
    """What the checkpoint ``config.file`` contains, or the exported file states. Raises `CheckpointError`."""
    file = find_weights(config.file)
    return summarise_exported(file) if is_exported(file) else summarise_checkpoint(file)


def inspect(config: InspectConfig) -> str:
    """The description of ``config.file`` as text, or as JSON. Raises `CheckpointError`."""
    summary = summarise(config)
    if config.json_output:
        return json.dumps(to_plain(summary), indent=2, ensure_ascii=False)
    columns = shutil.get_terminal_size().columns
    if isinstance(summary, ExportedSummary):
        return describe_exported(summary, columns)
    return describe(summary, columns)


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
        (FILE, f"{summary.path}, {file_size(summary.file_size_bytes)}, written by {origin}"),
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
    return _table(rows, columns)


def describe_exported(summary: ExportedSummary, columns: int = 80) -> str:
    """The summary of an exported file as aligned lines of text, which fit into `columns`."""
    writer = f"slimyolo {summary.written_by}" if summary.written_by else "another program than slimyolo"
    rows = [
        (FILE, f"{summary.path}, {file_size(summary.file_size_bytes)}, written by {writer}"),
        ("Format", f"{summary.format}; {_runtimes(summary.runtimes)}"),
        ("Weights", WEIGHTS.get(summary.weights, "not stated")),
        ("Classes", f"{len(summary.names)}: {_names(summary.names)}" if summary.names else "not stated"),
        ("Images", _images(summary)),
        ("Output", _output(summary)),
    ]
    if summary.family:
        rows.insert(2, ("Family", summary.family))
    if summary.cost is not None:
        side = summary.cost.imgsz
        rows.append(("Parameters", f"{summary.cost.params:,}"))
        rows.append(("MACs", f"{summary.cost.macs:,} for an image of {side} x {side} pixels"))
    return _table(rows, columns)


def _runtimes(names: Sequence[str]) -> str:
    """Which runtimes open the file, and which of them are not installed."""
    if not names:
        return "it cannot be run here"
    known = runtimes()
    said = [
        name if importlib.util.find_spec(known[name].package) is not None else f"{name} (not installed)"
        for name in names
    ]
    return f"runs in {', '.join(said)}"


def _images(summary: ExportedSummary) -> str:
    count = "any number of images" if summary.dynamic else counted(summary.batch or 1, "image")
    if summary.input_shape is not None:
        return f"[{', '.join(map(str, summary.input_shape))}] (images, RGB in 0–1, height, width)"
    if summary.imgsz is None:
        return "the size is not stated"
    size = f"{summary.imgsz[0]} x {summary.imgsz[1]} pixels (height x width)"
    return f"{count} of {size}, or of other sizes" if summary.dynamic else f"{count} of {size} per call"


def _output(summary: ExportedSummary) -> str:
    """The shape of the output, and what has to be done with it."""
    shape = "" if summary.output_shape is None else f"[{', '.join(map(str, summary.output_shape))}]: "
    if summary.layout is None:
        return f"{shape}{summary.unknown or 'not stated'}"
    if summary.layout == "detections":
        done = "they are chosen in the file"
        if summary.nms is not None:
            done = (
                f"NMS is in the file (conf {summary.nms.conf:g}, iou {summary.nms.iou:g}, at most "
                f"{counted(summary.nms.max_det, 'detection')})"
            )
        return f"{shape}detections (x1, y1, x2, y2, score, class); {done}"
    row = f"box, {'objectness, ' if summary.objectness else ''}{counted(len(summary.names), 'class score')}"
    order = "rows" if summary.layout == "rows" else "columns"
    after = "NMS has to follow" if summary.suppression == "nms" else "no NMS is needed: take the best scores"
    return f"{shape}{order} of {summary.columns} values ({row}); {after}"


def _table(rows: Sequence[tuple[str, str]], columns: int) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(line for name, text in rows for line in _wrapped(name, text, width + 2, columns))


def _wrapped(name: str, text: str, indent: int, columns: int) -> list[str]:
    """`text` beside `name`, on as many lines as it takes. Words that belong together stay on one line, and so does the path of
    the file, which people copy; a longer word than fits is divided."""
    lines = textwrap.wrap(
        text,
        max(columns, indent + LEAST_TEXT),
        initial_indent=f"{name:{indent}}",
        subsequent_indent=" " * indent,
        break_long_words=name != FILE,
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
    words = f"{key} {_value(item)}"
    return words.replace(" ", TOGETHER) if len(words) <= LONGEST_PAIR else words


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        told = [_pair(key, item) for key, item in value.items() if not _empty(item)]
        unset = [str(key) for key, item in value.items() if _empty(item)]
        return ", ".join(told) + (f"; without a value: {', '.join(unset)}" if unset else "")
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(item) for item in value)
    text = str(value)
    return f"{text[:CHECKSUM_SHOWN]}…" if CHECKSUM.fullmatch(text) else text
