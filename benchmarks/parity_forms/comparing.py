"""The result of a comparison, and the networks and images that the fixtures make from seeds."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from slimyolo.families import read_architecture
from slimyolo.models import Detector, build_detector

__all__ = [
    "Comparison",
    "arrays_of",
    "built",
    "compared",
    "filled_",
    "fixture_image",
    "image_as_told",
    "same",
    "split_branches",
]


@dataclass(frozen=True)
class Comparison:
    """The result of one comparison. `difference` must not be above `tolerance`; `note` explains what is wrong."""

    name: str
    difference: float
    tolerance: float
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether the numbers agree. A difference of NaN does not agree."""
        return bool(self.difference <= self.tolerance)


def compared(
    name: str, found: Tensor | npt.ArrayLike, wanted: Tensor | npt.ArrayLike, tolerance: float, *, relative: bool = True
) -> Comparison:
    """Compare by the largest absolute difference. `relative`: divided by the largest absolute value that was wanted."""
    ours, theirs = (torch.as_tensor(np.asarray(values)).double() for values in (_plain(found), _plain(wanted)))
    if ours.shape != theirs.shape:
        return Comparison(name, float("inf"), tolerance, f"shapes {tuple(ours.shape)} and {tuple(theirs.shape)}")
    if not ours.numel():
        return Comparison(name, 0.0, tolerance)
    scale = max(float(theirs.abs().max()), 1e-12) if relative else 1.0
    return Comparison(name, float((ours - theirs).abs().max()) / scale, tolerance)


def same(name: str, found: object, wanted: object) -> Comparison:
    """Compare by equality: the difference is 0 when both are equal, otherwise 1, and the note shows both."""
    if found == wanted:
        return Comparison(name, 0.0, 0.0)
    return Comparison(name, 1.0, 0.0, f"found {str(found)[:120]}, wanted {str(wanted)[:120]}")


def built(name: str, nc: int) -> Detector:
    """A new, untrained built-in detector."""
    architecture = read_architecture(name).with_classes(nc)
    return build_detector(architecture, names=[f"class {number}" for number in range(nc)], seed=0)


def filled_(network: nn.Module, seed: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Fill `network` with numbers by the rule of d11. The running statistics come from `arrays` where it has them.

    Their names are ``running_mean`` and ``running_var``. Without them the statistics follow the rule, too.
    """
    position = {"running_mean": 0, "running_var": 0}
    with torch.no_grad():
        for key, value in network.state_dict().items():
            if not value.dtype.is_floating_point or key.endswith("dfl.conv.weight"):
                continue
            kind = key.rsplit(".", 1)[1]
            if kind in position and kind in arrays:
                start = position[kind]
                drawn = arrays[kind][start : start + value.numel()]
                position[kind] += value.numel()
            else:
                drawn = _drawn(key, tuple(value.shape), seed)
            value.copy_(torch.from_numpy(np.asarray(drawn, np.float32).reshape(value.shape)))


def _drawn(key: str, shape: tuple[int, ...], seed: int) -> npt.NDArray[np.float64]:
    random = np.random.RandomState((zlib.crc32(key.encode()) + seed) % 2**32)
    if key.endswith("running_mean"):
        return 0.2 * random.standard_normal(shape)
    if key.endswith(("running_var", ".gamma")) or (key.endswith(".weight") and len(shape) == 1):
        return random.uniform(0.5, 1.5, shape)
    if key.endswith(".bias"):
        return 0.1 * random.standard_normal(shape)
    return random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))


def fixture_image(seed: int, shape: tuple[int, ...]) -> Tensor:
    """The images ``[B, 3, H, W]`` of d11, float32: coarse blocks of 16 × 16 pixels plus fine noise."""
    random = np.random.RandomState(seed)
    batch, channels, height, width = shape
    coarse = random.uniform(0, 1, (batch, channels, height // 16, width // 16)).repeat(16, 2).repeat(16, 3)
    fine = random.uniform(0, 1, shape)
    return torch.from_numpy((0.7 * coarse + 0.3 * fine).astype(np.float32))


def image_as_told(name: str, about: Mapping[str, Any]) -> tuple[Tensor, Iterator[Comparison]]:
    """The images that `about` (seed, shape, sha256_16) describes, and a comparison of their checksum if there is one."""
    image = fixture_image(int(about["seed"]), tuple(about["shape"]))
    checks = []
    if "sha256_16" in about:
        digest = hashlib.sha256(image.numpy().tobytes()).hexdigest()[:16]
        checks.append(same(f"{name}/image", digest, about["sha256_16"]))
    return image, iter(checks)


def split_branches(raw: Any) -> dict[str, list[Tensor]]:
    """Name of the branch → its raw maps, one for each level."""
    if hasattr(raw, "one2many"):
        return {"one2many": list(raw.one2many), "one2one": list(raw.one2one)}
    return {"one2many": list(raw)}


def arrays_of(file: Mapping[str, npt.NDArray[Any]], folder: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays whose names begin with ``folder/``, by the rest of their names."""
    return {name.removeprefix(f"{folder}/"): file[name] for name in file if name.startswith(f"{folder}/")}


def _plain(values: Tensor | npt.ArrayLike) -> npt.ArrayLike:
    return values.detach().cpu().double().numpy() if isinstance(values, Tensor) else values
