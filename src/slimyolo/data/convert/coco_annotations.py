"""The way back to a COCO file: its numbers for pictures and classes of a dataset, and its objects as they are."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimyolo.data.convert.annotation_files import finite, read_json_file
from slimyolo.data.convert.formats.coco import categories_of, image_names, image_size_of, is_coco
from slimyolo.data.convert.placing import Frame, frame_of, turned_back
from slimyolo.data.pictures.image_files import read_image_header
from slimyolo.errors import ConfigError, DataError, nearest_name_hint, shown_value

__all__ = ["CocoAnnotations", "CocoImage", "boxes_for_file", "read_coco_annotations"]


@dataclass(frozen=True, kw_only=True)
class CocoImage:
    """An image of the file: its number there, its names, and (height, width) as stated, or None."""

    id: int | str
    names: tuple[str, ...]
    size: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True, eq=False)
class CocoAnnotations:
    """A COCO annotation file.

    `images` are sorted by their number, as pycocotools sorts them. `categories` maps a class name to its number. The objects
    have one entry each in `box_images` (place in `images`), `box_categories`, `boxes` ``[m, 4]`` (left, top, width, height in
    pixels), `areas` and `crowds`. `has_number_0` says whether an annotation has the number 0: pycocotools takes such an object as
    never found.
    """

    file: Path
    images: tuple[CocoImage, ...]
    categories: Mapping[str, int]
    box_images: npt.NDArray[np.int64]
    box_categories: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    areas: npt.NDArray[np.float64]
    crowds: npt.NDArray[np.bool_]
    has_number_0: bool

    def numbers_of(self, names: Sequence[str]) -> tuple[int, ...]:
        """The category number of each class name. Raises `ConfigError` for a class that the file does not have."""
        for name in names:
            if name not in self.categories:
                hint = nearest_name_hint(name, self.categories)
                raise ConfigError(
                    f"--coco: the class {name!r} is no category of {self.file}.{hint} Was it renamed with "
                    "`slimyolo data convert --classes`? Give the dataset the names of the file."
                )
        return tuple(self.categories[name] for name in names)

    def places_of(self, pictures: Sequence[Path], originals: Mapping[str, str] | None = None) -> tuple[int | None, ...]:
        """For each picture the place of its image in `images`, or None when the file does not have it.

        The name decides; of several images with this name, the one with most folders in common. `originals` maps the path of a
        picture to the path that it had before it was renamed. Raises `ConfigError` when this is not enough to tell images apart.
        """
        index: dict[str, list[tuple[tuple[str, ...], int]]] = defaultdict(list)
        for place, image in enumerate(self.images):
            parts = tuple(part for part in image.names[0].split("/") if part not in ("", ".", ".."))
            index[parts[-1].casefold()].append((parts, place))
        found = tuple(self._place(picture, originals or {}, index) for picture in pictures)
        first: dict[int, Path] = {}
        for picture, one in zip(pictures, found, strict=True):
            if one is not None and first.setdefault(one, picture) != picture:
                raise ConfigError(
                    f"--coco: {first[one]} and {picture} have names that both fit the image {self.images[one].id} of {self.file}."
                )
        return found

    def _place(
        self, picture: Path, originals: Mapping[str, str], index: Mapping[str, list[tuple[tuple[str, ...], int]]]
    ) -> int | None:
        path = Path(originals.get(os.fspath(picture), os.fspath(picture)))
        candidates = index.get(path.name.casefold(), [])
        ranks = [_common_end(parts, path.parts) for parts, _ in candidates]
        best = [place for (_, place), rank in zip(candidates, ranks, strict=True) if rank == max(ranks)]
        if len(best) > 1:
            raise ConfigError(
                f"--coco: the images {self.images[best[0]].id} and {self.images[best[1]].id} of {self.file} both fit the name "
                f"of {picture}."
            )
        return best[0] if best else None


def read_coco_annotations(file: Path) -> CocoAnnotations:
    """Read a COCO file for scoring. Raises `DataError` when it is damaged, or when an annotation has no usable box."""
    data = read_json_file(file)
    if not is_coco(data) or not isinstance(data.get("annotations"), list):
        raise DataError(
            f"--coco must be a file of COCO annotations, with 'images', 'annotations' and 'categories'; {file} is none."
        )
    images = []
    for item in data["images"]:
        names = image_names(item) if isinstance(item, Mapping) else ()
        if not names or not isinstance(item.get("id"), (int, str)):
            raise DataError(f"{file}: an image needs 'id' and 'file_name', got {shown_value(item)}.")
        images.append(CocoImage(id=item["id"], names=names, size=image_size_of(item)))
    try:
        images.sort(key=lambda image: image.id)
    except TypeError as error:
        raise DataError(f"{file}: the numbers of its images are partly text. Write all of them as numbers.") from error
    categories = categories_of(data["categories"], file)
    by_name = {name: number for number, name in reversed(categories.items())}
    return CocoAnnotations(
        file=file, images=tuple(images), categories=by_name, **_objects(data["annotations"], images, file)
    )


def boxes_for_file(
    boxes: npt.NDArray[np.float32], picture: Path, size: tuple[int, int], stated: tuple[int, int] | None
) -> npt.NDArray[np.float64] | None:
    """Boxes ``[n, 4]`` (left, top, right, bottom) of a picture of (height, width) `size`, in the frame of the annotations.

    The frame is `stated`: it differs from `size` when the annotations are for the picture before its EXIF rotation, or for a
    smaller or larger copy. None: it is the frame of another picture.
    """
    if stated is None or stated == size:
        return boxes.astype(np.float64)
    frame: Frame | None = frame_of(stated, read_image_header(picture))
    if frame is None:
        return None
    height, width = size
    shares = boxes.astype(np.float64) / (width, height, width, height)
    if frame.orientation != 1:
        shares = np.asarray([turned_back(tuple(row), frame.orientation) for row in shares.tolist()]).reshape(-1, 4)
    return shares * (stated[1], stated[0], stated[1], stated[0])


def _objects(annotations: Sequence[Any], images: Sequence[CocoImage], file: Path) -> dict[str, Any]:
    places = {image.id: place for place, image in enumerate(images)}
    rows = []
    for index, item in enumerate(annotations):
        try:
            place, category = places[item["image_id"]], int(item["category_id"])
            left, top, width, height = (finite(value) for value in item["bbox"])
            area = finite(item.get("area", width * height))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"{file}: entry {index} of 'annotations' needs 'image_id' of a listed image, 'category_id' and 'bbox' with four "
                f"numbers, got {shown_value(item)}."
            ) from error
        rows.append((place, category, left, top, width, height, area, bool(item.get("iscrowd"))))
    table = np.asarray(rows, np.float64).reshape(-1, 8)
    return {
        "box_images": table[:, 0].astype(np.int64),
        "box_categories": table[:, 1].astype(np.int64),
        "boxes": table[:, 2:6],
        "areas": table[:, 6],
        "crowds": table[:, 7].astype(np.bool_),
        "has_number_0": any(item.get("id") == 0 for item in annotations),
    }


def _common_end(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for first, second in zip(reversed(one), reversed(other), strict=False):
        if first.casefold() != second.casefold():
            break
        count += 1
    return count
