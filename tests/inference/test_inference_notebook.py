"""Property: IPython shows detections as a picture with boxes, in a cell as a person writes it. Skips without IPython."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from slimyolo.geometry import Detections
from slimyolo.inference.picture_detections import PictureDetections
from slimyolo.inference.pictures import Picture

formatters = pytest.importorskip("IPython.core.formatters", reason="IPython is not installed")


def test_a_cell_shows_the_drawing() -> None:
    picture = np.full((48, 64, 3), 90, np.uint8)
    boxes = Detections(np.float32([[8, 8, 40, 30]]), np.float32([0.9]), np.int64([0]), "source")
    found = PictureDetections.of(boxes, Picture(picture, "photo"), ("face",), kept=picture)
    data, _ = formatters.DisplayFormatter().format(found)
    assert set(data) == {"text/plain", "image/png"}
    shown = np.asarray(Image.open(io.BytesIO(data["image/png"])))
    assert shown.shape == (48, 64, 3)
    assert (shown != 90).any()
