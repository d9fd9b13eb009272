"""Pictures to detections: sources, prediction, drawing and writing."""

from slimyolo.inference.drawing import class_colour, draw_detections
from slimyolo.inference.predicting import (
    DetectionSettings,
    PredictedPicture,
    StageTimes,
    predict,
    predict_picture,
    predict_pictures,
)
from slimyolo.inference.sources import (
    VIDEO_SUFFIXES,
    BrokenPicture,
    Picture,
    PictureSource,
    as_picture_array,
    read_pictures,
)
from slimyolo.inference.writing import (
    CSV_COLUMNS,
    FreeNames,
    VideoFile,
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
    "VIDEO_SUFFIXES",
    "BrokenPicture",
    "DetectionSettings",
    "FreeNames",
    "Picture",
    "PictureSource",
    "PredictedPicture",
    "StageTimes",
    "VideoFile",
    "as_picture_array",
    "class_colour",
    "crop_detection",
    "csv_text",
    "detection_rows",
    "draw_detections",
    "predict",
    "predict_picture",
    "predict_pictures",
    "read_pictures",
    "safe_file_name",
    "write_labels",
    "write_picture",
    "yolo_lines",
]
