"""Exported files for ``fuzz_files.py``: one of each format that is installed here, and a child process that reads them.

A runtime that crashes ends its process, and one with an endless graph never comes back. So a child reads the damaged files, one
after the other, with a limit of time for each; the trial starts a new child after a crash. The child is a new Python: a fork of
a process in which a runtime has threads may hang.
"""

from __future__ import annotations

import importlib.util
import logging
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from slimyolo.errors import CheckpointError, SlimyoloError
from slimyolo.exporting import FORMATS, ExportSettings, OnnxQuantiser, detector_metadata, export_detector, open_exported
from slimyolo.families import read_architecture
from slimyolo.models import Detector, build_detector

LONGEST_S = 60.0  # of wall time for one file; its processor time is bounded by SLOW_S of the trial
NAMES = ("face", "face_mask")

# what is damaged → what is opened then, below the folder of the corpus
KINDS: dict[str, str] = {
    "onnx/a.onnx": "onnx/a.onnx",
    "onnx-int8/a.onnx": "onnx-int8/a.onnx",
    "openvino/a.xml": "openvino/a.xml",
    "openvino/a.bin": "openvino/a.xml",
    "ncnn/model.ncnn.param": "ncnn/model.ncnn.param",
    "ncnn/model.ncnn.bin": "ncnn/model.ncnn.param",
    "ncnn/metadata.json": "ncnn/model.ncnn.param",
    "torchscript/a.torchscript": "torchscript/a.torchscript",
    "litert/a.tflite": "litert/a.tflite",
}
GRAPH_WORDS = (
    *(b"-23303=99999999,1", b"0=-1", b"-1", b"2147483647", b"Convolution", b"Reshape", b"Permute", b"out0", b"in0"),
    *(b"<dim>-1</dim>", b"<dim>0</dim>", b"<dim>4294967295</dim>", b'offset="18446744073709551608"', b'size="0"'),
    *(b'element_type="u1"', b'shape="-1"', b'type="Loop"', b'version="opset99"', b'to-layer="0"', b"../../etc/passwd"),
)


class ReadingError(Exception):
    """A child found what must not happen; `where` names the kind of error, the message holds the whole of it."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(message)
        self.where = where


def write_exported(folder: Path) -> None:
    """Write the files of `KINDS`, of a small detector, below `folder`, as far as their packages are installed."""
    detector = _small_detector(folder)
    about = detector_metadata(detector, (64, 64), "1")
    settings = ExportSettings(size=(64, 64), metadata=about)
    for row in FORMATS.values():
        if row.runtime is None or row.name == "tensorrt" or not all(map(importlib.util.find_spec, row.packages)):
            continue
        made = export_detector(detector, row, folder / f"made{row.ending}", settings).path
        place = folder / row.name
        if row.folder:
            made.rename(place)
            for file in place.glob("made*"):  # the names of OpenVINO's files follow that of the folder
                file.rename(file.with_name(f"a{file.suffix}"))
        else:
            place.mkdir()
            made.rename(place / f"a{row.ending}")
    (folder / "onnx-int8").mkdir()
    images = list(torch.rand(2, 1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    quantiser = OnnxQuantiser(folder / "onnx" / "a.onnx", images)
    quantiser.write(quantiser.last, folder / "onnx-int8" / "a.onnx")


def _small_detector(folder: Path) -> Detector:
    base = Path(__file__).resolve().parents[2] / "models" / "yolov5n.yaml"
    small = folder / "small-exported.yaml"
    small.write_text(base.read_text().replace("width_multiple: 0.25", "width_multiple: 0.0625"))
    return build_detector(read_architecture(small).with_classes(len(NAMES)), names=list(NAMES), seed=0).eval()


class Reader:
    """Reads files in a child, and starts a new one when it was lost. `spent_s` is the processor time of all reads."""

    def __init__(self, folder: Path, forbidden: tuple[str, ...], memory: int) -> None:
        self._folder, self._forbidden, self._memory = folder, forbidden, memory
        self._child: Any = None
        self.spent_s = 0.0
        self.children = 0
        self.peak_mib = 0.0

    def read(self, path: Path) -> None:
        """Open and run `path` in the child. Raises `SlimyoloError` with the message when slimyolo refuses it, else
        `ReadingError` for a crash, a file that takes too long, an error of another class, or one that ran something."""
        if self._child is None:
            self._start()
        try:
            self._pipe.send(path)
            if not self._pipe.poll(LONGEST_S):
                self.close()
                raise ReadingError(f"not read after {LONGEST_S:.0f} s", "the child was killed")
            where, text, seconds, self.peak_mib = self._pipe.recv()
        except (EOFError, OSError):
            self._child.join()
            status, self._child = self._child.exitcode, None
            name = signal.Signals(-status).name if status < 0 else f"status {status}"
            raise ReadingError(f"the process ended by {name}", "a native crash") from None
        self.spent_s += seconds
        if where == "refused":
            raise SlimyoloError(text)
        if where:
            raise ReadingError(where, text)

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child.join()
            self._child = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        settings = (theirs, str(self._folder), self._forbidden, self._memory)
        self._child = context.Process(target=_serve, args=settings, daemon=True)
        self._child.start()
        theirs.close()
        self._pipe.recv()  # the imports are done
        self.children += 1


def _serve(pipe: Connection, folder: str, forbidden: tuple[str, ...], memory: int) -> None:
    """In the child: read each path that comes, and answer (where it went wrong, message, processor time, peak memory)."""
    os.environ["XDG_STATE_HOME"] = f"{folder}/of-nobody"  # no file is known as one that slimyolo wrote
    logging.getLogger("slimyolo").setLevel(logging.CRITICAL)
    torch.set_num_threads(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # what runtimes print about damaged files
    for place in dict.fromkeys(KINDS.values()):
        with suppress(CheckpointError):  # all imports are done before something is watched
            _open(Path(folder) / "whole" / place)
    ran: list[str] = []
    watching = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in forbidden:
            ran.append(f"{event} {arguments!r}"[:200])
            raise PermissionError(event)

    sys.addaudithook(hook)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory, resource.getrlimit(resource.RLIMIT_AS)[1]))
    pipe.send("ready")
    while True:
        path = pipe.recv()
        start, watching, where, text = time.process_time(), True, "", ""
        try:
            _open(path)
        except SlimyoloError as error:
            where, text = "refused", str(error)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
            text = "".join(traceback.format_exception(error))[-3000:]
        watching = False
        if ran or (not where and path.suffix == ".torchscript"):
            where, text = "it ran something", "; ".join(ran) or "a program of a stranger was opened"
            ran.clear()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        pipe.send((where, text, time.process_time() - start, peak))


def _open(path: Path) -> None:
    with open_exported(path, threads=1) as model:
        model(torch.zeros(1, 3, 64, 64))
