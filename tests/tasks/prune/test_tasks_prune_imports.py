"""Property: `slimyolo prune` imports nothing that it does not need; each of these costs half a second or more."""

from __future__ import annotations

import json
import subprocess
import sys

from slimyolo.tasks.common.records import TrainRecord

HEAVY = (
    "sympy",
    "torch._dynamo",
    "torch._inductor",
    "matplotlib",
    "tensorboard",
    "onnx",
    "openvino",
    "pandas",
    "scipy",
)


def test_a_cut_without_data_imports_no_compiler_and_no_plotting(base_run: TrainRecord, tmp_path) -> None:  # type: ignore[no-untyped-def]
    code = (
        "import json, sys\n"
        "from slimyolo.cli.main import run_command_line\n"
        f"run_command_line(['prune', '--weights', {base_run.best!r}, '--imgsz', '64', '--project', {str(tmp_path)!r}])\n"
        f"print(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout.strip().splitlines()[-1]) == []
