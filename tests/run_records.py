"""Writes run folders of every kind as record files, so that readers of records are tested without any training."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimyolo.inference.picture_grid import jpeg_bytes

__all__ = ["Records", "write"]

NAMES = ("face", "face_mask")
EDGES = [round(0.05 * number, 2) for number in range(51)]


class Records:
    """Writes the records of stages into folders, with the class names given."""

    def __init__(self, names: Sequence[str] = NAMES) -> None:
        self.names = list(names)

    def chain(self, folder: Path) -> Path:
        """A whole chain: base, sparse, pruned, finetuned."""
        folder.mkdir(parents=True)
        write(folder / "chain.json", {"settings": {"data": "d.yaml", "percent": 0.4}, **self.provenance("compress")})
        self.training(folder / "base", "train", 0.8, epochs=5)
        self.training(folder / "sparse", "sparsify", 0.7, epochs=4)
        self.cut(folder / "pruned")
        self.training(folder / "finetuned", "finetune", 0.75, epochs=1, params=700_000)
        return folder

    def iterate(self, folder: Path) -> Path:
        """A run of two rounds of cutting and training."""
        folder.mkdir(parents=True)
        about = self.provenance("iterate")
        about["settings"] = {"data": "d.yaml", "macs": 0.5}
        write(folder / "iterate.json", about)
        self.training(folder / "base", "train", 0.8, evidence=False)
        for number, (params, divisor) in enumerate(((700_000, 1), (400_000, 2)), 1):
            self.cut(folder / f"round{number}-cut")
            record = json.loads((folder / f"round{number}-cut" / "record.json").read_text())
            if number == 2:
                record |= {"channels_before": 778, "channels_after": 600}
                record["layers"] = [[name, kept, kept // divisor] for name, _, kept in record["layers"]]
                write(folder / f"round{number}-cut" / "record.json", record)
            self.training(folder / f"round{number}", "finetune", 0.7, epochs=2, params=params)
        return folder

    def sensitivity(self, folder: Path) -> Path:
        """A measurement of twelve groups; a later group is more sensitive."""
        groups = [
            {
                "name": f"model.{n}.conv",
                "layers": [f"model.{n}.conv", f"model.{n}.bn"],
                "width": 16,
                "points": [{"kept": 13, "error": 0.001 * (n + 1)}, {"kept": 3, "error": 0.01 * (n + 1)}],
            }
            for n in range(12)
        ]
        about = {
            "weights": "my.pt",
            "data": "d.yaml",
            "metric": "error",
            "images": 32,
            "imgsz": 320,
            "importance": "gamma",
        }
        provenance = self.provenance("sensitivity")
        provenance["settings"] = {"weights": "my.pt", "data": "d.yaml"}
        plain = {**about, "recalibrate": False, "baseline": 0.0, "complete": True, "groups": groups, "seconds": 60.0}
        write(folder / "sensitivity.json", {**plain, "provenance": provenance})
        return folder

    def devices(self, folder: Path) -> Path:
        """Times of another device: a cut that was timed there, and one that was predicted."""
        timed = {"candidate": "pruned.pt", "device": "Pi 5", "runtime": "ncnn", "threads": 4, "milliseconds": 30.0}
        timed |= {"share": 0.5, "p95_ms": 31.0, "measured": True, "budget_ms": 32.0, "meets": True}
        said = {**timed, "candidate": "other.pt", "milliseconds": 36.0, "share": 0.6, "p95_ms": None, "measured": False}
        said |= {"budget_ms": None, "meets": None}
        plain = {"candidates": [timed, said], "findings": ["pruned.pt meets the budget on: Pi 5."]}
        write(
            folder / "record.json", {**plain, "warnings": ["Pi 5: it was hot."], "provenance": self.provenance("bench")}
        )
        return folder

    def exported(self, folder: Path) -> Path:
        """The exported files of a chain."""
        rows = []
        for model, name, size in (("slim", "slim model.onnx", 1_300_000), ("base", "base.onnx", 7_080_000)):
            (folder / "exported").mkdir(exist_ok=True)
            (folder / "exported" / name).write_bytes(b"onnx")
            rows.append({"model": model, "format": "onnx", "path": f"elsewhere/exported/{name}", "bytes": size})
        write(folder / "exported" / "record.json", {"files": rows, "provenance": self.provenance("compress")})
        return folder

    def training(
        self,
        folder: Path,
        command: str,
        map50: float,
        *,
        epochs: int = 3,
        params: int = 1_766_623,
        evidence: bool = True,
    ) -> Path:
        """A training run. Without `evidence` it holds only the files that older versions wrote."""
        record = {
            "command": command,
            "folder": str(folder),
            "best": f"{folder.name}/weights/best.pt",
            "last": "last.pt",
            "epochs_done": epochs,
            "best_epoch": epochs - 1,
            "stopped_early": False,
            "metrics": self.metrics(map50),
            "size": {"params": params, "macs": 300 * params, "imgsz": 320, "uncounted": []},
            "zero_share": 0.4,
            "seconds": 90.0,
            "images_per_second": 12.5,
            "provenance": self.provenance(command),
        }
        write(folder / "record.json", record)
        self.history(folder, epochs, sparse=command == "sparsify")
        if evidence:
            self.evidence(folder, sparse=command == "sparsify", epochs=epochs)
        return folder

    def cut(self, folder: Path) -> Path:
        """The folder of a cut."""
        layers = [[f"model.{n}.{part}", 16 * (n + 1), 10 * (n + 1)] for n in range(12) for part in ("conv", "bn")]
        size = {"params": 700_000, "macs": 210_000_000, "imgsz": 320, "uncounted": []}
        write(
            folder / "record.json",
            {
                "source": "sparse/weights/best.pt",
                "weights": "pruned/pruned.pt",
                "target": "channels 0.4",
                "channels_before": 1248,
                "channels_after": 778,
                "layers": layers,
                "before": size,
                "after": size,
                "max_relative_difference": 2e-6,
                "notes": [],
                "metrics_before": self.metrics(0.7),
                "metrics_after": self.metrics(0.7),
                "seconds": 12.0,
                "provenance": self.provenance("prune"),
            },
        )
        return folder

    def validation(self, folder: Path) -> Path:
        """The folder of a validation."""
        size = {"params": 700_000, "macs": 210_000_000, "imgsz": 320, "uncounted": []}
        record = {
            "weights": "my.pt",
            "data": "my data.yaml",
            "split": "val",
            "metrics": self.metrics(0.6),
            "size": size,
        }
        record |= {
            "speed_ms": {"network": 8.0, "nms": 1.5},
            "conf": 0.001,
            "iou": 0.6,
            "max_det": 300,
            "batch_size": 16,
        }
        record |= {"precision": "fp32", "device": "cpu", "threads": 2, "provenance": self.provenance("val")}
        write(folder / "record.json", record)
        return folder

    def comparison(self, folder: Path) -> Path:
        """A comparison of two models, with pictures of the image that got worse."""
        estimate = {"value": -0.1, "low": -0.2, "high": 0.05}
        own = dict.fromkeys(("precision", "recall", "map50", "map50_95"), estimate)
        about = {"images": 6, "labels": 8, "rule": "yolov5", "level": 0.95, "resamples": 1000, "seed": 0}
        classes = [{"name": name, "images": 3, "labels": 4, **own} for name in self.names]
        differences = {**own, **about, "per_class": classes}
        size = {"params": 700_000, "macs": 210_000_000, "imgsz": 320, "uncounted": []}
        sides = {
            name: {"path": f"{name}.pt", "size": size, "metrics": self.metrics(share), "intervals": differences}
            for name, share in (("first", 0.7), ("second", 0.6))
        }
        change = {"image": "val/photo0.jpg", "labels": 2, "missed": [0, 1], "wrong": [0, 2], "change": 2.5}
        plain = {**sides, "differences": differences, "worse": [change], "better": [], "changed": [1, 0]}
        provenance = self.provenance("compare")
        write(folder / "record.json", {**plain, "verdict": "No difference is certain.", "provenance": provenance})
        (folder / "pictures").mkdir()
        (folder / "pictures" / "0.jpg").write_bytes(jpeg_bytes(np.zeros((90, 120, 3), np.uint8)))
        boxes = {"truth": [[0, 0.1, 0.1, 0.4, 0.5]], "first": [[0, 0.9, 0.1, 0.1, 0.4, 0.5]], "second": []}
        image = {"file": "pictures/0.jpg", "name": "val/photo0.jpg", "width": 120, "height": 90, **boxes}
        write(folder / "pictures.json", {"names": self.names, "shown_score": 0.25, "images": [image]})
        return folder

    def bench(self, folder: Path) -> Path:
        """A benchmark of the base and the fine-tuned model of a chain."""

        def row(weights: str, milliseconds: float, speedup: float | None) -> dict[str, Any]:
            timing = {"median_ms": milliseconds, "low_ms": milliseconds - 1, "p95_ms": milliseconds + 2, "runs": 60}
            return {
                "weights": weights,
                "runtime": "onnxruntime",
                "precision": "fp32",
                "timing": timing,
                "speedup": speedup,
                "quiet_speedup": speedup,
                "macs_ratio": speedup,
                "size": None,
                "versions": {},
            }

        machine = {"processor": "A processor", "cores": 2, "instructions": [], "governor": None, "load": 0.1}
        write(
            folder / "record.json",
            {
                "rows": [row("x/base/weights/best.pt", 20.0, None), row("x/finetuned/weights/best.pt", 12.5, 1.6)],
                "machine": machine,
                "device": "cpu",
                "imgsz": [320, 320],
                "batch": 1,
                "threads": 2,
                "verdicts": ["finetuned: 1.60 times as fast."],
                "warnings": ["The machine was busy."],
                "provenance": self.provenance("bench"),
            },
        )
        return folder

    def metrics(self, map50: float) -> dict[str, Any]:
        """Metrics without curves; the last class has no labels."""
        row = {"images": 3, "labels": 4, "precision": map50, "recall": map50, "map50": map50, "map50_95": map50 / 2}
        classes = [{"name": name, **row} for name in self.names]
        classes[-1] |= dict.fromkeys(("precision", "recall", "map50", "map50_95"))
        about = {"images": 6, "labels": 8, "detections": 20, "confidence": 0.3, "rule": "yolov5"}
        return {**row, **about, "per_class": classes, "curves": None, "confusion": None}

    def provenance(self, command: str) -> dict[str, Any]:
        """The provenance of a record, as the tasks write it."""
        split = {"images": 6, "boxes": 8, "defects": 0, "fingerprint": "f" * 64}
        return {
            "slimyolo": "0.1.0",
            "command": command,
            "torch": "2.13.0",
            "python": "3.11",
            "platform": "Linux",
            "threads": 1,
            "settings": {
                "data": "my data.yaml",
                "imgsz": 320,
                "method": "share",
                "percent": 0.4,
                "hyp_set": [],
                "cfg": None,
            },
            "command_line": f"slimyolo {command} --data 'my data.yaml'",
            "machine": {"processor": "A processor", "cores": 2},
            "data": {"file": "my data.yaml", "names": self.names, "splits": {"train": split, "val": split}},
        }

    def history(self, folder: Path, epochs: int, *, sparse: bool = False) -> None:
        """Write results.csv, in which one value is missing."""
        columns = [f"{part}/{name}_loss" for part in ("train", "val") for name in ("box", "obj", "cls")]
        columns += ["metrics/precision", "metrics/recall", "metrics/mAP_0.5", "metrics/mAP_0.5:0.95"]
        columns += ["sparsity/share", "sparsity/median_gamma"] if sparse else []
        lines = [",".join(["epoch", *columns])]
        for epoch in range(epochs):
            values = [f"{math.exp(-0.1 * epoch - 0.2 * place):.4f}" for place in range(len(columns))]
            values[3] = "" if epoch == 1 else values[3]
            lines.append(",".join([str(epoch), *values]))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "results.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def evidence(self, folder: Path, *, sparse: bool, epochs: int) -> None:
        """Write curves.json, labels.json, sample.json and, for sparse training, gammas.json."""
        axis = [number / 50 for number in range(51)]
        rows = [[1 - x * x * (0.5 + 0.1 * n) for x in axis] for n in range(len(self.names))]
        curves: dict[str, Any] = dict.fromkeys(("precision", "recall", "f1", "precision_by_recall"), rows)
        curves |= {"classes": list(range(len(self.names))), "confidence": axis, "recall_axis": axis}
        size = len(self.names) + 1
        counts = [[7 if row == column else row + column for column in range(size)] for row in range(size)]
        confusion = {"names": self.names, "counts": counts, "confidence": 0.25, "iou": 0.45}
        write(folder / "curves.json", {"curves": curves, "confusion": confusion})
        grid = [[row * column for column in range(24)] for row in range(24)]
        counted = [4] * len(self.names)
        write(
            folder / "labels.json",
            {
                "val": {
                    "images": 6,
                    "boxes": 8,
                    "backgrounds": 1,
                    "names": self.names,
                    "class_boxes": counted,
                    "class_images": counted,
                    "centres": grid,
                    "sizes": grid,
                }
            },
        )
        images = []
        for number in range(3):
            (folder / "sample").mkdir(parents=True, exist_ok=True)
            picture = np.full((90, 120, 3), 60 * number, np.uint8)
            (folder / "sample" / f"{number}.jpg").write_bytes(jpeg_bytes(picture))
            images.append(
                {
                    "file": f"sample/{number}.jpg",
                    "name": f"photo{number}.jpg",
                    "width": 120,
                    "height": 90,
                    "truth": [[0, 0.1, 0.1, 0.4, 0.5], [1, 0.5, 0.3, 0.9, 0.9]],
                    "detections": [[0, 0.87, 0.1, 0.1, 0.45, 0.5]],
                }
            )
        write(folder / "sample.json", {"names": self.names, "shown_score": 0.25, "images": images})
        if sparse:
            bell = [round(200 * math.exp(-((edge - 0.9) ** 2) * 8)) for edge in EDGES[:-1]]
            row = {
                "zeros": 300,
                "counts": bell,
                "above": 2,
                "median": 0.9,
                "share": 0.4,
                "target_share": 0.4,
            }
            write(folder / "gammas.json", {"edges": EDGES, "epochs": [{"epoch": n, **row} for n in range(epochs)]})


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
