"""slimyolo: make a YOLO detector smaller and faster without losing accuracy.

::

    import slimyolo
    detector = slimyolo.load("best.pt")
    slimyolo.predict(detector, "photo.jpg", imgsz=320)[0].boxes
    slimyolo.evaluate(detector, "data/mask.yaml", imgsz=320).map50
    slimyolo.prune(detector, target=slimyolo.pruning.ChannelShare(0.4)).save("pruned.pt")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slimyolo.api import Pruned, compare, evaluate, load, predict, prune

__version__ = "0.1.0"
__all__ = ["Pruned", "__version__", "compare", "evaluate", "load", "predict", "prune"]

_ROOMS = (
    "data",
    "detections",
    "errors",
    "evaluation",
    "geometry",
    "models",
    "pruning",
    "slimming",
    "sparsity",
    "training",
)


def __getattr__(name: str) -> Any:
    """The API on first use: torch takes seconds to import, and ``slimyolo --help`` must not wait for it."""
    if name in _ROOMS:
        return import_module(f"slimyolo.{name}")
    if name in __all__:
        return getattr(import_module("slimyolo.api"), name)
    raise AttributeError(f"module 'slimyolo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
