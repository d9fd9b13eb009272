"""slimyolo: make a YOLO detector smaller and faster without losing accuracy.

::

    import slimyolo
    detector = slimyolo.load("best.pt")
    slimyolo.predict(detector, "photo.jpg")[0].boxes
    slimyolo.evaluate(detector, "data/mask.yaml").map50
    slimyolo.prune(detector, target=slimyolo.pruning.ChannelShare(0.4)).save("pruned.pt")

Each command is a function with the same settings, by keyword: ``slimyolo.train(data="data/mask.yaml", cfg="yolov5n")``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slimyolo.api.commands import (
        bench,
        compress,
        data_check,
        data_convert,
        data_synth,
        export,
        finetune,
        inspect,
        iterate,
        latency_check,
        latency_pack,
        report,
        sensitivity,
        serve,
        sparsify,
        train,
        val,
    )
    from slimyolo.api.either import compare, predict, prune
    from slimyolo.api.in_memory import Pruned, evaluate, load

__version__ = "0.2.0"
__all__ = [
    "Pruned",
    "__version__",
    "bench",
    "compare",
    "compress",
    "data_check",
    "data_convert",
    "data_synth",
    "evaluate",
    "export",
    "finetune",
    "inspect",
    "iterate",
    "latency_check",
    "latency_pack",
    "load",
    "predict",
    "prune",
    "report",
    "sensitivity",
    "serve",
    "sparsify",
    "train",
    "val",
]

_ROOMS = (
    "checkpoints",
    "data",
    "detections",
    "errors",
    "evaluation",
    "exporting",
    "geometry",
    "models",
    "pruning",
    "slimming",
    "sparsity",
    "training",
)
_ELSEWHERE = {
    **dict.fromkeys(("compare", "predict", "prune"), "either"),
    **dict.fromkeys(("Pruned", "evaluate", "load"), "in_memory"),
}
"""Name → module of ``slimyolo.api``; all other names are in `commands`."""


def __getattr__(name: str) -> Any:
    """The API on first use: torch takes seconds to import, and ``slimyolo --help`` must not wait for it."""
    if name in _ROOMS:
        return import_module(f"slimyolo.{name}")
    if name in __all__:
        value = getattr(import_module(f"slimyolo.api.{_ELSEWHERE.get(name, 'commands')}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'slimyolo' has no attribute {name!r}.{_hint(name)}")


def _hint(name: str) -> str:
    """What to type for a name that other packages have."""
    if name.startswith("_"):
        return ""
    hint: str = import_module("slimyolo.api.other_names").name_hint(name, (*__all__, *_ROOMS))
    return hint


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
