"""Table of cases: exported files that are programs run only when slimyolo wrote them for this user, or when the user says so."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import slimyolo
from slimyolo.cli.main import run_command_line
from slimyolo.errors import CheckpointError, UnsafeCheckpointError
from slimyolo.exporting import (
    FORMATS,
    ExportSettings,
    detector_metadata,
    export_detector,
    open_exported,
    stated_size,
)
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.models import Detector, build_detector
from slimyolo.storage import is_own_file, own_files, remember_own_file

RUNS = {"jit.load", "torch.jit.load", "torch.load", "pickle.load", "pickle.loads", "marshal.loads", "torch.package"}
IMAGE = np.zeros((64, 64, 3), np.uint8)


class Stranger(torch.nn.Module):
    """Writes a file when it is loaded, and another when it runs."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        torch.save(images, "OWNED-run")
        return torch.zeros(1, 6, 84)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user of their own, in a folder of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(own_files, "_written", set())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def detector(small_cfg: str) -> Detector:
    return build_detector(read_architecture(small_cfg).with_classes(2), names=["a", "b"], seed=0).eval()


def _strange(path: Path, **texts: str) -> Path:
    module = torch.jit.script(Stranger())
    torch.jit.save(module, str(path), _extra_files={key: value.encode() for key, value in texts.items()})
    return path


CONFIG = json.dumps({"names": ["a", "b"], "task": "detect", "imgsz": [64, 64], "stride": 32})


def test_a_stranger_is_not_run(home: Path) -> None:
    path = _strange(home / "a.torchscript", **{"config.txt": CONFIG})
    for what in (lambda: open_exported(path), lambda: slimyolo.predict(path, IMAGE)):
        with pytest.raises(UnsafeCheckpointError, match=r"is a program: .*trust_code=True"):
            what()
    assert stated_size(path) == (64, 64)
    assert not list(home.glob("OWNED*"))


@pytest.mark.parametrize(
    "words",
    [
        ["predict", "--weights", "a.torchscript", "--source", "."],
        ["val", "--weights", "a.torchscript", "--data", "data.yaml"],
        ["bench", "--weights", "a.torchscript", "--runtime", "torch"],
        ["compare", "a.torchscript", "a.torchscript", "--data", "data.yaml"],
        ["serve", "--weights", "a.torchscript", "--port", "0"],
    ],
)
def test_every_command_refuses(home: Path, tiny_data: Path, words: list[str]) -> None:
    _strange(home / "a.torchscript", **{"config.txt": CONFIG})
    (home / "data.yaml").write_text(tiny_data.read_text().replace("path: .", f"path: {tiny_data.parent}"))
    with pytest.raises(UnsafeCheckpointError, match="--trust-code"):
        run_command_line(words)
    assert not list(home.glob("OWNED*"))


def test_it_runs_when_the_user_trusts_it(home: Path) -> None:
    path = _strange(home / "a.torchscript", **{"config.txt": CONFIG})
    slimyolo.predict(path, IMAGE, trust_code=True, imgsz=64)
    assert list(home.glob("OWNED-run"))


def test_what_slimyolo_wrote_is_known_wherever_it_lies(home: Path, detector: Detector) -> None:
    path = home / "a.torchscript"
    settings = ExportSettings(size=(64, 64), metadata=detector_metadata(detector, (64, 64), "1"))
    export_detector(detector, FORMATS["torchscript"], path, settings)
    moved = path.rename(home / "b.torchscript")
    own_files._written.clear()  # another process
    with open_exported(moved) as model:
        assert model.names == ("a", "b")
        assert model.imgsz == (64, 64)
    content = moved.read_bytes()
    place = content.index(b"traced") if b"traced" in content else len(content) // 2
    moved.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(CheckpointError):
        open_exported(moved)


def test_a_folder_that_others_can_write_to_is_not_believed(home: Path) -> None:
    remember_own_file(b"x")
    own_files._written.clear()
    assert is_own_file(b"x")
    assert not is_own_file(b"y")
    (home / "state" / "slimyolo" / "written").chmod(0o777)
    assert not is_own_file(b"x")


@pytest.mark.parametrize("state", ["no home", "read-only"])
def test_without_a_home_the_process_remembers(home: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    if state == "no home":
        monkeypatch.delenv("XDG_STATE_HOME")
        monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    else:
        (home / "state").write_text("a file where a folder should be")
    remember_own_file(b"x")
    assert is_own_file(b"x")
    own_files._written.clear()
    assert not is_own_file(b"x")


def test_metadata_of_a_bomb_are_not_unpacked(home: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/extra/names", b" " * 50_000_000)
    (home / "a.torchscript").write_bytes(buffer.getvalue())
    for what in (open_exported, stated_size):
        with pytest.raises(CheckpointError, match="its names has 50,000,000 bytes"):
            what(home / "a.torchscript")


def test_no_other_file_that_could_run_is_opened(home: Path) -> None:
    """Exports of other programs that may hold code: none is opened, whatever its name says."""
    with zipfile.ZipFile(home / "a.pt2", "w") as archive:  # as torch.export.save writes it
        archive.writestr("a/archive_format", "pt2")
        archive.writestr("a/data/weights/model.pt", b"cos\nsystem\n(S'touch OWNED'\ntR.")
    (home / "saved_model").mkdir()
    (home / "saved_model" / "saved_model.pb").write_bytes(b"\x08\x01")
    torch.jit.save(torch.jit.script(Stranger()), str(home / "torchscript.pt"))
    for name in ("a.keras", "a.h5", "a.pb", "a.engine", "a.mlmodel", "a.pkl", "a.py"):
        (home / name).write_bytes(b"cos\nsystem\n(S'touch OWNED'\ntR.")
    for path in [*home.glob("a.*"), home / "saved_model", home / "torchscript.pt"]:
        with pytest.raises(CheckpointError):
            load_checkpoint(path)
        with pytest.raises(CheckpointError):
            open_exported(path)
    assert not list(home.glob("OWNED*"))


def test_the_loaders_that_run_code_are_called_in_one_place() -> None:
    """`torch.jit.load` runs code, and so do `torch.load` without ``weights_only`` and the loaders of pickles."""
    source = Path(slimyolo.__file__).parent
    found = []
    for file in source.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                only_weights = any(
                    key.arg == "weights_only" and ast.unparse(key.value) == "True" for key in node.keywords
                )
                if called in RUNS and not (called == "torch.load" and only_weights):
                    found.append((file.relative_to(source).as_posix(), called))
    assert found == [("exporting/formats/torchscript.py", "jit.load")]


def test_a_user_without_home_exports_and_runs_in_one_command(home: Path, detector: Detector) -> None:
    """`slimyolo export` opens what it wrote, also when nothing can be remembered."""
    slimyolo_save = home / "a.pt"
    from slimyolo.checkpoints import save_checkpoint

    save_checkpoint(slimyolo_save, detector)
    environment = {key: value for key, value in os.environ.items() if key not in ("HOME", "XDG_STATE_HOME")}
    words = ["export", "--weights", str(slimyolo_save), "--format", "torchscript", "--imgsz", "64", "--no-examples"]
    done = subprocess.run(
        [sys.executable, "-m", "slimyolo", *words],
        env={**environment, "HOME": "/nonexistent", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (home / "a.torchscript").is_file()
