"""What an export format is: one value that holds how its files are written, opened, shown in an example and quantised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from slimyolo.exporting.int8.quantise import Quantiser
from slimyolo.exporting.settings import ExportSettings, Opened, RunOptions, RunPrecision, Written
from slimyolo.models import Detector

__all__ = ["Example", "Format", "Int8", "Runtime"]


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What computes with files: the `package` that is imported, which ``pip install 'slimyolo[EXTRA]'`` brings.

    `suffixes` are the files that it opens, `precisions` what it can be asked to compute in. `open` takes such a file. With
    `devices` it runs on GPUs, too, and not only on the processor.
    """

    name: str
    package: str
    extra: str
    suffixes: tuple[str, ...]
    precisions: tuple[RunPrecision, ...]
    open: Callable[[Path, RunOptions], Opened]
    devices: bool = False


@dataclass(frozen=True, kw_only=True)
class Example:
    """The Python example that is written beside a file: what it imports, and its class ``Network``.

    `network` is the text of that class, which derives from ``Metadata`` (``templates/network_base.txt``) and has
    ``__init__(path, threads)`` and ``run(images)``. `packages` are what ``pip install`` needs. With `cpp` there is an example
    in C++, too, for ONNX Runtime.
    """

    network: str
    imports: tuple[str, ...]
    packages: str
    cpp: bool = False


@dataclass(frozen=True, kw_only=True)
class Int8:
    """How files of a format are quantised: `make` takes the float ONNX file and calibration batches.

    `packages` are what is needed besides those of the format.
    """

    make: Callable[[Path, Sequence[Tensor]], Quantiser]
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Format:
    """One row of the table of formats.

    | field | what it holds |
    |---|---|
    | `name`, `aliases` | what ``--format`` takes |
    | `ending` | files are called NAME + `ending`; with `folder` that is a folder |
    | `suffix` | of the file that the runtime opens; with `folder` it lies inside |
    | `extra`, `packages` | what ``pip install 'slimyolo[EXTRA]'`` brings, and what is imported to write |
    | `simplifier` | the package that ``--simplify`` needs; None: not for this format |
    | `checker` | the package that runs the written file, or at least reads it |
    | `write` | (fused detector, path, settings) → what was written |
    | `runtime` | what runs the file here; None where nothing can |
    | `able` | which of ``dynamic``, ``batch``, ``half``, ``nms`` and ``top_k`` (choose the best rows) the format can |
    | `bound` | the file only runs on the kind of device where it was captured |
    | `example` | the program that is written beside the file; None: none |
    | `int8` | how it is quantised; None: not at all |
    | `elsewhere` | suffixes of files that belong to the format but cannot be opened here → what to do instead |

    ``slimyolo bench`` times a checkpoint on a runtime with the first format of the table whose files that runtime opens.
    """

    name: str
    ending: str
    suffix: str
    extra: str
    packages: tuple[str, ...]
    checker: str
    write: Callable[[Detector, Path, ExportSettings], Written]
    runtime: Runtime | None
    able: frozenset[str] = frozenset({"dynamic", "batch", "half", "nms", "top_k"})
    folder: bool = False
    simplifier: str | None = None
    bound: bool = False
    example: Example | None = None
    int8: Int8 | None = None
    aliases: tuple[str, ...] = ()
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    def file_in(self, path: Path) -> Path:
        """The file that a runtime opens, of the exported `path`: itself, or inside the folder, NAME + `suffix`."""
        return path / f"{path.name.removesuffix(self.ending)}{self.suffix}" if self.folder else path
