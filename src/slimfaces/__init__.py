"""A face / face_mask dataset that is drawn, not photographed: heads, masks, places and cameras from a seed."""

from slimfaces.scene import CLASS_NAMES, RenderedScene, render_scene
from slimfaces.writer import render_dataset

__all__ = ["CLASS_NAMES", "RenderedScene", "render_dataset", "render_scene"]
