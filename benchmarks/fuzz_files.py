"""Damages real files at random and reads them. Each must give a result or one of slimyolo's own errors.

    python benchmarks/fuzz_files.py --minutes 10 --seed 0 --out fuzz_files.json

One file of each kind is written. Copies of it are damaged: bits, bytes and numbers are changed, parts are removed, repeated
and moved, and words with a special meaning are inserted. The copies are read while a Python audit hook forbids running
anything; exported files (every format that is installed) in a child process with a limit of time, because a runtime may crash
(``fuzzing/exported.py``). The counts, the slowest read and every unexpected error are written to --out. The command fails
when there was an unexpected error. Linux only: RLIMIT_AS limits the memory.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from fuzzing.exported import GRAPH_WORDS, KINDS, Reader, ReadingError, write_exported

from slimfaces import render_dataset
from slimyolo.checkpoints import save_checkpoint
from slimyolo.data import read_dataset_yaml
from slimyolo.data.dataset.labels import parse_labels
from slimyolo.data.pictures.image_files import decode_image
from slimyolo.errors import SlimyoloError
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.models import build_detector
from slimyolo.pruning import PrunePlan, replay_plan
from slimyolo.storage import write_json
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.plan import read_plan
from slimyolo.tasks.prune.prune import prune
from slimyolo.tasks.train.hyperparameters import read_hyperparameters

FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "subprocess.Popen",
    "pickle.find_class",
    "socket.connect",
)
MEMORY = 3 * 2**30  # bytes in addition to what the program uses before the first read
SLOW_S = 20.0  # of processor time
LONGEST_MESSAGE = 20_000  # characters

TEXT_WORDS = (
    *("*a", "&a ", "!!python/object/apply:os.system [id]", "!!int x", "!!float 1:1", "!!timestamp x", "!!binary x"),
    *(
        "!!set",
        "NaN",
        ".inf",
        "-1",
        "1e999",
        "9" * 5000,
        "1:1:1:1:1",
        "0x" + "f" * 300,
        "null",
        "~",
        "[",
        "{",
        "]",
        "}",
    ),
    *("- ", ": ", "\t", "<<: *a", "\0", "\ufeff", "..", "/", "../" * 20, '"', "'", "true", "18446744073709551616"),
    *("[[[[[[[[[[[[[[[[[", "%YAML 9.9\n"),
)
PICKLE_WORDS = (
    *(b"cos\nsystem\n", b"R", b"b", b"\x81", b"\x93", b"Q", b"h\x00", b"2", b"0", b"(", b"t", b"]", b"}"),
    *(b"\x8b\xff\xff\xff\x7f", b"\x95" + b"\xff" * 8, b"c__builtin__\neval\n", b"\xff" * 4, b"\0" * 8, b"."),
)

Read = Callable[[Path], object]


def corpus(folder: Path, reader: Reader) -> dict[str, tuple[bytes, Read]]:
    """Kind of file → the content of a real file, and the function that reads it."""
    data = render_dataset(folder / "data", train=2, val=1, size=64, seed=0)
    small = folder / "small.yaml"
    base = Path(__file__).resolve().parents[1] / "models" / "yolov5n.yaml"
    small.write_text(base.read_text().replace("width_multiple: 0.25", "width_multiple: 0.0625"))
    detector = build_detector(read_architecture(small), names=[f"c{i}" for i in range(80)], seed=0)
    save_checkpoint(folder / "a.pt", detector)
    torch.save(
        {"model": dict(detector.state_dict()), "epoch": 1}, folder / "old.pt", _use_new_zipfile_serialization=False
    )
    prune(
        PruneConfig(
            weights=folder / "a.pt", percent=0.2, imgsz=64, plan_out=folder / "plan.json", project=folder / "runs"
        )
    )
    write_exported(folder / "whole")
    shutil.copytree(folder / "whole", folder, dirs_exist_ok=True)

    def cut(path: Path) -> object:
        plan: PrunePlan = read_plan(path)
        plan.table()
        return replay_plan(detector, plan, torch.zeros(1, 3, 64, 64))

    def labels(path: Path) -> object:
        return parse_labels(path.read_bytes(), path, 2)

    def checkpoint(path: Path) -> object:
        return load_checkpoint(path).detector()

    def exported(opened: str) -> Read:
        return lambda path: reader.read(folder / opened)

    written = {kind: opened for kind, opened in KINDS.items() if (folder / kind).is_file()}
    images = {path.suffix: path for path in (data.parent / "images").rglob("*.*")}
    return {
        "a.pt": ((folder / "a.pt").read_bytes(), checkpoint),
        "old.pt": ((folder / "old.pt").read_bytes(), checkpoint),
        "data.yaml": (data.read_bytes(), read_dataset_yaml),
        "model.yaml": (small.read_bytes(), lambda path: build_detector(read_architecture(path))),
        "hyp.yaml": (
            (base.parents[1] / "data/hyps/hyp.scratch.yaml").read_bytes(),
            lambda path: read_hyperparameters(path, ()),
        ),
        "plan.json": ((folder / "plan.json").read_bytes(), cut),
        "label.txt": (b"0 0.5 0.5 0.2 0.2\n1 .1 .2 .3 .2 .3 .4 .1 .4\n" * 3, labels),
        **{kind: ((folder / kind).read_bytes(), exported(opened)) for kind, opened in written.items()},
        **{f"image{suffix}": (path.read_bytes(), decode_image) for suffix, path in images.items()},
    }


def spoilt(content: bytes, generator: random.Random, kind: str) -> bytes:
    """A damaged copy with one to four changes, mostly near the beginning or end, where most files keep their structure."""
    out = bytearray(content)
    words: list[bytes] = list(PICKLE_WORDS) if kind.endswith(".pt") else [word.encode() for word in TEXT_WORDS]
    if kind in KINDS:
        words += GRAPH_WORDS * 3
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        edge = min(len(out), generator.choice((64, 1024, 16384, len(out) or 1)))
        at = generator.randrange(edge + 1)
        at = len(out) - at if generator.random() < 0.4 else at
        change = generator.randrange(7)
        if change == 0 and at < len(out):
            out[at] ^= 1 << generator.randrange(8)
        elif change == 1:
            out[at : at + 1] = bytes([generator.randrange(256)])
        elif change == 2:
            out[at : at + generator.choice((0, 1, 4))] = generator.choice(words)
        elif change == 3:
            del out[at : at + generator.choice((1, 4, 50, len(out)))]
        elif change == 4:
            length = generator.choice((1, 8, 60))
            other = generator.randrange(len(out) + 1)
            out[at:at] = out[other : other + length] * generator.choice((1, 2, 100))
        elif change == 5:
            out[at : at + 4] = generator.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"9999"))
        else:
            start = bytes(out).find(generator.choice((b":", b",", b"\n", b"X", b"[")), at)
            if start >= 0:
                out[start + 1 : start + 2] = generator.choice(words)
    return bytes(out)


class Trial:
    """Reads damaged copies of `files` in `folder`, and counts the results."""

    def __init__(self, folder: Path, reader: Reader, options: argparse.Namespace) -> None:
        files = corpus(folder, reader)
        self._folder, self._reader, self._out = folder, reader, options.out
        self._files = {kind: entry for kind, entry in files.items() if not options.kinds or kind in options.kinds}
        self._generator = random.Random(options.seed)
        self.reads, self.refused = Counter[str](), Counter[str]()
        self.slowest = (0.0, "")
        self.unexpected: dict[str, dict[str, Any]] = {}
        self.ran: list[str] = []
        self._watching = False

    def prepare(self) -> None:
        """Read the undamaged files, so that all imports are done. Then forbid running anything, and limit the memory."""
        for kind, (content, read) in self._files.items():
            (self._folder / kind).write_bytes(content)
            try:
                read(self._folder / kind)
            except SlimyoloError:
                assert kind == "old.pt" or "torchscript" in kind, f"the undamaged {kind} is refused"
        sys.addaudithook(self._hook)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))

    def read_one(self) -> None:
        """Read one damaged copy of a file of a random kind."""
        kind = self._generator.choice(list(self._files))
        content, read = self._files[kind]
        changed = spoilt(content, self._generator, kind)
        path = self._folder / kind
        path.write_bytes(changed)
        start, self._watching = self._clock(), kind not in KINDS
        try:
            read(path)
        except SlimyoloError as error:
            self.refused[kind] += 1
            if len(str(error)) > LONGEST_MESSAGE:
                key = f"{kind}: message of {len(str(error))} characters"
                self.unexpected.setdefault(key, {"text": str(error)[:300]})
        except Exception as error:
            self._keep(kind, error, changed)
        finally:
            self._watching = False
            path.write_bytes(content)  # a file beside it may be damaged next
        self.reads[kind] += 1
        self.slowest = max(self.slowest, (self._clock() - start, kind))

    def _clock(self) -> float:
        return time.process_time() + self._reader.spent_s

    def record(self, minutes: float, seed: int) -> dict[str, Any]:
        """The counts, as values for a JSON file."""
        return {
            "minutes": minutes,
            "seed": seed,
            "reads": dict(self.reads),
            "refused": dict(self.refused),
            "code_run": self.ran,
            "slowest_cpu_s": self.slowest[0],
            "slowest_kind": self.slowest[1],
            "memory_peak_mib": max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, self._reader.peak_mib),
            "children": self._reader.children,
            "unexpected": self.unexpected,
        }

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._watching and event in FORBIDDEN:
            self.ran.append(f"{event} {arguments!r}"[:200])
            raise PermissionError(event)

    def _keep(self, kind: str, error: Exception, changed: bytes) -> None:
        """Count an unexpected error, and keep the first file that caused it."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
        key = f"{kind}: {error.where if isinstance(error, ReadingError) else place}"
        if key not in self.unexpected:
            kept = self._out.with_name(f"{self._out.stem}-{len(self.unexpected)}-{kind.replace('/', '-')}")
            kept.write_bytes(changed)
            text = "".join(traceback.format_exception(error))[-3000:]
            self.unexpected[key] = {"file": str(kept), "times": 0, "text": text}
        self.unexpected[key]["times"] += 1


