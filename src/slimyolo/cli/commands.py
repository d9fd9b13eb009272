"""The table of commands. A row holds the settings, the task that runs, one line of explanation, and examples.

A task is given as the names of its module and function. It is imported when it runs, so that ``slimyolo --help`` answers
at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slimyolo.cli.completion_config import CompletionConfig
from slimyolo.shown_text import shown
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.common.config import Config
from slimyolo.tasks.dataset_config import DataCheckConfig, DataConvertConfig, DataSynthConfig
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.inspect_config import InspectConfig
from slimyolo.tasks.latency.pack_config import LatencyCheckConfig, LatencyPackConfig
from slimyolo.tasks.measure.bench_config import BenchConfig
from slimyolo.tasks.measure.compare_config import CompareConfig
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.plan_config import PlanDiffConfig, PlanShowConfig
from slimyolo.tasks.prune.sensitivity_config import SensitivityConfig
from slimyolo.tasks.report_config import ReportConfig
from slimyolo.tasks.serve_config import ServeConfig
from slimyolo.tasks.train.config import FinetuneConfig, SparsifyConfig, TrainConfig

__all__ = ["COMMANDS", "Command"]

log = logging.getLogger("slimyolo")


def _done(config: Config, result: object) -> int:
    """The exit status of a task that prints its result itself."""
    return 0


def _print_text(config: Config, text: str) -> int:
    print(shown(text))
    return 0


def _print_difference(config: Config, result: tuple[str, bool]) -> int:
    text, equal = result
    print(shown(text))
    return 0 if equal else 1


def _show_description(config: InspectConfig, text: str) -> int:
    if config.json_output:
        print(shown(text))
    else:
        log.info("%s", text)
    return 0


def _prediction_status(config: PredictConfig, record: Any) -> int:
    """130 after Ctrl-C; 1 when no picture could be read; otherwise 0."""
    if record.interrupted:
        return 130
    return 1 if record.images == 0 else 0


def _dataset_status(config: DataCheckConfig, report: Any) -> int:
    """1 when a training would not start or a split cannot be used, or, with ``--strict``, for any defect; otherwise 0."""
    return 1 if report.obstacles or not report.usable or (config.strict and not report.clean) else 0


def _chain_status(config: Config, record: Any) -> int:
    """1 when a file could not be exported or timed, or a budget was not reached; otherwise 0. The checkpoints are there."""
    return 1 if record.ending.failures or record.missed else 0


def _export_status(config: ExportConfig, record: Any) -> int:
    """1 when something that was asked for cannot be built on this machine, such as a TensorRT engine; otherwise 0."""
    return 0 if all(file.built for file in record.files) else 1


def _cut_status(config: PruneConfig, record: Any) -> int:
    """1 when the budget was not reached; otherwise 0. The cut is there in any case."""
    return 1 if record.missed_budget else 0


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command. `task` is (module, function); the function takes the settings.

    `ending` takes the settings and the task's result, and returns the exit status.
    """

    settings: type[Config]
    task: tuple[str, str]
    summary: str
    examples: tuple[str, ...]
    ending: Callable[[Any, Any], int] = _done

    @property
    def name(self) -> str:
        """What the user types, ``data check`` for example."""
        return self.settings.command


_DATA = "--data data/mask.yaml"
_BEST = "runs/train/exp/weights/best.pt"

