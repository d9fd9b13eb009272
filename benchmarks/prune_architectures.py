"""Compares slimyolo and torch-pruning: which architectures can be cut, by how much, and how exactly.

    python benchmarks/prune_architectures.py [NAME ...] [--shares 0.3 0.5 0.7] [--limit 120] [--tools slimyolo torch-pruning]

The models are those of timm with random weights, scales and statistics (`pip install --no-deps timm torch-pruning`). Each one
is cut in its own process, which is ended after `--limit` seconds. The columns:

difference   largest difference between the cut model and the masked model (uncut, but the removed channels are constant) on
             unseen inputs, relative to the largest output, for the worst of the shares. For torch-pruning only one share is
             cut, and its masked model has γ = 0 in the removed channels (rows of zero where there is no norm).
gradient     the same for the gradient of the input, in double precision.
params left, MACs left, gradient and s (processor seconds, one thread) are those of the share nearest to a half.
"""

from __future__ import annotations

import argparse
import os
import pickle
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "pruning" / "networks"))

from timm_models import ARCHITECTURES, build, input_of

from slimyolo.pruning import ChannelShare, CostTable, mask_module, prune_module, trace, verify


@dataclass(frozen=True)
class Row:
    """What one tool did to one architecture. `params` and `macs` are the shares that are left."""

    params: float
    macs: float
    difference: float
    gradient: float
    seconds: float


def main() -> None:
    """Measure, and print a Markdown table and a summary line for each tool."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=sorted(ARCHITECTURES))
    parser.add_argument("--shares", type=float, nargs="+", default=[0.3, 0.5, 0.7])
    parser.add_argument("--limit", type=int, default=120, help="seconds for one architecture and tool")
    parser.add_argument("--tools", nargs="+", choices=sorted(TOOLS), default=sorted(TOOLS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    head = " | ".join(f"{tool}: params left | MACs left | difference | gradient | s" for tool in given.tools)
    print(f"| architecture | {head} |")
    print("|---|" + "---:|" * (5 * len(given.tools)), flush=True)
    found: dict[str, list[Row | str]] = {tool: [] for tool in given.tools}
    for name in given.names:
        for tool in given.tools:
            found[tool].append(in_process(lambda n=name, t=tool: TOOLS[t](n, given.shares), given.limit))
        print(f"| {name} | " + " | ".join(cells(found[tool][-1]) for tool in given.tools) + " |", flush=True)
    for tool in given.tools:
        print(summary(tool, found[tool]))


def cells(row: Row | str) -> str:
    if isinstance(row, str):
        return f"{row} | | | | "
    return f"{row.params:.0%} | {row.macs:.0%} | {row.difference:.0e} | {row.gradient:.0e} | {row.seconds:.1f}"


def summary(tool: str, rows: Sequence[Row | str]) -> str:
    done = [row for row in rows if isinstance(row, Row)]
    exact = [row for row in done if row.difference <= 1e-4 and row.gradient <= 1e-4]
    cut = [row for row in done if row.macs <= 0.6]
    seconds = sorted(row.seconds for row in done)
    middle = seconds[len(seconds) // 2] if seconds else float("nan")
    return (
        f"{tool}: {len(done)} of {len(rows)} cut without an error, {len(exact)} equal to their masked model to 1e-4 (output "
        f"and gradient), {len(cut)} with at most 60 % of the MACs left at half of the channels; median {middle:.1f} s."
    )


def in_process(work: Callable[[], Row], limit: int) -> Row | str:
    """The result of `work` in a forked process, or a text that says why there is none."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        signal.alarm(limit)
        try:
            result: Row | str = work()
        except Exception as error:  # an error is the result of the tool
            result = f"{type(error).__name__}: {str(error).splitlines()[0][:60] if str(error) else ''}".replace(
                "|", "/"
            )
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(result, pipe)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    return pickle.loads(data) if data else f"no result within {limit} s"


