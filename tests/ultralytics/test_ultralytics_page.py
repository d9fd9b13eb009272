"""Table of cases: every program and command of docs/ultralytics.md runs, with fewer epochs and smaller pictures."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.ultralytics, pytest.mark.timeout(900)]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ultralytics.md"
SMALLER = {
    "epochs=30": "epochs=2, batch=4, nbs=4, device='cpu', workers=0, plots=False, project=PROJECT",
    "imgsz=640": "imgsz=64",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_page_runs_from_best_pt_to_onnx(
    sets: dict[str, str], options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ultralytics import YOLO

    monkeypatch.chdir(tmp_path)
    YOLO("yolov8n.yaml").train(data=sets["detect"], epochs=1, name="base", **options)
    for name in ("best.pt", "sparse.pt"):
        shutil.copy(tmp_path / "runs" / "base" / "weights" / "best.pt", name)
    shutil.copy(sets["detect"], "my.yaml")

    programs = blocks("python")
    assert len(programs) == 3
    for source in programs:
        for written, small in SMALLER.items():
            source = source.replace(written, small)
        exec(compile(source, "docs/ultralytics.md", "exec"), {"PROJECT": str(tmp_path / "runs")})
    assert list(tmp_path.glob("runs/**/best.onnx"))

    (commands,) = blocks("bash")
    for line in commands.strip().splitlines():
        words = line.replace("--imgsz 640", "--imgsz 64").split()
        run = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
