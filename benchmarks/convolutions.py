"""What the convolutions of a training step cost, shape by shape, and whether products of matrices would be faster for 1×1.

    python benchmarks/convolutions.py [yolov5n] [--imgsz 320] [--batch 16] [--threads 1] [--runs 4] [--json convolutions.json]

Each different convolution of the network runs alone, channels-last and in fp32: forward, gradient of its input, gradient of its
weight. Every number is CPU time in ms, the least of `--runs`, times the number of such layers; GFLOP/s are for one of them. For
1×1 convolutions of stride 1 the same three are computed as products of matrices (sgemm), "as a product". The last row adds up
the network. The gradient of the first layer's input is not computed in training, so it is left out.

ONEDNN_MAX_CPU_ISA=AVX2 and MKL_ENABLE_INSTRUCTIONS=AVX2 in the environment show what an AVX2 processor would run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from slimyolo.families import read_architecture
from slimyolo.models import build_detector

WAYS = ("forward", "input", "weight")


@dataclass(frozen=True)
class Shape:
    """One kind of convolution: sizes of its input ``[B, C, H, W]`` and its weight, and how it is laid over the image."""

    images: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    groups: int

    def __str__(self) -> str:
        _, channels, height, width = self.images
        return f"{channels}×{height}×{width} → {self.weight[0]}, {self.weight[2]}×{self.weight[3]}/{self.stride[0]}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """Times in ms of all layers of one shape; `products` is empty where a convolution is not a product of matrices."""

    shape: str
    layers: int
    gflop: float
    convolutions: dict[str, float]
    products: dict[str, float]


def main() -> None:
    """Measure and print."""
    given = _arguments()
    torch.set_num_threads(given.threads)
    shapes = _shapes(given.network, given.batch, given.imgsz)
    rows = [_row(shape, count, given.runs, first=number == 0) for number, (shape, count) in enumerate(shapes.items())]
    rows.sort(key=lambda row: -sum(row.convolutions.values()))
    print(_markdown(rows))
    if given.json is not None:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False) + "\n")


def _shapes(network: str, batch: int, imgsz: int) -> Counter[Shape]:
    """The convolutions of a network in the order of their first call, and how many there are of each."""
    detector = build_detector(read_architecture(network), seed=0).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    seen: Counter[Shape] = Counter()

    def note(layer: nn.Conv2d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        padding = layer.padding if isinstance(layer.padding, tuple) else (0, 0)
        seen[Shape(tuple(inputs[0].shape), tuple(layer.weight.shape), layer.stride, padding, layer.groups)] += 1

    for layer in detector.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    with torch.no_grad():
        detector(torch.rand(batch, 3, imgsz, imgsz).contiguous(memory_format=torch.channels_last))
    return seen


def _row(shape: Shape, layers: int, runs: int, *, first: bool) -> Row:
    images, weight = (
        torch.randn(size).contiguous(memory_format=torch.channels_last) for size in (shape.images, shape.weight)
    )
    forward = partial(nn.functional.conv2d, images, weight, None, shape.stride, shape.padding, 1, shape.groups)
    answer = torch.randn_like(forward())

    def gradient(of: tuple[bool, bool, bool]) -> object:
        arguments = (list(shape.stride), list(shape.padding), [1, 1], False, [0, 0], shape.groups)
        return torch.ops.aten.convolution_backward(answer, images, weight, None, *arguments, list(of))

    convolutions: dict[str, Callable[[], object]] = {
        "forward": forward,
        "input": partial(gradient, (True, False, False)),
        "weight": partial(gradient, (False, True, False)),
    }
    products: dict[str, Callable[[], object]] = {}
    if shape.weight[2:] == (1, 1) and shape.stride == (1, 1) and shape.groups == 1:
        pixels, answers = (one.permute(0, 2, 3, 1).flatten(0, 2) for one in (images, answer))
        kernel = weight.flatten(1)
        products = {
            "forward": lambda: pixels @ kernel.t(),
            "input": lambda: answers @ kernel,
            "weight": lambda: answers.t() @ pixels,
        }
    if first:
        del convolutions["input"]
    multiplications = answer.numel() * shape.weight[1] * shape.weight[2] * shape.weight[3]
    return Row(
        shape=str(shape),
        layers=layers,
        gflop=2 * multiplications / 1e9,
        convolutions={way: layers * _least(call, runs) for way, call in convolutions.items()},
        products={way: layers * _least(call, runs) for way, call in products.items()},
    )


def _least(call: Callable[[], object], runs: int) -> float:
    """The least CPU time of `call` in ms, after one call that does not count."""
    call()
    times = []
    for _ in range(runs):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return 1e3 * min(times)


def _markdown(rows: list[Row]) -> str:
    lines = [
        "| convolution | layers | forward | input | weight | as a product: forward | input | weight |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        cells = [_cell(row, row.convolutions, way) for way in WAYS] + [_cell(row, row.products, way) for way in WAYS]
        lines.append("| " + " | ".join((row.shape, str(row.layers), *cells)) + " |")
    plain = [sum(row.convolutions.get(way, 0) for row in rows) for way in WAYS]
    best = [sum((row.products or row.convolutions).get(way, 0) for row in rows) for way in WAYS]
    lines.append("| all, ms | | " + " | ".join(f"{value:.0f}" for value in (*plain, *best)) + " |")
    return "\n".join(lines)


def _cell(row: Row, times: dict[str, float], way: str) -> str:
    if way not in times:
        return "—"
    return f"{times[way]:.1f} ({row.layers * row.gflop / times[way] * 1e3:.0f} GFLOP/s)"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What the convolutions of a training step cost, shape by shape.")
    parser.add_argument("network", nargs="?", default="yolov5n")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU time counts waiting threads, so 1 is the honest number"
    )
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
