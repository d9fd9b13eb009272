"""Table of cases: every line of docs/deploy-on-a-board.md runs in a shell; the board is the sshd on the loopback."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from loopback_board import Loopback

PAGE = Path(__file__).resolve().parents[4] / "docs" / "deploy-on-a-board.md"
SMALLER = {
    "compress": "--imgsz 64 --batch-size 4 --workers 0 --sparse-epochs 1 --finetune-epochs 1 --noautoanchor",
    "iterate": "--imgsz 64 --batch-size 4 --workers 0 --rounds 2 --round-epochs 1 --epochs 1 --repair-images 8",
}
"""Options that make trainings short; nothing else of the page is changed except the size of the images."""


def lines() -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return [
        line for block in re.findall(r"```bash\n(.*?)```", text, re.S) for line in block.splitlines() if line.strip()
    ]


def test_the_page_has_lines() -> None:
    assert len([line for line in lines() if line.startswith("slimyolo ")]) >= 8


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_line_runs(server: Loopback, archive_file: Path, tiny_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    if Path("/tmp/slimyolo-latency").exists():
        pytest.skip("/tmp/slimyolo-latency exists, where the page unpacks an archive")
    config = tmp_path / "ssh_config"
    config.write_text(server.config.read_text().replace("Host board\n", "Host raspberrypi.local\n"))
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("ssh", "scp"):
        found = shutil.which(name)
        (tools / name).write_text(f"#!/bin/sh\nexec {found} -F '{config}' \"$@\"\n")
    (tools / "slimyolo").write_text(f'#!/bin/sh\nexec {sys.executable} -m slimyolo "$@"\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    shutil.copyfile(archive_file.with_name("best.pt"), tmp_path / "my.pt")
    (tmp_path / "my.yaml").write_text(
        re.sub(r"^path:.*$", f"path: {tiny_data.parent}", tiny_data.read_text(), flags=re.M)
    )
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "SLIMYOLO_CACHE": str(tmp_path / "cache")}
    for line in lines():
        text = line
        for said, here in (
            ("--imgsz 320", "--imgsz 64"),
            ("--threads 4", "--threads 1"),
            ("--latency 30ms", "--latency 70%"),
            ("pi@", f"{getpass.getuser()}@"),
            ("&& python3 run.py", f"&& {sys.executable} run.py --passes 1"),
        ):
            text = text.replace(said, here)
        if "--device-host" in text:
            text += f" --device-python {sys.executable} --device-folder {tmp_path}"
        text += f" {SMALLER.get(text.split()[1], '')}" if text.startswith("slimyolo") else ""
        done = subprocess.run(
            ["sh", "-c", text], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        print(text)
        assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    assert not Path("/tmp/slimyolo-latency").exists()
    assert not list(tmp_path.glob("slimyolo-latency-*"))
