"""A face / face_mask dataset that is drawn, not photographed: heads, masks, places and cameras from a seed.

The package needs NumPy and OpenCV only, and imports nothing of slimyolo.
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
