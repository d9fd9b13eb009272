"""d15, older fixtures of the same form, and folders of weights: compares the outputs of networks read from files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
from torch import Tensor

from parity_forms.comparing import Comparison, arrays_of, image_as_told, same
from parity_forms.networks import heads_against
from slimyolo.errors import SlimyoloError
from slimyolo.families import load_checkpoint

__all__ = ["compare_checkpoints"]


def compare_checkpoints(
    folder: Path, numbers: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]
) -> Iterator[Comparison]:
    """Compare every ``NAME.pt`` of `folder` that has expected outputs or an entry in the JSON file.

    Files for other tasks than detection must be refused, and the error must name the task.
    """
    label = folder.name
    pictures: dict[str, Tensor] = {}
    for key, about in _inputs(numbers).items():
        pictures[key], checks = image_as_told(f"{label}/{key or 'input'}", about)
        yield from checks
    entries = numbers.get("files", {name: about for name, about in numbers.items() if name.endswith(".pt")})
    stems = sorted({name.split("/")[0] for name in arrays} | {name.removesuffix(".pt") for name in entries})
    for stem in stems:
        path, about = folder / f"{stem}.pt", entries.get(f"{stem}.pt", {})
        if not path.is_file():
            yield Comparison(f"{label}/{stem}", float("inf"), 0.0, f"{path} is missing")
            continue
        yield from _file(f"{label}/{stem}", path, about, arrays_of(arrays, stem), pictures)


def _inputs(numbers: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The input images by name. An image that all files share has the name ""."""
    if "inputs" in numbers:
        return dict(numbers["inputs"])
    return {"": numbers["input"]} if "input" in numbers else {}


def _file(
    name: str,
    path: Path,
    about: Mapping[str, Any],
    wanted: Mapping[str, npt.NDArray[Any]],
    pictures: Mapping[str, Tensor],
) -> Iterator[Comparison]:
    other_task = _other_task(about, wanted)
    try:
        checkpoint = load_checkpoint(path)
    except SlimyoloError as error:
        if other_task:
            yield Comparison(f"{name}/refused", 0.0 if "task" in str(error) else 1.0, 0.0, str(error)[:300])
        else:
            yield Comparison(f"{name}/loads", float("inf"), 0.0, str(error)[:300])
        return
    if other_task:
        yield Comparison(f"{name}/refused", 1.0, 0.0, "a file of another task was read as a detector")
        return
    detector = checkpoint.detector()
    if about.get("names"):
        names = tuple(about["names"][key] for key in sorted(about["names"], key=int))
        yield same(f"{name}/names", tuple(detector.names), names)
    if about.get("stride"):
        yield same(f"{name}/stride", detector.stride.tolist(), [float(value) for value in about["stride"]])
    if about.get("params"):
        yield same(f"{name}/params", sum(value.numel() for value in detector.parameters()), about["params"])
    for key, picture in pictures.items():
        yield from heads_against(
            f"{name}/{key}".rstrip("/"), detector, picture, arrays_of(wanted, key) if key else wanted
        )


def _other_task(about: Mapping[str, Any], wanted: Mapping[str, npt.NDArray[Any]]) -> bool:
    head = str(about.get("head", "Detect")).lower()
    return "detect" not in head or any(name.rsplit("/", 1)[-1] in ("angle", "mask", "keypoints") for name in wanted)
