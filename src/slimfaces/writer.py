"""Writes a rendered dataset in YOLO layout.

The same seed gives the same files, byte for byte. A rendering that was interrupted can be continued.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from slimfaces.scene import CLASS_NAMES, RenderedScene, render_scene

__all__ = ["RenderRefusedError", "RenderWriteError", "render_dataset"]

MARKER = "synth.json"  # shows that a folder is a rendering
YAML = "data.yaml"
VERSION = 1  # must be raised when the same seed gives other pictures
QUALITY = 92  # of the JPEG files
SIZES = (32, 4096)  # smallest and largest side of a picture, in pixels
_SPLITS = ("train", "val")


class RenderRefusedError(ValueError):
    """A number is out of range, or the folder holds something else. Nothing was written."""


class RenderWriteError(OSError):
    """A file or a folder of the rendering cannot be written or read."""


def render_dataset(
    folder: str | os.PathLike[str],
    *,
    train: int = 240,
    val: int = 60,
    size: int = 320,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render a face / face_mask dataset into `folder` and return the path of its data YAML.

    It writes images/train and images/val (JPEG, `size` × `size` pixels), labels/train and labels/val (class cx cy w h,
    relative), `data.yaml`, and `synth.json`, which describes the folder. A picture depends only on `seed`, its split and
    its number. When the folder holds the same rendering, only missing pictures are added. `on_progress(done, total)` is
    called after each picture.

    Raises `RenderRefusedError` when a number is out of range or the folder holds something else, `RenderWriteError`
    when something cannot be written.
    """
    target = Path(folder)
    counts = {"train": _whole(train, "train", 1), "val": _whole(val, "val", 0)}
    recipe = {"version": VERSION, **counts, "size": _whole(size, "size", *SIZES), "seed": _whole(seed, "seed", 0)}
    finished = _claim(target, recipe)
    todo = [(split, index) for split in _SPLITS for index in range(counts[split])]
    _make_folders(target)
    with _one_thread():
        for done, (split, index) in enumerate(todo, start=1):
            image, label = _paths(target, split, index)
            if not (image.exists() and label.exists()):
                generator = np.random.default_rng([recipe["seed"], _SPLITS.index(split), index])
                _write_sample(render_scene(generator, recipe["size"]), image, label)
            if on_progress is not None:
                on_progress(done, len(todo))
    if not finished or not (target / YAML).exists():
        names = "".join(f"  {index}: {name}\n" for index, name in enumerate(CLASS_NAMES))
        origin = f"# rendered by slimyolo data synth (seed {recipe['seed']}); no photographs\n"
        text = f"{origin}path: .\ntrain: images/train\nval: images/val\nnc: {len(CLASS_NAMES)}\nnames:\n{names}"
        _write_whole(target / YAML, text.encode())
        _write_marker(target, recipe, "finished")
    return target / YAML


def _whole(value: int, name: str, least: int, most: int | None = None) -> int:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, np.integer))
        or value < least
        or (most is not None and value > most)
    ):
        limit = f"from {least} to {most}" if most is not None else f"of at least {least}"
        example = 320 if name == "size" else 60
        raise RenderRefusedError(
            f"{name} is {value!r}; expected a whole number {limit}. Give for example {name}={example}."
        )
    return int(value)


def _claim(folder: Path, recipe: dict[str, int]) -> bool:
    """Reserve the folder for this rendering. Returns True when the same rendering is there and finished."""
    if folder.exists() and not folder.is_dir():
        raise RenderRefusedError(
            f"{folder} is a file; expected a folder to render into. Choose another folder, for example {folder}_synth."
        )
    if folder.is_dir() and any(not path.name.startswith(f".{MARKER}.") for path in folder.iterdir()):
        state = _read_marker(folder)
        if state["slimyolo_synth"] != recipe:
            raise RenderRefusedError(
                f"{folder} holds another rendering ({_described(state['slimyolo_synth'])}); you asked for "
                f"{_described(recipe)}. Choose another folder, or delete {folder} first."
            )
        if state.get("state") == "finished":
            return True
    _write_marker(folder, recipe, "unfinished")
    return False


def _write_marker(folder: Path, recipe: dict[str, int], state: str) -> None:
    content = json.dumps({"slimyolo_synth": recipe, "state": state}, indent=2, ensure_ascii=False)
    _write_whole(folder / MARKER, f"{content}\n".encode())


def _read_marker(folder: Path) -> dict[str, Any]:
    other = folder / "synth"
    advice = f"Nothing was written. Choose a folder that is new or empty, for example {other}."
    try:
        state = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RenderRefusedError(
            f"{folder} is not empty and was not made by slimyolo data synth (it has no {MARKER}). {advice}"
        ) from None
    except OSError as error:
        raise RenderWriteError(f"Cannot read {folder / MARKER}: {error.strerror}. {advice}") from error
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict) or not isinstance(state.get("slimyolo_synth"), dict):
        raise RenderRefusedError(f"{folder / MARKER} is damaged, or was not written by a rendering. {advice}")
    return state


def _described(recipe: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in recipe.items())


def _make_folders(folder: Path) -> None:
    for split in _SPLITS:
        for kind in ("images", "labels"):
            path = folder / kind / split
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RenderWriteError(
                    f"Cannot make the folder {path}: {error.strerror}. Choose a folder that you may write to."
                ) from error


def _paths(folder: Path, split: str, index: int) -> tuple[Path, Path]:
    stem = f"{split}_{index:05d}"
    return folder / "images" / split / f"{stem}.jpg", folder / "labels" / split / f"{stem}.txt"


def _write_sample(scene: RenderedScene, image: Path, label: Path) -> None:
    """Write the label, then the picture, so that a picture that exists has its label."""
    rows = [f"{int(row[0])} " + " ".join(f"{value:.6f}" for value in row[1:]) for row in scene.boxes]
    _, packed = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    _write_whole(label, "".join(f"{row}\n" for row in rows).encode())
    _write_whole(image, packed.tobytes())


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file beside `path` and move it there, so that `path` is never half written."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise RenderWriteError(
            f"Cannot write {path}: {error.strerror}. Choose a folder that you may write to and that has free space. "
            f"If you repeat the command, it continues where it stopped."
        ) from error


@contextmanager
def _one_thread() -> Iterator[None]:
    """A context in which OpenCV uses one thread, because for pictures of this size its threads cost more than they save."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
