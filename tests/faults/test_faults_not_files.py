"""Table of cases: pipes, devices, sockets, links to nothing and endless files are refused in every place that reads files of
users, at once and with little memory."""

from __future__ import annotations

import ast
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from watching import memory_above_now

from slimyolo.cli.options import read_config_file
from slimyolo.data import read_dataset_yaml, read_split
from slimyolo.data.dataset.check import check_dataset
from slimyolo.errors import SlimyoloError
from slimyolo.evaluation.outcome_files import read_outcomes
from slimyolo.exporting import open_exported
from slimyolo.exporting.neighbours import onnx_data
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.inference import BrokenPicture, read_pictures
from slimyolo.reports.records.run_files import read_history, read_options
from slimyolo.storage import UnsuitableFileError, check_user_file, open_user_file, read_json, read_user_file
from slimyolo.storage.user_files import LARGEST_BYTES
from slimyolo.tasks.prune.plan import read_plan
from slimyolo.tasks.train.config import TrainConfig
from slimyolo.tasks.train.hyperparameters import read_hyperparameters

SOURCE = Path(__file__).resolve().parents[2] / "src" / "slimyolo"


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(path))  # such names have at most 107 bytes


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(100 * 10**9)


MAKERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (_pipe, "it is a pipe, expected a file"),
    "socket": (_socket, "it is a socket, expected a file"),
    "link to a device": (lambda path: path.symlink_to("/dev/zero"), "it is a device, expected a file"),
    "link to nothing": (lambda path: path.symlink_to("nowhere"), "it is a link that leads to nothing"),
    "100 GB of nothing": (_sparse, "it has 100,000,000,000 bytes, and at most"),
}


def _quickly(action: Callable[[], Any]) -> Any:
    began = time.monotonic()
    with memory_above_now(2**28):
        result = action()
    assert time.monotonic() - began < 5
    return result


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("function", [read_user_file, open_user_file, check_user_file])
def test_the_one_place_says_what_it_is(tmp_path: Path, name: str, function: Callable[..., Any]) -> None:
    make, words = MAKERS[name]
    make(tmp_path / "a")
    with pytest.raises(UnsuitableFileError) as caught:
        _quickly(lambda: function(tmp_path / "a", "picture"))
    assert words in (caught.value.strerror or "")


def test_the_one_place_reads_what_is_there(tmp_path: Path) -> None:
    for content in (b"", b"a", os.urandom(3_000_000)):
        (tmp_path / "a").write_bytes(content)
        assert read_user_file(tmp_path / "a", "picture") == content
        with open_user_file(tmp_path / "a", "picture") as file:
            assert file.read() == content
        assert check_user_file(tmp_path / "a", "picture") == len(content)
    assert read_user_file("/proc/self/status", "table")  # its length is stated as 0
    with pytest.raises(IsADirectoryError):
        read_user_file(tmp_path, "picture")
    for missing in (tmp_path / "b", "a\0b"):
        with pytest.raises(FileNotFoundError):
            read_user_file(missing, "picture")


def test_each_role_has_its_limit(tmp_path: Path) -> None:
    for role, largest in LARGEST_BYTES.items():
        if role == "video":
            continue
        path = tmp_path / role.replace(" ", "_")
        with path.open("wb") as file:
            file.truncate(largest)
        assert check_user_file(path, role) == largest
        with path.open("wb") as file:
            file.truncate(largest + 1)
        with pytest.raises(UnsuitableFileError) as caught:
            check_user_file(path, role)
        assert f"at most {largest >> 20:,} MiB are read of a" in (caught.value.strerror or "")


