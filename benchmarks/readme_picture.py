"""Draws the picture of the README from the folder of a finished chain.

    python benchmarks/readme_picture.py runs/compress/exp --title "YOLO11n …" [--bench bench.json] [--output PNG]

Left, the channels of each group of layers before and after the cut (``pruned/plan.json``). Right, what became of accuracy and
size (``table.json``), and of the time when ``--bench`` names what ``slimyolo bench --json`` wrote for the base and the last
model.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

DENSE, SLIM, INK = "#c3ccd6", "#0b6e8a", "#22303c"


def main() -> None:
    """Read, draw, write."""
    given = _arguments()
    plan = json.loads((given.chain / "pruned" / "plan.json").read_text(encoding="utf-8"))
    rows = json.loads((given.chain / "table.json").read_text(encoding="utf-8"))
    plt.rcParams.update(
        {"font.size": 11, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK}
    )
    figure, (left, right) = plt.subplots(1, 2, figsize=(12.8, 4.2), width_ratios=(1.9, 1), layout="constrained")
    figure.suptitle(given.title, fontsize=14, fontweight="bold", x=0.01, ha="left")
    _draw_channels(left, plan["groups"])
    _draw_numbers(right, rows[0], rows[-1], _milliseconds(given.bench))
    given.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(given.output, dpi=100, metadata={"Software": None})


def _draw_channels(axes: Any, groups: list[dict[str, Any]]) -> None:
    widths = [group["width"] for group in groups]
    kept = [len(group["kept"]) for group in groups]
    places = range(len(groups))
    axes.bar(places, widths, width=0.82, color=DENSE, label="removed")
    axes.bar(places, kept, width=0.82, color=SLIM, label="kept")
    axes.set_title(f"channels of each group of layers: {sum(widths):,} → {sum(kept):,}", fontsize=11, loc="left")
    axes.set_xlabel("from the first layer to the head")
    axes.set_xticks([])
    axes.margins(x=0.01)
    axes.legend(frameon=False, loc="upper right")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_numbers(axes: Any, base: dict[str, Any], last: dict[str, Any], times: tuple[float, float] | None) -> None:
    lines = [
        ("mAP50-95", base["map50_95"], last["map50_95"], "{:.3f}"),
        ("parameters (M)", base["params"] / 1e6, last["params"] / 1e6, "{:.2f}"),
        ("GFLOPs", 2e-9 * base["macs"], 2e-9 * last["macs"], "{:.2f}"),
    ]
    if times is not None:
        lines.append(("ms, ONNX Runtime", *times, "{:.1f}"))
    for place, (name, before, after, form) in enumerate(reversed(lines)):
        axes.barh(place + 0.19, 1.0, height=0.34, color=DENSE)
        axes.barh(place - 0.19, after / before, height=0.34, color=SLIM)
        axes.text(1.02, place + 0.19, form.format(before), va="center")
        axes.text(after / before + 0.02, place - 0.19, form.format(after), va="center", fontweight="bold")
        axes.text(-0.03, place, name, va="center", ha="right")
    axes.set_xlim(0, 1.25)
    axes.axis("off")
    axes.set_title("base, and fine-tuned after the cut", fontsize=11, loc="left")


def _milliseconds(bench: Path | None) -> tuple[float, float] | None:
    """The medians of the first and of the second model in the output of ``slimyolo bench --json``."""
    if bench is None:
        return None
    first, second = json.loads(bench.read_text(encoding="utf-8"))["rows"][:2]
    return float(first["timing"]["median_ms"]), float(second["timing"]["median_ms"])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("chain", type=Path)
    parser.add_argument("--title", required=True)
    parser.add_argument("--bench", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs/images/chain.png"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
