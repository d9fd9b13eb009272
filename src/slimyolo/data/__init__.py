"""Datasets: description, files, labels, pictures, batches. (`slimyolo.data.synth` renders one.)"""

from slimyolo.data.augmentation import Augmentation
from slimyolo.data.batches import Batch
from slimyolo.data.check import ClassCount, DatasetReport, DuplicateImages, SplitReport, check_dataset
from slimyolo.data.dataset_yaml import DATASETS_VARIABLE, DatasetSpec, read_dataset_yaml
from slimyolo.data.eval_batches import EvalBatches
from slimyolo.data.image_files import IMAGE_SUFFIXES, MAX_PIXELS, decode_image, image_size
from slimyolo.data.labels import Defect, label_path
from slimyolo.data.letterbox import letterbox
from slimyolo.data.splits import Sample, SplitData, read_split
from slimyolo.data.train_batches import TrainBatches, class_balance_weights, image_weights_of_classes

__all__ = [
    "DATASETS_VARIABLE",
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "Augmentation",
    "Batch",
    "ClassCount",
    "DatasetReport",
    "DatasetSpec",
    "Defect",
    "DuplicateImages",
    "EvalBatches",
    "Sample",
    "SplitData",
    "SplitReport",
    "TrainBatches",
    "check_dataset",
    "class_balance_weights",
    "decode_image",
    "image_size",
    "image_weights_of_classes",
    "label_path",
    "letterbox",
    "read_dataset_yaml",
    "read_split",
]
