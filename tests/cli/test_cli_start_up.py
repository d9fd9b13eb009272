"""Table of cases: commands that need no torch do not import it, nor anything else that they do not need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from runpy import run_path

import cv2
import numpy as np
import pytest

from slimyolo.cli.commands import COMMANDS
from slimyolo.pruning.plan.costs import CutCost
from slimyolo.pruning.plan.plan import GroupPlan, PrunePlan
from slimyolo.pruning.targets import ChannelShare
from slimyolo.tasks.latency.pack import fit_pack
from slimyolo.tasks.latency.pack_config import LatencyPackConfig

NEVER = ("torch", "PIL", "pandas", "matplotlib", "onnxruntime", "onnx", "openvino", "scipy", "tensorboard")

# The commands run in this order in one process. `cv2` and `numpy` may be there from the first one that needs them.
CASES: tuple[tuple[str, tuple[str, ...], int], ...] = (
    # command line, what it may import, exit status
    ("--version", (), 0),
    ("--help", (), 0),
    *((f"{command.name} --help", (), 0) for command in COMMANDS),
    ("train --help-all", (), 0),
    ("completion bash", (), 0),
    ("completion zsh", (), 0),
    ("completion fish", (), 0),
    ("trian", (), 2),  # no such command
    ("prune --percentage 0.4", (), 2),  # no such option
    ("prune --weights none.pt --percent 4", (), 2),  # out of range
    ("prune --weights none.pt --percent 0.4", (), 2),  # there is no such file, here and in the next lines
    ("prune plan.json --plan none.json", (), 2),
    ("train none.yaml --cfg yolov5n", (), 2),
    ("train data.yaml --cfg yolov5n --hyp none.yaml", (), 2),
    ("finetune none.pt data.yaml", (), 2),
    ("finetune plan.json data.yaml --teacher none.pt", (), 2),
    ("val none.pt data.yaml", (), 2),
    ("compare none.pt plan.json", (), 2),
    ("predict none.pt data.yaml", (), 2),
    ("bench none.pt", (), 2),
    ("serve none.pt", (), 2),
    ("inspect none.pt", (), 2),
    ("latency pack none.pt", (), 2),
    ("plan show plan.json", (), 0),
    ("plan show plan.json --json", (), 0),
    ("plan diff plan.json plan.json", (), 0),
    ("plan show none.json", (), 2),
    ("report runs --output page.html", ("numpy",), 0),
    ("prune plan.json --latency 5ms --times none.json", ("numpy",), 2),
    ("bench --times times.json --project runs/bench", ("numpy",), 0),
    ("data check data.yaml", ("numpy", "cv2"), 0),
    ("data convert set converted", ("numpy", "cv2"), 0),
    ("predict plan.json none.jpg", ("numpy", "cv2"), 2),
)

PROGRAM = """
import json, shlex, sys
from slimyolo.cli.main import run_command_line
from slimyolo.errors import SlimyoloError
for line in json.loads(sys.argv[1]):
    before = set(sys.modules)
    try:
        status = run_command_line(shlex.split(line))
    except SlimyoloError as error:
        status = 2
        print(error, file=sys.stderr)
    print("DONE", json.dumps([line, status, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a plan, a run, a dataset and the times of a device."""
    group = GroupPlan(name="g", layers=("a",), width=4, kept=(0, 2), carrier=None, members=(), gammas=1)
    plan = PrunePlan(
        spec="x",
        target=ChannelShare(0.5),
        policy="all",
        importance="gamma",
        constants="exact",
        round_to=1,
        input_shape=(1, 3, 64, 64),
        groups=(group,),
        emissions=(),
        carriers=(),
        consumers=(),
        sizes=(),
        before=CutCost(100, 1000),
        after=CutCost(50, 500),
        prunable_channels=4,
        removed_channels=2,
        zeroed_channels=0,
        notes=(),
    )
    plan.save(tmp_path / "plan.json")
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (tmp_path / "set" / kind / split).mkdir(parents=True)
        for number in range(2):
            picture = np.full((32, 32, 3), number * 90, np.uint8)
            cv2.imwrite(str(tmp_path / "set" / "images" / split / f"{split}{number}.png"), picture)
            (tmp_path / "set" / "labels" / split / f"{split}{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    yaml = "train: images/train\nval: images/val\nnames: [face]\n"
    (tmp_path / "set" / "data.yaml").write_text(f"path: .\n{yaml}")
    (tmp_path / "data.yaml").write_text(f"path: set\n{yaml}")
    tests = Path(__file__).parents[1]
    run_path(str(tests / "reports" / "conftest.py"))["Records"]().chain(tmp_path / "runs")
    made = run_path(str(tests / "tasks" / "latency" / "device" / "made_times.py"))
    pack = fit_pack(LatencyPackConfig(weights=Path("best.pt"), imgsz=(64, 64), networks=20), made["small_detector"]())
    times = made["times_of"](pack, made["macs_of"](pack.facts))
    made["written"](tmp_path / "times.json", times)
    return tmp_path


def test_no_torch_where_none_is_needed(place: Path) -> None:
    lines = json.dumps([line for line, _, _ in CASES])
    run = subprocess.run([sys.executable, "-c", PROGRAM, lines], cwd=place, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    done = [json.loads(line[5:]) for line in run.stdout.splitlines() if line.startswith("DONE ")]
    assert [(line, status) for line, status, _ in done] == [(line, status) for line, _, status in CASES], run.stderr
    for (line, allowed, _), (_, _, modules) in zip(CASES, done, strict=True):
        assert set(modules) & {*NEVER, "numpy", "cv2"} <= set(allowed), line
