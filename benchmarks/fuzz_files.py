"""Damage real files at random and read them: whatever comes out must be a result or one of slimyolo's own errors.

    python benchmarks/fuzz_files.py --minutes 10 --seed 0 --out fuzz_files.json

Per kind of file one seed corpus is written, then copies of it are changed (bits, bytes, numbers, cut, repeated, spliced,
words that mean something swapped in) and read with a Python audit hook that forbids running anything. Counts, the slowest
read and every unexpected error go to --out; the command fails when there was one. Linux only: memory is limited by RLIMIT_AS.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from slimfaces import render_dataset
from slimyolo.checkpoints import save_checkpoint
from slimyolo.data import read_dataset_yaml
from slimyolo.data.dataset.labels import parse_labels
from slimyolo.data.pictures.image_files import decode_image
from slimyolo.errors import SlimyoloError
from slimyolo.exporting import open_exported
from slimyolo.families import load_checkpoint, read_architecture
from slimyolo.models import build_detector
from slimyolo.pruning import PrunePlan, replay_plan
from slimyolo.storage import write_json
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.export.export import export
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
MEMORY = 3 * 2**30  # bytes above what the program takes
SLOW_S = 20.0  # of processor time

TEXT_WORDS = (
    *(
        "*a",
        "&a ",
        "!!python/object/apply:os.system [id]",
        "!!int x",
        "!!float 1:1",
        "!!timestamp x",
        "!!binary x",
        "!!set",
    ),
    *(
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
        "- ",
        ": ",
        "\t",
    ),
    *(
        "<<: *a",
        "\0",
        "\ufeff",
        "..",
        "/",
        "../" * 20,
        '"',
        "'",
        "true",
        "18446744073709551616",
        "[[[[[[[[[[[[[[[[[",
        "%YAML 9.9\n",
    ),
)
PICKLE_WORDS = (
    *(
        b"cos\nsystem\n",
        b"R",
        b"b",
        b"\x81",
        b"\x93",
        b"Q",
        b"h\x00",
        b"2",
        b"0",
        b"(",
        b"t",
        b"]",
        b"}",
        b"\x8b\xff\xff\xff\x7f",
    ),
    *(b"\x95" + b"\xff" * 8, b"c__builtin__\neval\n", b"\xff" * 4, b"\0" * 8, b"."),
)

Read = Callable[[Path], object]


def corpus(folder: Path) -> dict[str, tuple[bytes, Read]]:
    """Kind → the content of a real file, and how it is read."""
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
    export(ExportConfig(weights=folder / "a.pt", format=("onnx",), imgsz=64, device="cpu"))

    def cut(path: Path) -> object:
        plan: PrunePlan = read_plan(path)
        plan.table()
        return replay_plan(detector, plan, torch.zeros(1, 3, 64, 64))

    def labels(path: Path) -> object:
        return parse_labels(path.read_bytes(), path, 2)

    def checkpoint(path: Path) -> object:
        return load_checkpoint(path).detector()

    def onnx(path: Path) -> object:
        with open_exported(path, threads=1) as model:
            return model(torch.zeros(1, 3, 64, 64))

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
        "a.onnx": ((folder / "a.onnx").read_bytes(), onnx),
        **{f"image{suffix}": (path.read_bytes(), decode_image) for suffix, path in images.items()},
    }


def spoilt(content: bytes, generator: random.Random, kind: str) -> bytes:
    """A changed copy: one to four changes, mostly near the beginning or the end, where the structure of most files is."""
    out = bytearray(content)
    words: list[bytes] = list(PICKLE_WORDS) if kind.endswith(".pt") else [word.encode() for word in TEXT_WORDS]
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", help="such as a.pt data.yaml; none: all")
    parser.add_argument("--out", type=Path, default=Path("fuzz_files.json"))
    options = parser.parse_args()
    logging.getLogger("slimyolo").setLevel(logging.CRITICAL)
    torch.set_num_threads(1)
    generator, ran = random.Random(options.seed), []
    reads, refused, slowest = Counter[str](), Counter[str](), (0.0, "")
    unexpected: dict[str, dict[str, Any]] = {}
    watching = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in FORBIDDEN:
            ran.append(f"{event} {arguments!r}"[:200])
            raise PermissionError(event)

    with tempfile.TemporaryDirectory(prefix="slimyolo-fuzz-") as name:
        folder = Path(name)
        files = {kind: entry for kind, entry in corpus(folder).items() if not options.kinds or kind in options.kinds}
        for kind, (content, read) in files.items():
            (folder / kind).write_bytes(content)
            try:
                read(folder / kind)  # warms what is imported late
            except SlimyoloError:
                assert kind == "old.pt", f"the unharmed {kind} is refused"
        sys.addaudithook(hook)
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
        began = time.monotonic()
        while time.monotonic() - began < options.minutes * 60:
            kind = generator.choice(list(files))
            content, read = files[kind]
            changed = spoilt(content, generator, kind)
            path = folder / kind
            path.write_bytes(changed)
            start, watching = time.process_time(), True
            try:
                read(path)
            except SlimyoloError as error:
                refused[kind] += 1
                if len(str(error)) > 20_000:
                    unexpected.setdefault(
                        f"{kind}: message of {len(str(error))} characters", {"text": str(error)[:300]}
                    )
            except Exception as error:
                where = traceback.extract_tb(error.__traceback__)[-1]
                key = f"{kind}: {type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
                if key not in unexpected:
                    kept = options.out.with_name(f"{options.out.stem}-{len(unexpected)}-{kind}")
                    kept.write_bytes(changed)
                    text = "".join(traceback.format_exception(error))[-3000:]
                    unexpected[key] = {"file": str(kept), "times": 0, "text": text}
                unexpected[key]["times"] = unexpected[key].get("times", 0) + 1
            finally:
                watching = False
            reads[kind] += 1
            slowest = max(slowest, (time.process_time() - start, kind))
        minutes = (time.monotonic() - began) / 60
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    write_json(
        options.out,
        {
            "minutes": minutes,
            "seed": options.seed,
            "reads": dict(reads),
            "refused": dict(refused),
            "code_run": ran,
            "slowest_cpu_s": slowest[0],
            "slowest_kind": slowest[1],
            "memory_peak_mib": peak,
            "unexpected": unexpected,
        },
    )
    print(
        f"{sum(reads.values()):,} files in {minutes:.1f} min, {sum(refused.values()):,} refused, {len(ran)} ran something, "
        f"slowest {slowest[0]:.2f} s ({slowest[1]}), peak {peak:.0f} MiB, {len(unexpected)} kinds of unexpected error"
    )
    for key, entry in unexpected.items():
        print(f"  {key}: {entry.get('file')}")
    return 1 if ran or unexpected or slowest[0] > SLOW_S else 0


if __name__ == "__main__":
    raise SystemExit(main())
