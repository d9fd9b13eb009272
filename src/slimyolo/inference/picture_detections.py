"""What `predict` answers for one picture: the detections, their names, and what one does with them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, overload

import cv2
import numpy as np

from slimyolo.errors import DataError, StorageError
from slimyolo.geometry import Detections
from slimyolo.inference.drawing import draw_detections
from slimyolo.inference.pictures import BrokenPicture, ImageArray, Picture, as_picture_array
from slimyolo.inference.sources import read_pictures
from slimyolo.inference.writing import crop_detection, detection_rows, write_picture
from slimyolo.shown_text import counted

__all__ = ["Detection", "PictureDetections"]

NOTEBOOK_PIXELS = 1280  # longest side of the drawing in a notebook, which keeps the picture in its file


@dataclass(frozen=True)
class Detection:
    """One detection. `box` is x1, y1, x2, y2 in pixels of the picture, `score` in 0–1, `name` that of class `class_number`."""

    name: str
    score: float
    box: tuple[float, float, float, float]
    class_number: int


@dataclass(frozen=True, eq=False, kw_only=True)
class PictureDetections(Detections):
    """The detections of one picture, best score first, with the names of the classes.

    `names` are those of all classes of the model. `picture` is the picture's name, `path` its file and `video_frame` the
    number of the frame, where there are any. `size` is (height, width) in pixels.

    An index gives one `Detection`; a slice, or a mask such as ``found.scores > 0.5``, gives fewer of them.
    """

    names: tuple[str, ...] = ()
    picture: str = ""
    size: tuple[int, int] = (0, 0)
    path: Path | None = None
    video_frame: int | None = None
    kept: ImageArray | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, detections: Detections, picture: Picture, names: tuple[str, ...], kept: ImageArray | None = None
    ) -> PictureDetections:
        """The `detections` (source pixels) of `picture`. `kept` is its image, if it cannot be read again from a file."""
        height, width = picture.image.shape[:2]
        return cls(
            detections.boxes,
            detections.scores,
            detections.classes,
            detections.frame,
            names=names,
            picture=picture.name,
            size=(height, width),
            path=picture.path,
            video_frame=picture.video_frame,
            kept=kept,
        )

    def __repr__(self) -> str:
        counts = Counter(one.name for one in self)
        found = ", ".join(f"{count} {name}" for name, count in counts.most_common(6)) or "nothing"
        more = f" and {counted(len(counts) - 6, 'more class', 'more classes')}" if len(counts) > 6 else ""
        frame = "" if self.video_frame is None else f" frame {self.video_frame}"
        scores = f", scores {self.scores[0]:.2f} to {self.scores[-1]:.2f}" if len(self) else ""
        size = f"{self.size[0]} x {self.size[1]} (height x width)"
        return f"PictureDetections({self.picture[:60]!r}{frame}, {size}: {found[:120]}{more}{scores})"

    def __iter__(self) -> Iterator[Detection]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> Detection: ...
    @overload
    def __getitem__(self, index: Any) -> PictureDetections: ...
    def __getitem__(self, index: Any) -> Detection | PictureDetections:
        if not isinstance(index, (int, np.integer)) or isinstance(index, bool):
            chosen = index if isinstance(index, slice) else np.asarray(index)
            if isinstance(chosen, np.ndarray) and not chosen.size:
                chosen = chosen.astype(np.int64)  # an empty list holds floats
            return replace(self, boxes=self.boxes[chosen], scores=self.scores[chosen], classes=self.classes[chosen])
        number = int(self.classes[index])
        name = self.names[number] if number < len(self.names) else f"class {number}"
        x1, y1, x2, y2 = self.boxes[index].tolist()
        return Detection(name, float(self.scores[index]), (x1, y1, x2, y2), number)

    def image(self) -> ImageArray:
        """The picture as BGR uint8 ``[h, w, 3]``, read again from its file, or as it was given.

        Raises `DataError` when it was not kept, or is not there any more.
        """
        if self.kept is not None:
            return self.kept
        if self.path is None:
            raise DataError(
                f"The picture {self.picture!r} was not kept (1 GiB of pictures from memory are). Give it again: plot(image)."
            )
        for one in read_pictures(self.path):
            if isinstance(one, BrokenPicture):
                raise DataError(one.reason)
            if one.video_frame == self.video_frame:
                return self._checked(one.image)
        raise DataError(f"The video {self.path} has no frame {self.video_frame} any more.")

    def plot(
        self,
        image: ImageArray | None = None,
        *,
        line_thickness: int = 0,
        labels: bool = True,
        confidences: bool = True,
        rgb: bool = False,
    ) -> ImageArray:
        """A copy of the picture with boxes and labels, BGR uint8 ``[h, w, 3]`` as OpenCV has it; with `rgb`, RGB.

        `image` (BGR) is drawn on instead of the picture. The other arguments are those of `draw_detections`.
        """
        canvas = self.image() if image is None else self._checked(as_picture_array(np.asarray(image)))
        drawn = draw_detections(
            canvas, self, self.names, line_thickness=line_thickness, labels=labels, confidences=confidences
        )
        return np.ascontiguousarray(drawn[:, :, ::-1]) if rgb else drawn

    def save(self, path: str | os.PathLike[str], image: ImageArray | None = None) -> Path:
        """Write the drawing to the file `path`, or into the folder `path` under the picture's name. Returns the file.

        Raises `StorageError` instead of replacing the picture itself.
        """
        frame = "" if self.video_frame is None else f"_{self.video_frame}"
        target = Path(path)
        target = target / f"{self.picture}{frame}.jpg" if target.is_dir() else target
        if self.path is not None and target.exists() and target.samefile(self.path):
            raise StorageError(f"The drawing would replace the picture {target} itself. Give another name.")
        return write_picture(target, self.plot(image))

    def crop(self, image: ImageArray | None = None, *, margin: float = 0.05) -> list[ImageArray]:
        """The content of each box as BGR uint8 ``[h, w, 3]``, enlarged on each side by the share `margin`."""
        whole = self.image() if image is None else self._checked(as_picture_array(np.asarray(image)))
        return [crop_detection(whole, box, margin).copy() for box in self.boxes.tolist()]

    def to_dict(self) -> dict[str, Any]:
        """The picture and its detections as plain data, as in ``detections.json`` of ``slimyolo predict --save-json``."""
        source = Picture(np.zeros((0, 0, 3), np.uint8), self.picture, self.path, self.video_frame)
        rows = detection_rows(source, self, [*self.names, *(f"class {n}" for n in self._unnamed())])
        kept = [{key: value for key, value in row.items() if key not in ("image", "frame")} for row in rows]
        image = str(self.path or self.picture)
        return {
            "image": image,
            "frame": self.video_frame,
            "height": self.size[0],
            "width": self.size[1],
            "detections": kept,
        }

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def _repr_png_(self) -> bytes | None:
        """The drawing, which a notebook shows; None when the picture is not there."""
        try:
            drawn = self.plot()
        except DataError:
            return None
        if (longest := max(drawn.shape[:2])) > NOTEBOOK_PIXELS:
            height, width = (max(round(side * NOTEBOOK_PIXELS / longest), 1) for side in drawn.shape[:2])
            drawn = np.asarray(cv2.resize(drawn, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        return cv2.imencode(".png", drawn)[1].tobytes()

    def _checked(self, image: ImageArray) -> ImageArray:
        """`image`, if it has the size of the picture in which was detected."""
        if image.shape[:2] != self.size:
            raise DataError(
                f"The picture {self.picture!r} has {image.shape[0]} x {image.shape[1]} pixels (height x width), but the "
                f"detections are of one with {self.size[0]} x {self.size[1]}."
            )
        return image

    def _unnamed(self) -> range:
        """Class numbers that have no name."""
        return range(len(self.names), max([len(self.names), *(int(number) + 1 for number in self.classes)]))
