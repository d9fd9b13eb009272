"""Speed of training, validation and prediction beside other programs, each run as its users run it, in an environment of its own.

    python benchmarks/peers.py --data data/mask.yaml --ultralytics /envs/ultra/bin/python [--yolov5 /envs/yolov5/bin/python]
                               [--networks yolov8n yolo11n] [--rounds 2] [--train-images 96] [--epochs 4]
                               [--val-images 64 256] [--weights yolov8n=best.pt] [--what train val predict video]
                               [--precision auto] [--json peers.json]

The programs take turns (A B A B …) on the same photographs, with the same image size, batch size, optimizer and threads.

* Training: the time between the lines that a program adds to its ``results.csv``, one after each epoch. It holds loading,
  training and saving. The first epoch (start) and the last one (validation after it) do not count.
* Validation: the difference between whole commands on many and on few photographs, in which the start is left out.
* Prediction: the same difference for a folder of photographs, and for a video of so many frames (640 × 480, made of the
  photographs). Each program draws the boxes and saves the pictures or the video, as its command does.

Nothing inside a program is read or changed, except that the ultralytics package gets the number of threads in a callback,
because it sets its own. Its mosaic is not closed, and no program validates between epochs. All train in fp32; slimyolo alone
would choose bf16 where the processor has units for it (`--precision auto`). Validation and prediction use one file of weights
for all: `--weights`, or what the peer has just trained, which slimyolo reads. Each number is printed with its spread, with the
load of the machine before the command (1 minute), and with the cores that the command kept busy: fewer than `--threads` means
that something else was running. The commands take about ten minutes with the numbers above on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2

from slimyolo.data import SplitData, read_dataset_yaml, read_split

HERE = Path(__file__).resolve().parent.parent
LOOK_SECONDS = 0.02
MOST_SECONDS = 1800

ULTRALYTICS_TRAIN = """
import json, sys, torch
from ultralytics import YOLO
given = json.loads(sys.argv[1])
model = YOLO(given["network"] + ".yaml")
for event in ("on_pretrain_routine_start", "on_train_start", "on_train_epoch_start"):
    model.add_callback(event, lambda trainer: torch.set_num_threads(given["threads"]))
model.train(
    data=given["data"], epochs=given["epochs"], imgsz=given["imgsz"], batch=given["batch"], project=given["project"],
    name=given["name"], device="cpu", optimizer="SGD", close_mosaic=0, pretrained=False, val=False, plots=False, seed=0,
    **given["more"],
)
"""
ULTRALYTICS_VAL = """
import json, sys, torch
from ultralytics import YOLO
given = json.loads(sys.argv[1])
model = YOLO(given["weights"])
for event in ("on_val_start", "on_val_batch_start"):
    model.add_callback(event, lambda validator: torch.set_num_threads(given["threads"]))
model.val(
    data=given["data"], imgsz=given["imgsz"], batch=given["batch"], project=given["project"], name=given["name"],
    device="cpu", plots=False, **given["more"],
)
"""
ULTRALYTICS_PREDICT = """
import json, sys, torch
from ultralytics import YOLO
given = json.loads(sys.argv[1])
model = YOLO(given["weights"])
for event in ("on_predict_start", "on_predict_batch_start"):
    model.add_callback(event, lambda predictor: torch.set_num_threads(given["threads"]))
for _ in model.predict(
    source=given["source"], imgsz=given["imgsz"], project=given["project"], name=given["name"], device="cpu", save=True,
    stream=True,
):
    pass
