"""Which options ``slimyolo COMMAND --help`` shows, so that it fits on a screen; ``--help-all`` shows the others too.

A command without a row here shows all its options. Required and positional ones are shown in any case.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["OFTEN_USED"]

TRAINING = ("data", "weights", "cfg", "epochs", "batch_size", "imgsz", "resume", "hyp_set", "device", "cache", "name")

OFTEN_USED: Mapping[str, tuple[str, ...]] = {
    "train": (*TRAINING, "hyp", "patience", "project"),
    "sparsify": (*TRAINING, "method", "percent", "macs", "reach", "sr"),
    "finetune": (*TRAINING, "activation", "patience", "project"),
    "prune": (
        *("percent", "macs", "latency", "runtime", "max_drop", "importance", "round_to", "data", "reconstruct"),
        *("imgsz", "name"),
    ),
    "val": (
        *(
            "weights",
            "data",
            "split",
            "imgsz",
            "conf",
            "iou",
            "batch_size",
            "device",
            "json_file",
            "verbose",
            "save_txt",
        ),
        *("save_json", "name"),
    ),
    "predict": (
        *("imgsz", "vid_stride", "conf", "iou", "classes", "device", "show", "nosave", "save_txt", "save_json"),
        *("save_csv", "save_crop", "json_file", "name"),
    ),
    "compress": (
        *("config file", "data", "weights", "cfg", "percent", "macs", "round_to", "recalibrate", "epochs"),
        *("sparse_epochs", "finetune_epochs", "activation", "resume", "imgsz", "batch_size", "device", "cache", "name"),
    ),
    "iterate": (
        *(
            "percent",
            "params",
            "macs",
            "rounds",
            "round_epochs",
            "epochs",
            "resume",
            "round_to",
            "no_reconstruct",
            "imgsz",
        ),
        *("batch_size", "hyp_set", "device", "cache", "name"),
    ),
    "bench": ("runtime", "precision", "data", "imgsz", "batch", "threads", "runs", "json_file", "name"),
    "sensitivity": (
        "metric",
        "images",
        "importance",
        "recalibrate",
        "imgsz",
        "batch_size",
        "device",
        "json_file",
        "name",
    ),
    "export": ("format", "imgsz", "batch_size", "output", "half", "int8", "data", "dynamic", "nms", "json_file"),
}
