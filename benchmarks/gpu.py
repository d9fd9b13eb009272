"""What a GPU gives: one run of under 8 minutes that prints one table and writes one JSON file.

    python benchmarks/gpu.py [--json gpu.json] [--minutes 7.5] [--data mask.yaml] [--weights start.pt] [--device cuda]

| part | what is measured |
|---|---|
| tests | the tests with the mark `gpu`, if pytest is installed |
| train | images per second and peak memory of training steps in fp32, TF32, bf16, and fp16 with a scaled loss |
| | in bf16 also with contiguous weights, compiled, and as a process group of one (DDP) |
| loader | images per second of the loader alone, against the fastest training |
| val | images per second of validation, and NMS on the device |
| synchronisations | where a training step waits for the device, as torch's own debug mode finds it |
| accuracy | a short training in each precision on the photographs, or on rendered pictures |

Each part is tried on its own: an error is written in its place, and the others go on. A part that would begin after the time is
left out and named. With ``--device cpu --small`` the script itself can be tried on a machine without a GPU.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slimyolo.data import Augmentation, LoaderSettings, TrainBatches, read_dataset_yaml, read_split
from slimyolo.detections import Thresholds, find_detections
from slimyolo.families import read_architecture
from slimyolo.models import Detector, LossSettings, build_detector
from slimyolo.tasks.train.hyperparameters import HyperParameters
from slimyolo.training import Autocast, Fp32, build_optimizer

REPOSITORY = Path(__file__).resolve().parents[1]
MODELS = ("yolov5n", "yolov8n")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


def main() -> None:
    """Measure part after part, then print and write."""
    given = _arguments()
    run = Run(given)
    parts: dict[str, Callable[[], object]] = {
        "tests": run.tests,
        "train": run.train,
        "loader": run.loader,
        "val": run.val,
        "synchronisations": run.synchronisations,
        "accuracy": run.accuracy,
    }
    found: dict[str, object] = {"machine": _machine(given.device)}
    for name, part in parts.items():
        if name in given.skip or run.left() <= 0:
            found[name] = "left out: the time was over" if name not in given.skip else "left out: --skip"
            continue
        started = time.perf_counter()
        try:
            found[name] = part()
        except Exception as error:
            found[name] = {"error": f"{type(error).__name__}: {error}", "where": traceback.format_exc()[-1500:]}
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
        given.json.write_text(json.dumps(found, indent=1), encoding="utf-8")  # what is there if the rest is cut off
    print(_table(found))


class Run:
    """The settings of this run, and what several parts use."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.device = given, torch.device(given.device)
        self.end = time.perf_counter() + 60 * given.minutes
        self.batch, self.imgsz, self.steps = (2, 64, 2) if given.small else (given.batch, given.imgsz, given.steps)
        self.fastest = 0.0

    def left(self) -> float:
        """The seconds that are left."""
        return self.end - time.perf_counter()

    def tests(self) -> dict[str, object]:
        """The tests of the suite that need a GPU."""
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests/training"]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=150, check=False)
        return {"status": done.returncode, "last_lines": (done.stdout + done.stderr).strip().splitlines()[-6:]}

    def train(self) -> list[dict[str, object]]:
        """A row for each way of training."""
        ways = [(model, kind, True, "eager") for model in MODELS for kind in PRECISIONS]
        ways += [(MODELS[1], "bf16", False, "eager"), (MODELS[1], "bf16", True, "DDP of one")]
        ways += [(model, "bf16", True, "compiled") for model in MODELS if self.device.type == "cuda"]
        rows: list[dict[str, object]] = []
        for model, kind, last, how in ways:
            if self.left() < 60:
                rows.append({"model": model, "precision": kind, "how": how, "error": "left out: the time was over"})
                continue
            row: dict[str, object] = {"model": model, "precision": kind, "channels_last": last, "how": how}
            try:
                row |= self._train_one(model, kind, last, how)
            except Exception as error:
                row["error"] = f"{type(error).__name__}: {str(error)[:300]}"
            rows.append(row)
        return rows

    def _train_one(self, name: str, kind: str, last: bool, how: str) -> dict[str, object]:
        detector, objective, images, targets = self._parts(name)
        order = torch.channels_last if last else torch.contiguous_format
        detector.train().to(device=self.device, memory_format=order)  # type: ignore[call-overload]
        optimizer = build_optimizer(detector, lr0=1e-4)
        images = images.to(self.device)
        with _format(kind, self.device) as precision, _called(detector, how, self.device) as module:

            def step() -> None:
                pixels = images.contiguous(memory_format=order).float().div_(255)
                with precision.forward():
                    total = objective(module(pixels), targets)
                precision.backward(total)
                precision.unscale(optimizer)
                nn.utils.clip_grad_norm_(detector.parameters(), 10.0, foreach=True)
                precision.step(optimizer)
                optimizer.zero_grad(set_to_none=True)

            first = _seconds(step, 1, self.device)
            _seconds(step, 3, self.device)
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(self.device)
            rate = self.batch * self.steps / _seconds(step, self.steps, self.device)
        peak = torch.cuda.max_memory_allocated(self.device) / 2**20 if self.device.type == "cuda" else 0.0
        self.fastest = max(self.fastest, rate)
        return {"images_per_s": round(rate, 1), "first_step_s": round(first, 2), "peak_mib": round(peak)}

    def _parts(self, name: str) -> tuple[Detector, Callable[[Any, Tensor], Tensor], Tensor, Tensor]:
        detector = build_detector(read_architecture(name).with_classes(2), seed=0)
        settings = LossSettings(hyp=HyperParameters().to_plain(), imgsz=self.imgsz)
        detector.to(self.device)
        loss = detector.family.make_loss(detector, settings)
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (self.batch, 3, self.imgsz, self.imgsz), dtype=torch.uint8, generator=generator)
        boxes = torch.rand(8 * self.batch, 4, generator=generator) * 0.3 + 0.2
        of = torch.arange(8 * self.batch)[:, None]
        targets = torch.cat([of // 8, of % 2, boxes], 1).to(self.device)
        return detector, lambda heads, rows: loss(heads, rows).total, images, targets

    def loader(self) -> dict[str, object]:
        """The loader alone, with as many processes as there are processors."""
        with tempfile.TemporaryDirectory() as folder:
            split = read_split(read_dataset_yaml(self._data(Path(folder))), "train")
            workers = 0 if self.given.small else min(os.cpu_count() or 1, 16)
            settings = LoaderSettings(imgsz=self.imgsz, batch_size=self.batch, workers=workers, cache="ram")
            batches = TrainBatches(split, settings, Augmentation())
            try:
                for _ in batches.epoch(0):  # fills the cache
                    pass
                started, images = time.perf_counter(), 0
                for epoch in itertools.count(1):
                    images += sum(len(batch) for batch in batches.epoch(epoch))
                    if self.given.small or time.perf_counter() - started > 10:
                        break
                rate = images / (time.perf_counter() - started)
            finally:
                batches.close()
        return {"images_per_s": round(rate, 1), "workers": workers, "of_fastest_training": _share(rate, self.fastest)}

    def val(self) -> list[dict[str, object]]:
        """The network and NMS of validation, one after the other."""
        rows: list[dict[str, object]] = []
        for name in MODELS:
            detector = build_detector(read_architecture(name).with_classes(2), seed=0).deployed(self.device)
            generator = torch.Generator().manual_seed(0)
            images = torch.rand(self.batch, 3, self.imgsz, self.imgsz, generator=generator).to(self.device)
            images = images.contiguous(memory_format=torch.channels_last)
            for half in (False, True):
                if half and self.device.type != "cuda":
                    continue
                module, pixels = (detector.half(), images.half()) if half else (detector, images)
                with torch.inference_mode():
                    rows_found = module(pixels).float()
                    network = _seconds(lambda: module(pixels), self.steps, self.device)  # noqa: B023
                    kept = Thresholds(conf=0.001, iou=0.6, max_det=300, multi_label=True)
                    nms = _seconds(lambda: find_detections(module, rows_found, kept), self.steps, self.device)  # noqa: B023
                images_seen = self.batch * self.steps
                rows.append(
                    {
                        "model": name,
                        "half": half,
                        "network_images_per_s": round(images_seen / network, 1),
                        "nms_ms_per_image": round(1000 * nms / images_seen, 3),
                    }
                )
        return rows

    def synchronisations(self) -> object:
        """The lines of ours at which a training step waits for the device."""
        if self.device.type != "cuda":
            return "left out: only a GPU is waited for"
        detector, objective, images, targets = self._parts(MODELS[1])
        detector.train().to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = build_optimizer(detector, lr0=1e-4)
        pixels = images.to(self.device).contiguous(memory_format=torch.channels_last).float().div_(255)
        objective(detector(pixels), targets).backward()
        optimizer.step()
        torch.cuda.synchronize()
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                objective(detector(pixels), targets).backward()
                nn.utils.clip_grad_norm_(detector.parameters(), 10.0, foreach=True)
                optimizer.step()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sorted({f"{Path(one.filename).name}:{one.lineno}" for one in told})

    def accuracy(self) -> list[dict[str, object]]:
        """A short training in each precision, and its mAP."""
        rows: list[dict[str, object]] = []
        with tempfile.TemporaryDirectory() as folder:
            data = self._data(Path(folder))
            for kind in ("fp32", "bf16", "fp16") if self.device.type == "cuda" else ("fp32",):
                left = self.left()
                if left < 20:
                    rows.append({"precision": kind, "error": "left out: the time was over"})
                    continue
                epochs = 1 if self.given.small else self.given.epochs
                size, batch = (64, 4) if self.given.small else (320, 32)
                command = [sys.executable, "-m", "slimyolo", "train", "--data", str(data), "--imgsz", str(size)]
                command += ["--batch-size", str(batch), "--epochs", str(epochs), "--precision", kind, "--noplots"]
                command += ["--device", self.given.device, "--workers", "4", "--cache", "ram", "--project", folder]
                command += ["--name", kind, "--weights", str(self.given.weights or ""), "--cfg", MODELS[1]]
                started = time.perf_counter()
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=left, check=False, cwd=REPOSITORY
                )
                row: dict[str, object] = {
                    "precision": kind,
                    "epochs": epochs,
                    "seconds": round(time.perf_counter() - started),
                }
                record = Path(folder) / kind / "record.json"
                if done.returncode == 0 and record.exists():
                    metrics = json.loads(record.read_text(encoding="utf-8"))["metrics"]
                    row |= {"map50": metrics["map50"], "map50_95": metrics["map50_95"]}
                else:
                    row["error"] = done.stderr.strip()[-400:]
                rows.append(row)
        return rows

    def _data(self, folder: Path) -> Path:
        if self.given.data is not None:
            return Path(self.given.data)
        from slimfaces import render_dataset

        made = folder / "rendered"
        count = 8 if self.given.small else 256
        return made / "data.yaml" if made.exists() else render_dataset(made, train=count, val=count // 4, size=192)


@contextmanager
def _format(kind: str, device: torch.device) -> Iterator[Any]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = kind == "tf32"
    if kind == "fp16" and device.type == "cpu":
        raise RuntimeError("a processor has no fp16 with a scaled loss")
    try:
        yield (
            Fp32()
            if kind in ("fp32", "tf32")
            else Autocast(device, torch.bfloat16 if kind == "bf16" else torch.float16)
        )
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@contextmanager
def _called(detector: Detector, how: str, device: torch.device) -> Iterator[nn.Module]:
    """The module that is called: the detector, compiled, or wrapped for a process group of one."""
    if how == "compiled":
        compiled: Any = torch.compile(detector)
        yield compiled
    elif how == "DDP of one":
        with tempfile.TemporaryDirectory() as folder:
            backend = "nccl" if device.type == "cuda" else "gloo"
            store = f"file://{folder}/store"
            torch.distributed.init_process_group(backend, init_method=store, rank=0, world_size=1)
            try:
                yield nn.parallel.DistributedDataParallel(detector)
            finally:
                torch.distributed.destroy_process_group()
    else:
        yield detector


def _seconds(run: Callable[[], object], times: int, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    for _ in range(times):
        run()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def _share(rate: float, fastest: float) -> float | None:
    return round(rate / fastest, 2) if fastest else None


def _machine(device: str) -> dict[str, object]:
    found: dict[str, object] = {"torch": str(torch.__version__), "cpus": os.cpu_count(), "load": os.getloadavg()[0]}
    if torch.device(device).type == "cuda":
        found |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
        found |= {"cudnn": torch.backends.cudnn.version(), "bf16": torch.cuda.is_bf16_supported()}
    return found


def _table(found: dict[str, object]) -> str:
    lines = []
    for name, part in found.items():
        lines.append(f"\n## {name}\n")
        if isinstance(part, Sequence) and part and isinstance(part[0], dict):
            keys = list(dict.fromkeys(key for row in part for key in row))
            lines += ["| " + " | ".join(keys) + " |", "|" + "---|" * len(keys)]
            lines += ["| " + " | ".join(str(row.get(key, "")) for key in keys) + " |" for row in part]
        else:
            lines.append(json.dumps(part, indent=1))
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("gpu.json"))
    parser.add_argument("--minutes", type=float, default=7.5)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--skip", nargs="*", default=[])
    parser.add_argument("--small", action="store_true", help="tiny settings, to try the script itself")
    given = parser.parse_args()
    if torch.device(given.device).type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("This machine has no CUDA device. Give --device cpu --small to try the script itself.")
    return given


if __name__ == "__main__":
    main()