"""
DIFFERENCES = {"val": "validation", "predict": "folder of photographs", "video": "video"}


@dataclass(frozen=True, kw_only=True)
class Work:
    """One command of a program. Without `weights` it is a training; with `source` it is a prediction, else a validation."""

    network: str
    data: Path
    imgsz: int
    batch: int
    threads: int
    epochs: int
    workers: int | None
    project: Path
    name: str
    precision: str
    weights: Path | None = None
    source: Path | None = None


@dataclass(frozen=True)
class Program:
    """A program in the environment of the interpreter `python`."""

    name: str
    python: Path

    def command(self, work: Work) -> list[str]:
        """The command line that a user of this program types."""
        return {"slimyolo": _slimyolo, "ultralytics": _ultralytics, "yolov5": _yolov5}[self.name](self.python, work)

    def versions(self) -> str:
        """The versions of the program and of torch, for the heading."""
        code = (
            f"from importlib.metadata import version as v; print({self.name!r}, v({self.name!r}), 'torch', v('torch'))"
        )
        done = subprocess.run([str(self.python), "-c", code], capture_output=True, text=True, check=False)
        return done.stdout.strip() or f"{self.name} (version unknown)"


@dataclass
class Samples:
    """The measurements of one program. `rates` are in images per second."""

    what: str
    network: str
    program: str
    rates: list[float] = field(default_factory=list)
    cores: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of `rates`; NaN without one."""
        return statistics.median(self.rates) if self.rates else float("nan")


@dataclass(frozen=True)
class Done:
    """A command that has ended. `lines` are the times at which ``results.csv`` got another line."""

    seconds: float
    cores: float
    load: float
    lines: tuple[float, ...]


def main() -> None:
    """Measure, print the table, and write the numbers."""
    given = _arguments()
    peers = [("ultralytics", given.ultralytics), ("yolov5", given.yolov5)]
    programs = [Program("slimyolo", Path(sys.executable)), *(Program(n, p) for n, p in peers if p is not None)]
    weights = dict(pair.split("=", 1) for pair in given.weights)
    table: dict[tuple[str, str, str], Samples] = {}
    with tempfile.TemporaryDirectory(prefix="peers-", ignore_cleanup_errors=True) as kept:
        folder = Path(kept)
        sets = _data_sets(given, folder)
        sources = {
            "predict": {size: file.parent / "images" / "val" for size, file in sets.items()},
            "video": _videos(given, folder, sets) if "video" in given.what else {},
        }
        for number in range(given.rounds):
            for network in given.networks:
                able = [one for one in programs if _has(one, network)]
                if "train" in given.what:
                    for program in able:
                        _add_training(table, program, _work(given, network, sets["train"], folder, program, number))
                for what in [name for name in DIFFERENCES if name in given.what]:
                    file = _weights(weights.get(network), folder, able, network)
                    for program in able:
                        work = _work(given, network, sets["few"], folder, program, number, file)
                        pair = [
                            _with(
                                work,
                                data=sets[size],
                                source=sources.get(what, {}).get(size),
                                name=f"{network}_{what}{number}_{size}",
                            )
                            for size in ("few", "many")
                        ]
                        _add_difference(table, program, DIFFERENCES[what], pair, given.val_images)
                _say(f"round {number + 1} of {given.rounds}, {network}: done")
    print(_heading(given, programs))
    print(_markdown(list(table.values())))
    if given.json is not None:
        rows = [{**asdict(one), "median": one.median} for one in table.values()]
        about = {key: value for key, value in vars(given).items() if key != "json"}
        given.json.write_text(json.dumps({"settings": about, "rows": rows}, indent=2, default=str) + "\n")


# -- what is measured ----------------------------------------------------------------------------------------------------


def _add_training(table: dict[tuple[str, str, str], Samples], program: Program, work: Work) -> None:
    done = _run(program, work, work.project / work.name / "results.csv")
    epochs = [later - earlier for earlier, later in zip(done.lines, done.lines[1:], strict=False)][: work.epochs - 2]
    if len(epochs) < work.epochs - 2:
        sys.exit(
            f"{program.name}: results.csv got {len(done.lines)} lines, expected one for each of {work.epochs} epochs."
        )
    images = len(list((work.data.parent / "images" / "train").iterdir()))
    samples = table.setdefault(
        ("training", work.network, program.name), Samples("training", work.network, program.name)
    )
    samples.rates += [images / seconds for seconds in epochs]
    samples.cores.append(done.cores)
    samples.load.append(done.load)


