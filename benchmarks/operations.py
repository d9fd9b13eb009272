"""Which operations take the time of a detector on ONNX Runtime, and how much of each a cut saves.

    python benchmarks/operations.py dense.pt cut.pt [--imgsz 320] [--threads 2] [--runs 60] [--json operations.json]

Each file, a checkpoint or an ONNX file, is run with ONNX Runtime's own profiler, in turn with the others. The time of an
operation is the 10th percentile over the runs, which other load disturbs least; times are added up by kind. With several files,
"÷" is the time in the first file divided by the time in this one. Convolutions shrink with both of their widths; activations,
concatenations and resizing shrink with one width only, and the choice of the best rows does not shrink at all. This is why half
of the multiply-accumulates is not half of the time.

| kind | operations |
|---|---|
| convolution | Conv, with a fused activation or sum |
| SiLU | Sigmoid, Mul, and what the runtime fuses them to |
| attention | products of two activations, and their softmax |
| layout | concatenation, splitting, transposing, reordering for vector units |
| pooling and resizing | MaxPool, Resize |
| decoding | everything else: arithmetic of boxes, softmax over the bins of DFL, the best rows |
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimyolo import __version__
from slimyolo.exporting import ExportSettings, detector_metadata, export_detector, find_format
from slimyolo.families import load_checkpoint

KINDS: Mapping[str, tuple[str, ...]] = {
    "convolution": ("Conv", "FusedConv", "ConvTranspose"),
    "SiLU": ("Sigmoid", "Mul", "QuickGelu", "Swish"),
    "attention": ("MatMul", "FusedMatMul", "Gemm", "Attention", "MultiHeadAttention"),
    "layout": (
        "Concat",
        "Split",
        "Transpose",
        "Reshape",
        "ReorderInput",
        "ReorderOutput",
        "Slice",
        "Gather",
        "Unsqueeze",
    ),
    "pooling and resizing": ("MaxPool", "AveragePool", "Resize", "Upsample"),
}
OTHER = "decoding"
WARMUP = 10


@dataclass(frozen=True)
class Profile:
    """The milliseconds of one image, by operation (an ONNX name), and the number of multiply-accumulates if it is known."""

    file: str
    operations: Mapping[str, float]
    macs: int | None

    @property
    def total(self) -> float:
        """All operations together."""
        return sum(self.operations.values())

    def kinds(self) -> dict[str, float]:
        """The milliseconds by kind of operation."""
        of = {name: kind for kind, names in KINDS.items() for name in names}
        found = dict.fromkeys((*KINDS, OTHER), 0.0)
        for name, value in self.operations.items():
            found[of.get(name, OTHER)] += value
        return found


def main() -> None:
    """Profile, and print the tables."""
    given = _arguments()
    with tempfile.TemporaryDirectory(prefix="operations-", ignore_cleanup_errors=True) as folder:
        profiles = _profiles(given, Path(folder))
    print(
        f"ONNX Runtime, {given.imgsz} px, {given.threads} threads, 10th percentile of {given.runs} runs; ms of one image\n"
    )
    print(_table([(kind, [one.kinds()[kind] for one in profiles]) for kind in (*KINDS, OTHER)], profiles))
    names = sorted(
        {name for one in profiles for name in one.operations}, key=lambda name: -profiles[0].operations.get(name, 0)
    )
    print("\n" + _table([(name, [one.operations.get(name, 0.0) for one in profiles]) for name in names], profiles))
    if profiles[0].macs and len(profiles) > 1:
        ratios = ", ".join(f"{one.file} {profiles[0].macs / one.macs:.2f}" for one in profiles[1:] if one.macs)
        print(f"\nmultiply-accumulates of the first file divided by those of: {ratios}")
    if given.json is not None:
        rows = [
            {"file": one.file, "macs": one.macs, "kinds": one.kinds(), "operations": one.operations} for one in profiles
        ]
        given.json.write_text(
            json.dumps({"settings": {**vars(given), "json": None}, "files": rows}, indent=2, default=str)
        )


def _profiles(given: argparse.Namespace, folder: Path) -> list[Profile]:
    import onnxruntime

    image = np.random.default_rng(0).random((1, 3, given.imgsz, given.imgsz), dtype=np.float32)
    sessions, macs = [], []
    for number, file in enumerate(given.files):
        path, count = _as_onnx(file, given.imgsz, folder / f"{number}.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = given.threads, 1
        options.enable_profiling, options.profile_file_prefix = True, str(folder / f"profile{number}")
        sessions.append(onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
        macs.append(count)
    for _ in range(WARMUP + given.runs):
        for session in sessions:
            session.run(None, {session.get_inputs()[0].name: image})
    return [
        Profile(file.name, _times(Path(session.end_profiling())), count)
        for file, session, count in zip(given.files, sessions, macs, strict=True)
    ]


def _as_onnx(file: Path, imgsz: int, target: Path) -> tuple[Path, int | None]:
    """The ONNX file of `file`, and its multiply-accumulates; a checkpoint is exported to `target`."""
    if file.suffix == ".onnx":
        return file, None
    from slimyolo.tasks.common.opened_model import size_of

    detector = load_checkpoint(file).detector()
    size = (imgsz, imgsz)
    settings = ExportSettings(size=size, metadata=detector_metadata(detector, size, __version__))
    export_detector(detector, find_format("onnx"), target, settings)
    return target, size_of(detector, imgsz).macs


def _times(file: Path) -> dict[str, float]:
    """Operation → the sum of the 10th percentiles of the milliseconds of its nodes, without the warm-up."""
    durations: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in json.loads(file.read_text(encoding="utf-8")):
        about: Any = event.get("args", {})
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time") and "op_name" in about:
            durations[event["name"], about["op_name"]].append(event["dur"] / 1000)
    totals: dict[str, float] = defaultdict(float)
    for (_, operation), values in durations.items():
        totals[operation] += float(np.percentile(values[WARMUP:] or values, 10))
    return dict(totals)


def _table(rows: Sequence[tuple[str, Sequence[float]]], profiles: Sequence[Profile]) -> str:
    """A Markdown table: for each file milliseconds, share of the whole, and the first file's time divided by it."""
    head = ["operation"]
    for number, one in enumerate(profiles):
        head += [one.file, "share", *(["÷"] if number else [])]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for name, values in [*rows, ("all", [one.total for one in profiles])]:
        cells = [name]
        for number, (value, one) in enumerate(zip(values, profiles, strict=True)):
            cells += [f"{value:.3f}", f"{value / one.total:.1%}"]
            cells += [f"{values[0] / value:.2f}" if value > 0 else "—"] if number else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The time of each kind of operation on ONNX Runtime.")
    parser.add_argument(
        "files", nargs="+", type=Path, help="checkpoints or ONNX files; the first is compared with the others"
    )
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    given = parser.parse_args()
    missing = next((file for file in given.files if not file.is_file()), None)
    if missing is not None:
        parser.error(f"there is no file {missing}.")
    return given


if __name__ == "__main__":
    main()
