"""Slim models beside baselines that were trained as long: mAP50-95 against milliseconds, with intervals, as one plot and table.

    python benchmarks/fair_baselines.py --data data/mask.yaml "dense, 105 epochs=dense/weights/best.pt" \\
        "narrower throughout=narrow/weights/best.pt" "dense at 256 px=small/weights/best.pt@256" "ours, half=half/…/best.pt*" \\
        [--imgsz 320] [--threads 1] [--rounds 6] [--runs 40] [--output baselines]

Each model is NAME=FILE, with @SIZE where its image size is another one, and with a star at the end for a model that slimyolo
made slim. The first model is the one that the differences belong to. Accuracy is measured on the `val` split, each model at its
own size, on the same images, so that the intervals of the differences are paired. Times are those of the ONNX files on ONNX
Runtime; the models take turns in every round, and the median over the rounds counts. Results: ``table.md``, ``table.json`` and
``baselines.png`` in the folder `--output`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

import slimyolo
from slimyolo.costs import model_cost
from slimyolo.detections import Estimate

BASELINE, OURS, INK = "#8a97a5", "#0b6e8a", "#22303c"


@dataclass(frozen=True)
class Model:
    """A model on the command line."""

    name: str
    file: Path
    imgsz: int
    ours: bool


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of a model. `difference` is mAP50-95 minus that of the first model."""

    name: str
    imgsz: int
    ours: bool
    parameters: int
    macs: int
    milliseconds: float
    map50: Estimate
    map50_95: Estimate
    difference: Estimate


def main() -> None:
    """Measure, print, draw."""
    given = _arguments()
    given.output.mkdir(parents=True, exist_ok=True)
    models: list[Model] = given.models
    runs = [_measured(model, number, given) for number, model in enumerate(models)]
    times = _times(models, given)
    rows = []
    for model, run, milliseconds in zip(models, runs, times, strict=True):
        record: Any = slimyolo.compare(
            runs[0], run, resamples=given.resamples, project=given.output / "compare", name="exp", noplots=True
        )
        own = record.second.intervals
        cost = model_cost(slimyolo.load(model.file), model.imgsz)
        rows.append(
            Row(
                name=model.name,
                imgsz=model.imgsz,
                ours=model.ours,
                parameters=cost.params,
                macs=cost.macs,
                milliseconds=milliseconds,
                map50=own.map50,
                map50_95=own.map50_95,
                difference=record.differences.map50_95,
            )
        )
    text = _markdown(rows)
    print(text)
    (given.output / "table.md").write_text(text + "\n", encoding="utf-8")
    (given.output / "table.json").write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    _draw(rows, given.output / "baselines.png", given.threads)


def _measured(model: Model, number: int, given: argparse.Namespace) -> Path:
    """The run folder of ``slimyolo val``."""
    name = f"{number}_{model.file.stem}_{model.imgsz}"
    slimyolo.val(
        weights=model.file,
        data=given.data,
        imgsz=model.imgsz,
        project=given.output / "val",
        name=name,
        exist_ok=True,
        noplots=True,
    )
    return Path(given.output / "val" / name)


def _times(models: list[Model], given: argparse.Namespace) -> list[float]:
    """Milliseconds of one image on ONNX Runtime: the median over the rounds."""
    files = []
    for number, model in enumerate(models):
        record = slimyolo.export(
            weights=model.file,
            format="onnx",
            imgsz=model.imgsz,
            output=given.output / "onnx" / str(number),
        )
        files.append(record.files[0].path)
    rounds: list[list[float]] = [[] for _ in models]
    for number in range(given.rounds):
        for place, (model, file) in enumerate(zip(models, files, strict=True)):
            timed: Any = slimyolo.bench(
                weights=[file],
                runtime="onnxruntime",
                imgsz=model.imgsz,
                threads=given.threads,
                runs=given.runs,
                project=given.output / "bench",
                name="exp",
                exist_ok=True,
            )
            rounds[place].append(timed.rows[0].timing.median_ms)
        print(f"round {number + 1} of {given.rounds} is timed", file=sys.stderr, flush=True)
    return [statistics.median(one) for one in rounds]