def by_slimyolo(name: str, shares: Sequence[float]) -> Row:
    model, example = build(name), input_of(name)
    before = costs(model, example)
    rows = {}
    for share in shares:
        start = time.process_time()
        result = prune_module(model, example, ChannelShare(share))
        seconds = time.process_time() - start
        masked = mask_module(model, result.plan)
        if share == middle(shares):
            rows[share] = compare(before, masked, result.model, example, seconds)
        else:
            rows[share] = Row(0.0, 0.0, verify(masked, result.model, unseen_of(example)), 0.0, seconds)
    return half(rows, middle(shares))


def by_torch_pruning(name: str, shares: Sequence[float]) -> Row:
    """torch-pruning cuts at the middle share only."""
    import torch_pruning

    model, example = build(name), input_of(name)
    before = costs(model, example)
    cut, masked, start = deepcopy(model), deepcopy(model), time.process_time()
    classes = [m for m in cut.modules() if isinstance(m, (nn.Linear, nn.Conv2d)) and m.weight.shape[0] == 1000]
    pruner = torch_pruning.pruner.MagnitudePruner(
        cut,
        example,
        torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=middle(shares),
        ignored_layers=classes,
    )
    names, comparable = {part: path for path, part in cut.named_modules()}, True
    for group in pruner.step(interactive=True):
        cuts = [(names.get(dep.target.module), dep.handler.__name__, indices) for dep, indices in group]
        group.prune()
        try:
            silence(masked, cuts)
        except IndexError:  # the indices are not those of the layer, so there is no masked model to compare with
            comparable = False
    row = compare(before, masked, cut, example, time.process_time() - start)
    return row if comparable else replace(row, difference=float("nan"), gradient=float("nan"))


def silence(masked: nn.Module, cuts: Sequence[tuple[str | None, str, Sequence[int]]]) -> None:
    """Mask the removed channels: set γ = 0 in norms, and rows to zero in layers of a group without a norm."""
    made = [(masked.get_submodule(path), indices) for path, how, indices in cuts if path and "out" in how]
    norms = [(part, rows) for part, rows in made if isinstance(part, nn.modules.batchnorm._NormBase)]
    layers = [(part, rows) for part, rows in made if isinstance(part, (nn.modules.conv._ConvNd, nn.Linear))]
    with torch.no_grad():
        for part, rows in norms or layers:
            axis = 1 if isinstance(part, nn.modules.conv._ConvTransposeNd) else 0
            part.weight.index_fill_(axis, torch.tensor(list(rows)), 0.0)


TOOLS: dict[str, Callable[[str, Sequence[float]], Row]] = {"slimyolo": by_slimyolo, "torch-pruning": by_torch_pruning}


def middle(shares: Sequence[float]) -> float:
    return min(shares, key=lambda share: abs(share - 0.5))


def half(rows: dict[float, Row], share: float) -> Row:
    """The row of this share, with the worst difference of all shares."""
    return replace(rows[share], difference=max(row.difference for row in rows.values()))


def costs(model: nn.Module, example: Tensor) -> tuple[int, float]:
    cost = CostTable(trace(model, example, on_unknown="keep")).cost({})
    return cost.params, float(cost.macs)


def compare(before: tuple[int, float], masked: nn.Module, cut: nn.Module, example: Tensor, seconds: float) -> Row:
    unseen = unseen_of(example)
    difference = verify(masked, cut, unseen)
    gradients = [gradient_of_input(module, unseen[:1]) for module in (masked, cut)]
    off = float((gradients[0] - gradients[1]).abs().max() / gradients[0].abs().max().clamp(min=1e-30))
    after = costs(cut, example)
    return Row(after[0] / before[0], after[1] / before[1], difference, off, seconds)


def unseen_of(example: Tensor) -> Tensor:
    return torch.randn(2, *example.shape[1:], generator=torch.Generator().manual_seed(7))


def gradient_of_input(module: nn.Module, images: Tensor) -> Tensor:
    """The gradient of the sum of squared outputs. Double precision: a ReLU at zero must not depend on rounding."""
    double = deepcopy(module).double().eval()
    given = images.double().requires_grad_()
    outputs: Any = double(given)
    first = outputs if isinstance(outputs, Tensor) else outputs[0]
    first.square().sum().backward()
    assert given.grad is not None
    return given.grad


if __name__ == "__main__":
    main()
