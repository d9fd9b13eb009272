"""The command table: name, settings, what runs, one line of explanation, examples. Nothing is decided here.

Tasks are imported inside the functions, so that ``slimyolo --help`` answers at once.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.common.options import Config
from slimyolo.tasks.measure.bench_config import BenchConfig
from slimyolo.tasks.measure.config import (
    DataCheckConfig,
    DataSynthConfig,
    ExportConfig,
    InspectConfig,
    PredictConfig,
    ValConfig,
)
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.plan_config import PlanDiffConfig, PlanShowConfig
from slimyolo.tasks.prune.sensitivity_config import SensitivityConfig
from slimyolo.tasks.report_config import ReportConfig
from slimyolo.tasks.serve_config import CompletionConfig, ServeConfig
from slimyolo.tasks.train.config import FinetuneConfig, SparsifyConfig, TrainConfig

__all__ = ["COMMANDS", "Command"]

log = logging.getLogger("slimyolo")


@dataclass(frozen=True)
class Command:
    """One command. `run` takes the settings and returns the exit status."""

    settings: type[Config]
    run: Callable[[Any], int]
    summary: str
    examples: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the user types, ``data check`` for example."""
        return self.settings.command


@contextmanager
def importing() -> Iterator[None]:
    """What is imported inside stays, so nobody looks through it for garbage meanwhile: .2 s of the 2.8 of a `prune`."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _train(config: TrainConfig) -> int:
    with importing():
        from slimyolo.tasks.train.train import train

    train(config)
    return 0


def _sparsify(config: SparsifyConfig) -> int:
    with importing():
        from slimyolo.tasks.train.sparsify import sparsify

    sparsify(config)
    return 0


def _prune(config: PruneConfig) -> int:
    with importing():
        from slimyolo.tasks.prune.prune import prune

    prune(config)
    return 0


def _plan_show(config: PlanShowConfig) -> int:
    from slimyolo.tasks.prune.plan import show

    print(show(config))
    return 0


def _plan_diff(config: PlanDiffConfig) -> int:
    from slimyolo.tasks.prune.plan import diff

    text, equal = diff(config)
    print(text)
    return 0 if equal else 1


def _sensitivity(config: SensitivityConfig) -> int:
    with importing():
        from slimyolo.tasks.prune.sensitivity import sensitivity

    sensitivity(config)
    return 0


def _finetune(config: FinetuneConfig) -> int:
    with importing():
        from slimyolo.tasks.train.finetune import finetune

    finetune(config)
    return 0


def _validate(config: ValConfig) -> int:
    with importing():
        from slimyolo.tasks.measure.validate import validate

    validate(config)
    return 0


def _compress(config: CompressConfig) -> int:
    with importing():
        from slimyolo.tasks.chain.compress import compress

    compress(config)
    return 0


def _iterate(config: IterateConfig) -> int:
    with importing():
        from slimyolo.tasks.chain.iterate import iterate

    iterate(config)
    return 0


def _export(config: ExportConfig) -> int:
    with importing():
        from slimyolo.tasks.export.export import export

    export(config)
    return 0


def _bench(config: BenchConfig) -> int:
    with importing():
        from slimyolo.tasks.measure.bench import bench

    bench(config)
    return 0


def _predict(config: PredictConfig) -> int:
    with importing():
        from slimyolo.tasks.predict.predict import predict

    record = predict(config)
    if record.interrupted:
        return 130
    return 1 if record.images == 0 else 0


def _inspect(config: InspectConfig) -> int:
    with importing():
        from slimyolo.tasks.inspect import inspect

    if config.json_output:
        print(inspect(config))
    else:
        log.info("%s", inspect(config))
    return 0


def _data_check(config: DataCheckConfig) -> int:
    from slimyolo.tasks.dataset import check, describe

    report = check(config)
    log.info("%s", describe(report, config.limit))
    return 1 if not report.usable or (config.strict and not report.clean) else 0


def _data_synth(config: DataSynthConfig) -> int:
    from slimyolo.tasks.dataset import synth

    log.info("Dataset written: %s", synth(config))
    return 0


def _serve(config: ServeConfig) -> int:
    with importing():
        from slimyolo.tasks.serve import serve

    serve(config)
    return 0


def _completion(config: CompletionConfig) -> int:
    from slimyolo.cli.completion import completion_script

    print(completion_script(config.shell), end="")
    return 0


def _report(config: ReportConfig) -> int:
    from slimyolo.tasks.report import report

    report(config)
    return 0


_DATA = "--data data/mask.yaml"
_BEST = "runs/train/exp/weights/best.pt"

COMMANDS: tuple[Command, ...] = (
    Command(
        TrainConfig, _train, "train a detector",
        (f"slimyolo train {_DATA} --weights yolov5n.pt --cfg models/yolov5n_mask.yaml --epochs 100 --batch-size 16",
         f"slimyolo train {_DATA} --cfg yolov5n --hyp-set lr0=0.02 mosaic=0.5    # from scratch",
         "slimyolo train --resume                                            # the newest run",
         f"torchrun --nproc_per_node 2 -m slimyolo train {_DATA} --cfg yolov5n    # two GPUs"),
    ),
    Command(
        SparsifyConfig, _sparsify, "train until a share of the channels is at exactly zero",
        (f"slimyolo sparsify {_DATA} --weights {_BEST} --percent 0.4 --epochs 50",
         f"slimyolo sparsify {_DATA} --weights {_BEST} --method reference --sr 0.0005"),
    ),
    Command(
        PruneConfig, _prune, "cut channels out, keeping what they contributed",
        (f"slimyolo prune --weights {_BEST} --percent 0.4 {_DATA}",
         f"slimyolo prune --weights {_BEST} --macs 50% --round-to 8 --dry-run",
         f"slimyolo prune --weights {_BEST} --latency 8ms --keep 'model.0' --cap 'model.9=0.3'",
         f"slimyolo prune --weights {_BEST} {_DATA} --macs 0.6 --importance fisher --reconstruct",
         f"slimyolo prune --weights {_BEST} --macs 0.6 --caps runs/sensitivity/exp"),
    ),
    Command(
        PlanShowConfig, _plan_show, "show a prune plan: per group what stays and what it saves",
        ("slimyolo plan show runs/prune/exp/plan.json",),
    ),
    Command(
        PlanDiffConfig, _plan_diff, "compare two prune plans; exit status 1 when they differ",
        ("slimyolo plan diff runs/prune/exp/plan.json runs/prune/exp2/plan.json",),
    ),
    Command(
        SensitivityConfig, _sensitivity, "how much each group of channels matters, cut alone",
        (f"slimyolo sensitivity --weights {_BEST} {_DATA}",),
    ),
    Command(
        FinetuneConfig, _finetune, "train a pruned detector on",
        (f"slimyolo finetune {_DATA} --weights runs/prune/exp/pruned.pt --epochs 50",
         f"slimyolo finetune {_DATA} --weights runs/prune/exp/pruned.pt --teacher {_BEST} --noautoanchor"),
    ),
    Command(
        ValConfig, _validate, "measure a checkpoint: P, R, mAP, size, speed",
        (f"slimyolo val {_DATA} --weights {_BEST} --json metrics.json",
         f"slimyolo val {_DATA} --weights pruned_openvino_model            # an exported file"),
    ),
    Command(
        PredictConfig, _predict, "detect in images, folders and videos; draw and save",
        (f"slimyolo predict --weights {_BEST} --source photo.jpg",
         f"slimyolo predict --weights {_BEST} --source 'album/*.jpg' --save-txt --save-crop --conf 0.4",
         f"slimyolo predict --weights {_BEST} --source 0 --show    # a camera"),
    ),
    Command(
        CompressConfig, _compress, "the whole chain: train, sparsify, prune, fine-tune, table",
        (f"slimyolo compress {_DATA} --weights yolov5n.pt --cfg models/yolov5n_mask.yaml --percent 0.4",
         "slimyolo compress recipe.yaml --resume"),
    ),
    Command(
        IterateConfig, _iterate, "prune in rounds with training between",
        (f"slimyolo iterate --weights {_BEST} {_DATA} --macs 0.5 --rounds 3 --round-epochs 5 --epochs 30",
         f"slimyolo iterate --weights {_BEST} {_DATA} --macs 0.5 --rounds 3 --resume"),
    ),
    Command(
        ExportConfig, _export, "write a checkpoint in another format",
        ("slimyolo export --weights runs/prune/exp/pruned.pt --format onnx openvino ncnn --imgsz 320",
         f"slimyolo export --weights {_BEST} --format onnx --nms --dynamic {_DATA}"),
    ),
    Command(
        BenchConfig, _bench, "time models on runtimes, side by side",
        (f"slimyolo bench --weights {_BEST} runs/prune/exp/pruned.pt --runtime onnxruntime,openvino --threads 2",
         f"slimyolo bench --weights {_BEST} --precision fp32,int8 {_DATA}"),
    ),
    Command(
        InspectConfig, _inspect, "show what a checkpoint is",
        ("slimyolo inspect runs/prune/exp/pruned.pt",),
    ),
    Command(
        ReportConfig, _report, "one HTML page about finished runs: tables, plots, pictures",
        ("slimyolo report runs/compress/exp --open",
         "slimyolo report runs/compress/exp runs/compress/exp2 --output compared.html"),
    ),
    Command(
        DataCheckConfig, _data_check, "tell what is in a dataset and what is wrong with it",
        ("slimyolo data check data/mask.yaml",),
    ),
    Command(
        DataSynthConfig, _data_synth, "render a face / face_mask dataset to try things with",
        ("slimyolo data synth datasets/synthetic --train 400 --val 100",),
    ),
    Command(
        ServeConfig, _serve, "try checkpoints side by side on a local page",
        (f"slimyolo serve --weights {_BEST} runs/prune/exp/pruned.pt    # then open http://127.0.0.1:8000",),
    ),
    Command(
        CompletionConfig, _completion, "let the shell complete commands and options",
        ("slimyolo completion bash > ~/.local/share/bash-completion/completions/slimyolo",
         'slimyolo completion zsh > "${fpath[1]}/_slimyolo"',
         "slimyolo completion fish > ~/.config/fish/completions/slimyolo.fish"),
    ),
)  # fmt: skip
