"""Makes times.json files as a device would write them, from a law of our own instead of a clock."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from slimyolo.families import parse_architecture
from slimyolo.models import Detector, build_detector
from slimyolo.tasks.latency.device.archive import Pack
from slimyolo.tasks.latency.shapes import Shapes

SMALL = (
    "{nc: 2, depth_multiple: 1.0, width_multiple: 1.0, anchors: [[8, 8, 12, 20], [16, 16, 30, 24]], "
    "backbone: [[-1, 1, Conv, [32, 6, 2, 2]], [-1, 1, Conv, [64, 3, 2]], [-1, 1, SPPF, [64]]], "
    "head: [[-1, 1, nn.Upsample, [None, 2, nearest]], [[-1, 0], 1, Concat, [1]], [-1, 1, C3, [32]], "
    "[[5, 2], 1, Detect, [nc, anchors]]]}"
)
Law = Callable[[Shapes], float]


def small_detector(text: str = SMALL) -> Detector:
    return build_detector(parse_architecture(text, name="small"), seed=0).eval()


def macs_of(facts: Any) -> Law:
    """Multiply-accumulates of the convolutions."""

    def law(shapes: Shapes) -> float:
        return float(
            sum(one.outputs * one.inputs // one.groups * one.kernel * one.positions for one in facts.network(shapes))
        )

    return law


def times_of(
    pack: Pack, law: Law, *, dense_ms: float = 40.0, device: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What run.py would write on a device where a network takes a time in proportion to `law` of its weight shapes."""
    whole = law(pack.facts.shapes)
    summary = {}
    for number, network in enumerate(pack.networks):
        share = law(network.shapes) / whole
        milliseconds = share * dense_ms
        summary[str(number)] = {
            "median_ms": milliseconds,
            "p10_ms": 0.95 * milliseconds,
            "p95_ms": 1.1 * milliseconds,
            "share": share,
            "calls": 27,
            "clock": "wall_ms",
        }
    about = {"name": "pi", "board": "Raspberry Pi 5", "processor": "Cortex-A76", "cores": 4, "affinity": [0, 1, 2, 3]}
    return signed(
        {
            "format": "slimyolo-times",
            "version": 1,
            "manifest": pack.manifest([() for _ in pack.networks]),
            "threads": pack.threads,
            "burst": 3,
            "versions": {"numpy": "1.19.5", "onnxruntime": "1.16.0"},
            "device": {**about, **(device or {})},
            "complete": True,
            "rounds": [],
            "summary": summary,
            "warnings": [],
        }
    )


def signed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with its checksum."""
    plain = {key: value for key, value in content.items() if key != "digest"}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return {**plain, "digest": hashlib.sha256(text.encode("ascii")).hexdigest()}


def written(path: Path, content: Mapping[str, Any] | Sequence[Any] | str) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path
