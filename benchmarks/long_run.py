"""Runs the whole chain on small data for hours in one process; counts memory, handles, threads and children after each.

    python benchmarks/long_run.py --hours 2 --out long_run.json

A leak shows as growth. The medians of the second and of the last tenth of the chains are compared, and the command fails
when the memory grew by more than 5 % or any other count grew at all. The first tenth is left out, because the first chains
load and cache things.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

from slimfaces import render_dataset
from slimyolo.storage import write_json
from slimyolo.tasks.chain.compress import compress
from slimyolo.tasks.chain.compress_config import CompressConfig

MEMORY_GROWTH = 1.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=1, help="number of loader processes of each chain")
    parser.add_argument("--out", type=Path, default=Path("long_run.json"))
    options = parser.parse_args()
    logging.getLogger("slimyolo").setLevel(logging.ERROR)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="slimyolo-long-") as folder:
        data = render_dataset(Path(folder) / "data", train=24, val=8, size=96, seed=0)
        end = time.monotonic() + options.hours * 3600
        began = time.monotonic()
        while time.monotonic() < end or len(rows) < 2:
            runs = Path(folder) / "runs"
            compress(
                CompressConfig(
                    data=data,
                    cfg="yolov5n",
                    epochs=1,
                    sparse_epochs=2,
                    finetune_epochs=1,
                    imgsz=64,
                    batch_size=8,
                    workers=options.workers,
                    cache="ram",
                    noautoanchor=True,
                    project=runs,
                    percent=0.4,
                )
            )
            shutil.rmtree(runs)
            rows.append({"chain": len(rows) + 1, "seconds": round(time.monotonic() - began, 1), **resources()})
            print(json.dumps(rows[-1]), flush=True)
            write_json(options.out, {"hours": options.hours, "workers": options.workers, "chains": rows})
    return verdict(rows)


def resources() -> dict[str, int]:
    """The resident memory in MiB, open file handles, threads and child processes of this process (Linux)."""
    status = Path("/proc/self/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    return {
        "memory_mib": int(resident.split()[1]) // 1024,
        "handles": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
        "children": len(children),
    }


def verdict(rows: list[dict[str, Any]]) -> int:
    """Print the first and last medians. Returns 1 when something grew, otherwise 0."""
    size = max(len(rows) // 10, 1)
    early, late = rows[size : 2 * size] or rows[:1], rows[-size:]
    grew = False
    for name, allowed in (("memory_mib", MEMORY_GROWTH), ("handles", 1.0), ("threads", 1.0), ("children", 1.0)):
        first, last = median(row[name] for row in early), median(row[name] for row in late)
        grew = grew or last > first * allowed
        print(f"{name:12s} {first:10.1f} -> {last:10.1f}")
    print(f"{len(rows)} chains, {'GREW' if grew else 'flat'}")
    return int(grew)


if __name__ == "__main__":
    sys.exit(main())
