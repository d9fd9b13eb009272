"""Out of PyTorch: one file per format, one table that names them, and the proof that the file computes the same."""

from slimyolo.exporting.agreement import Agreement, Tolerance, agreement, detections_agreement, random_images
from slimyolo.exporting.examples import EXAMPLES, write_examples
from slimyolo.exporting.exporter import ExportedFile, Suppress, export_detector
from slimyolo.exporting.formats.openvino import import_openvino
from slimyolo.exporting.int8.harm import convolution_harm
from slimyolo.exporting.int8.onnx import OnnxQuantiser
from slimyolo.exporting.int8.openvino import OpenvinoQuantiser
from slimyolo.exporting.int8.quantise import Accuracy, Quantisation, QuantisedFile, Quantiser, quantise_within
from slimyolo.exporting.metadata import (
    METADATA_KEYS,
    FileMetadata,
    NetworkCost,
    OutputLayout,
    Suppression,
    detector_metadata,
)
from slimyolo.exporting.quiet import quiet, without_telemetry
from slimyolo.exporting.resizing import resized_onnx
from slimyolo.exporting.runtimes import RUNTIMES, ExportedModel, Runtime, is_exported, open_exported
from slimyolo.exporting.settings import ExportSettings, Opened, Runner, RunOptions, RunPrecision, Written
from slimyolo.exporting.table import FORMATS, Format, check_settings, find_format, format_names, require_packages

__all__ = [
    "EXAMPLES",
    "FORMATS",
    "METADATA_KEYS",
    "RUNTIMES",
    "Accuracy",
    "Agreement",
    "ExportSettings",
    "ExportedFile",
    "ExportedModel",
    "FileMetadata",
    "Format",
    "NetworkCost",
    "OnnxQuantiser",
    "Opened",
    "OpenvinoQuantiser",
    "OutputLayout",
    "Quantisation",
    "QuantisedFile",
    "Quantiser",
    "RunOptions",
    "RunPrecision",
    "Runner",
    "Runtime",
    "Suppress",
    "Suppression",
    "Tolerance",
    "Written",
    "agreement",
    "check_settings",
    "convolution_harm",
    "detections_agreement",
    "detector_metadata",
    "export_detector",
    "find_format",
    "format_names",
    "import_openvino",
    "is_exported",
    "open_exported",
    "quantise_within",
    "quiet",
    "random_images",
    "require_packages",
    "resized_onnx",
    "without_telemetry",
    "write_examples",
]
