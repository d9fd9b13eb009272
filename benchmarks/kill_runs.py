"""Kills every command at random moments (SIGKILL, SIGTERM, Ctrl-C), continues it, and compares with an undisturbed run.

    python benchmarks/kill_runs.py --kills 100 --seed 0 --out kill_runs.json

Runs are small (a narrow yolov5n, 64 px, ten images). They are forked from this process, which draws the signal and the
moment. After every kill each checkpoint in the folder must load. The run is then continued (trainings, chains,
sensitivity) or started again (the others). Its results must be those of an undisturbed run: the same tensors, the same
rows of results.csv, the same outputs or files. Only processes that died of the signal count. Linux only.
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
from slimyolo.tasks.train.resume import resumed_config
from slimyolo.tasks.train.sparsify import sparsify
from slimyolo.tasks.train.train import train

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MOST_KILLS_A_RUN = 4


@dataclass
class Command:
    """A command: `start(folder)` begins a run, `go_on(folder)` continues it after a kill, `result` must be the same."""

    start: Callable[[Path], object]
    go_on: Callable[[Path], object]
    result: Callable[[Path], dict[str, Any]]
    seconds: float = 0.0
    expected: dict[str, Any] = field(default_factory=dict)


class Commands:
    """The commands on a small dataset and a small checkpoint, both made in the folder `work`."""

    def __init__(self, work: Path) -> None:
        self.data = render_dataset(work / "data", train=10, val=4, size=96, seed=1)
        self.small = work / "small.yaml"
        base = Path(__file__).resolve().parents[1] / "models" / "yolov5n.yaml"
        self.small.write_text(base.read_text().replace("width_multiple: 0.25", "width_multiple: 0.0625"))
        self.weights = work / "start.pt"
        detector = build_detector(read_architecture(self.small).with_classes(2), names=("face", "face_mask"), seed=3)
        save_checkpoint(self.weights, detector)
        self.quick: dict[str, Any] = {
            "data": self.data,
            "imgsz": 64,
            "batch_size": 4,
            "workers": 0,
            "noplots": True,
            "noautoanchor": True,
            "exist_ok": True,
        }

    def table(self) -> dict[str, Command]:
        """The commands by name."""
        return {
            "train": self._training(TrainConfig, train, cfg=str(self.small)),
            "sparsify": self._training(SparsifyConfig, sparsify, weights=self.weights, percent=0.3),
            "finetune": self._training(FinetuneConfig, finetune, weights=self.weights, optimizer="AdamW"),
            "compress": Command(self._chain, _resuming(self._chain, "chain.json"), _chained),
            "prune": Command(self._cut, self._cut, lambda folder: _tensors(folder / "run" / "pruned.pt")),
            "export": Command(self._export, self._export, _outputs),
            "iterate": Command(self._rounds, _resuming(self._rounds, "iterate.json"), _iterated),
            "sensitivity": Command(self._groups, _resuming(self._groups, "sensitivity.json"), _grouped),
            "val": Command(self._measure, self._measure, _measured),
            "predict": Command(self._detect, self._detect, _detected),
        }

    def _training(self, kind: type[TrainConfig], task: Callable[[Any], object], **settings: Any) -> Command:
        def start(folder: Path) -> object:
            return task(kind(**self.quick, **settings, epochs=3, nominal_batch=8, project=folder, name="run"))

        def go_on(folder: Path) -> object:
            last = folder / "run" / "weights" / "last.pt"
            if not last.is_file():
                return start(folder)
            if load_checkpoint(last).training is None:
                return None  # the training state is removed at the very end: this run has ended
            return task(resumed_config(kind, last, {}))

        return Command(start, go_on, _trained)

    def _chain(self, folder: Path, resume: bool = False) -> object:
        settings = {key: value for key, value in self.quick.items() if not (resume and key == "exist_ok")}
        return compress(
            CompressConfig(
                **settings,
                cfg=str(self.small),
                epochs=2,
                sparse_epochs=2,
                finetune_epochs=1,
                percent=0.3,
                project=folder,
                name="run",
                resume=resume,
            )
        )

    def _cut(self, folder: Path) -> object:
        return prune(
            PruneConfig(
                weights=self.weights,
                percent=0.3,
                imgsz=64,
                project=folder,
                name="run",
                exist_ok=True,
                plan_out=folder / "plan.json",
            )
        )

    def _export(self, folder: Path) -> object:
        return export(ExportConfig(weights=self.weights, format=("onnx", "torchscript"), imgsz=(64, 64), output=folder))

    def _rounds(self, folder: Path, resume: bool = False) -> object:
        left_out = ("exist_ok", "noplots", "noautoanchor")
        settings = {key: value for key, value in self.quick.items() if key not in left_out}
        return iterate(
            IterateConfig(
                **settings,
                weights=self.weights,
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

    def _groups(self, folder: Path, resume: bool = False) -> object:
        return sensitivity(
            SensitivityConfig(
                weights=self.weights,
                data=self.data,
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

    def _measure(self, folder: Path) -> object:
        return validate(
            ValConfig(
                weights=self.weights,
                data=self.data,
                imgsz=64,
                workers=0,
                save_json=True,
                project=folder,
                name="run",
                exist_ok=True,
            )
        )

    def _detect(self, folder: Path) -> object:
        return predict(
            PredictConfig(
                weights=self.weights,
                source=str(self.data.parent / "images" / "train"),
                imgsz=(64, 64),
                conf=1e-3,
                save_json=True,
                project=folder,
                name="run",
                exist_ok=True,
            )
        )


def _resuming(task: Callable[[Path, bool], object], record: str) -> Callable[[Path], object]:
    """Continue the run when it has written its record; otherwise start it again."""
    return lambda folder: task(folder, (folder / "run" / record).is_file())


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
    """The names of the values that are not exactly equal in two results."""
    names = sorted(first.keys() ^ second.keys())
    for key in sorted(first.keys() & second.keys()):
        a, b = first[key], second[key]
        if not (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b):
            names.append(key)
    return names


def lived(task: Callable[[Path], object], folder: Path, number: int | None, after_s: float) -> int | None:
    """Run `task` in a forked process and send it the signal `number` after `after_s` seconds; returns its exit code."""

    def life() -> None:
        def whole() -> int:
            task(folder)
            return 0

        signal.signal(signal.SIGINT, signal.default_int_handler)  # a script that runs in the background ignores it
        code = run_safely(whole)  # as the command line does
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
    """What is wrong with the checkpoints in the folder. Only complete files may have these names."""
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


class Trial:
    """Kills runs of the commands in `table`, and counts the results."""

    def __init__(self, table: dict[str, Command], work: Path, generator: random.Random) -> None:
        self.table, self._work, self._generator = table, work, generator
        self.kills, self.runs = Counter[str](), Counter[str]()
        self.problems: list[str] = []

    def measure(self) -> str | None:
        """Run every command undisturbed, and keep its result and time. Returns the name of a command that failed."""
        for key, command in self.table.items():
            began = time.monotonic()
            code = lived(command.start, self._work / key, None, 300)
            command.seconds = time.monotonic() - began
            if code != 0:
                print(f"{key}: the undisturbed run ended with {code}")
                return key
            command.expected = command.result(self._work / key)
            print(f"{key}: {command.seconds:.1f} s undisturbed", flush=True)
        return None

    def kill_a_run(self) -> None:
        """Kill a run of the command with the fewest runs, up to `MOST_KILLS_A_RUN` times, and compare its result."""
        key = min(self.table, key=lambda one: (self.runs[one], self._generator.random()))
        command, folder = self.table[key], self._work / "killed"
        shutil.rmtree(folder, ignore_errors=True)
        told = self._kill(key, folder)
        code = lived(command.go_on, folder, None, 300)
        if code != 0:
            self.problems.append(f"{key}: could not be continued, exit status {code} ({'; '.join(told)})")
        elif other := differences(command.expected, command.result(folder)):
            self.problems.append(f"{key}: {len(other)} results differ, {other[:3]} ({'; '.join(told)})")
        leftovers = [str(file.relative_to(folder)) for file in folder.rglob(".*.part")]
        if leftovers:
            told.append(f"left {leftovers}")
        self.runs[key] += 1
        print(f"{sum(self.kills.values()):4} kills  {key}: {'; '.join(told)}", flush=True)

    def _kill(self, key: str, folder: Path) -> list[str]:
        """Start the command, kill it, continue it, kill it again … Returns a text for each step."""
        command, step = self.table[key], "start"
        told: list[str] = []
        for _ in range(MOST_KILLS_A_RUN):
            number, after = self._generator.choice(SIGNALS), self._generator.uniform(0, 0.8) * command.seconds
            began = time.monotonic()
            code = lived(command.start if step == "start" else command.go_on, folder, number, after)
            told.append(f"{number.name} after {after:.2f} s → {code}")
            if code == 0:  # it ended before the signal
                if step == "start":
                    command.seconds = min(command.seconds, time.monotonic() - began)  # the machine is less busy now
                break
            step = "go on"
            if code not in (-number, 130):
                self.problems.append(f"{key}: ended with {code} ({'; '.join(told)})")
            self.kills[f"{key} {number.name}"] += 1
            self.problems += [f"{key}: {problem} ({'; '.join(told)})" for problem in broken_checkpoints(folder)]
        return told

    def record(self, seed: int) -> dict[str, Any]:
        """The counts, as values for a JSON file."""
        return {
            "seed": seed,
            "kills": sum(self.kills.values()),
            "by": dict(self.kills),
            "runs_compared": dict(self.runs),
            "problems": self.problems,
        }


def main() -> int:
    """Run the trial and write its record."""
    options = _arguments()
    logging.getLogger("slimyolo").setLevel(logging.CRITICAL)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="slimyolo-kills-") as name:
        work = Path(name)
        table = Commands(work).table()
        wanted = {key: table[key] for key in table if not options.commands or key in options.commands}
        trial = Trial(wanted, work, random.Random(options.seed))
        if trial.measure() is not None:
            return 1
        end = time.monotonic() + options.minutes * 60
        while sum(trial.kills.values()) < options.kills and time.monotonic() < end:
            trial.kill_a_run()
            write_json(options.out, trial.record(options.seed))
        write_json(options.out, trial.record(options.seed))
    kills, runs = sum(trial.kills.values()), sum(trial.runs.values())
    print(f"{kills} kills, {runs} runs compared, {len(trial.problems)} problems")
    for problem in trial.problems:
        print(f"  {problem}", file=sys.stderr)
    return 1 if trial.problems else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="number of kills after which the trial ends")
    parser.add_argument("--minutes", type=float, default=1e9, help="time after which the trial ends in any case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="*", help="commands to run, such as train compress; default: all")
    parser.add_argument("--out", type=Path, default=Path("kill_runs.json"))
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
