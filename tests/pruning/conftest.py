"""Makes the networks of the pruning tests, and their fixtures, importable."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "networks"))

from detectors import yolov5n, yolov5n_graph

__all__ = ["yolov5n", "yolov5n_graph"]
