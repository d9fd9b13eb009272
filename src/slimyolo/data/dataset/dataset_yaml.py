"""The dataset YAML: where the images are, and the names of the classes.

The file is only data. A ``download:`` line is kept as text, for error messages; it is never executed.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from slimyolo.data.dataset.listed_paths import with_slashes
from slimyolo.errors import DataError
from slimyolo.one_line import one_line_repr
from slimyolo.ranges import MOST_CLASSES
from slimyolo.shown_text import storable
from slimyolo.storage import in_home, read_yaml

__all__ = ["DATASETS_VARIABLE", "DatasetSpec", "read_dataset_yaml"]

DATASETS_VARIABLE = "SLIMYOLO_DATASETS"
_SPLITS = ("train", "val", "test")
_KNOWN_KEYS = ("path", *_SPLITS, "nc", "names", "kpt_shape", "download")


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A dataset as its YAML describes it. No image or label has been opened yet.

    `source` is the YAML file; `root` the folder from which relative paths start; `names` has one name per class, in the
    order of the class numbers; `train`, `val`, `test` are the places of each split: folders, list files or single images
    (empty when the YAML does not name the split); `keypoints` is ``kpt_shape``, the number of keypoints of an object and of
    numbers for each, or None; `download` is the text of the ``download:`` line, or None.
    """

    source: Path
    root: Path
    names: tuple[str, ...]
    train: tuple[Path, ...] = ()
    val: tuple[Path, ...] = ()
    test: tuple[Path, ...] = ()
    keypoints: tuple[int, int] | None = None
    download: str | None = None

    @property
    def nc(self) -> int:
        """Number of classes."""
        return len(self.names)

    def split(self, name: str) -> tuple[Path, ...]:
        """The places of the split `name` (train, val or test). Raises `DataError` when the YAML does not name it."""
        if name not in _SPLITS:
            raise DataError(f"{name!r} is not a split of a dataset; use one of {', '.join(_SPLITS)}.")
        places: tuple[Path, ...] = getattr(self, name)
        if not places:
            raise DataError(f"{self.source} names no {name} images. Add a line such as '{name}: images/{name}' to it.")
        return places


def read_dataset_yaml(path: str | Path, *, search: Sequence[str | Path] = ()) -> DatasetSpec:
    """Read a dataset YAML in YOLO layout.

    | key | content |
    |---|---|
    | ``path`` | the root folder; without it, the folder of the YAML |
    | ``train``, ``val``, ``test`` | a path or a list of paths, relative to the root |
    | ``names`` | a list, or a mapping from class number to name |
    | ``nc`` | the number of classes; optional when there are names |
    | ``kpt_shape`` | datasets of keypoints: ``[count, 2 or 3]``; only the boxes are read |

    A relative ``path`` is searched beside the YAML, in each folder of `search`, in the working directory, and in each folder
    of ``$SLIMYOLO_DATASETS``. When it is in none of these places, or when an absolute ``path`` does not exist, its last
    folder name is searched in each folder of ``$SLIMYOLO_DATASETS``. A path that does not exist with its backslashes is read
    with slashes, because Windows writes it so.

    Raises `DataError` when the file does not exist or is not YAML, when a key looks misspelt, when the class names do
    not fit ``nc``, when ``kpt_shape`` is not two such numbers, or when the root folder is in none of these places (the
    message lists them).
    """
    source = _existing_file(Path(path))
    content = _load_mapping(source)
    _refuse_misspelt_keys(content, source)
    names = _read_names(content, source)
    root = _find_root(content.get("path"), source, [Path(folder) for folder in search], content.get("download"))
    places = {split: _read_places(content.get(split), split, root, source) for split in _SPLITS}
    if not any(places.values()):
        raise DataError(f"{source} names no images. Add 'train: images/train' and 'val: images/val'.")
    download = content.get("download")
    return DatasetSpec(
        source=source,
        root=root,
        names=names,
        **places,
        keypoints=_read_keypoints(content.get("kpt_shape"), source),
        download=None if download is None else str(download),
    )


def _existing_file(path: Path) -> Path:
    path = in_home(path)
    if os.path.isfile(path):
        return path
    if os.path.isdir(path):
        inside = sorted(path.glob("*.y*ml"))
        give = f" Give that file: {inside[0]}" if len(inside) == 1 else ""
        raise DataError(f"--data must be a YAML file, got the folder {path}.{_yaml_files_hint(path)}{give}")
    raise DataError(
        f"There is no dataset file {path} (looked from {Path.cwd()}).{_yaml_files_hint(path.parent, path.name)} "
        f"'slimyolo data synth FOLDER' renders a dataset to start with and prints the YAML to use."
    )


def _yaml_files_hint(folder: Path, near: str | None = None) -> str:
    found = sorted(file.name for file in folder.glob("*.y*ml")) if os.path.isdir(folder) else []
    if near is not None:
        found = get_close_matches(near, found, n=3) or found
    return f" In {folder} there is: {', '.join(found[:5])}." if found else ""


