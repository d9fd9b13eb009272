"""Two stand-in models: the dense one finds two boxes in every picture, the pruned one finds one."""

from __future__ import annotations

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

from serving_models import stand_in

from slimyolo.serving import ServedModel


@pytest.fixture
def models() -> list[ServedModel]:
    """The dense and the pruned stand-in model."""
    rows = [[10, 10, 60, 50, 0.9, 0], [70, 20, 90, 40, 0.4, 1]]
    return [stand_in("dense.pt", rows, 12.0), stand_in("pruned.pt", rows[:1], 6.0)]
