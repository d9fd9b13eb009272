"""Writing a rendered dataset: YOLO layout, the same seed gives the same files, an interrupted rendering goes on."""

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
from slimyolo.errors import DataError, StorageError
from slimyolo.storage import write_json, write_text

__all__ = ["render_dataset"]

MARKER = "synth.json"  # tells a rendering from any other folder
YAML = "data.yaml"
VERSION = 1  # raised whenever the same seed gives other pictures
QUALITY = 92
SIZES = (32, 4096)
_SPLITS = ("train", "val")


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

    Writes images/train, images/val (JPEG, `size` × `size` pixels), labels/train, labels/val (class cx cy w h,
    relative), `data.yaml`, and `synth.json`, which says what the folder is. Every picture depends on `seed`, its split
    and its number alone. A folder with the same rendering is completed where pictures are missing and otherwise left as it is.
    `on_progress(done, total)` is called after each picture.

    Raises `DataError` when a number is out of range or the folder holds something else, `StorageError` when it cannot
    be written.
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
        write_text(
            target / YAML,
            f"{origin}path: .\ntrain: images/train\nval: images/val\nnc: {len(CLASS_NAMES)}\nnames:\n{names}",
        )
        write_json(target / MARKER, {"slimyolo_synth": recipe, "state": "finished"})
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
        raise DataError(f"{name} is {value!r}; expected a whole number {limit}. Give for example {name}={example}.")
    return int(value)


def _claim(folder: Path, recipe: dict[str, int]) -> bool:
    """Take the folder for this rendering; True when the rendering there says that it is finished."""
    if folder.exists() and not folder.is_dir():
        raise DataError(
            f"{folder} is a file; expected a folder to render into. Choose another folder, for example {folder}_synth."
        )
    if folder.is_dir() and any(not path.name.startswith(f".{MARKER}.") for path in folder.iterdir()):
        state = _read_marker(folder)
        if state["slimyolo_synth"] != recipe:
            raise DataError(
                f"{folder} holds another rendering ({_described(state['slimyolo_synth'])}); asked for was "
                f"{_described(recipe)}. Choose another folder, or delete {folder} first."
            )
        if state.get("state") == "finished":
            return True
    write_json(folder / MARKER, {"slimyolo_synth": recipe, "state": "unfinished"})
    return False


def _read_marker(folder: Path) -> dict[str, Any]:
    other = folder / "synth"
    advice = f"Nothing was written. Choose a folder that is new or empty, for example {other}."
    try:
        state = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{folder} is not empty and was not made by slimyolo data synth (it has no {MARKER}). {advice}"
        ) from None
    except OSError as error:
        raise StorageError(f"Cannot read {folder / MARKER}: {error.strerror}. {advice}") from error
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict) or not isinstance(state.get("slimyolo_synth"), dict):
        raise DataError(f"{folder / MARKER} is damaged or not a rendering's. {advice}")
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
                raise StorageError(
                    f"Cannot make the folder {path}: {error.strerror}. Choose a folder that you may write to."
                ) from error


def _paths(folder: Path, split: str, index: int) -> tuple[Path, Path]:
    stem = f"{split}_{index:05d}"
    return folder / "images" / split / f"{stem}.jpg", folder / "labels" / split / f"{stem}.txt"


def _write_sample(scene: RenderedScene, image: Path, label: Path) -> None:
    """Write label, then picture, each whole or not at all; a picture that exists has its label."""
    rows = [f"{int(row[0])} " + " ".join(f"{value:.6f}" for value in row[1:]) for row in scene.boxes]
    _, packed = cv2.imencode(".jpg", scene.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    for path, content in ((label, "".join(f"{row}\n" for row in rows).encode()), (image, packed.tobytes())):
        part = path.with_name(f".{path.name}.part")
        try:
            part.write_bytes(content)
            os.replace(part, path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise StorageError(
                f"Cannot write {path}: {error.strerror}. Choose a folder that you may write to and that has free "
                f"space; the same command goes on where it stopped."
            ) from error


@contextmanager
def _one_thread() -> Iterator[None]:
    """OpenCV's own threads only get in the way of pictures this small."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