def _dataset(path: Path) -> Any:
    (path.parent / "data.yaml").write_text(f"train: {path.name}\nval: {path.name}\nnames: [a]\n")
    return read_split(read_dataset_yaml(path.parent / "data.yaml"), "train")


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    # what is read → the name of the file, and who reads it
    "dataset YAML": ("a.yaml", read_dataset_yaml),
    "architecture": ("a.yaml", read_architecture),
    "hyper-parameters": ("a.yaml", lambda path: read_hyperparameters(path, ())),
    "recipe": ("a.yaml", lambda path: read_config_file(str(path), TrainConfig)),
    "list of a dataset": ("a.txt", _dataset),
    "picture of a dataset": ("a.jpg", _dataset),
    "list of pictures": ("a.txt", lambda path: list(read_pictures(str(path)))),
    "plan": ("a.json", read_plan),
    "record": ("a.json", read_json),
    "outcomes": ("a.npz", read_outcomes),
    "checkpoint": ("a.pt", load_checkpoint),
    "safetensors": ("a.safetensors", load_checkpoint),
    "ONNX": ("a.onnx", open_exported),
    "TorchScript": ("a.torchscript", open_exported),
    "LiteRT": ("a.tflite", open_exported),
    "OpenVINO": ("a.xml", open_exported),
    "ncnn": ("a.param", open_exported),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_refuses(tmp_path: Path, reader: str, name: str) -> None:
    file, read = READERS[reader]
    MAKERS[name][0](tmp_path / file)
    with pytest.raises(SlimyoloError) as caught:
        _quickly(lambda: read(tmp_path / file))
    assert file in str(caught.value)


@pytest.mark.parametrize("name", MAKERS)
def test_folders_of_pictures_and_reports(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for file in ("a.jpg", "b.mp4"):
        MAKERS[name][0](folder / file)
    for outcome in _quickly(lambda: list(read_pictures(str(folder)))):
        assert isinstance(outcome, BrokenPicture)
        assert MAKERS[name][1] in outcome.reason or (name == "100 GB of nothing" and "no frame" in outcome.reason)
    for file, reader in (("results.csv", read_history), ("opt.yaml", read_options)):
        MAKERS[name][0](folder / file)
        if (folder / file).is_file():  # what is no file is not there for a report
            with pytest.raises(SlimyoloError, match=file):
                _quickly(lambda reader=reader: reader(folder))
        else:
            assert not _quickly(lambda reader=reader: reader(folder))


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("spoilt", ["images", "labels"])
def test_a_dataset_goes_on_without_them(tiny_data: Path, tmp_path: Path, name: str, spoilt: str) -> None:
    root = tmp_path / "set"
    shutil.copytree(tiny_data.parent, root)
    victim = sorted((root / spoilt / "val").iterdir())[0]
    victim.unlink()
    MAKERS[name][0](victim)
    spec = read_dataset_yaml(root / tiny_data.name)
    report = _quickly(lambda: check_dataset(spec))
    (defect,) = report.splits[1].defects
    assert defect.file == victim
    assert MAKERS[name][1] in defect.message
    assert report.splits[1].images == 3


def test_a_label_file_of_millions_of_rows_is_not_read(tiny_data: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_data.parent, tmp_path / "set")
    label = sorted((tmp_path / "set" / "labels" / "val").iterdir())[0]
    label.write_bytes(b"0 0.5 0.5 0.1 0.1\n" * 300_000)
    split = _quickly(lambda: read_split(read_dataset_yaml(tmp_path / "set" / tiny_data.name), "val"))
    assert "at most 4 MiB are read of a label file" in split.defects[0].message


@pytest.mark.parametrize("name", ["pipe", "socket", "link to a device", "100 GB of nothing"])
@pytest.mark.parametrize(("model", "other"), [("a.xml", "a.bin"), ("a.param", "a.bin"), ("a.onnx", "weights.data")])
def test_what_lies_beside_an_exported_file(tmp_path: Path, model: str, other: str, name: str) -> None:
    (tmp_path / model).write_bytes(_onnx_with_data(other) if model == "a.onnx" else b"7767517\n0 0\n")
    MAKERS[name][0](tmp_path / other)
    with pytest.raises(SlimyoloError, match=f"{other}, which belongs to .*{MAKERS[name][1]}"):
        _quickly(lambda: open_exported(tmp_path / model))


def _onnx_with_data(place: str) -> bytes:
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location=1)
    tensor.external_data.add(key="location", value=place)
    inner = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["y"], value=tensor)], "inner", [], [])
    node = onnx.helper.make_node("If", ["c"], ["y"], then_branch=inner)
    content: bytes = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [])).SerializeToString()
    return content


