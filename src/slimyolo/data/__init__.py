"""Datasets: the YAML that describes a dataset, its files, labels and images, and the batches made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
    from slimyolo.data.batches.augmentation import Augmentation
    from slimyolo.data.batches.batch import Batch
    from slimyolo.data.batches.eval_batches import EvalBatches
    from slimyolo.data.batches.settings import YOLOV5_LOADING, LoaderSettings, LoadingRecipe, Sharding
    from slimyolo.data.batches.train_batches import TrainBatches, class_balance_weights, image_weights_of_classes
    from slimyolo.data.dataset.check import ClassCount, DatasetReport, DuplicateImages, SplitReport, check_dataset
    from slimyolo.data.dataset.dataset_yaml import DATASETS_VARIABLE, DatasetSpec, read_dataset_yaml
    from slimyolo.data.dataset.doubts import (
        empty_classes_words,
        few_images_words,
        shared_images_words,
        wrong_classes_words,
    )
    from slimyolo.data.dataset.labels import Defect, label_path
    from slimyolo.data.dataset.listed_paths import find_listed, read_list
    from slimyolo.data.dataset.samples import Sample
    from slimyolo.data.dataset.splits import SplitData, read_split
    from slimyolo.data.pictures.image_files import (
        IMAGE_SUFFIXES,
        MAX_PIXELS,
        UNREAD_SUFFIXES,
        decode_image,
        image_size,
        read_image_bytes,
        unread_kind,
    )
    from slimyolo.data.pictures.letterbox import letterbox

__all__ = [
    "DATASETS_VARIABLE",
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "UNREAD_SUFFIXES",
    "YOLOV5_LOADING",
    "Augmentation",
    "Batch",
    "ClassCount",
    "DatasetReport",
    "DatasetSpec",
    "Defect",
    "DuplicateImages",
    "EvalBatches",
    "LoaderSettings",
    "LoadingRecipe",
    "Sample",
    "Sharding",
    "SplitData",
    "SplitReport",
    "TrainBatches",
    "check_dataset",
    "class_balance_weights",
    "decode_image",
    "empty_classes_words",
    "few_images_words",
    "find_listed",
    "image_size",
    "image_weights_of_classes",
    "label_path",
    "letterbox",
    "read_dataset_yaml",
    "read_image_bytes",
    "read_list",
    "read_split",
    "shared_images_words",
    "unread_kind",
    "wrong_classes_words",
]

names_on_first_use(
    __name__,
    {
        "slimyolo.data.batches.augmentation": "Augmentation",
        "slimyolo.data.batches.batch": "Batch",
        "slimyolo.data.batches.eval_batches": "EvalBatches",
        "slimyolo.data.batches.settings": "YOLOV5_LOADING LoaderSettings LoadingRecipe Sharding",
        "slimyolo.data.batches.train_batches": "TrainBatches class_balance_weights image_weights_of_classes",
        "slimyolo.data.dataset.check": "ClassCount DatasetReport DuplicateImages SplitReport check_dataset",
        "slimyolo.data.dataset.dataset_yaml": "DATASETS_VARIABLE DatasetSpec read_dataset_yaml",
        "slimyolo.data.dataset.doubts": "empty_classes_words few_images_words shared_images_words wrong_classes_words",
        "slimyolo.data.dataset.labels": "Defect label_path",
        "slimyolo.data.dataset.listed_paths": "find_listed read_list",
        "slimyolo.data.dataset.samples": "Sample",
        "slimyolo.data.dataset.splits": "SplitData read_split",
        "slimyolo.data.pictures.image_files": (
            "IMAGE_SUFFIXES MAX_PIXELS UNREAD_SUFFIXES decode_image image_size read_image_bytes unread_kind"
        ),
        "slimyolo.data.pictures.letterbox": "letterbox",
    },
)