def _add_difference(
    table: dict[tuple[str, str, str], Samples], program: Program, what: str, pair: Sequence[Work], counts: Sequence[int]
) -> None:
    """Run the command on few and on many pictures; the difference of the seconds belongs to the difference of the counts."""
    few, many = (_run(program, work) for work in pair)
    network = pair[0].network
    samples = table.setdefault((what, network, program.name), Samples(what, network, program.name))
    if many.seconds > few.seconds:
        samples.rates.append((counts[1] - counts[0]) / (many.seconds - few.seconds))
    samples.cores.append(many.cores)
    samples.load.append(many.load)


def _run(program: Program, work: Work, watched: Path | None = None) -> Done:
    """Run the command of `work`, and note when the file `watched` gets another line."""
    command, log = program.command(work), work.project / f"{work.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(work.threads), "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"}
    if program.name == "slimyolo":
        environment["PYTHONPATH"] = str(HERE / "src")
    else:
        environment.pop("PYTHONPATH", None)
        environment.setdefault("YOLO_CONFIG_DIR", str(work.project / "config"))
        Path(environment["YOLO_CONFIG_DIR"]).mkdir(parents=True, exist_ok=True)
    load, began = os.getloadavg()[0], time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=work.project)
        lines: list[float] = []
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            now = time.perf_counter()
            if watched is not None and _lines(watched) - 1 > len(lines):  # the first line is the heading
                lines.append(now)
            if pid:
                break
            if now - began > MOST_SECONDS:
                process.kill()
                sys.exit(f"{program.name}: not finished after {MOST_SECONDS} s; its output is in {log}.")
            time.sleep(LOOK_SECONDS)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit(f"{program.name} failed ({process.returncode}):\n{' '.join(command)}\n{log.read_text()[-2000:]}")
    return Done(seconds, (usage.ru_utime + usage.ru_stime) / seconds, load, tuple(lines))


def _lines(file: Path) -> int:
    try:
        return file.read_bytes().count(b"\n")
    except OSError:
        return 0


# -- the commands --------------------------------------------------------------------------------------------------------


def _slimyolo(python: Path, work: Work) -> list[str]:
    if work.source is not None:
        return [str(python), "-m", "slimyolo", "predict", *_predicting(work)]
    shared = ["--data", str(work.data), "--imgsz", str(work.imgsz), "--batch-size", str(work.batch), "--noplots"]
    shared += ["--project", str(work.project), "--name", work.name, "--device", "cpu"]
    shared += [] if work.workers is None else ["--workers", str(work.workers)]
    if work.weights is not None:
        return [str(python), "-m", "slimyolo", "val", "--weights", str(work.weights), *shared]
    own = ["--cfg", work.network, "--epochs", str(work.epochs), "--optimizer", "SGD", "--close-mosaic", "0", "--noval"]
    own += ["--precision", work.precision]
    return [str(python), "-m", "slimyolo", "train", *own, *shared]


def _ultralytics(python: Path, work: Work) -> list[str]:
    more = {} if work.workers is None else {"workers": work.workers}
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(work).items()}
    code = ULTRALYTICS_TRAIN if work.weights is None else ULTRALYTICS_VAL
    if work.source is not None:
        code = ULTRALYTICS_PREDICT
    return [str(python), "-c", code, json.dumps({**plain, "more": more})]


def _yolov5(python: Path, work: Work) -> list[str]:
    """The commands of the package yolov5 (7.0), as its README gives them."""
    shared = ["--data", str(work.data), "--imgsz", str(work.imgsz), "--batch-size", str(work.batch)]
    shared += ["--project", str(work.project), "--name", work.name, "--device", "cpu"]
    shared += [] if work.workers is None else ["--workers", str(work.workers)]
    program = str(python.with_name("yolov5"))
    if work.source is not None:
        return [program, "detect", *_predicting(work)]
    if work.weights is not None:
        return [program, "val", "--weights", str(work.weights), *shared]
    own = ["--weights", "", "--cfg", f"{work.network}.yaml", "--epochs", str(work.epochs), "--noval", "--noplots"]
    return [program, "train", *own, *shared]


