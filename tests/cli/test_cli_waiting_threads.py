"""Table of cases: how the command line bounds the spinning of OpenMP's threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from slimyolo.cli.waiting_threads import bound_spinning


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {"GOMP_SPINCOUNT": "10000"}),
        ({"OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "10000"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
        ({"KMP_BLOCKTIME": "0"}, {"KMP_BLOCKTIME": "0"}),
    ],
)
def test_what_the_user_says_is_kept(variables: dict[str, str], expected: dict[str, str]) -> None:
    bound_spinning(variables)
    assert variables == expected


LISTING = """
from slimyolo.cli.waiting_threads import bound_spinning
bound_spinning()
import torch
torch.set_num_threads(2)
torch.ones(1000, 1000).exp()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP is torch's on Linux")
def test_openmp_reads_the_bound_when_torch_is_imported_afterwards() -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    told = subprocess.run(
        [sys.executable, "-c", LISTING],
        env={**kept, "OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    if "GOMP_SPINCOUNT" not in told:
        pytest.skip("torch is built with another OpenMP than GNU's")
    assert "GOMP_SPINCOUNT = '10000'" in told


def test_the_command_line_does_not_import_torch_before_it_bounds_the_spinning() -> None:
    check = "import sys, slimyolo.cli.main, slimyolo.cli.running; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
