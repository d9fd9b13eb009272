"""Renders a face / face_mask dataset: draws heads, masks, places and camera effects from a seed, without photographs.

The package needs only NumPy and OpenCV, and imports nothing from slimyolo.
"""

from slimfaces.scene import CLASS_NAMES, RenderedScene, render_scene
from slimfaces.writer import RenderRefusedError, RenderWriteError, render_dataset

__all__ = [
    "CLASS_NAMES",
    "RenderRefusedError",
    "RenderWriteError",
    "RenderedScene",
    "render_dataset",
    "render_scene",
]
