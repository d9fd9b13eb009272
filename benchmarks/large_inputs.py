"""Peak memory of `val` on many pictures and of `predict` on a long video, beside the same on a tenth of them.

Every picture is a link to one of sixteen, and every model is the smallest that there is: what grows is what slimyolo keeps for
each picture. Needs Linux; takes about two minutes of processor time.

    python benchmarks/large_inputs.py --pictures 20000 --frames 5000
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

from slimfaces import render_dataset

SIDE = 64
WIDTH = "width_multiple: 0.0625"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=20_000)
    parser.add_argument("--frames", type=int, default=5_000)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        weights = _checkpoint(folder)
        few = render_dataset(folder / "few", train=1, val=16, size=SIDE, seed=0)
        for count in (settings.pictures // 10, settings.pictures):
            data = _linked(few.parent, folder / f"linked{count}", count)
            words = ["val", "--weights", weights, "--data", data, "--imgsz", SIDE, "--workers", 0, "--noplots"]
            print(f"val, {count} pictures: {_peak(words, folder)}", flush=True)
        for count in (settings.frames // 10, settings.frames):
            video = _video(folder / f"{count}.mp4", count)
            words = ["predict", "--weights", weights, "--source", video, "--imgsz", SIDE, "--quiet"]
            print(f"predict, {count} frames: {_peak(words, folder)}", flush=True)


def _checkpoint(folder: Path) -> Path:
    """An untrained yolov5n at a sixteenth of the usual width."""
    from slimyolo.checkpoints import save_checkpoint
    from slimyolo.families import read_architecture
    from slimyolo.models import build_detector

    text = (Path(__file__).resolve().parents[1] / "models" / "yolov5n.yaml").read_text(encoding="utf-8")
    (folder / "small.yaml").write_text(text.replace("width_multiple: 0.25", WIDTH), encoding="utf-8")
    detector = build_detector(
        read_architecture(str(folder / "small.yaml")).with_classes(2), names=("face", "face_mask")
    )
    save_checkpoint(folder / "small.pt", detector)
    return folder / "small.pt"


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
    """Megabytes and seconds of processor time of ``slimyolo WORDS``."""
    command = [sys.executable, "-m", "slimyolo", *map(str, words), "--project", str(folder / "runs")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{said}")
    return f"{used.ru_maxrss / 1024:.0f} MiB at most, {used.ru_utime + used.ru_stime:.0f} s of processor time"


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