def main() -> int:
    """Run the trial and write its record."""
    options = _arguments()
    logging.getLogger("slimyolo").setLevel(logging.CRITICAL)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="slimyolo-fuzz-") as name:
        folder = Path(name)
        (folder / "whole").mkdir()
        reader = Reader(folder, FORBIDDEN, MEMORY)
        trial = Trial(folder, reader, options)
        trial.prepare()
        began = time.monotonic()
        while time.monotonic() - began < options.minutes * 60:
            trial.read_one()
        reader.close()
        record = trial.record((time.monotonic() - began) / 60, options.seed)
    write_json(options.out, record)
    reads, refused = sum(trial.reads.values()), sum(trial.refused.values())
    print(
        f"{reads:,} files in {record['minutes']:.1f} min, {refused:,} refused, {len(trial.ran)} ran something, slowest "
        f"{trial.slowest[0]:.2f} s ({trial.slowest[1]}), peak {record['memory_peak_mib']:.0f} MiB, "
        f"{len(trial.unexpected)} kinds of unexpected error"
    )
    for key, entry in trial.unexpected.items():
        print(f"  {key}: {entry.get('times')} times, {entry.get('file')}")
    return 1 if trial.ran or trial.unexpected or trial.slowest[0] > SLOW_S else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", help="kinds of files to read, such as a.pt data.yaml; default: all")
    parser.add_argument("--out", type=Path, default=Path("fuzz_files.json"))
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
