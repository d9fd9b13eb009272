"""One file per command: settings in, record out. Import the one you need, ``slimyolo.tasks.train.train`` for example."""

from __future__ import annotations

__all__: list[str] = []
