"""The types of the settings of each command, for editors and type checkers.

This file is written by ``python tests/api/settings_file.py`` from the configurations of the commands; a test compares them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, TypedDict

PathText: TypeAlias = "str | os.PathLike[str]"
PathTexts: TypeAlias = "PathText | Sequence[PathText]"
Share: TypeAlias = "float | str"
"""A share, 0.4 or ``"40%"``, or with a unit, ``"8ms"``."""
Size: TypeAlias = "int | Sequence[int]"
"""One number, or height and width, in pixels."""
Pairs: TypeAlias = "Mapping[str, object] | Sequence[str]"
"""``{"lr0": 0.01}``, or ``["lr0=0.01"]``."""


class TrainSettings(TypedDict, total=False):
    """Settings of ``slimyolo train``."""

    data: PathText
    weights: PathText | None
    cfg: str | None
    hyp: PathText | None
    hyp_set: Pairs
    activation: Literal["silu", "hardswish", "relu", "relu6"] | None
    single_cls: bool
    epochs: int
    batch_size: int
    nominal_batch: int
    imgsz: Size
    time: str | None
    patience: int
    resume: bool | PathText | None
    optimizer: Literal["SGD", "Adam", "AdamW", "MuSGD", "auto"] | None
    cos_lr: bool
    label_smoothing: float
    freeze: int | Sequence[int]
    rect: bool
    multi_scale: bool
    image_weights: bool
    close_mosaic: int | None
    noautoanchor: bool
    seed: int
    teacher: PathText | None
    distill: str | Sequence[str]
    distill_response: float
    distill_feature: float
    device: str | int
    cpu_threads: int | None
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    workers: int
    cache: bool | Literal["ram"] | None
    compile: bool
    deterministic: bool
    sync_bn: bool
    project: PathText
    name: str
    exist_ok: bool
    save_period: int
    nosave: bool
    noval: bool
    noplots: bool


class SparsifySettings(TrainSettings, total=False):
    """Settings of ``slimyolo sparsify``."""

    method: Literal["share", "reference", "soft-threshold", "group-lasso", "cost-weighted", "polarise"]
    percent: Share | None
    params: Share | None
    macs: Share | None
    latency: Share | None
    runtime: Literal["onnxruntime", "openvino", "ncnn", "torch", "litert"] | None
    threads: int
    times: PathTexts
    reach: Share | None
    ranking: Literal["taylor", "gamma"]
    sr: float | None
    floor: Share
    round_to: int
    policy: Literal["coupled", "skip-shortcuts"]


class PruneSettings(TypedDict, total=False):
    """Settings of ``slimyolo prune``."""

    weights: PathText
    percent: Share | None
    params: float | str | None
    macs: float | str | None
    latency: Share | None
    runtime: Literal["onnxruntime", "openvino", "ncnn", "torch", "litert"] | None
    threads: int
    times: PathTexts
    device_host: str | None
    device_python: str
    device_folder: str
    ssh_config: PathText | None
    max_drop: float | None
    drop_level: Share | None
    plan: PathText | None
    dry_run: bool
    plan_out: PathText | None
    policy: Literal["coupled", "skip-shortcuts"]
    importance: Literal["gamma", "gamma_max", "l1", "l2", "random", "taylor", "fisher"]
    per: Literal["channels", "macs", "params", "ms"]
    floor: Share
    floor_of: Pairs
    cap: Pairs
    caps: PathText | None
    max_error: float | None
    keep: str | Sequence[str]
    round_to: int
    constants: Literal["carrier", "bias", "none"]
    cfg: str | None
    data: PathText | None
    samples: int
    reconstruct: bool
    recalibrate: bool
    repair_images: int
    imgsz: Size
    batch_size: int
    conf: float
    iou: float | None
    max_det: int
    device: str | int
    cpu_threads: int | None
    half: bool
    workers: int
    table: bool
    json_file: bool | PathText | None
    file_name: str
    masked_file_name: str | None
    project: PathText
    name: str
    exist_ok: bool
    noplots: bool


class SensitivitySettings(TypedDict, total=False):
    """Settings of ``slimyolo sensitivity``."""

    weights: PathText
    data: PathText
    metric: Literal["error", "map"]
    kept: float | Sequence[float]
    layers: str | Sequence[str]
    images: int
    importance: Literal["gamma", "gamma_max", "l1", "l2", "random"]
    recalibrate: bool
    imgsz: Size
    batch_size: int
    device: str | int
    cpu_threads: int | None
    workers: int
    resume: bool | PathText | None
    json_file: bool | PathText | None
    noplots: bool
    project: PathText
    name: str
    exist_ok: bool


class FinetuneSettings(TypedDict, total=False):
    """Settings of ``slimyolo finetune``."""

    data: PathText
    weights: PathText
    cfg: str | None
    hyp: PathText | None
    hyp_set: Pairs
    activation: Literal["silu", "hardswish", "relu", "relu6"] | None
    single_cls: bool
    epochs: int
    batch_size: int
    nominal_batch: int
    imgsz: Size
    time: str | None
    patience: int
    resume: bool | PathText | None
    optimizer: Literal["SGD", "Adam", "AdamW", "MuSGD", "auto"] | None
    cos_lr: bool
    label_smoothing: float
    freeze: int | Sequence[int]
    rect: bool
    multi_scale: bool
    image_weights: bool
    close_mosaic: int | None
    noautoanchor: bool
    seed: int
    teacher: PathText | None
    distill: str | Sequence[str]
    distill_response: float
    distill_feature: float
    device: str | int
    cpu_threads: int | None
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    workers: int
    cache: bool | Literal["ram"] | None
    compile: bool
    deterministic: bool
    sync_bn: bool
    project: PathText
    name: str
    exist_ok: bool
    save_period: int
    nosave: bool
    noval: bool
    noplots: bool
    lr_factor: float | None


class ValSettings(TypedDict, total=False):
    """Settings of ``slimyolo val``."""

    weights: PathText
    class_names: str | Sequence[str]
    trust_code: bool
    data: PathText
    split: Literal["val", "train", "test"]
    imgsz: Size
    single_cls: bool
    conf: float
    iou: float | None
    one2many: bool
    max_det: int
    rule: Literal["yolov5", "coco", "ultralytics"] | None
    against: PathText | None
    batch_size: int
    device: str | int
    cpu_threads: int | None
    half: bool
    runtime: Literal["auto", "torch", "onnxruntime", "openvino"]
    workers: int
    cache: bool | Literal["ram"] | None
    json_file: bool | PathText | None
    save_txt: bool
    save_conf: bool
    save_json: bool
    coco: PathText | None
    noplots: bool
    project: PathText
    name: str
    exist_ok: bool


class CompareSettings(TypedDict, total=False):
    """Settings of ``slimyolo compare``."""

    data: PathText | None
    split: Literal["val", "train", "test"]
    imgsz: Size
    class_names: str | Sequence[str]
    trust_code: bool
    single_cls: bool
    rule: Literal["yolov5", "coco", "ultralytics"] | None
    conf: float
    iou: float | None
    one2many: bool
    max_det: int
    level: Share
    resamples: int
    seed: int
    batch_size: int
    device: str | int
    cpu_threads: int | None
    half: bool
    workers: int
    cache: bool | Literal["ram"] | None
    json_file: bool | PathText | None
    images: int
    project: PathText
    name: str
    exist_ok: bool
    noplots: bool


class PredictSettings(TypedDict, total=False):
    """Settings of ``slimyolo predict``."""

    weights: PathText
    class_names: str | Sequence[str]
    trust_code: bool
    source: str
    imgsz: Size
    vid_stride: int
    stream_timeout: float
    reconnect: int
    conf: float
    iou: float
    max_det: int
    classes: int | str | Sequence[int | str]
    agnostic_nms: bool
    device: str | int
    cpu_threads: int | None
    half: bool
    runtime: Literal["auto", "torch", "onnxruntime", "openvino"]
    show: bool
    nosave: bool
    save_txt: bool
    save_conf: bool
    save_json: bool
    save_csv: bool
    save_crop: bool
    json_file: bool | PathText | None
    project: PathText
    name: str
    exist_ok: bool
    line_thickness: int
    hide_labels: bool
    hide_conf: bool


class CompressSettings(TypedDict, total=False):
    """Settings of ``slimyolo compress``."""

    data: PathText
    weights: PathText | None
    cfg: str | None
    percent: Share | None
    params: Share | None
    macs: Share | None
    latency: Share | None
    runtime: Literal["onnxruntime", "openvino", "ncnn", "torch", "litert"] | None
    threads: int
    times: PathTexts
    method: Literal["share", "reference", "soft-threshold", "group-lasso", "cost-weighted", "polarise"]
    sr: float | None
    policy: Literal["coupled", "skip-shortcuts"]
    floor: Share
    round_to: int
    constants: Literal["carrier", "bias", "none"]
    recalibrate: bool
    epochs: int
    sparse_epochs: int
    finetune_epochs: int
    finetune_lr_factor: float | None
    resume: bool | PathText | None
    distill: bool | str | Sequence[str] | None
    activation: Literal["silu", "hardswish", "relu", "relu6"] | None
    imgsz: Size
    batch_size: int
    nominal_batch: int
    optimizer: Literal["SGD", "Adam", "AdamW", "MuSGD", "auto"] | None
    hyp: PathText | None
    hyp_set: Pairs
    noautoanchor: bool
    seed: int
    device: str | int
    cpu_threads: int | None
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    workers: int
    cache: bool | Literal["ram"] | None
    export: str | Sequence[str] | None
    project: PathText
    name: str
    exist_ok: bool
    noplots: bool


class IterateSettings(TypedDict, total=False):
    """Settings of ``slimyolo iterate``."""

    weights: PathText
    data: PathText
    percent: Share | None
    params: Share | None
    macs: Share | None
    latency: Share | None
    runtime: Literal["onnxruntime", "openvino", "ncnn", "torch", "litert"] | None
    threads: int
    times: PathTexts
    rounds: int
    round_epochs: int
    epochs: int
    resume: bool | PathText | None
    policy: Literal["coupled", "skip-shortcuts"]
    importance: Literal["gamma", "gamma_max", "l1", "l2", "random", "taylor", "fisher"]
    per: Literal["channels", "macs", "params", "ms"]
    floor: Share
    round_to: int
    constants: Literal["carrier", "bias", "none"]
    no_reconstruct: bool
    repair_images: int
    imgsz: Size
    batch_size: int
    nominal_batch: int
    optimizer: Literal["SGD", "Adam", "AdamW", "MuSGD", "auto"] | None
    hyp: PathText | None
    hyp_set: Pairs
    seed: int
    device: str | int
    cpu_threads: int | None
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    workers: int
    cache: bool | Literal["ram"] | None
    export: str | Sequence[str] | None
    project: PathText
    name: str
    exist_ok: bool


class ExportSettings(TypedDict, total=False):
    """Settings of ``slimyolo export``."""

    weights: PathText
    format: str | Sequence[str]
    imgsz: Size
    batch_size: int
    output: PathText | None
    half: bool
    int8: bool
    calibration_images: int
    int8_tolerance: float
    dynamic: bool
    simplify: bool
    opset: int | None
    one2many: bool
    nms: bool
    conf: float
    iou: float
    max_det: int | None
    device: str | int
    cpu_threads: int | None
    json_file: bool | PathText | None
    data: PathText | None
    images: str | None
    no_examples: bool


class BenchSettings(TypedDict, total=False):
    """Settings of ``slimyolo bench``."""

    weights: PathTexts
    runtime: str | Sequence[str]
    precision: (
        Literal["fp32", "fp16", "bf16", "auto", "int8"] | Sequence[Literal["fp32", "fp16", "bf16", "auto", "int8"]]
    )
    trust_code: bool
    data: PathText | None
    times: PathTexts
    latency: Share | None
    imgsz: Size
    batch: int
    threads: int
    runs: int
    warmup: int
    calibration_images: int
    json_file: bool | PathText | None
    project: PathText
    name: str
    exist_ok: bool


class LatencyPackSettings(TypedDict, total=False):
    """Settings of ``slimyolo latency pack``."""

    weights: PathText
    runtime: Literal["onnxruntime", "openvino", "ncnn", "litert"]
    imgsz: Size
    threads: int
    precision: Literal["fp32", "auto"]
    networks: int | None
    seed: int
    output: PathText | None
    device_host: str | None
    device_python: str
    device_folder: str
    ssh_config: PathText | None


class LatencyCheckSettings(TypedDict, total=False):
    """Settings of ``slimyolo latency check``."""

    weights: PathTexts
    times: PathText
    latency: Share | None
    output: PathText | None
    device_host: str | None
    device_python: str
    device_folder: str
    ssh_config: PathText | None


class ReportSettings(TypedDict, total=False):
    """Settings of ``slimyolo report``."""

    output: PathText | None
    images: int
    open: bool


class DataCheckSettings(TypedDict, total=False):
    """Settings of ``slimyolo data check``."""

    json_file: bool | PathText | None
    imgsz: Size
    strict: bool
    limit: int


class DataConvertSettings(TypedDict, total=False):
    """Settings of ``slimyolo data convert``."""

    source_format: Literal["coco", "voc", "label-studio", "cvat", "createml", "yolo"] | None
    images: PathTexts
    first_pixel: Literal["0", "1"] | None
    split: str | None
    seed: int
    group_by: str | None
    classes: str | Sequence[str]
    copy_images: bool
    link: bool
    json_file: bool | PathText | None
    limit: int


class DataSynthSettings(TypedDict, total=False):
    """Settings of ``slimyolo data synth``."""

    train: int
    val: int
    imgsz: int
    seed: int


class ServeSettings(TypedDict, total=False):
    """Settings of ``slimyolo serve``."""

    weights: PathTexts
    imgsz: Size
    conf: float
    iou: float
    device: str | int
    cpu_threads: int | None
    trust_code: bool
    host: str
    port: int
    allow_host: str | Sequence[str]
    max_megabytes: float
    max_megapixels: float