def _load_mapping(source: Path) -> dict[str, Any]:
    try:
        content = read_yaml(source)
    except OSError as error:
        raise DataError(f"Cannot read {source}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8 text (byte {error.start}). Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        raise DataError(f"{source} is not valid YAML: {_one_line(error)}.") from error
    if not isinstance(content, Mapping):
        found = "nothing" if content is None else f"a {type(content).__name__}"
        raise DataError(
            f"{source} must hold keys such as 'path:', 'train:', 'val:' and 'names:', but it holds {found}."
        )
    return {str(key): value for key, value in content.items()}


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "cannot be read"
    return f"line {mark.line + 1}: {problem}" if mark is not None else " ".join(str(error).split()) or problem


def _refuse_misspelt_keys(content: Mapping[str, Any], source: Path) -> None:
    """Refuse an unknown key only when it resembles a missing key, because other programs put their own keys here."""
    absent = [key for key in _KNOWN_KEYS if key not in content]
    for key in content:
        if key not in _KNOWN_KEYS and (near := get_close_matches(key.lower(), absent, n=1, cutoff=0.75)):
            raise DataError(f"{source}: unknown key {key!r}. Did you mean {near[0]!r}?")


def _read_names(content: Mapping[str, Any], source: Path) -> tuple[str, ...]:
    nc, names = content.get("nc"), content.get("names")
    if nc is not None and (not isinstance(nc, int) or isinstance(nc, bool) or not 1 <= nc <= MOST_CLASSES):
        raise DataError(f"{source}: nc must be a whole number of classes from 1 to {MOST_CLASSES:,}, got {nc!r}.")
    if names is None:
        if nc is None:
            if source.suffix.lower() == ".json":
                raise DataError(
                    f"{source} is a JSON file, not the YAML of a dataset. Annotations of other tools are brought into the "
                    f"layout that is read here by: slimyolo data convert {shlex.quote(str(source))} FOLDER"
                )
            raise DataError(f"{source}: no class names. Add a line such as 'names: [face, face_mask]'.")
        return tuple(f"class{number}" for number in range(nc))
    if isinstance(names, Mapping):
        names = _names_in_order(names, source)
    if not isinstance(names, list) or not names:
        raise DataError(f"{source}: names must be a list or a mapping from class number to name, got {names!r}.")
    for number, name in enumerate(names):
        if isinstance(name, bool) or not isinstance(name, (str, int, float)) or not str(name).strip():
            raise DataError(f"{source}: the name of class {number} is {name!r}; write it in quotes as text.")
    if nc is not None and nc != len(names):
        raise DataError(
            f"{source}: nc is {nc}, but there are {len(names)} names. Correct one of them, or leave nc out."
        )
    return tuple(storable(str(name)) for name in names)


def _names_in_order(names: Mapping[Any, Any], source: Path) -> list[Any]:
    try:
        numbered = {int(key): value for key, value in names.items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{source}: names maps class numbers to names, got the keys {list(names)}.") from error
    missing = [number for number in range(len(numbered)) if number not in numbered]
    if missing:
        raise DataError(
            f"{source}: names has no entry for class {missing[0]}; number the classes 0, 1, 2 … without a gap."
        )
    return [numbered[number] for number in range(len(numbered))]


def _read_keypoints(shape: Any, source: Path) -> tuple[int, int] | None:
    if shape is None:
        return None
    numbers = list(shape) if isinstance(shape, (list, tuple)) else []
    if (
        len(numbers) != 2
        or any(type(number) is not int for number in numbers)
        or numbers[0] < 1
        or numbers[1] not in (2, 3)
    ):
        raise DataError(
            f"{source}: kpt_shape must be the number of keypoints and 2 or 3 numbers for each, such as [17, 3], got {shape!r}."
        )
    return numbers[0], numbers[1]


def _find_root(path: Any, source: Path, search: Sequence[Path], download: Any) -> Path:
    beside = source.parent
    if path is None or path == "":
        return beside.absolute()
    if not isinstance(path, str):
        raise DataError(f"{source}: path must be one folder, got {path!r}.")
    wanted = in_home(path if os.path.isdir(beside / path) else with_slashes(path))
    shelves = [Path(shelf) for shelf in os.environ.get(DATASETS_VARIABLE, "").split(os.pathsep) if shelf]
    if wanted.is_absolute():
        candidates = [wanted]
    else:
        candidates = [folder / wanted for folder in (beside, *search, Path.cwd(), *shelves)]
    # an absolute path of another machine, or ../datasets/NAME, still ends with the name of the folder
    candidates += [shelf / wanted.name for shelf in shelves if wanted.name not in ("", ".", "..")]
    places = list(dict.fromkeys(Path(os.path.normpath(candidate)) for candidate in candidates))
    for place in places:
        if os.path.isdir(place):
            return place.absolute()
    looked = "\n".join(f"  {place.absolute()}" for place in places)
    hint = f"Put the dataset there, set 'path:' in {source}, or set ${DATASETS_VARIABLE} to the folder of your datasets"
    if download is not None:
        hint += " (the 'download:' line of the file is never run; download the dataset yourself)"
    raise DataError(
        f"The dataset folder {path!r} of {source} does not exist. Looked for:\n{looked}\n{hint}; "
        f"or render a dataset: slimyolo data synth FOLDER."
    )


def _read_places(value: Any, split: str, root: Path, source: Path) -> tuple[Path, ...]:
    if value is None or value == "" or value == []:
        return ()
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) and entry for entry in entries):
        raise DataError(f"{source}: {split} must be a path or a list of paths, got {value!r}.")
    return tuple(_place(root, entry) for entry in entries)


def _place(root: Path, entry: str) -> Path:
    place = root / in_home(entry)
    if not os.path.exists(place):
        entry = with_slashes(entry)
        place = root / in_home(entry)
    # a well-known service writes ../train/images into its exports but means train/images
    if not os.path.exists(place) and entry.startswith("../") and os.path.exists(root / entry[3:]):
        place = root / entry[3:]
    return Path(os.path.normpath(place))
