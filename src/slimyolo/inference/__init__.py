"""Detects in pictures: reads sources, predicts, draws boxes and writes results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
    from slimyolo.inference.drawing import class_colour, draw_detections
    from slimyolo.inference.free_names import FreeNames
    from slimyolo.inference.held import HeldPictures, held_pictures
    from slimyolo.inference.picture_detections import Detection, PictureDetections
    from slimyolo.inference.pictures import BrokenPicture, ImageArray, Picture, as_picture_array
    from slimyolo.inference.predicting import (
        DetectionSettings,
        PredictedPicture,
        StageTimes,
        predict,
        predict_picture,
        predict_pictures,
    )
    from slimyolo.inference.sources import (
        DEFAULT_PATIENCE,
        VIDEO_SUFFIXES,
        PictureSource,
        named_files,
        picture_count,
        read_pictures,
    )
    from slimyolo.inference.streams import Patience, without_password
    from slimyolo.inference.video_file import VideoFile
    from slimyolo.inference.window import PictureWindow, open_window
    from slimyolo.inference.writing import (
        CSV_COLUMNS,
        PICTURE_SUFFIXES,
        crop_detection,
        csv_text,
        detection_rows,
        safe_file_name,
        write_labels,
        write_picture,
        yolo_lines,
    )

__all__ = [
    "CSV_COLUMNS",
    "DEFAULT_PATIENCE",
    "PICTURE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "BrokenPicture",
    "Detection",
    "DetectionSettings",
    "FreeNames",
    "HeldPictures",
    "ImageArray",
    "Patience",
    "Picture",
    "PictureDetections",
    "PictureSource",
    "PictureWindow",
    "PredictedPicture",
    "StageTimes",
    "VideoFile",
    "as_picture_array",
    "class_colour",
    "crop_detection",
    "csv_text",
    "detection_rows",
    "draw_detections",
    "held_pictures",
    "named_files",
    "open_window",
    "picture_count",
    "predict",
    "predict_picture",
    "predict_pictures",
    "read_pictures",
    "safe_file_name",
    "without_password",
    "write_labels",
    "write_picture",
    "yolo_lines",
]

names_on_first_use(
    __name__,
    {
        "slimyolo.inference.drawing": "class_colour draw_detections",
        "slimyolo.inference.free_names": "FreeNames",
        "slimyolo.inference.held": "HeldPictures held_pictures",
        "slimyolo.inference.picture_detections": "Detection PictureDetections",
        "slimyolo.inference.pictures": "BrokenPicture ImageArray Picture as_picture_array",
        "slimyolo.inference.predicting": (
            "DetectionSettings PredictedPicture StageTimes predict predict_picture predict_pictures"
        ),
        "slimyolo.inference.sources": (
            "DEFAULT_PATIENCE VIDEO_SUFFIXES PictureSource named_files picture_count read_pictures"
        ),
        "slimyolo.inference.streams": "Patience without_password",
        "slimyolo.inference.video_file": "VideoFile",
        "slimyolo.inference.window": "PictureWindow open_window",
        "slimyolo.inference.writing": (
            "CSV_COLUMNS PICTURE_SUFFIXES crop_detection csv_text detection_rows safe_file_name write_labels "
            "write_picture yolo_lines"
        ),
    },
)