def _predicting(work: Work) -> list[str]:
    """The options of a prediction, which slimyolo and yolov5 share."""
    shared = ["--weights", str(work.weights), "--source", str(work.source), "--imgsz", str(work.imgsz)]
    return [*shared, "--project", str(work.project), "--name", work.name, "--device", "cpu"]


def _has(program: Program, network: str) -> bool:
    """Whether a program has the network: those with anchors (yolov5n) are in one package, all others in the other."""
    anchors = network.startswith("yolov5") and not network.endswith("u")
    return program.name == "slimyolo" or (program.name == "yolov5") == anchors


def _work(
    given: argparse.Namespace,
    network: str,
    data: Path,
    folder: Path,
    program: Program,
    number: int,
    weights: Path | None = None,
) -> Work:
    return Work(
        network=network,
        data=data,
        imgsz=given.imgsz,
        batch=given.batch,
        threads=given.threads,
        epochs=given.epochs,
        workers=given.workers,
        project=folder / program.name,
        precision=given.precision,
        name=f"{network}_{'train' if weights is None else 'val'}{number}",
        weights=weights,
    )


def _with(work: Work, **changes: Any) -> Work:
    return Work(**{**{name: getattr(work, name) for name in Work.__dataclass_fields__}, **changes})


def _weights(asked: str | None, folder: Path, able: Sequence[Program], network: str) -> Path:
    """The file that all programs validate: the one that was asked for, or what the last of them has trained."""
    if asked is not None:
        return Path(asked).resolve()
    file = folder / able[-1].name / f"{network}_train0" / "weights" / "last.pt"
    if not file.is_file():
        sys.exit(f"There are no weights of {network}: give --weights {network}=FILE, or measure training as well.")
    return file


# -- data and output -----------------------------------------------------------------------------------------------------