def _markdown(rows: list[Row]) -> str:
    lines = [
        "| model | px | params (M) | GFLOPs | ms | mAP50 | mAP50-95, with its 95 % interval | mAP50-95 − the first |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = (
            row.name,
            str(row.imgsz),
            f"{row.parameters / 1e6:.2f}",
            f"{2e-9 * row.macs:.2f}",
            f"{row.milliseconds:.1f}",
            _number(row.map50.value),
            f"{_number(row.map50_95.value)}{_interval(row.map50_95, '')}",
            "" if row is rows[0] else f"{_number(row.difference.value, '+')}{_interval(row.difference, '+')}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _number(value: float, sign: str = "") -> str:
    return f"{value:{sign}.3f}".replace("0.", ".", 1).replace("-", "−")


def _interval(estimate: Estimate, sign: str) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" ({_number(estimate.low, sign)}, {_number(estimate.high, sign)})"


def _draw(rows: list[Row], file: Path, threads: int) -> None:
    """One point for each model. Bars are the intervals of the differences, around the first model, whose line is drawn.

    The models see the same images, so the interval of each mAP50-95 alone, which is about four times as wide, would hide which of
    them differ.
    """
    first = rows[0].map50_95.value
    plt.rcParams.update(
        {"font.size": 11, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}
    )
    figure, axes = plt.subplots(figsize=(9.6, 5.4), layout="constrained")
    for ours, colour, marker in ((False, BASELINE, "s"), (True, OURS, "o")):
        chosen = [row for row in rows if row.ours is ours]
        for row in chosen:
            low, high = row.difference.low, row.difference.high
            if row is not rows[0] and low is not None and high is not None:
                ends = [first + low, first + high]
                axes.plot([row.milliseconds] * 2, ends, color=colour, linewidth=1.5, alpha=0.6)
        axes.scatter(
            [row.milliseconds for row in chosen],
            [row.map50_95.value for row in chosen],
            color=colour,
            marker=marker,
            s=52,
            zorder=3,
        )
        for row in chosen:
            axes.annotate(
                row.name,
                (row.milliseconds, row.map50_95.value),
                xytext=(7, 5),
                textcoords="offset points",
                color=colour,
            )
    axes.axhline(first, color=BASELINE, linewidth=1, linestyle="--", zorder=1)
    axes.set_xlim(0, 1.25 * max(row.milliseconds for row in rows))
    axes.set_xlabel(f"milliseconds for one image, ONNX Runtime, {threads} thread{'s' if threads > 1 else ''}")
    axes.set_ylabel(f"mAP50-95; bars: 95 % interval of the\ndifference to “{rows[0].name}”")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e8ec")
    axes.set_axisbelow(True)
    figure.savefig(file, dpi=100, metadata={"Software": None})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Slim models beside baselines that were trained as long.")
    parser.add_argument("models", nargs="+", metavar="NAME=FILE[@SIZE][*]")
    parser.add_argument("--data", type=Path, required=True, help="dataset YAML, whose val split is measured")
    parser.add_argument("--imgsz", type=int, default=320, help="of the models that name no size")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--runs", type=int, default=40, help="timed calls of a model in each round")
    parser.add_argument("--resamples", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=Path("baselines"), help="folder of the results")
    given = parser.parse_args()
    given.models = [_model(parser, text, given.imgsz) for text in given.models]
    return given


def _model(parser: argparse.ArgumentParser, text: str, imgsz: int) -> Model:
    name, found, rest = text.partition("=")
    file, _, size = rest.removesuffix("*").partition("@")
    if not found or not Path(file).is_file() or (size and not size.isdigit()):
        parser.error(
            f"{text}: expected NAME=FILE, such as 'dense=best.pt', with @SIZE where the image size is another one."
        )
    return Model(name, Path(file).resolve(), int(size) if size else imgsz, text.endswith("*"))


if __name__ == "__main__":
    main()
