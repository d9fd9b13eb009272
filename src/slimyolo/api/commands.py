"""The commands as functions: ``slimyolo.train(data="data.yaml", weights="best.pt", epochs=30)``.

Each takes the settings of its command by keyword, with the same names, defaults, checks and errors, writes the same run
folder, and returns the record. Nothing is printed unless `verbose` is true; log lines go to the logger ``slimyolo``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slimyolo.api.calling import run_task, with_settings_of
from slimyolo.tasks.chain.compress_config import CompressConfig
from slimyolo.tasks.chain.iterate_config import IterateConfig
from slimyolo.tasks.dataset_config import DataCheckConfig, DataConvertConfig, DataSynthConfig
from slimyolo.tasks.export.config import ExportConfig
from slimyolo.tasks.inspect_config import InspectConfig
from slimyolo.tasks.latency.pack_config import LatencyCheckConfig, LatencyPackConfig
from slimyolo.tasks.measure.bench_config import BenchConfig
from slimyolo.tasks.measure.compare_config import CompareConfig
from slimyolo.tasks.measure.validate_config import ValConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.prune.sensitivity_config import SensitivityConfig
from slimyolo.tasks.report_config import ReportConfig
from slimyolo.tasks.serve_config import ServeConfig
from slimyolo.tasks.train.config import FinetuneConfig, SparsifyConfig, TrainConfig

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from slimyolo.api import settings as of
    from slimyolo.checkpoints import CheckpointSummary
    from slimyolo.data import DatasetReport
    from slimyolo.data.convert.report import ConversionReport
    from slimyolo.exporting import ExportedSummary
    from slimyolo.tasks.chain.ending import ChainRecord
    from slimyolo.tasks.common.records import CutRecord, TrainRecord, ValidationRecord
    from slimyolo.tasks.export.export import ExportRecord
    from slimyolo.tasks.latency.pack import PackRecord
    from slimyolo.tasks.measure.bench import BenchRecord
    from slimyolo.tasks.measure.bench_devices import DevicesRecord
    from slimyolo.tasks.measure.compare import CompareRecord
    from slimyolo.tasks.predict.output import PredictRecord
    from slimyolo.tasks.prune.sensitivity import SensitivityRecord
    from slimyolo.tasks.report import ReportRecord

__all__ = [
    "bench",
    "compare",
    "compress",
    "data_check",
    "data_convert",
    "data_synth",
    "export",
    "finetune",
    "inspect",
    "iterate",
    "latency_check",
    "latency_pack",
    "predict",
    "prune",
    "report",
    "sensitivity",
    "serve",
    "sparsify",
    "train",
    "val",
]


@with_settings_of(TrainConfig)
def train(*, verbose: bool = False, **settings: Unpack[of.TrainSettings]) -> TrainRecord:
    """Train a detector. The record has the paths ``best``, ``last`` and ``folder``, and the ``metrics`` of ``best``."""
    from slimyolo.tasks.train.train import train as task

    return run_task(task, TrainConfig, settings, verbose=verbose)


@with_settings_of(SparsifyConfig)
def sparsify(*, verbose: bool = False, **settings: Unpack[of.SparsifySettings]) -> TrainRecord:
    """Train until a share of the channels is at exactly zero. The record is that of `train`, with ``zero_share``."""
    from slimyolo.tasks.train.sparsify import sparsify as task

    return run_task(task, SparsifyConfig, settings, verbose=verbose)


@with_settings_of(PruneConfig)
def prune(*, verbose: bool = False, **settings: Unpack[of.PruneSettings]) -> CutRecord:
    """Remove channels. The record has the path ``weights``, the sizes ``before`` and ``after``, and ``metrics_after``."""
    from slimyolo.tasks.prune.prune import prune as task

    return run_task(task, PruneConfig, settings, verbose=verbose)


@with_settings_of(FinetuneConfig)
def finetune(*, verbose: bool = False, **settings: Unpack[of.FinetuneSettings]) -> TrainRecord:
    """Train a pruned detector again, to regain accuracy. The record is that of `train`."""
    from slimyolo.tasks.train.finetune import finetune as task

    return run_task(task, FinetuneConfig, settings, verbose=verbose)


@with_settings_of(CompressConfig)
def compress(*, verbose: bool = False, **settings: Unpack[of.CompressSettings]) -> ChainRecord:
    """Run the whole chain: train, sparsify, prune, fine-tune. The record has ``weights`` and a row for each stage."""
    from slimyolo.tasks.chain.compress import compress as task

    return run_task(task, CompressConfig, settings, verbose=verbose)


@with_settings_of(IterateConfig)
def iterate(*, verbose: bool = False, **settings: Unpack[of.IterateSettings]) -> ChainRecord:
    """Prune in several rounds, and train after each one. The record has ``weights`` and two rows for each round."""
    from slimyolo.tasks.chain.iterate import iterate as task

    return run_task(task, IterateConfig, settings, verbose=verbose)


@with_settings_of(ValConfig, without=("verbose",))
def val(*, verbose: bool = False, **settings: Unpack[of.ValSettings]) -> ValidationRecord:
    """Measure a checkpoint or an exported file, and write a run folder. `evaluate` measures a model in memory.

    With `verbose`, the printed table has a row for each class.
    """
    from slimyolo.tasks.measure.validate import validate as task

    return run_task(task, ValConfig, {**settings, "verbose": verbose}, verbose=verbose)


@with_settings_of(CompareConfig)
def compare(
    first: of.PathText, second: of.PathText, *, verbose: bool = False, **settings: Unpack[of.CompareSettings]
) -> CompareRecord:
    """Compare two files on the same images, and write a page. The record has ``differences``, with intervals."""
    from slimyolo.tasks.measure.compare import compare as task

    return run_task(task, CompareConfig, {"first": first, "second": second, **settings}, verbose=verbose)


@with_settings_of(PredictConfig)
def predict(*, verbose: bool = False, **settings: Unpack[of.PredictSettings]) -> PredictRecord:
    """Detect in images and videos, and write pictures and files. The record has the ``folder`` and counts."""
    from slimyolo.tasks.predict.predict import predict as task

    return run_task(task, PredictConfig, settings, verbose=verbose)


@with_settings_of(ExportConfig)
def export(*, verbose: bool = False, **settings: Unpack[of.ExportSettings]) -> ExportRecord:
    """Write a checkpoint in other formats. The record has ``files``, each with its ``path`` and how it was checked."""
    from slimyolo.tasks.export.export import export as task

    return run_task(task, ExportConfig, settings, verbose=verbose)


@with_settings_of(BenchConfig)
def bench(*, verbose: bool = False, **settings: Unpack[of.BenchSettings]) -> BenchRecord | DevicesRecord:
    """Time models on runtimes. The record has a row for each model and runtime; with ``times``, for each device."""
    from slimyolo.tasks.measure.bench_place import bench_here_or_elsewhere as task

    return run_task(task, BenchConfig, settings, verbose=verbose)


@with_settings_of(SensitivityConfig)
def sensitivity(*, verbose: bool = False, **settings: Unpack[of.SensitivitySettings]) -> SensitivityRecord:
    """Measure how much each group of channels matters. The record has ``groups``."""
    from slimyolo.tasks.prune.sensitivity import sensitivity as task

    return run_task(task, SensitivityConfig, settings, verbose=verbose)


@with_settings_of(LatencyPackConfig)
def latency_pack(*, verbose: bool = False, **settings: Unpack[of.LatencyPackSettings]) -> PackRecord:
    """Pack networks that another device times, for ``latency``."""
    from slimyolo.tasks.latency.pack import pack as task

    return run_task(task, LatencyPackConfig, settings, verbose=verbose)


@with_settings_of(LatencyCheckConfig)
def latency_check(*, verbose: bool = False, **settings: Unpack[of.LatencyCheckSettings]) -> PackRecord:
    """Pack cut networks, so that the device times them."""
    from slimyolo.tasks.latency.pack import check as task

    return run_task(task, LatencyCheckConfig, settings, verbose=verbose)


@with_settings_of(InspectConfig, without=("json_output",))
def inspect(file: of.PathText) -> CheckpointSummary | ExportedSummary:
    """What a checkpoint contains, or what an exported file states, as a record. No code in the file is run."""
    from slimyolo.tasks.inspect import summarise

    return run_task(summarise, InspectConfig, {"file": file}, verbose=False)


@with_settings_of(ReportConfig)
def report(
    runs: of.PathText | list[of.PathText], *, verbose: bool = False, **settings: Unpack[of.ReportSettings]
) -> ReportRecord:
    """Write an HTML page about finished runs. The record has its path, ``page``."""
    from slimyolo.tasks.report import report as task

    return run_task(task, ReportConfig, {"runs": runs, **settings}, verbose=verbose)


@with_settings_of(DataCheckConfig)
def data_check(data: of.PathText, *, verbose: bool = False, **settings: Unpack[of.DataCheckSettings]) -> DatasetReport:
    """What is in a dataset, and what is wrong with it. The report has ``usable``, ``clean`` and ``splits``."""
    from slimyolo.tasks.dataset import check as task

    return run_task(task, DataCheckConfig, {"data": data, **settings}, verbose=verbose)


@with_settings_of(DataConvertConfig)
def data_convert(
    source: of.PathText, folder: of.PathText, *, verbose: bool = False, **settings: Unpack[of.DataConvertSettings]
) -> ConversionReport:
    """Convert a dataset of another tool into a new folder in YOLO layout. The report says what was left out, and why."""
    from slimyolo.tasks.dataset import convert as task

    return run_task(task, DataConvertConfig, {"source": source, "folder": folder, **settings}, verbose=verbose)


@with_settings_of(DataSynthConfig)
def data_synth(folder: of.PathText, *, verbose: bool = False, **settings: Unpack[of.DataSynthSettings]) -> Path:
    """Render an example dataset into `folder`. Returns the path of its YAML file."""
    from slimyolo.tasks.dataset import synth as task

    return run_task(task, DataSynthConfig, {"folder": folder, **settings}, verbose=verbose)


@with_settings_of(ServeConfig)
def serve(*, verbose: bool = True, **settings: Unpack[of.ServeSettings]) -> None:
    """Compare checkpoints on a local web page until Ctrl-C. Its address is printed unless `verbose` is false."""
    from slimyolo.tasks.serve import serve as task

    run_task(task, ServeConfig, settings, verbose=verbose)
