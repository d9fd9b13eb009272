"""Fixtures shared by all tests: where to find the files that the tests need, also those that are not in the repository."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

# a busy machine must not turn a slow first call into a failure; and the same examples are tried each time
hypothesis.settings.register_profile("slimyolo", deadline=None, derandomize=True)
hypothesis.settings.load_profile("slimyolo")

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)  # the tests themselves run in parallel; spinning threads would fight


@pytest.fixture(autouse=True, scope="session")
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What slimyolo remembers of the user stays out of the home folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _own_voice() -> Iterator[None]:
    """Reset the log of slimyolo after each test, because the command line changes it."""
    log = logging.getLogger("slimyolo")
    before = (log.level, log.propagate, list(log.handlers))
    yield
    log.setLevel(before[0])
    log.propagate, log.handlers[:] = before[1], before[2]


@pytest.fixture
def data_folder() -> Path:
    """The small parity fixtures kept in the repository."""
    return Path(__file__).parent / "data"


@pytest.fixture
def shared_folder() -> Path:
    """Large parity fixtures, weights and photographs beside the repository; skips the test when they are absent."""
    return _present(SHARED / "fixtures").parent


@pytest.fixture
def yolov5n_weights() -> Path:
    """The published v6.2 checkpoint; skips the test when it is absent."""
    return _present(SHARED / "weights" / "yolov5n.pt")


@pytest.fixture
def mask_photographs() -> Path:
    """The folder of the real face-mask photographs; skips the test when it is absent."""
    return _present(SHARED / "datasets" / "mask_yolo")


def _present(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path.name} is not beside this checkout (other people's material, not shipped)")
    return path
