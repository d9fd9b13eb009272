"""One frozen configuration per command, checked at the edge; below the tasks there are only plain arguments."""

from slimyolo.tasks.configs.benching import BenchConfig
from slimyolo.tasks.configs.budgets import BudgetUnit
from slimyolo.tasks.configs.compressing import CompressConfig
from slimyolo.tasks.configs.evaluating import (
    DataCheckConfig,
    DataSynthConfig,
    ExportConfig,
    InspectConfig,
    PredictConfig,
    ValConfig,
)
from slimyolo.tasks.configs.hyperparameters import HyperParameters, read_hyperparameters
from slimyolo.tasks.configs.iterating import IterateConfig
from slimyolo.tasks.configs.options import Config, Device, ImageSize, LayerIndices, Precision, Share, option_name
from slimyolo.tasks.configs.plans import PlanDiffConfig, PlanShowConfig
from slimyolo.tasks.configs.pruning import Constants, PruneConfig
from slimyolo.tasks.configs.reporting import ReportConfig
from slimyolo.tasks.configs.sensitivity import SensitivityConfig
from slimyolo.tasks.configs.serving import CompletionConfig, ServeConfig
from slimyolo.tasks.configs.training import FinetuneConfig, SparsifyConfig, SparsityMethod, TrainConfig

__all__ = [
    "BenchConfig",
    "BudgetUnit",
    "CompletionConfig",
    "CompressConfig",
    "Config",
    "Constants",
    "DataCheckConfig",
    "DataSynthConfig",
    "Device",
    "ExportConfig",
    "FinetuneConfig",
    "HyperParameters",
    "ImageSize",
    "InspectConfig",
    "IterateConfig",
    "LayerIndices",
    "PlanDiffConfig",
    "PlanShowConfig",
    "Precision",
    "PredictConfig",
    "PruneConfig",
    "ReportConfig",
    "SensitivityConfig",
    "ServeConfig",
    "Share",
    "SparsifyConfig",
    "SparsityMethod",
    "TrainConfig",
    "ValConfig",
    "option_name",
    "read_hyperparameters",
]
