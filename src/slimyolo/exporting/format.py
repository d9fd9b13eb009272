"""`Format`, an export format as one value: how its files are written, opened, used in an example, and quantised."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from slimyolo.exporting.int8.quantise import Quantiser
from slimyolo.exporting.settings import ExportSettings, Opened, RunOptions, RunPrecision, Written
from slimyolo.models import Detector
from slimyolo.one_line import one_line_repr

__all__ = ["Example", "Format", "Int8", "Runtime"]


def no_others(path: Path) -> tuple[Path, ...]:
    """A file of one piece: nothing besides `path` is read."""
    return ()


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A program library that runs exported files: the `package` that ``pip install 'slimyolo[EXTRA]'`` installs.

    `suffixes` are those of the files that it opens, `precisions` the number formats that it can compute in. `open` opens
    such a file. `others` names the files that it reads besides, such as weights. `texts` reads the metadata alone and
    runs nothing; without it the file is opened to read them. With `devices` it runs on GPUs as well as on the processor. With
    `program` its files can do more than compute: `open` runs only those that slimyolo wrote, or that the user trusts.
    """

    name: str
    package: str
    extra: str
    suffixes: tuple[str, ...]
    precisions: tuple[RunPrecision, ...]
    open: Callable[[Path, RunOptions], Opened]
    others: Callable[[Path], tuple[Path, ...]] = no_others
    texts: Callable[[Path], Mapping[str, str]] | None = None
    devices: bool = False
    program: bool = False


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class Example:
    """The Python example that is written beside a file: what it imports, and its class ``Network``.

    `network` is the text of that class, which derives from ``Metadata`` (``templates/network_base.txt``) and has the methods
    ``__init__(path, threads)`` and ``run(images)``. `packages` are the arguments of ``pip install``. With `cpp` an example in
    C++ (for ONNX Runtime) is written, too.
    """

    network: str
    imports: tuple[str, ...]
    packages: str
    cpp: bool = False


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class Int8:
    """How files of a format are quantised: `make` takes the float ONNX file and calibration batches.

    `packages` are needed in addition to those of the format.
    """

    make: Callable[[Path, Sequence[Tensor]], Quantiser]
    packages: tuple[str, ...] = ()


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class Format:
    """One row of the table of formats.

    | field | what it holds |
    |---|---|
    | `name`, `aliases` | the words that ``--format`` takes |
    | `ending` | files are called NAME + `ending`; with `folder` this is the name of a folder |
    | `suffix` | suffix of the file that the runtime opens; with `folder` the file is inside the folder |
    | `extra`, `packages` | ``pip install 'slimyolo[EXTRA]'`` installs the packages that are imported to write |
    | `simplifier` | the package that ``--simplify`` needs; None: the option has no effect for this format |
    | `checker` | the package that runs the written file, or at least reads it |
    | `write` | (fused detector, path, settings) → what was written |
    | `runtime` | runs the file on this machine; None when nothing can |
    | `able` | what the format supports: ``dynamic``, ``batch``, ``half``, ``nms``, ``top_k`` (choose the best rows) |
    | `bound` | the file runs only on the kind of device on which it was captured |
    | `example` | the program that is written beside the file; None: there is none |
    | `int8` | how the format is quantised; None: it is not quantised |
    | `elsewhere` | suffixes of files of the format that cannot be opened here → what to do instead |

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
        """The file that a runtime opens for the exported `path`: `path` itself, or NAME + `suffix` inside the folder."""
        return path / f"{path.name.removesuffix(self.ending)}{self.suffix}" if self.folder else path
