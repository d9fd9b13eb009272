"""Compares slimyolo with the numbers of another implementation, for every fixture of a known form in a folder.

    python benchmarks/parity.py ../shared/fixtures            # lists what disagrees, and a count for each fixture
    python benchmarks/parity.py ../shared --json              # one line with a JSON object for each comparison

The folder and its subfolders are searched for ``d10_*.json.gz`` (architectures), ``d11_*`` (head outputs), ``d12_*`` (losses),
``d13_*`` (suppression) and ``d14_*`` (metrics), each a .json with its .npz, and for folders of checkpoints with
``expected.json`` and ``expected.npz``. Exit status: 0 when everything agrees, 1 when something disagrees, 2 when there was
nothing to compare.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from parity_forms.checkpoints import compare_checkpoints
from parity_forms.comparing import Comparison
from parity_forms.detections import compare_metrics, compare_suppression
from parity_forms.loss import compare_loss
from parity_forms.networks import compare_architectures, compare_heads

FORMS: Mapping[str, Callable[[Any, Any], Iterator[Comparison]]] = {
    "d11": compare_heads,
    "d12": compare_loss,
    "d13": compare_suppression,
}


def comparisons(folder: Path, only: str = "") -> Iterator[Comparison]:
    """All comparisons of the fixtures below `folder`. A fixture that raises an error is a comparison that fails."""
    for name, run in _found(folder):
        if only and not name.startswith(only):
            continue
        try:
            yield from run()
        except Exception as error:  # the other fixtures are still worth comparing
            where = traceback.extract_tb(error.__traceback__)[-1]
            yield Comparison(
                f"{name}/runs",
                float("inf"),
                0.0,
                f"{type(error).__name__}: {str(error)[:200]} ({Path(where.filename).name}:{where.lineno})",
            )


def _found(folder: Path) -> Iterator[tuple[str, Callable[[], Iterator[Comparison]]]]:
    for path in sorted(folder.rglob("d10_*.json.gz")):
        yield "d10", lambda path=path: compare_architectures(json.loads(gzip.decompress(path.read_bytes())))  # type: ignore[misc]
    for form, compare in FORMS.items():
        for path in sorted(folder.rglob(f"{form}_*.json")):
            yield form, lambda path=path, compare=compare: _with_arrays(path, compare)  # type: ignore[misc]
    for path in sorted(folder.rglob("d14_*.json")):
        yield (
            "d14",
            lambda path=path: _with_arrays(  # type: ignore[misc]
                path, lambda numbers, arrays: compare_metrics(path.parent, numbers, arrays)
            ),
        )
    for path in sorted(folder.rglob("expected.json")):
        yield (
            path.parent.name,
            lambda path=path: _with_arrays(  # type: ignore[misc]
                path, lambda numbers, arrays: compare_checkpoints(path.parent, numbers, arrays)
            ),
        )


def _with_arrays(path: Path, compare: Callable[[Any, Any], Iterator[Comparison]]) -> Iterator[Comparison]:
    with np.load(path.with_suffix(".npz")) as file:
        yield from compare(json.loads(path.read_text()), {name: file[name] for name in file.files})


def main() -> int:
    """Print the comparisons. The exit status says whether all agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder with fixtures, searched with its subfolders")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object per line: name, difference, tolerance, ok"
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="FORM",
        help="form to compare, such as d12, or the name of a folder of checkpoints",
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="number of threads of PyTorch (the fixtures were made with one)"
    )
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        parser.error(f"{arguments.folder} is not a folder.")
    torch.set_num_threads(arguments.threads)
    agree, all_of = Counter[str](), Counter[str]()
    for comparison in comparisons(arguments.folder, arguments.only):
        fixture = comparison.name.split("/")[0]
        all_of[fixture] += 1
        agree[fixture] += comparison.ok
        if arguments.json:
            print(_as_json(comparison), flush=True)
        elif not comparison.ok:
            print(
                f"{comparison.name}: {comparison.difference:.3g} is above {comparison.tolerance:.3g} {comparison.note}",
                flush=True,
            )
    if not arguments.json:
        for fixture, count in all_of.items():
            print(f"{fixture}: {agree[fixture]} of {count} agree")
    if not all_of:
        print(f"There is nothing to compare in {arguments.folder}.", file=sys.stderr)
        return 2
    return 0 if agree == all_of else 1


def _as_json(comparison: Comparison) -> str:
    finite = np.isfinite(comparison.difference)
    content = {
        "name": comparison.name,
        "difference": comparison.difference if finite else None,  # JSON has no infinity
        "tolerance": comparison.tolerance,
        "ok": comparison.ok,
    }
    return json.dumps(content | ({"note": comparison.note} if comparison.note else {}))


if __name__ == "__main__":
    sys.exit(main())