def _data_sets(given: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Three data sets of links to the photographs: for training, and two for validation."""
    dataset = read_dataset_yaml(given.data)
    train, val = (read_split(dataset, name) for name in ("train", "val"))
    names = json.dumps(list(dataset.names), ensure_ascii=False)
    made = {}
    for name, counts in {
        "train": (given.train_images, min(8, len(val))),
        "few": (1, given.val_images[0]),
        "many": (1, given.val_images[1]),
    }.items():
        place = folder / "data" / name
        for split, source, count in (("train", train, counts[0]), ("val", val, counts[1])):
            _link(source, count, place, split)
        text = f"path: {json.dumps(str(place))}\ntrain: images/train\nval: images/val\nnames: {names}\n"
        (place / "data.yaml").write_text(text, encoding="utf-8")
        made[name] = place / "data.yaml"
    return made


def _link(source: SplitData, count: int, place: Path, split: str) -> None:
    if count > len(source):
        sys.exit(f"The {split} split has {len(source)} photographs, but {count} were asked for. Ask for fewer.")
    images, labels = place / "images" / split, place / "labels" / split
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    chosen = random.Random(0).sample(range(len(source)), count)
    for number, position in enumerate(chosen):
        sample = source.samples[position]
        (images / f"{number:05}{sample.image.suffix}").symlink_to(sample.image.resolve())
        rows = [" ".join((f"{row[0]:.0f}", *(f"{value:.6f}" for value in row[1:]))) for row in sample.boxes]
        (labels / f"{number:05}.txt").write_text("\n".join(rows) + "\n" if rows else "")


def _videos(given: argparse.Namespace, folder: Path, sets: Mapping[str, Path]) -> dict[str, Path]:
    """Two videos of the photographs that are validated, one photograph a frame."""
    made = {}
    for name, count in zip(("few", "many"), given.val_images, strict=True):
        made[name] = folder / f"{name}.mp4"
        video = cv2.VideoWriter(str(made[name]), cv2.VideoWriter.fourcc(*"mp4v"), 25, (640, 480))
        for photograph in sorted((sets[name].parent / "images" / "val").iterdir())[:count]:
            picture = cv2.imread(str(photograph))
            if picture is None:
                sys.exit(f"{photograph} cannot be read as a picture.")
            video.write(cv2.resize(picture, (640, 480)))
        video.release()
    return made


def _heading(given: argparse.Namespace, programs: Sequence[Program]) -> str:
    machine = next(iter(_processor()), "unknown processor")
    return (
        f"{machine}, {os.cpu_count()} processors; {given.imgsz} px, batch {given.batch}, {given.threads} threads, "
        f"slimyolo trains in {given.precision}, "
        f"{given.train_images} images a training epoch, {given.val_images[0]} and {given.val_images[1]} images of the others, "
        f"{given.rounds} rounds; {'; '.join(one.versions() for one in programs)}\n"
    )


def _processor() -> Iterator[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return
    yield from (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))


def _markdown(table: Sequence[Samples]) -> str:
    lines = [
        "| what | network | program | images/s | lowest to highest | slimyolo ÷ it | measured | cores | load before |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for one in sorted(table, key=lambda row: (row.what, row.network)):
        ours = next(row for row in table if (row.what, row.network, row.program) == (one.what, one.network, "slimyolo"))
        spread = f"{min(one.rates):.1f} to {max(one.rates):.1f}" if one.rates else "—"
        cells = (
            one.what,
            one.network,
            one.program,
            f"{one.median:.1f}" if one.rates else "—",
            spread,
            f"{ours.median / one.median:.2f}" if one.rates and ours.rates else "—",
            str(len(one.rates)),
            f"{statistics.median(one.cores):.2f}",
            f"{min(one.load):.1f} to {max(one.load):.1f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Training, validation and prediction speed beside other programs.")
    parser.add_argument(
        "--data", type=Path, required=True, help="dataset YAML with photographs for training and validation"
    )
    parser.add_argument("--ultralytics", type=Path, help="python of an environment with the ultralytics package")
    parser.add_argument(
        "--yolov5", type=Path, help="python of an environment with the package yolov5 (networks yolov5n …)"
    )
    parser.add_argument("--networks", nargs="+", default=["yolov8n", "yolo11n"])
    parser.add_argument("--what", nargs="+", choices=["train", *DIFFERENCES], default=["train", "val"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--train-images", type=int, default=96)
    parser.add_argument("--val-images", type=int, nargs=2, default=[64, 256], metavar=("FEW", "MANY"))
    parser.add_argument("--epochs", type=int, default=4, help="of a training; the first and the last do not count")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--precision", default="fp32", help="in which slimyolo trains; the others train in fp32 on a processor"
    )
    parser.add_argument("--workers", type=int, help="loader processes; without it, each program's own choice")
    parser.add_argument(
        "--weights", nargs="+", default=[], metavar="NETWORK=FILE", help="what is validated and predicts"
    )
    parser.add_argument("--json", type=Path, help="write all samples to this file")
    given = parser.parse_args()
    for name in ("ultralytics", "yolov5"):
        python = getattr(given, name)
        if python is not None and not python.is_file():
            parser.error(f"--{name} {python}: there is no such file. Give the python of the environment.")
    if given.epochs < 3:
        parser.error(f"--epochs {given.epochs}: the first and the last epoch do not count, so give 3 or more.")
    if not 0 < given.val_images[0] < given.val_images[1]:
        parser.error("--val-images FEW MANY: give two numbers, the smaller one first.")
    bad = next((pair for pair in given.weights if "=" not in pair), None)
    if bad is not None:
        parser.error(f"--weights {bad}: expected NETWORK=FILE, such as yolov8n=best.pt.")
    given.data = given.data.resolve()
    return given


if __name__ == "__main__":
    main()
