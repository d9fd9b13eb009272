"""Table of cases: the archive, and its run.py as a program of its own, which can import neither slimyolo nor torch."""

from __future__ import annotations

import ast
import gzip
import json
import os
import runpy
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_times import signed

from slimyolo.errors import ConfigError
from slimyolo.exporting import repeating_values
from slimyolo.models import Detector
from slimyolo.tasks.latency.device import archive
from slimyolo.tasks.latency.device.archive import Pack, PackedNetwork, write_pack
from slimyolo.tasks.latency.device.price import TimesPrice
from slimyolo.tasks.latency.device.times import read_times
from slimyolo.tasks.latency.pack import fit_pack, pack
from slimyolo.tasks.latency.pack_config import LatencyPackConfig

pytest.importorskip("onnxruntime")

ALONE = (
    "import runpy, sys; sys.modules.update(dict.fromkeys(['torch', 'slimyolo', *sys.argv[1].split(',')])); "
    "del sys.argv[0:2]; runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""A program that cannot import slimyolo, torch and the modules named first, and runs the file named second."""


@pytest.fixture
def board(archive_file: Path, tmp_path: Path) -> Path:
    """The archive, unpacked in a folder with a space in its name."""
    with zipfile.ZipFile(archive_file) as packed:
        packed.extractall(tmp_path / "a board")
    return tmp_path / "a board" / "slimyolo-latency"


def run(board: Path, *words: str, without: str = "slimyolo", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ALONE, without, str(board / "run.py"), *words],
        cwd=board,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_what_is_in_the_archive(archive_file: Path, board: Path) -> None:
    with zipfile.ZipFile(archive_file) as packed:
        names = packed.namelist()
    assert all(name.startswith("slimyolo-latency/") for name in names)
    assert len((board / "README.txt").read_text().splitlines()) == 5
    assert archive_file.stat().st_size < 300_000
    manifest = json.loads((board / "manifest.json").read_text())
    assert (manifest["format"], manifest["version"], manifest["kind"]) == ("slimyolo-latency-pack", 1, "fit")
    assert [one["name"] for one in manifest["networks"]][:2] == ["dense", "random 1"]
    plain = sum(file["bytes"] for one in manifest["networks"] for file in one["files"])
    packed_size = sum(file.stat().st_size for file in (board / "networks").iterdir())
    assert packed_size < plain / 20


def test_the_program_is_old_python_and_imports_nothing_of_ours(board: Path) -> None:
    tree = ast.parse((board / "run.py").read_text(), feature_version=(3, 8))
    names = {one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    runtimes = {"onnxruntime", "openvino", "openvino.runtime", "ncnn", "ai_edge_litert.interpreter"}
    ours = {"numpy", *runtimes, "tflite_runtime.interpreter"}
    assert {name for name in names if name.partition(".")[0] not in sys.stdlib_module_names} <= ours


def test_weights_that_compress_are_ordinary_numbers() -> None:
    for shape in ((64, 32, 3, 3), (512, 1024, 1, 1), (16,), (8, 1, 3, 3)):
        values = repeating_values(shape)
        assert values.shape == shape
        assert values.dtype == np.float32
        inputs = max(1, int(np.prod(shape[1:])))
        assert np.all(np.abs(values) * np.sqrt(inputs) > 0.3)
        assert np.all(np.abs(values) * np.sqrt(inputs) < 0.8)
        assert abs(float(values.mean())) * np.sqrt(inputs) < 0.15


def test_times_are_written_read_and_fitted(board: Path, detector: Detector) -> None:
    done = run(board, "--passes", "1", "--runs", "3")
    assert done.returncode == 0, done.stderr
    assert "pass 1 of 1: 12 of 12 networks; the dense one takes" in done.stdout
    times = read_times(board / "times.json")
    assert len(times.networks) == 13
    assert all(one.low_ms <= one.median_ms <= one.p95_ms for one in times.networks)
    plain = json.loads((board / "times.json").read_text())
    assert plain["complete"] is True
    assert plain["device"]["affinity"]
    assert {"temperature_c", "frequency_khz", "throttled", "load", "work"} == set(plain["rounds"][0]["after"])
    price = TimesPrice(detector, (64, 64), times)
    assert price.dense_ms > 0
    again = run(board, "--passes", "1", "--runs", "3")
    assert "going on after 2 rounds" in again.stdout
    assert json.loads((board / "times.json").read_text())["rounds"] == plain["rounds"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_can_be_stopped_and_gone_on_with(board: Path, how: signal.Signals) -> None:
    words = [sys.executable, "-c", ALONE, "slimyolo", str(board / "run.py"), "--passes", "1", "--runs", "3"]
    one = {**os.environ, "OMP_NUM_THREADS": "1"}  # as in `run`: times of another environment would be refused
    process = subprocess.Popen(words, cwd=board, env=one, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first.startswith("pass 1 of 1: 6 of 12")
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    kept = json.loads((board / "times.json").read_text())["rounds"]
    assert kept
    if how != signal.SIGKILL and process.returncode != 0:
        assert "stopped. Times so far are kept; go on with: python run.py" in said
        assert process.returncode == 130
    done = run(board, "--passes", "1", "--runs", "3")
    assert done.returncode == 0, done.stderr
    plain = json.loads((board / "times.json").read_text())
    assert plain["rounds"][: len(kept)] == kept
    assert plain["complete"] is True
    assert sorted({number for one in plain["rounds"] for number in one["numbers"]}) == list(range(13))


def test_a_second_run_waits_for_the_first(board: Path, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    lock = tmp_path / f"slimyolo-run-{os.getuid()}.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        words = [sys.executable, "-c", ALONE, "slimyolo", str(board / "run.py"), "--passes", "1", "--runs", "3"]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        process = subprocess.Popen(words, cwd=board, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline().startswith("another run.py is timing on this device; waiting")
        time.sleep(0.2)
        assert process.poll() is None
    assert process.stdout.readline().startswith("pass 1 of 1")
    process.kill()
    process.communicate()


def test_what_a_device_lacks_is_said(board: Path) -> None:
    for without, message in (
        ("numpy", r"numpy is missing"),
        ("onnxruntime", "onnxruntime cannot be used here"),
    ):
        done = run(board, without=without)
        assert done.returncode == 3
        assert message in done.stderr
        assert "-m pip install" in done.stderr
        assert "Traceback" not in done.stderr


def test_what_cannot_be_timed_is_said(board: Path) -> None:
    def refused(*words: str) -> str:
        done = run(board, *words)
        assert done.returncode == 3, done.stdout
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "should be 1 or more" in refused("--passes", "-1")
    assert "Give numbers of cores of this device" in refused("--cores", "x")
    assert "--benchncnn times ncnn networks only" in refused("--benchncnn", "benchncnn")
    assert "cannot be written" in refused(
        "--output", str(board / "nowhere" / "times.json"), "--passes", "1", "--runs", "1"
    )
    (board / "times.json").write_text("{")
    assert "is damaged, or not of this program" in refused()
    content = {"manifest": json.loads((board / "manifest.json").read_text()), "threads": 7}
    (board / "times.json").write_text(json.dumps(signed(content)))
    assert "holds times of another run (its threads differ)" in refused()
    (board / "times.json").unlink()
    dense = board / "networks" / "00.onnx.gz"
    dense.write_bytes(dense.read_bytes()[:-200])
    assert "cannot be read" in refused()
    dense.write_bytes(gzip.compress(b"something else"))
    assert "is damaged. Copy the archive to this device again" in refused()
    dense.unlink()
    assert "cannot be read" in refused()
    (board / "manifest.json").write_text("[]")
    assert "no readable manifest.json" in refused()


class Unpacked:
    """The first networks of an archive, in turn."""

    def __init__(self, board: Path) -> None:
        self.board, self.count = board, -1

    def file(self, shapes: object) -> Path:
        self.count = (self.count + 1) % 2
        path = self.board / "network.onnx"
        path.write_bytes(gzip.decompress((self.board / "networks" / f"{self.count:02d}.onnx.gz").read_bytes()))
        return path


def test_a_check_says_whether_the_budget_holds(detector: Detector, board: Path, tmp_path: Path) -> None:
    made = fit_pack(LatencyPackConfig(weights=Path("best.pt"), imgsz=(64, 64), threads=1, networks=12), detector)
    networks = (made.networks[0], PackedNetwork("pruned.pt", made.networks[3].shapes))
    about: dict[str, Any] = {"weights": "pruned.pt", "runtime": "onnxruntime", "threads": 1, "precision": "fp32"}
    check = Pack(kind="check", facts=made.facts, networks=networks, budget_share=0.001, **about)
    files: Any = Unpacked(board)
    sizes = [write_pack(tmp_path / name, check, files) for name in ("one.tar.gz", "two.tgz")]
    assert sizes[0] == sizes[1]
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tgz").read_bytes(), (
        "the same networks, the same file"
    )
    with tarfile.open(tmp_path / "one.tar.gz") as packed:
        packed.extractall(tmp_path, filter="data")
    done = run(tmp_path / "slimyolo-latency", "--passes", "1", "--runs", "3")
    assert done.returncode == 0, done.stderr
    assert "pruned.pt: " in done.stdout
    assert "ms does not hold" in done.stdout
    assert read_times(tmp_path / "slimyolo-latency" / "times.json").budget_share == 0.001


def test_ncnns_own_program_can_time(detector: Detector, tmp_path: Path) -> None:
    """A stand-in that prints what benchncnn prints: the arguments are those of ncnn's benchmark/README.md."""
    made = fit_pack(LatencyPackConfig(weights=Path("best.pt"), imgsz=(64, 96), networks=12, runtime="ncnn"), detector)
    board = tmp_path / "board"
    (board / "networks").mkdir(parents=True)
    files = []
    for number in range(len(made.networks)):
        text = f"7767517\n{number}\n".encode()
        (board / "networks" / f"{number:02d}.param.gz").write_bytes(gzip.compress(text))
        digest = __import__("hashlib").sha256(text).hexdigest()
        about = {"packed": f"{number:02d}.param.gz", "name": "m.param", "bytes": len(text), "sha256": digest}
        files.append([about])
    (board / "manifest.json").write_text(json.dumps(made.manifest(files)))
    (board / "run.py").write_text(archive._program("ncnn"))
    program = board / "bench ncnn"
    program.write_text(
        f"#!{sys.executable}\nimport sys\nwords = dict(w.split('=') for w in sys.argv[6:])\n"
        "assert sys.argv[1:6] == ['3', '2', '0', '-1', '0'] and words['shape'] == '[96,64,3]', sys.argv\n"
        "n = float(open(words['param']).read().split()[1])\n"
        "print('loop_count = 3', file=sys.stderr)\n"
        "print(f'      m.param  min = {90 - n:7.2f}  max = 99.00  avg = {91 - n:7.2f}', file=sys.stderr)\n"
    )
    program.chmod(0o755)
    done = run(board, "--benchncnn", str(program), "--passes", "1", "--runs", "3", without="numpy")
    assert done.returncode == 0, done.stderr
    times = read_times(board / "times.json")
    assert times.networks[0].median_ms == pytest.approx(90.5)
    assert times.networks[12].share == pytest.approx(78.1 / 90.1)
    assert "There is no program nothing" in run(board, "--benchncnn", "nothing").stderr


def test_only_the_work_of_other_programs_is_a_reason_to_doubt(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(archive._program("onnxruntime"))
    program = runpy.run_path(str(tmp_path / "run.py"), run_name="not the main program")

    def warned(*rounds: tuple[dict[str, float] | None, dict[str, float] | None]) -> str:
        nothing = {"temperature_c": None, "throttled": None, "load": 2.0}
        done = [
            {
                "before": {**nothing, "work": before},
                "after": {**nothing, "work": after},
                "times": {"0": {"wall_ms": [1.0], "cpu_ms": [1.0]}},
            }
            for before, after in rounds
        ]
        device = {"governor": None, "affinity": [0, 1]}
        return "".join(program["warnings_of"]({"device": device, "rounds": done, "threads": 2}))

    start = {"at": 0.0, "all": 90.0, "own": 80.0}
    assert warned((start, {"at": 2.0, "all": 94.0, "own": 84.0})) == ""
    assert warned((start, {"at": 2.0, "all": 97.0, "own": 84.0})) == "Other programs kept 1.5 of 2 cores busy."
    unknown = "Other programs may have been running (load average 2.0 at the start)."
    assert warned((None, None)) == unknown
    assert warned((start, {"at": 0.1, "all": 90.1, "own": 80.0})) == unknown


def test_endings_of_the_archive() -> None:
    with pytest.raises(ConfigError, match=r"--output pack.rar: expected a name that ends in .zip, .tar.gz, .tgz"):
        pack(LatencyPackConfig(weights=Path("best.pt"), output=Path("pack.rar")))
