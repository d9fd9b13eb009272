"""Makes networks with other widths, ready to be timed on a runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from slimyolo import __version__
from slimyolo.errors import ConfigError
from slimyolo.exporting import (
    ExportSettings,
    detector_metadata,
    find_format,
    find_runtime,
    open_exported,
    random_values,
    repeating_values,
    require_packages,
    resized_onnx,
    runtimes,
    timed_format,
    write_quick_onnx,
)
from slimyolo.models import Detector, LayerWidth, narrow_, widths_of
from slimyolo.pruning import SaysSizes
from slimyolo.storage import temporary_folder

__all__ = ["Networks"]

SMALL = 64  # values


class Networks:
    """Makes networks like `detector` with other widths for `runtime`, in a temporary folder that `close` removes.

    For ONNX Runtime and OpenVINO the detector is exported once, and the weights in the file are replaced for each network. This
    does not work where the network divides channels (a `C2f`, attention), because the file then holds the sizes of the parts:
    such a network is exported each time, as it is for ncnn. For torch each network is built. With `compressible` the weights are
    `repeating_values`, for files that travel. Raises `ConfigError` for an unknown runtime and `ExportError` for a missing
    package.
    """

    def __init__(
        self, detector: Detector, runtime: str, size: tuple[int, int], threads: int, *, compressible: bool = False
    ) -> None:
        known = [name for name in runtimes() if name != "torch" or not compressible]  # eager networks do not travel
        if runtime not in known:
            raise ConfigError(f"--runtime {runtime} cannot be timed: expected one of {', '.join(known)}.")
        self._fused = detector.fused().requires_grad_(False)
        self._paths = widths_of(self._fused).keys()
        divides = any(isinstance(part, SaysSizes) for part in self._fused.modules())
        self._resizable = runtime in ("onnxruntime", "openvino") and not divides
        self._runtime, self._threads = runtime, threads
        self._settings = ExportSettings(size=size, metadata=detector_metadata(detector, size, __version__))
        self._images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
        self._folder = temporary_folder("slimyolo-latency-")
        self._template: bytes | None = None
        self._compressible = compressible
        self._count = 0

    @property
    def quick(self) -> bool:
        """Whether a network is made in a moment, without an export of its own."""
        return self._resizable or self._runtime == "torch"

    def close(self) -> None:
        """Remove the temporary files."""
        self._folder.cleanup()

    def versions(self) -> Mapping[str, str]:
        """Name and version of the package that runs the networks."""
        if self._runtime == "torch":
            return {"torch": str(torch.__version__)}
        from importlib.metadata import version

        package = find_runtime(self._runtime).package
        return {package: version(package)}

    @contextmanager
    def opened(self, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[Callable[[], object]]:
        """A function that runs the network with weights of these `shapes` (module path → shape) on one image.

        Layers that the fused network lacks (a branch for training, merged convolutions) have no time: they are left out.
        """
        if self._runtime == "torch":
            model = self._narrowed(self._timed(shapes))

            def run() -> object:
                with torch.inference_mode():
                    return model(self._images)

            yield run
            return
        with open_exported(self.file(shapes), runtime=self._runtime, threads=self._threads) as exported:
            images = self._images.contiguous(memory_format=exported.memory_format)
            yield lambda: exported.output(images)

    def file(self, shapes: Mapping[str, tuple[int, ...]]) -> Path:
        """The file (ncnn: the folder) of the network with weights of these `shapes`. `close` removes it.

        Layers that the fused network lacks are left out. For torch there is no file.
        """
        timed = self._timed(shapes)
        return self._resized(timed) if self._resizable else self._exported(timed)

    def _timed(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        return {path: shape for path, shape in shapes.items() if path in self._paths}

    def _resized(self, shapes: Mapping[str, tuple[int, ...]]) -> Path:
        if self._template is None:
            row = find_format("onnx")
            require_packages(row)
            path = self._next("template.onnx")
            row.write(self._fused, path, self._settings)
            self._template = path.read_bytes()
        path = self._next("network.onnx")
        values = repeating_values if self._compressible else random_values
        path.write_bytes(resized_onnx(self._template, shapes, values))
        return path

    def _exported(self, shapes: Mapping[str, tuple[int, ...]]) -> Path:
        row = timed_format(find_runtime(self._runtime))
        require_packages(row)
        model = self._narrowed(shapes)
        path = self._next("network" if row.folder else f"network{row.suffix}")
        if row.name == "onnx":
            write_quick_onnx(model, path, self._settings)
        else:
            row.write(model, path, self._settings)
        return path

    def _narrowed(self, shapes: Mapping[str, tuple[int, ...]]) -> Detector:
        model = self._fused.fused()  # a copy
        widths = {
            path: _width(width, shapes[path]) if path in shapes else width for path, width in widths_of(model).items()
        }
        narrow_(model, widths)
        if self._compressible:
            for part in model.modules():
                if isinstance(part, (torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.Linear)):
                    for tensor in (part.weight, *(() if part.bias is None else (part.bias,))):
                        _refill_(tensor)
        return model.requires_grad_(False)

    def _next(self, name: str) -> Path:
        self._count += 1
        folder = Path(self._folder.name) / str(self._count)
        folder.mkdir()
        return folder / name


def _refill_(weight: torch.Tensor) -> None:
    """`repeating_values`, except for tensors that are too small to matter (the bins of a distribution, for example)."""
    if weight.numel() > SMALL:
        with torch.no_grad():
            weight.copy_(torch.from_numpy(repeating_values(tuple(weight.shape))))


def _width(dense: LayerWidth, shape: tuple[int, ...]) -> LayerWidth:
    groups = shape[0] if dense.groups > 1 and shape[1] == 1 else dense.groups
    return LayerWidth(shape[1] * groups, shape[0], groups, dense.bias)
