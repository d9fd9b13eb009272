"""The metadata of an exported file: class names, stride, sizes. They are texts under the same keys in every format.

| format | place of the metadata |
|---|---|
| ONNX | ``metadata_props`` |
| OpenVINO | ``rt_info``, section ``slimyolo`` |
| TorchScript | extra files |
| CoreML | user-defined metadata |
| ncnn | ``metadata.json`` beside the model |
| LiteRT | ``metadata.json`` in a zip archive behind the model |

A value that is more than one word is JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from slimyolo.errors import CheckpointError
from slimyolo.geometry import OutputLayout, RowLayout, SuppressionKind
from slimyolo.models import Detector
from slimyolo.one_line import one_line_repr
from slimyolo.ranges import MOST_INPUT_PIXELS, MOST_PIXELS, RANGES, in_range
from slimyolo.shown_text import storable

__all__ = ["METADATA_KEYS", "FileMetadata", "NetworkCost", "Suppression", "check_input_shape", "detector_metadata"]

METADATA_KEYS = (
    "names",
    "stride",
    "imgsz",
    "batch",
    "dynamic",
    "half",
    "layout",
    "objectness",
    "suppression",
    "family",
    "nms",
    "cost",
    "task",
    "slimyolo",
)
"""The keys that are written, in this order."""

LARGEST_METADATA = 1_000_000  # bytes
LARGEST_SIDE = int(RANGES["imgsz"][1])
LARGEST_STRIDE = 1024
MOST_CLASSES = 10_000


@dataclass(frozen=True)
class Suppression:
    """The settings of the NMS inside a file: the thresholds (0–1), and the number of output rows per image."""

    conf: float
    iou: float
    max_det: int


@dataclass(frozen=True)
class NetworkCost:
    """The cost of the network, counted when it was exported: parameters, and MACs at `imgsz` × `imgsz` pixels."""

    params: int
    macs: int
    imgsz: int


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class FileMetadata:
    """The metadata of one exported file.

    | field | content |
    |---|---|
    | `names` | the class names |
    | `stride` | the largest stride in network pixels |
    | `imgsz`, `batch` | (height, width) and batch size of the export |
    | `dynamic` | the file takes any batch size, and sides that are any multiples of the stride |
    | `half` | the weights have 16 bits |
    | `layout` | the shape of the output |
    | `objectness` | whether decoded rows have that column |
    | `suppression` | what must follow the decoded rows |
    | `family` | name of the detector's family; empty: not stated |
    | `nms` | the settings of the NMS inside the file; None: there is none |
    | `cost` | the cost of the network, if it was counted |
    | `slimyolo` | the version that wrote the file |

    Files of version 0.1.0 do not state layout, objectness and suppression: their rows are those of YOLOv5.
    """

    names: tuple[str, ...]
    stride: int
    imgsz: tuple[int, int]
    batch: int = 1
    dynamic: bool = False
    half: bool = False
    layout: OutputLayout = "rows"
    objectness: bool = True
    suppression: SuppressionKind = "nms"
    family: str = ""
    nms: Suppression | None = None
    cost: NetworkCost | None = None
    slimyolo: str = ""

    @property
    def rows(self) -> RowLayout:
        """What the columns of the decoded rows mean."""
        return RowLayout(len(self.names), self.objectness)

    def to_text(self) -> dict[str, str]:
        """One text per key of `METADATA_KEYS`."""
        return {
            "names": json.dumps(list(self.names), ensure_ascii=False),
            "stride": str(self.stride),
            "imgsz": json.dumps(list(self.imgsz)),
            "batch": str(self.batch),
            "dynamic": json.dumps(self.dynamic),
            "half": json.dumps(self.half),
            "layout": self.layout,
            "objectness": json.dumps(self.objectness),
            "suppression": self.suppression,
            "family": self.family,
            "nms": json.dumps(self.nms and asdict(self.nms)),
            "cost": json.dumps(self.cost and asdict(self.cost)),
            "task": "detect",
            "slimyolo": self.slimyolo,
        }

    @classmethod
    def from_text(cls, text: Mapping[str, str], source: str) -> FileMetadata:
        """Read the texts that `to_text` wrote. Raises `CheckpointError` that names `source` and the wrong entry."""
        nms, cost = (_mapping(text, key, source) for key in ("nms", "cost"))
        return cls(
            names=_names(text, source),
            stride=_whole(_value(text, "stride", source), "stride", LARGEST_STRIDE, source),
            imgsz=_pair(text, source),
            batch=_whole(_value(text, "batch", source, "1"), "batch", int(RANGES["batch"][1]), source),
            dynamic=_value(text, "dynamic", source, "false") is True,
            half=_value(text, "half", source, "false") is True,
            layout=_one_of(text, "layout", get_args(OutputLayout), "rows" if nms is None else "detections", source),
            objectness=_value(text, "objectness", source, "true") is True,
            suppression=_one_of(text, "suppression", get_args(SuppressionKind), "nms", source),
            family=text.get("family", ""),
            nms=None if nms is None else _suppression(nms, source),
            cost=None if cost is None else _cost(cost, source),
            slimyolo=text.get("slimyolo", ""),
        )


def check_input_shape(shape: Sequence[int | str], source: str) -> None:
    """Raise `CheckpointError` when the input [B, 3, H, W] of a file is none of a detector, or larger than any picture.

    Names stand for sizes that are free. It is called before memory is taken for such an input.
    """
    if len(shape) != 4 or shape[1] != 3:
        raise CheckpointError(f"{source} takes inputs {list(shape)}; a detector takes [batch, 3, height, width].")
    known = [side for side in shape if isinstance(side, int)]
    batch, _, *sides = shape
    fits = not isinstance(batch, int) or in_range("batch", batch)
    fits = fits and all(1 <= side <= LARGEST_SIDE for side in sides if isinstance(side, int))
    if not fits or math.prod(known) > 3 * MOST_INPUT_PIXELS:
        raise CheckpointError(
            f"{source} takes inputs {list(shape)}. A batch has 1 to {int(RANGES['batch'][1]):,} images, a side 1 to "
            f"{LARGEST_SIDE:,} pixels, and a whole batch at most {MOST_INPUT_PIXELS:,}. Export it for a smaller size."
        )


def detector_metadata(detector: Detector, imgsz: tuple[int, int], version: str) -> FileMetadata:
    """The metadata for a file of `detector` that takes one image of `imgsz` (height, width).

    `version` is that of slimyolo. Set the other fields with `dataclasses.replace`.
    """
    return FileMetadata(
        names=detector.names,
        stride=int(detector.stride.max()),
        imgsz=imgsz,
        objectness=detector.rows.objectness,
        suppression=detector.suppression,
        family=detector.family.name,
        slimyolo=version,
    )


def _value(text: Mapping[str, str], key: str, source: str, default: str | None = None) -> Any:
    found = text.get(key, default)
    if found is None:
        raise CheckpointError(f"{source}: its metadata has no {key!r}. Export the checkpoint again.")
    try:
        return json.loads(found)
    except (ValueError, RecursionError):
        raise _damaged(source, key, found) from None


def _one_of(text: Mapping[str, str], key: str, known: Sequence[str], default: str, source: str) -> Any:
    """The word of `key`, one of `known`."""
    found = text.get(key, default)
    if found not in known:
        raise _damaged(source, key, found)
    return found


def _names(text: Mapping[str, str], source: str) -> tuple[str, ...]:
    names = _value(text, "names", source)
    if not isinstance(names, list) or not 0 < len(names) <= MOST_CLASSES:
        raise _damaged(source, "names", names)
    if not all(isinstance(name, str) for name in names):
        raise _damaged(source, "names", names)
    return tuple(map(storable, names))


def _pair(text: Mapping[str, str], source: str) -> tuple[int, int]:
    sides = _value(text, "imgsz", source)
    if not isinstance(sides, list) or len(sides) != 2:
        raise _damaged(source, "imgsz", sides)
    height, width = (_whole(side, "imgsz", LARGEST_SIDE, source) for side in sides)
    if height * width > MOST_PIXELS:
        raise _damaged(source, "imgsz", sides)
    return height, width


def _mapping(text: Mapping[str, str], key: str, source: str) -> Mapping[str, Any] | None:
    found = _value(text, key, source, "null")
    if found is not None and not isinstance(found, dict):
        raise _damaged(source, key, found)
    return found


def _suppression(values: Mapping[str, Any], source: str) -> Suppression:
    shares: Sequence[Any] = [values.get("conf"), values.get("iou")]
    if not all(isinstance(share, (int, float)) and 0 <= share <= 1 for share in shares):
        raise _damaged(source, "nms", dict(values))
    return Suppression(
        conf=float(shares[0]),
        iou=float(shares[1]),
        max_det=_whole(values.get("max_det"), "nms", int(RANGES["max_det"][1]), source),
    )


def _cost(values: Mapping[str, Any], source: str) -> NetworkCost:
    numbers = (_whole(values.get(key), "cost", 10**18, source) for key in ("params", "macs", "imgsz"))
    return NetworkCost(*numbers)


def _whole(value: Any, key: str, largest: int, source: str) -> int:
    if type(value) is not int or not 1 <= value <= largest:
        raise _damaged(source, key, value)
    return value


def _damaged(source: str, key: str, value: object) -> CheckpointError:
    return CheckpointError(
        f"{source}: the entry {key!r} of its metadata is {str(value)[:80]!r}, which is not valid: the file was altered or "
        "damaged. Export the checkpoint again."
    )
