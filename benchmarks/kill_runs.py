"""Kill every command at random moments (SIGKILL, SIGTERM, Ctrl-C), go on, and compare with a run that was left alone.

    python benchmarks/kill_runs.py --kills 100 --seed 0 --out kill_runs.json

Runs are small (a narrow yolov5n, 64 px, ten images) and forked from this process, which draws the signal and the moment.
After every kill each checkpoint in the folder must load; the run then goes on (trainings, chains, sensitivity) or is
started again (the others). What it ends with must be what an undisturbed run ends with: the same tensors, the same rows
of results.csv, the same outputs or files. Only processes that died of the signal count. Linux only.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from slimfaces import render_dataset
from slimyolo.checkpoints import save_checkpoint
from slimyolo.cli import run_safely
from slimyolo.errors import SlimyoloError
from slimyolo.exporting import open_exported
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.models import build_detector
from slimyolo.storage import write_json
from slimyolo.tasks.chain.compress import compress
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.iterate import iterate
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.common.resume import resumed_config
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.export.export import export
from slimyolo.tasks.measure.validate import validate
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.predict.predict import predict
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.prune import prune
from slimyolo.tasks.prune.sensitivity import sensitivity
from slimyolo.tasks.prune.sensitivity_config import SensitivityConfig
from slimyolo.tasks.train.config import FinetuneConfig, SparsifyConfig, TrainConfig
from slimyolo.tasks.train.finetune import finetune
from slimyolo.tasks.train.sparsify import sparsify
from slimyolo.tasks.train.train import train

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MOST_KILLS_A_RUN = 4


@dataclass
class Command:
    """`start(folder)` is a run from nothing, `go_on(folder)` what a user types after a kill; `result` is what must agree."""

    start: Callable[[Path], object]
    go_on: Callable[[Path], object]
    result: Callable[[Path], dict[str, Any]]
    seconds: float = 0.0
    expected: dict[str, Any] = field(default_factory=dict)


def commands(work: Path) -> dict[str, Command]:
    """The table of commands, on data and a checkpoint made in `work`."""
    data = render_dataset(work / "data", train=10, val=4, size=96, seed=1)
    small = work / "small.yaml"
    base = Path(__file__).resolve().parents[1] / "models" / "yolov5n.yaml"
    small.write_text(base.read_text().replace("width_multiple: 0.25", "width_multiple: 0.0625"))
    weights = work / "start.pt"
    detector = build_detector(read_architecture(small).with_classes(2), names=("face", "face_mask"), seed=3)
    save_checkpoint(weights, detector)
    quick: dict[str, Any] = {
        "data": data,
        "imgsz": 64,
        "batch_size": 4,
        "workers": 0,
        "noplots": True,
        "noautoanchor": True,
        "exist_ok": True,
    }

    def training(kind: type[TrainConfig], task: Callable[[Any], object], **settings: Any) -> Command:
        def start(folder: Path) -> object:
            return task(kind(**quick, **settings, epochs=3, nominal_batch=8, project=folder, name="run"))

        def go_on(folder: Path) -> object:
            last = folder / "run" / "weights" / "last.pt"
            if not last.is_file():
                return start(folder)
            if load_checkpoint(last).training is None:
                return None  # stripped, the last thing that a run does
            return task(resumed_config(kind, last, {}))

        return Command(start, go_on, _trained)

    def chain(folder: Path, resume: bool = False) -> object:
        settings = {key: value for key, value in quick.items() if not (resume and key == "exist_ok")}
        return compress(
            CompressConfig(
                **settings,
                cfg=str(small),
                epochs=2,
                sparse_epochs=2,
                finetune_epochs=1,
                percent=0.3,
                project=folder,
                name="run",
                resume=resume,
            )
        )

    def chain_again(folder: Path) -> object:
        return chain(folder, resume=(folder / "run" / "chain.json").is_file())

    def cut(folder: Path) -> object:
        return prune(
            PruneConfig(
                weights=weights,
                percent=0.3,
                imgsz=64,
                project=folder,
                name="run",
                exist_ok=True,
                plan_out=folder / "plan.json",
            )
        )

    def exported(folder: Path) -> object:
        return export(ExportConfig(weights=weights, format=("onnx", "torchscript"), imgsz=64, output=folder))

    def rounds(folder: Path, resume: bool = False) -> object:
        settings = {key: value for key, value in quick.items() if key not in ("exist_ok", "noplots", "noautoanchor")}
        return iterate(
            IterateConfig(
                **settings,
                weights=weights,
                macs=0.5,
                rounds=2,
                round_epochs=1,
                epochs=1,
                no_reconstruct=True,
                project=folder,
                name="run",
                exist_ok=not resume,
                resume=resume,
            )
        )

    def groups(folder: Path, resume: bool = False) -> object:
        return sensitivity(
            SensitivityConfig(
                weights=weights,
                data=data,
                images=2,
                kept=(0.5,),
                imgsz=64,
                workers=0,
                project=folder,
                name="run",
                exist_ok=not resume,
                resume=resume,
            )
        )

    def measured(folder: Path) -> object:
        return validate(
            ValConfig(
                weights=weights,
                data=data,
                imgsz=64,
                workers=0,
                save_json=True,
                project=folder,
                name="run",
                exist_ok=True,
            )
        )

    def detected(folder: Path) -> object:
        source = str(data.parent / "images" / "train")
        return predict(
            PredictConfig(
                weights=weights,
                source=source,
                imgsz=(64, 64),
                conf=1e-3,
                save_json=True,
                project=folder,
                name="run",
                exist_ok=True,
            )
        )

    def again(task: Callable[[Path, bool], object], record: str) -> Callable[[Path], object]:
        return lambda folder: task(folder, (folder / "run" / record).is_file())

    return {
        "train": training(TrainConfig, train, cfg=str(small)),
        "sparsify": training(SparsifyConfig, sparsify, weights=weights, percent=0.3),
        "finetune": training(FinetuneConfig, finetune, weights=weights, optimizer="AdamW"),
        "compress": Command(chain, chain_again, _chained),
        "prune": Command(cut, cut, lambda folder: _tensors(folder / "run" / "pruned.pt")),
        "export": Command(exported, exported, _outputs),
        "iterate": Command(rounds, again(rounds, "iterate.json"), _iterated),
        "sensitivity": Command(groups, again(groups, "sensitivity.json"), _grouped),
        "val": Command(measured, measured, _measured),
        "predict": Command(detected, detected, _detected),
    }


def _tensors(path: Path) -> dict[str, Any]:
    return dict(load_checkpoint(path).tensors)


def _trained(folder: Path) -> dict[str, Any]:
    weights = folder / "run" / "weights"
    rows = {"results.csv": (folder / "run" / "results.csv").read_text()}
    return {
        **{
            f"{name} {key}": value for name in ("last.pt", "best.pt") for key, value in _tensors(weights / name).items()
        },
        **rows,
    }


def _chained(folder: Path) -> dict[str, Any]:
    found = {f"pruned {key}": value for key, value in _tensors(folder / "run" / "pruned" / "pruned.pt").items()}
    rows = json.loads((folder / "run" / "table.json").read_text())
    return {**found, **_tensors(Path(rows[-1]["weights"])), "stages": [row["stage"] for row in rows]}


def _iterated(folder: Path) -> dict[str, Any]:
    rows = json.loads((folder / "run" / "table.json").read_text())
    return {
        **_tensors(Path(rows[-1]["weights"])),
        "metrics": [(row["stage"], row["map50_95"], row["macs"]) for row in rows],
    }


def _grouped(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "run" / "sensitivity.json").read_text())
    return {"complete": found["complete"], "groups": found["groups"]}


def _measured(folder: Path) -> dict[str, Any]:
    return {"predictions": json.loads((folder / "run" / "predictions.json").read_text())}


def _detected(folder: Path) -> dict[str, Any]:
    pictures = {file.name: file.read_bytes() for file in sorted((folder / "run").glob("*.jpg"))}
    return {**pictures, "images": json.loads((folder / "run" / "detections.json").read_text())["images"]}


def _outputs(folder: Path) -> dict[str, Any]:
    images = torch.linspace(0, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".onnx", ".torchscript"):
            with open_exported(file, threads=1) as model:
                found[file.name] = model(images)
    return found


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    """The names of what is not the same to the last bit in two results."""
    names = sorted(first.keys() ^ second.keys())
    for key in sorted(first.keys() & second.keys()):
        a, b = first[key], second[key]
        if not (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b):
            names.append(key)
    return names


def lived(task: Callable[[Path], object], folder: Path, number: int | None, after_s: float) -> int | None:
    """Run `task` in a forked process and send it signal `number` after so many seconds; returns its exit code."""

    def life() -> None:
        def whole() -> int:
            task(folder)
            return 0

        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a script starts in the background
        code = run_safely(whole)  # as the command line runs it
        sys.stdout.flush()
        os._exit(code)

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
        process = multiprocessing.get_context("fork").Process(target=life)
        process.start()
    process.join(after_s)
    if number is not None and process.is_alive() and process.pid is not None:
        os.kill(process.pid, number)
    process.join(300)
    if process.is_alive():
        process.kill()
        return None
    return process.exitcode


def broken_checkpoints(folder: Path) -> list[str]:
    """What is wrong with the checkpoints that lie there: whole files only may have these names."""
    problems = []
    for file in sorted(folder.rglob("*.pt")):
        try:
            load_checkpoint(file).detector()
        except SlimyoloError as error:
            problems.append(str(error))
    for file in (*folder.rglob("*.onnx"), *folder.rglob("*.torchscript")):
        try:
            open_exported(file, threads=1).close()
        except SlimyoloError as error:
            problems.append(str(error))
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long, whatever was reached")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="*", help="such as train compress; none: all")
    parser.add_argument("--out", type=Path, default=Path("kill_runs.json"))
    options = parser.parse_args()
    logging.getLogger("slimyolo").setLevel(logging.CRITICAL)
    torch.set_num_threads(1)
    generator = random.Random(options.seed)
    kills, runs, problems = Counter[str](), Counter[str](), []

    def note() -> None:
        write_json(
            options.out,
            {
                "seed": options.seed,
                "kills": sum(kills.values()),
                "by": dict(kills),
                "runs_compared": dict(runs),
                "problems": problems,
            },
        )

    with tempfile.TemporaryDirectory(prefix="slimyolo-kills-") as name:
        work = Path(name)
        table = {
            key: command for key, command in commands(work).items() if not options.commands or key in options.commands
        }
        for key, command in table.items():
            began = time.monotonic()
            code = lived(command.start, work / key, None, 300)
            command.seconds = time.monotonic() - began
            if code != 0:
                print(f"{key}: the undisturbed run ended with {code}")
                return 1
            command.expected = command.result(work / key)
            print(f"{key}: {command.seconds:.1f} s undisturbed", flush=True)
        end = time.monotonic() + options.minutes * 60
        while sum(kills.values()) < options.kills and time.monotonic() < end:
            key = min(table, key=lambda one: (runs[one], generator.random()))
            command, folder, step = table[key], work / "killed", "start"
            shutil.rmtree(folder, ignore_errors=True)
            told = []
            for _ in range(MOST_KILLS_A_RUN):
                number, after = generator.choice(SIGNALS), generator.uniform(0, 0.8) * command.seconds
                began = time.monotonic()
                code = lived(command.start if step == "start" else command.go_on, folder, number, after)
                told.append(f"{number.name} after {after:.2f} s → {code}")
                if code == 0:  # it was faster than the signal
                    if step == "start":
                        command.seconds = min(command.seconds, time.monotonic() - began)  # the machine is less busy now
                    break
                step = "go on"
                if code not in (-number, 130):
                    problems.append(f"{key}: ended with {code} ({'; '.join(told)})")
                kills[f"{key} {number.name}"] += 1
                problems += [f"{key}: {problem} ({'; '.join(told)})" for problem in broken_checkpoints(folder)]
            code = lived(command.go_on, folder, None, 300)
            if code != 0:
                problems.append(f"{key}: could not go on: {code} ({'; '.join(told)})")
            elif other := differences(command.expected, command.result(folder)):
                problems.append(f"{key}: {len(other)} results differ, {other[:3]} ({'; '.join(told)})")
            leftovers = [str(file.relative_to(folder)) for file in folder.rglob(".*.part")]
            if leftovers:
                told.append(f"left {leftovers}")
            runs[key] += 1
            note()
            print(f"{sum(kills.values()):4} kills  {key}: {'; '.join(told)}", flush=True)
        note()
    print(f"{sum(kills.values())} kills, {sum(runs.values())} runs compared, {len(problems)} problems")
    for problem in problems:
        print(f"  {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
