"""Table of cases: the wheel holds every file of the packages; files that git ignores are left out of it by hatchling."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


def tracked(*arguments: str) -> list[str]:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("this is no clone of the repository")
    found = subprocess.run(["git", "ls-files", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return found.stdout.splitlines()


def test_no_file_of_the_packages_is_ignored() -> None:
    assert tracked("--cached", "--ignored", "--exclude-standard", "src") == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_holds_every_file_and_runs_outside_the_repository(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no wheel was built: {done.stdout[-300:]}")
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert {name.removeprefix("src/") for name in tracked("src")} <= set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    shown = subprocess.run(
        [sys.executable, "-S", "-c", _PROGRAM, str(tmp_path / "installed"), *sys.path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "make a YOLO detector smaller" in shown.stdout


_PROGRAM = """
import sys
installed, *others = sys.argv[1:]
sys.path[:] = [installed, *others]
from slimyolo.cli.main import run_command_line
import slimyolo
assert slimyolo.__file__.startswith(installed), slimyolo.__file__
sys.exit(run_command_line(["--help"]))
"""
