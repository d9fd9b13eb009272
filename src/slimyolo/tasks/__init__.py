"""The commands: each task takes settings and returns a record. Import the one you need, such as ``tasks.train.train``."""

from __future__ import annotations

__all__: list[str] = []
