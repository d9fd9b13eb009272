"""The options of the reference project, script by script, and what each one does here.

Every option is one row: its names, how many values follow, the reference's default, and its fate. ``to("field")``: the
option sets that field. ``refused("…")``: the option stops the command, and the message says what to use instead.
``harmless("…")``: slimyolo always does what the option asks for, and says so when it is given. The defaults are the
reference's; a default model or hyper-parameter file that does not exist is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from slimyolo.cli.tokens import Arity
from slimyolo.tasks.common.config import Config
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.train.config import FinetuneConfig, SparsifyConfig, TrainConfig

__all__ = ["OPTIONAL_FILES", "SCRIPTS", "Fate", "ReferenceOption", "ReferenceScript"]

OPTIONAL_FILES = ("--cfg", "--hyp")


@dataclass(frozen=True)
class Fate:
    """What an option does. `text` is the settings field (works) or the reason (refused, harmless)."""

    kind: Literal["works", "refused", "harmless"]
    text: str


@dataclass(frozen=True, kw_only=True)
class ReferenceOption:
    """One option of a reference script.

    `bare` is its value when it is given without one; `single` forbids several values. With `default_applies` False the
    reference's default is not used, because the checkpoint (or the exporter) knows a better value.
    """

    names: tuple[str, ...]
    default: Any
    fate: Fate
    arity: Arity = "one"
    bare: str | None = None
    single: bool = False
    default_applies: bool = True


@dataclass(frozen=True)
class ReferenceScript:
    """One script of the reference: the settings of our command, its options, and settings that are always `fixed`."""

    path: str
    settings: type[Config]
    options: tuple[ReferenceOption, ...]
    fixed: Mapping[str, Any]
    note: str = ""


def to(field: str) -> Fate:
    """The option sets this field of the settings."""
    return Fate("works", field)


def refused(instead: str) -> Fate:
    """The option is refused when its value is not the default; `instead` says what to do."""
    return Fate("refused", instead)


def harmless(reason: str) -> Fate:
    """The option asks for what slimyolo always does; `reason` says what that is."""
    return Fate("harmless", reason)


def one(name: str, default: Any, fate: Fate) -> ReferenceOption:
    return ReferenceOption(names=(name,), default=default, fate=fate)


def flag(name: str, fate: Fate | None = None) -> ReferenceOption:
    return ReferenceOption(names=(name,), default=False, fate=fate or to(name[2:].replace("-", "_")), arity="flag")


def maybe(name: str, default: Any, bare: str, fate: Fate) -> ReferenceOption:
    return ReferenceOption(names=(name,), default=default, fate=fate, arity="maybe", bare=bare)


def many(names: tuple[str, ...], default: Any, fate: Fate, single: bool = False) -> ReferenceOption:
    return ReferenceOption(names=names, default=default, fate=fate, arity="many", bare=None, single=single)


CFG = "models/yolov5n_mask.yaml"
IMGSZ = ("--imgsz", "--img", "--img-size")
BOARD = refused("slimyolo sends nothing to Weights & Biases. Use TensorBoard: tensorboard --logdir runs/train")
DNN = refused("slimyolo does not run networks with OpenCV. Leave --dnn out; an exported file has its own runtime.")
AUGMENT = refused("there is no test-time augmentation. Leave it out; a larger --imgsz is the usual replacement.")
OUTPUT_ROWS = (one("--name", "exp", to("name")), flag("--exist-ok"))


def training_rows(weights: str, hyp: str, epochs: int, *, default_cfg: bool) -> tuple[ReferenceOption, ...]:
    """The 38 options that train.py, train_sparity.py and finetune.py share. The scripts differ in three defaults."""
    return (
        one("--weights", weights, to("weights")),
        ReferenceOption(names=("--cfg",), default=CFG, fate=to("cfg"), default_applies=default_cfg),
        one("--data", "data/mask.yaml", to("data")),
        one("--hyp", hyp, to("hyp")),
        one("--epochs", epochs, to("epochs")),
        one("--batch-size", 64, to("batch_size")),
        ReferenceOption(names=IMGSZ, default=320, fate=to("imgsz")),
        flag("--rect"),
        maybe("--resume", False, "newest", to("resume")),
        flag("--nosave"),
        flag("--noval"),
        flag("--noautoanchor"),
        flag("--noplots"),
        maybe(
            "--evolve",
            None,
            "300",
            refused(
                "hyper-parameters are not evolved. Try values yourself: --hyp with a changed copy of hyp.scratch-low.yaml, "
                "or `slimyolo train --hyp-set lr0=0.02`."
            ),
        ),
        one("--bucket", "", refused("nothing is uploaded. Copy the finished run folder, e.g. `gsutil cp -r`.")),
        maybe("--cache", None, "ram", to("cache")),
        flag("--image-weights"),
        one("--device", "", to("device")),
        flag("--multi-scale"),
        flag("--single-cls"),
        one("--optimizer", "SGD", to("optimizer")),
        flag("--sync-bn"),
        one("--workers", 0, to("workers")),
        one("--project", "runs/train", to("project")),
        *OUTPUT_ROWS,
        flag("--quad", refused("there is no quad loader. Use --multi-scale, or a larger --imgsz.")),
        flag("--cos-lr"),
        one("--label-smoothing", 0.0, to("label_smoothing")),
        one("--patience", 100, to("patience")),
        many(("--freeze",), (), to("freeze")),
        one("--save-period", -1, to("save_period")),
        one("--seed", 0, to("seed")),
        one(
            "--local_rank",
            -1,
            refused("a process learns its rank from torchrun. Start with `torchrun --nproc_per_node N SCRIPT …`."),
        ),
        one("--entity", None, BOARD),
        maybe("--upload_dataset", False, "val", BOARD),
        one("--bbox_interval", -1, BOARD),
        one("--artifact_alias", "latest", BOARD),
    )


PRUNE_ROWS = (
    one("--data", "data/mask.yaml", to("data")),
    ReferenceOption(names=("--cfg",), default=CFG, fate=to("cfg"), default_applies=False),
    many(("--weights",), "runs/train/exp6/weights/last.pt", to("weights"), single=True),
    one("--percent", 0.4, to("percent")),
    one("--batch-size", 64, to("batch_size")),
    ReferenceOption(names=IMGSZ, default=320, fate=to("imgsz")),
    one("--conf-thres", 0.001, to("conf")),
    one("--iou-thres", 0.6, to("iou")),
    one("--max-det", 300, to("max_det")),
    one("--device", "", to("device")),
    one("--workers", 0, to("workers")),
    one("--project", "runs/val", to("project")),
    flag("--half"),
    flag("--dnn", DNN),
)

VAL_ROWS = (
    one("--data", "data/coco128.yaml", to("data")),
    many(("--weights",), "yolov5s.pt", to("weights"), single=True),
    one("--batch-size", 32, to("batch_size")),
    ReferenceOption(names=IMGSZ, default=640, fate=to("imgsz")),
    one("--conf-thres", 0.001, to("conf")),
    one("--iou-thres", 0.6, to("iou")),
    one("--max-det", 300, to("max_det")),
    one("--task", "val", to("split")),
    one("--device", "", to("device")),
    one("--workers", 8, to("workers")),
    flag("--single-cls"),
    flag("--augment", AUGMENT),
    flag("--verbose"),
    flag("--save-txt"),
    flag("--save-hybrid", refused("true boxes are never mixed with detections. Use --save-txt for the detections.")),
    flag("--save-conf"),
    flag("--save-json"),
    one("--project", "runs/val", to("project")),
    *OUTPUT_ROWS,
    flag("--half"),
    flag("--dnn", DNN),
)

DETECT_ROWS = (
    many(("--weights",), "yolov5s.pt", to("weights"), single=True),
    one("--source", "data/images", to("source")),
    one("--data", "data/coco128.yaml", harmless("the class names are in the checkpoint, so no dataset is read")),
    many(IMGSZ, 640, to("imgsz")),
    one("--conf-thres", 0.25, to("conf")),
    one("--iou-thres", 0.45, to("iou")),
    one("--max-det", 1000, to("max_det")),
    one("--device", "", to("device")),
    flag("--view-img", to("show")),
    flag("--save-txt"),
    flag("--save-conf"),
    flag("--save-crop"),
    flag("--nosave"),
    many(("--classes",), (), to("classes")),
    flag("--agnostic-nms"),
    flag("--augment", AUGMENT),
    flag("--visualize", refused("feature maps are not drawn. Leave --visualize out.")),
    flag("--update", refused("checkpoints need no stripping, and no file of yours is rewritten. Leave it out.")),
    one("--project", "runs/detect", to("project")),
    *OUTPUT_ROWS,
    one("--line-thickness", 3, to("line_thickness")),
    flag("--hide-labels"),
    flag("--hide-conf"),
    flag("--half"),
    flag("--dnn", DNN),
    one("--vid-stride", 1, to("vid_stride")),
)

TENSORFLOW = refused("TensorFlow formats are not written. See `slimyolo export --help` for those that are.")

EXPORT_ROWS = (
    ReferenceOption(names=("--data",), default="data/mask.yaml", fate=to("data"), default_applies=False),
    many(("--weights",), "runs/train/exp4/weights/best.pt", to("weights"), single=True),
    many(IMGSZ, (320, 320), to("imgsz")),
    one("--batch-size", 1, to("batch_size")),
    one("--device", "cpu", to("device")),
    flag("--half"),
    flag("--inplace", harmless("the exported graph is the same with and without in-place arithmetic")),
    flag("--keras", TENSORFLOW),
    flag("--optimize", refused("TorchScript for phones is not written. See `slimyolo export --help`.")),
    flag("--int8"),
    flag("--dynamic"),
    flag("--simplify"),
    ReferenceOption(names=("--opset",), default=12, fate=to("opset"), default_applies=False),
    flag("--verbose", refused("there is nothing more to print: an export that fails says why. Leave it out.")),
    one("--workspace", 4, refused("TensorRT engines are not built here. Export ONNX and run `trtexec --memPoolSize`.")),
    flag("--nms"),
    flag("--agnostic-nms", TENSORFLOW),
    one("--topk-per-class", 100, TENSORFLOW),
    one("--topk-all", 100, to("max_det")),
    one("--iou-thres", 0.45, to("iou")),
    one("--conf-thres", 0.25, to("conf")),
    many(("--include",), ("onnx",), to("format")),
)

LOW, OLD = "data/hyps/hyp.scratch-low.yaml", "data/hyps/hyp.scratch.yaml"

SCRIPTS: Mapping[str, ReferenceScript] = {
    script.path: script
    for script in (
        ReferenceScript("train.py", TrainConfig, training_rows("yolov5n.pt", LOW, 200, default_cfg=True), {}),
        ReferenceScript(
            "prune_tools/train_sparity.py",
            SparsifyConfig,
            (
                flag("--st", harmless("sparse training is what this command does")),
                one("--sr", 0.0005, to("sr")),
                *training_rows("weights/yolov5n_face.pt", LOW, 100, default_cfg=False),
            ),
            {"method": "reference", "policy": "skip-shortcuts"},
            "how many channels a rate --sr brings to zero depends on the number of steps; with `slimyolo sparsify "
            "--percent 0.4` you ask for the share of channels itself",
        ),
        ReferenceScript(
            "prune_tools/prune.py",
            PruneConfig,
            PRUNE_ROWS,
            {"policy": "skip-shortcuts", "file_name": "pruned_model.pt", "masked_file_name": "orign_model.pt"},
        ),
        ReferenceScript(
            "prune_tools/finetune.py",
            FinetuneConfig,
            training_rows("runs/val/exp10/pruned_model.pt", OLD, 100, default_cfg=False),
            {"lr_factor": 1.0},
        ),
        ReferenceScript("val.py", ValConfig, VAL_ROWS, {}),
        ReferenceScript("detect.py", PredictConfig, DETECT_ROWS, {}),
        ReferenceScript("export.py", ExportConfig, EXPORT_ROWS, {}),
    )
}
