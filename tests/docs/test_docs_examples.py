"""Table of cases: each program in `examples/` runs, with fewer epochs than its own default."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from doc_commands import REPOSITORY

EXAMPLES = REPOSITORY / "examples"


def test_any_network_keeps_its_accuracy_and_loads_again(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("onnxruntime")
    quick = ["--epochs", "10", "--finetune-epochs", "4", "--output", str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, EXAMPLES / "any_network.py", *quick],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # the tests share two cores; threads that wait would take turns
    )
    assert ran.returncode == 0, ran.stderr
    lines = [line.split() for line in ran.stdout.splitlines() if " accuracy " in line]
    found = {words[0]: float(words[-1]) for words in lines}
    assert list(found) == ["dense", "cut", "repaired", "fine-tuned"]
    assert found["dense"] > 0.95
    assert found["fine-tuned"] > found["dense"] - 0.02
    difference = next(line for line in ran.stdout.splitlines() if line.startswith("exported"))
    assert float(difference.split()[-1]) < 1e-4
    assert {path.name for path in tmp_path.iterdir()} >= {"cut.pt", "plan.json", "cut.onnx"}
