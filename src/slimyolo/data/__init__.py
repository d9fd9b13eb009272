"""Datasets: the YAML that describes a dataset, its files, labels and images, and the batches made from them."""

from slimyolo.data.batches.augmentation import Augmentation
from slimyolo.data.batches.batch import Batch
from slimyolo.data.batches.eval_batches import EvalBatches
from slimyolo.data.batches.settings import YOLOV5_LOADING, LoaderSettings, LoadingRecipe, Sharding
from slimyolo.data.batches.train_batches import TrainBatches, class_balance_weights, image_weights_of_classes
from slimyolo.data.dataset.check import ClassCount, DatasetReport, DuplicateImages, SplitReport, check_dataset
from slimyolo.data.dataset.dataset_yaml import DATASETS_VARIABLE, DatasetSpec, read_dataset_yaml
from slimyolo.data.dataset.doubts import empty_classes_words, few_images_words, shared_images_words
from slimyolo.data.dataset.labels import Defect, label_path
from slimyolo.data.dataset.listed_paths import find_listed, read_list
from slimyolo.data.dataset.splits import Sample, SplitData, read_split
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
]
