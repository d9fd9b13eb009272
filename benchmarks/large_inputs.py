"""Peak memory of commands on many pictures, and of `predict` on a long video, beside the same on fewer of them.

Every picture is a link to one of sixteen, and every model is the smallest that there is: what grows is what slimyolo keeps for
each picture. A training is interrupted when it prints its first line of progress. Each count of pictures is read twice: for
the first time, and from what was kept. Needs Linux; takes about two minutes of processor time.

    python benchmarks/large_inputs.py --pictures 1000 10000 --frames 5000
    python benchmarks/large_inputs.py --pictures 1000 10000 100000 --frames 0 --commands read data train
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from slimfaces import render_dataset

SIDE = 64
WIDTH = "width_multiple: 0.0625"
SETTLED_S = 4
COMMANDS = ("read", "data", "train", "val")
READING = "import sys; from slimyolo.data import read_dataset_yaml, read_split; read_split(read_dataset_yaml(sys.argv[1]), 'val')"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, nargs="+", default=[2_000, 20_000])
    parser.add_argument("--frames", type=int, default=5_000, help="of a video for predict; 0 for none")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    settings = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell makes what it starts with & ignore Ctrl-C
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")  # so that the first reading is the first
        # another process makes it, because a child begins with the peak memory of its parent, and this imports torch
        maker = multiprocessing.get_context("spawn").Process(target=_make_checkpoint, args=(folder,))
        maker.start()
        maker.join()
        weights = folder / "small.pt"
        few = render_dataset(folder / "few", train=1, val=16, size=SIDE, seed=0)
        print(f"{'command':<34} {'pictures':>9} {'MiB at most':>12} {'processor s':>12}")
        for count in settings.pictures:
            data = _linked(few.parent, folder / f"linked{count}", count)
            time.sleep(SETTLED_S)  # what was written just before it is read is not kept
            for name, words in _commands(weights, data, settings.commands):
                print(f"{name:<34} {count:>9,} {_peak(words, folder)}", flush=True)
        for count in (settings.frames // 10, settings.frames) if settings.frames else ():
            video = _video(folder / f"{count}.mp4", count)
            words = ["predict", "--weights", weights, "--source", video, "--imgsz", SIDE, "--quiet"]
            print(f"{'predict, frames of a video':<34} {count:>9,} {_peak(words, folder)}", flush=True)


def _commands(weights: Path, data: Path, wanted: list[str]) -> list[tuple[str, list[object]]]:
    """(name in the table, words) of each measurement on the dataset `data`."""
    small = ["--imgsz", SIDE, "--workers", 0]
    rows: list[tuple[str, str, list[object]]] = [
        ("read", "reading one split", ["-c", READING, data]),
        ("read", "reading it again, kept", ["-c", READING, data]),
        ("data", "data check", ["data", "check", data]),
        ("train", "train, its first steps", ["train", "--weights", weights, "--data", data, "--epochs", 1, *small]),
        ("val", "val", ["val", "--weights", weights, "--data", data, *small, "--noplots"]),
    ]
    return [(name, words) for command, name, words in rows if command in wanted]


def _make_checkpoint(folder: Path) -> None:
    """Write ``small.pt``: an untrained yolov5n at a sixteenth of the usual width."""
    from slimyolo.checkpoints import save_checkpoint
    from slimyolo.families import read_architecture
    from slimyolo.models import build_detector

    text = (Path(__file__).resolve().parents[1] / "models" / "yolov5n.yaml").read_text(encoding="utf-8")
    (folder / "small.yaml").write_text(text.replace("width_multiple: 0.25", WIDTH), encoding="utf-8")
    detector = build_detector(
        read_architecture(str(folder / "small.yaml")).with_classes(2), names=("face", "face_mask")
    )
    save_checkpoint(folder / "small.pt", detector)


def _linked(few: Path, folder: Path, count: int) -> Path:
    """A dataset of `count` links to the validation pictures and labels of the dataset in `few`."""
    for kind in ("images", "labels"):
        sources = sorted((few / kind / "val").iterdir())
        (folder / kind).mkdir(parents=True)
        for number in range(count):
            source = sources[number % len(sources)]
            (folder / kind / f"{number:06d}{source.suffix}").symlink_to(source)
    (folder / "data.yaml").write_text("train: images\nval: images\nnames: [face, face_mask]\n", encoding="utf-8")
    return folder / "data.yaml"


def _video(path: Path, frames: int) -> Path:
    generator = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (SIDE, SIDE))
    for _ in range(frames):
        writer.write(generator.integers(0, 255, (SIDE, SIDE, 3), np.uint8))
    writer.release()
    return path


def _peak(words: list[object], folder: Path) -> str:
    """Megabytes and seconds of processor time of ``slimyolo WORDS``, or of a line of Python (``-c``)."""
    runs = folder / "runs"
    plain = [str(word) for word in words]
    if plain[0] not in ("-c", "data"):
        plain += ["--project", str(runs)]
    command = [sys.executable, *([] if plain[0] == "-c" else ["-m", "slimyolo"]), *plain]
    log = folder / "said.txt"
    with log.open("wb") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
    wanted: tuple[int, ...] = (0,)
    if plain[0] == "train":
        while _runs(process) and b"  batch " not in log.read_bytes():  # the first line of progress
            time.sleep(0.2)
        os.kill(process.pid, signal.SIGINT)
        wanted = (0, 130)
    used = _end(process)
    if process.returncode not in wanted:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text(errors='replace')}")
    return f"{used.ru_maxrss / 1024:>12.0f} {used.ru_utime + used.ru_stime:>12.1f}"


def _runs(process: subprocess.Popen[bytes]) -> bool:
    """Whether `process` has not ended. (`Popen.poll` would take what `wait4` tells.)"""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def _end(process: subprocess.Popen[bytes]) -> resource.struct_rusage:
    """Wait for the end of `process`; what it used."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return used


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