def test_external_data_is_found_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(_onnx_with_data("deep/down.data"))
    assert onnx_data(tmp_path / "a.onnx") == (tmp_path / "deep" / "down.data",)
    for content in (b"", b"\xff" * 40, b"\x3a\x7f", b"\x3a\x80"):
        (tmp_path / "a.onnx").write_bytes(content)
        assert onnx_data(tmp_path / "a.onnx") == ()


OWN_FILES = {
    # modules that open files which are not files of users, and why
    "storage/user_files.py": "the one place",
    "storage/atomic.py": "writes",
    "storage/part_folders.py": "a note of its own in a folder of its own",
    "data/dataset/kept_reading.py": "a file of its own in the user's cache folder, with a checksum",
    "exporting/graphs/running.py": "opens a graph, not a file",
    "exporting/stated/reading.py": "the content of a file that was read before",
    "storage/run_lock.py": "a lock of its own",
    "cli/standard_streams.py": "os.devnull",
    "data/convert/layout.py": "writes",
    "costs/machine.py": "/proc and /sys",
    "costs/neighbours.py": "/proc/stat",
    "inference/video_file.py": "the video that it has just written",
    "storage/own_files.py": "an empty file of its own",
    "data/pictures/image_store.py": "/proc/meminfo",
    "tasks/train/assemble/memory.py": "/proc/meminfo",
    "tasks/latency/device/host.py": "standard input of ssh: a file that was just made, or os.devnull",
    "exporting/formats/coreml.py": "os.devnull",
    "exporting/formats/litert.py": "os.devnull, and the file that was just written",
    "exporting/examples.py": "templates of the package",
    "exporting/exporter.py": "the file that was just written",
    "exporting/int8/quantise.py": "the file that was just written",
    "exporting/int8/onnx.py": "the file that was just written",
    "exporting/resizing.py": "the file that was just written",
    "tasks/latency/networks.py": "the file that was just written",
    "tasks/latency/device/archive.py": "the file that was just written, and a template of the package",
    "pruning/standalone/writing.py": "a template of the package",
    "pruning/standalone/narrow.py": "stands alone beside the weights that it opens",
    "pruning/plan/plan.py": "writes",
    "models/reading.py": "architectures of the package",
    "serving/app.py": "the page of the package",
    "inference/held.py": "files that the caller opened",
    "storage/foreign_pickle.py": "a zip archive from an opened file",
    "evaluation/outcome_files.py": "a zip archive from an opened file",
    "exporting/runtimes.py": "calls the runtimes, after check_exported_files",
    "tasks/report.py": "a browser",
    "inference/streams.py": "addresses and cameras",
    "inference/sources.py": "videos, after check_user_file",
    "checkpoints/loading.py": "safetensors, after check_user_file",
}
OPENS = {
    "open",
    "read_text",
    "read_bytes",
    "ZipFile",
    "is_zipfile",
    "fromfile",
    "loadtxt",
    "imread",
    "load_file",
    "VideoCapture",
}
RUNTIMES = "exporting/formats/"  # they open what `open_exported` has looked at


def test_no_module_opens_files_of_users_by_itself() -> None:
    found = {}
    for file in SOURCE.rglob("*.py"):
        place = file.relative_to(SOURCE).as_posix()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else vars(node.func).get("id")
                if called in OPENS and place not in OWN_FILES and not place.startswith(RUNTIMES):
                    found[place] = f"{place}:{node.lineno} calls {called}()"
    assert not found, "use slimyolo.storage.user_files, or say in OWN_FILES why not: " + "; ".join(found.values())
    assert all((SOURCE / place).is_file() for place in OWN_FILES)
