"""Writes the archive that a device times: networks that compress to nothing, ``run.py``, a README and a manifest."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import IO, Any, Literal

from slimyolo import __version__
from slimyolo.errors import ConfigError
from slimyolo.storage import atomic_file
from slimyolo.tasks.latency.how_far import telling_how_far
from slimyolo.tasks.latency.networks import Networks
from slimyolo.tasks.latency.shapes import NetworkFacts, Shapes

__all__ = ["ARCHIVES", "PACK_FORMAT", "PACK_VERSION", "Pack", "PackKind", "PackedNetwork", "archive_kind", "write_pack"]

PACK_FORMAT, PACK_VERSION = "slimyolo-latency-pack", 1
FOLDER = "slimyolo-latency"
CHUNK = 6  # networks timed in turn with the dense one
PASSES: Mapping[str, int] = {"fit": 3, "check": 5}
INSTALLED = {"onnxruntime": "onnxruntime", "openvino": "openvino", "ncnn": "ncnn", "litert": "ai-edge-litert"}
"""Runtime → what ``pip install`` takes on the device."""
MOMENT = (1980, 1, 1, 0, 0, 0)  # in the archive, so that the same networks give the same file

PackKind = Literal["fit", "check"]
"""``fit``: networks of random widths, to learn how time follows from widths. ``check``: cut networks that are to be timed."""

README = """\
This archive times networks on the device that will serve them (slimyolo {version}, {runtime}, \
images of {height} x {width} pixels, height x width).
1. Copy it to the device, unpack it there, and go into its folder: cd {folder}
2. Install the runtime, if it is not there: python3 -m pip install numpy {package}
3. Run: python3 run.py   (Ctrl-C stops it, and the same command goes on; python3 run.py --help lists its options)
4. Copy times.json back, and use it: slimyolo prune --weights FILE --latency 30ms --times {files}
"""


@dataclass(frozen=True)
class PackedNetwork:
    """A network of an archive: its name, and the weight shapes of its convolutions."""

    name: str
    shapes: Shapes


@dataclass(frozen=True, kw_only=True)
class Pack:
    """What an archive is about.

    | field | content |
    |---|---|
    | `kind` | see `PackKind` |
    | `weights` | the checkpoint, for people to read |
    | `facts` | the dense network |
    | `networks` | what is timed; the first is the dense network |
    | `precision` | ``fp32``, or ``auto``: the runtime chooses the number format |
    | `budget_ms`, `budget_share` | the budget that a check should say something about, if there is one |
    """

    kind: PackKind
    weights: str
    runtime: str
    threads: int
    precision: str
    facts: NetworkFacts
    networks: tuple[PackedNetwork, ...]
    budget_ms: float | None = None
    budget_share: float | None = None

    def manifest(self, files: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
        """What ``manifest.json`` says; `files` are those of each network."""
        return {
            "format": PACK_FORMAT,
            "version": PACK_VERSION,
            "slimyolo": __version__,
            "kind": self.kind,
            "weights": self.weights,
            "runtime": self.runtime,
            "imgsz": list(self.facts.size),
            "precision": self.precision,
            "threads": self.threads,
            "passes": PASSES[self.kind],
            "chunk": CHUNK,
            "fingerprint": self.facts.fingerprint,
            "facts": self.facts.to_plain(),
            "budget_ms": self.budget_ms,
            "budget_share": self.budget_share,
            "networks": [
                {
                    "name": network.name,
                    "shapes": {path: list(shape) for path, shape in network.shapes.items()},
                    "files": list(own),
                }
                for network, own in zip(self.networks, files, strict=True)
            ],
        }


def archive_kind(path: Path) -> str:
    """``.zip``, ``.tar.gz`` or ``.tgz``, the ending of `path`. Raises `ConfigError` for another one."""
    for ending in ARCHIVES:
        if path.name.lower().endswith(ending) and len(path.name) > len(ending):
            return ending
    raise ConfigError(f"--output {path}: expected a name that ends in {', '.join(ARCHIVES)}.")


def write_pack(path: Path, pack: Pack, networks: Networks) -> int:
    """Write the archive `path` atomically, with the networks that `networks` makes. Returns its size in bytes.

    `networks` should be compressible. Raises `ConfigError` for an unknown ending, and `StorageError` when the file cannot be
    written.
    """
    kind = archive_kind(path)
    with atomic_file(path) as file, ARCHIVES[kind](file) as add:
        files = []
        for number, network in enumerate(telling_how_far(pack.networks, "networks written")):
            packed = list(_packed(networks.file(network.shapes), number))
            for name, content, _ in packed:
                add.file(f"networks/{name}", content)
            files.append([about for _, _, about in packed])
        add.file("manifest.json", json.dumps(pack.manifest(files), indent=1).encode())
        add.file("run.py", _program(pack.runtime).encode())
        add.file("README.txt", _readme(pack).encode())
    return path.stat().st_size


def _packed(made: Path, number: int) -> list[tuple[str, bytes, dict[str, Any]]]:
    """(name in the archive, content, what the manifest says) of each file of one network; the file to open comes first."""
    files = sorted(made.glob("*.ncnn.*"), reverse=True) if made.is_dir() else [made]  # .param before .bin
    found = []
    for file in files:
        content = file.read_bytes()
        packed = f"{number:02d}{''.join(file.suffixes[-1:])}.gz"
        about = {
            "packed": packed,
            "name": file.name,
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        found.append((packed, gzip.compress(content, mtime=0), about))
    return found


def _program(runtime: str) -> str:
    text = (resources.files("slimyolo.tasks.latency.device") / "templates" / "run.py.txt").read_text(encoding="utf-8")
    return text.replace("@VERSION@", __version__).replace("@PACKAGES@", INSTALLED[runtime])


def _readme(pack: Pack) -> str:
    height, width = pack.facts.size
    return README.format(
        version=__version__,
        runtime=pack.runtime,
        height=height,
        width=width,
        folder=FOLDER,
        package=INSTALLED[pack.runtime],
        files="times.json" if pack.kind == "fit" else "FIRST.json times.json",
    )


class _Zip:
    """A zip archive that is being written. Its files are compressed already, except the texts."""

    def __init__(self, file: IO[bytes]) -> None:
        self._archive = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED)

    def __enter__(self) -> _Zip:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._archive.close()

    def file(self, name: str, content: bytes) -> None:
        """Add a file of the archive's folder."""
        entry = zipfile.ZipInfo(f"{FOLDER}/{name}", MOMENT)
        entry.external_attr = 0o644 << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        self._archive.writestr(entry, content)


class _Tar:
    """A tar archive, compressed with gzip, that is being written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._packed = gzip.GzipFile(fileobj=file, mode="wb", mtime=0, filename="")
        self._archive = tarfile.TarFile(fileobj=self._packed, mode="w", format=tarfile.USTAR_FORMAT)

    def __enter__(self) -> _Tar:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._archive.close()
        self._packed.close()

    def file(self, name: str, content: bytes) -> None:
        """Add a file of the archive's folder."""
        entry = tarfile.TarInfo(f"{FOLDER}/{name}")
        entry.size, entry.mode = len(content), 0o644
        self._archive.addfile(entry, io.BytesIO(content))


ARCHIVES: Mapping[str, Callable[[IO[bytes]], _Zip | _Tar]] = {".zip": _Zip, ".tar.gz": _Tar, ".tgz": _Tar}
"""Ending of the file name → how such an archive is written."""
