"""The toy run as a fixture."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from toy_run import ToyBatches, ToyLoss, toy_net, toy_objective


@pytest.fixture
def toy() -> SimpleNamespace:
    return SimpleNamespace(net=toy_net, batches=ToyBatches, objective=toy_objective, loss=ToyLoss)