COMMANDS: tuple[Command, ...] = (
    Command(
        settings=TrainConfig,
        task=("slimyolo.tasks.train.train", "train"),
        summary="train a detector",
        examples=(
            f"slimyolo train {_DATA} --weights yolov5n.pt --cfg models/yolov5n_mask.yaml --epochs 100 --batch-size 16",
            f"slimyolo train {_DATA} --cfg yolov5n --hyp-set lr0=0.02 mosaic=0.5    # from scratch",
            "slimyolo train --resume                                            # the newest run",
            f"torchrun --nproc_per_node 2 -m slimyolo train {_DATA} --cfg yolov5n    # two GPUs",
        ),
    ),
    Command(
        settings=SparsifyConfig,
        task=("slimyolo.tasks.train.sparsify", "sparsify"),
        summary="train until a share of the channels is at exactly zero",
        examples=(
            f"slimyolo sparsify {_DATA} --weights {_BEST} --percent 0.4 --epochs 50",
            f"slimyolo sparsify {_DATA} --weights {_BEST} --method reference --sr 0.0005",
        ),
    ),
    Command(
        settings=PruneConfig,
        task=("slimyolo.tasks.prune.prune", "prune"),
        ending=_cut_status,
        summary="remove channels, and keep what they contributed",
        examples=(
            f"slimyolo prune --weights {_BEST} --percent 0.4 {_DATA}",
            f"slimyolo prune --weights {_BEST} --macs 50% --round-to 8 --dry-run",
            f"slimyolo prune --weights {_BEST} --latency 8ms --keep 'model.0' --cap 'model.9=0.3'",
            f"slimyolo prune --weights {_BEST} --latency 30ms --times times.json",
            f"slimyolo prune --weights {_BEST} {_DATA} --macs 0.6 --importance fisher --reconstruct",
        ),
    ),
    Command(
        settings=PlanShowConfig,
        task=("slimyolo.tasks.prune.plan", "show"),
        ending=_print_text,
        summary="show a prune plan: what each group keeps and saves",
        examples=("slimyolo plan show runs/prune/exp/plan.json",),
    ),
    Command(
        settings=PlanDiffConfig,
        task=("slimyolo.tasks.prune.plan", "diff"),
        ending=_print_difference,
        summary="compare two prune plans; exit status 1 when they differ",
        examples=("slimyolo plan diff runs/prune/exp/plan.json runs/prune/exp2/plan.json",),
    ),
    Command(
        settings=SensitivityConfig,
        task=("slimyolo.tasks.prune.sensitivity", "sensitivity"),
        summary="measure how much each group of channels matters",
        examples=(f"slimyolo sensitivity --weights {_BEST} {_DATA}",),
    ),
    Command(
        settings=FinetuneConfig,
        task=("slimyolo.tasks.train.finetune", "finetune"),
        summary="train a pruned detector again, to regain accuracy",
        examples=(
            f"slimyolo finetune {_DATA} --weights runs/prune/exp/pruned.pt --epochs 50",
            f"slimyolo finetune {_DATA} --weights runs/prune/exp/pruned.pt --teacher {_BEST} --noautoanchor",
        ),
    ),
    Command(
        settings=ValConfig,
        task=("slimyolo.tasks.measure.validate", "validate"),
        summary="measure a checkpoint: P, R, mAP, size, speed",
        examples=(
            f"slimyolo val {_DATA} --weights {_BEST} --json metrics.json",
            f"slimyolo val {_DATA} --weights pruned_openvino_model            # an exported file",
        ),
    ),
    Command(
        settings=CompareConfig,
        task=("slimyolo.tasks.measure.compare", "compare"),
        summary="compare two models on the same images: is a difference real?",
        examples=(
            f"slimyolo compare {_BEST} runs/prune/exp/pruned.pt {_DATA}",
            f"slimyolo compare {_BEST} best_openvino_model {_DATA} --rule coco",
            "slimyolo compare runs/val/exp runs/val/exp2    # folders of runs: nothing is measured again",
        ),
    ),
    Command(
        settings=PredictConfig,
        task=("slimyolo.tasks.predict.predict", "predict"),
        ending=_prediction_status,
        summary="detect objects in images and videos; draw and save them",
        examples=(
            f"slimyolo predict --weights {_BEST} --source photo.jpg",
            f"slimyolo predict --weights {_BEST} --source 'album/*.jpg' --save-txt --save-crop --conf 0.4",
            f"slimyolo predict --weights {_BEST} --source 0 --show    # a camera",
        ),
    ),
    Command(
        settings=CompressConfig,
        task=("slimyolo.tasks.chain.compress", "compress"),
        ending=_chain_status,
        summary="train, sparsify, prune, fine-tune, export: the whole chain",
        examples=(
            f"slimyolo compress {_DATA} --weights yolov5n.pt --cfg models/yolov5n_mask.yaml --percent 0.4",
            "slimyolo compress --resume                                         # the newest run goes on",
        ),
    ),
    Command(
        settings=IterateConfig,
        task=("slimyolo.tasks.chain.iterate", "iterate"),
        ending=_chain_status,
        summary="prune in several rounds, and train after each round",
        examples=(
            f"slimyolo iterate --weights {_BEST} {_DATA} --macs 0.5 --rounds 3 --round-epochs 5 --epochs 30",
            "slimyolo iterate --resume                                          # the newest run goes on",
        ),
    ),
    Command(
        settings=ExportConfig,
        task=("slimyolo.tasks.export.export", "export"),
        ending=_export_status,
        summary="write a checkpoint in another format",
        examples=(
            "slimyolo export --weights runs/prune/exp/pruned.pt --format onnx openvino ncnn --imgsz 320",
            f"slimyolo export --weights {_BEST} --format onnx --nms --dynamic {_DATA}",
        ),
    ),
    Command(
        settings=BenchConfig,
        task=("slimyolo.tasks.measure.bench_place", "bench_here_or_elsewhere"),
        summary="time models on runtimes, and compare them",
        examples=(
            f"slimyolo bench --weights {_BEST} runs/prune/exp/pruned.pt --runtime onnxruntime,openvino --threads 2",
            f"slimyolo bench --weights {_BEST} --precision fp32,int8 {_DATA}",
            "slimyolo bench --times pi.json nuc.json --weights runs/prune/exp/pruned.pt --latency 30ms",
        ),
    ),
    Command(
        settings=LatencyPackConfig,
        task=("slimyolo.tasks.latency.pack", "pack"),
        summary="pack networks that another device times, for --latency",
        examples=(
            f"slimyolo latency pack --weights {_BEST} --runtime ncnn --threads 4    # then run.py on the device",
            f"slimyolo latency pack --weights {_BEST} --runtime openvino --imgsz 416 --output pack.tar.gz",
        ),
    ),
    Command(
        settings=LatencyCheckConfig,
        task=("slimyolo.tasks.latency.pack", "check"),
        summary="pack a cut network, so that the device times it",
        examples=("slimyolo latency check --weights runs/prune/exp/pruned.pt --times times.json",),
    ),
    Command(
        settings=InspectConfig,
        task=("slimyolo.tasks.inspect", "inspect"),
        ending=_show_description,
        summary="show what a checkpoint or an exported file contains",
        examples=("slimyolo inspect runs/prune/exp/pruned.pt", "slimyolo inspect pruned_openvino_model"),
    ),
    Command(
        settings=ReportConfig,
        task=("slimyolo.tasks.report", "report"),
        summary="write an HTML page about finished runs",
        examples=(
            "slimyolo report runs/compress/exp --open",
            "slimyolo report runs/compress/exp runs/compress/exp2 --output compared.html",
        ),
    ),
    Command(
        settings=DataCheckConfig,
        task=("slimyolo.tasks.dataset", "check"),
        ending=_dataset_status,
        summary="show what is in a dataset, and what is wrong with it",
        examples=("slimyolo data check data/mask.yaml",),
    ),
    Command(
        settings=DataConvertConfig,
        task=("slimyolo.tasks.dataset", "convert"),
        summary="convert COCO, VOC, CVAT, Label Studio … to YOLO layout",
        examples=(
            "slimyolo data convert annotations.json datasets/mine --images photos --split 0.8/0.2",
            "slimyolo data convert VOC2007 datasets/voc --classes person,motorbike=motorcycle",
            "slimyolo data convert frames datasets/frames --group-by '^([^/]+)/'    # a folder for each video",
        ),
    ),
    Command(
        settings=DataSynthConfig,
        task=("slimyolo.tasks.dataset", "synth"),
        summary="render an example dataset of the classes face, face_mask",
        examples=("slimyolo data synth datasets/synthetic --train 400 --val 100",),
    ),
    Command(
        settings=ServeConfig,
        task=("slimyolo.tasks.serve", "serve"),
        summary="compare checkpoints side by side on a local web page",
        examples=(f"slimyolo serve --weights {_BEST} runs/prune/exp/pruned.pt    # then open http://127.0.0.1:8000",),
    ),
    Command(
        settings=CompletionConfig,
        task=("slimyolo.cli.completion", "print_script"),
        summary="print a script that completes commands in your shell",
        examples=(
            "slimyolo completion bash > ~/.local/share/bash-completion/completions/slimyolo",
            'slimyolo completion zsh > "${fpath[1]}/_slimyolo"',
            "slimyolo completion fish > ~/.config/fish/completions/slimyolo.fish",
        ),
    ),
)
