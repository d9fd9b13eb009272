"""Exports a detector to other formats, and proves that the written file computes the same.

Each format has its own file, and one table lists the formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
    from slimyolo.exporting.agreement import Agreement, Tolerance, agreement, detections_agreement, random_images
    from slimyolo.exporting.examples import write_examples
    from slimyolo.exporting.exporter import ExportedFile, Suppress, export_detector
    from slimyolo.exporting.format import Example, Format, Int8, Runtime
    from slimyolo.exporting.formats.openvino import import_openvino
    from slimyolo.exporting.graphs.running import GRAPH_RUNTIMES, GraphDetector, can_run_graphs, in_runtime
    from slimyolo.exporting.int8.harm import convolution_harm
    from slimyolo.exporting.int8.onnx import OnnxQuantiser
    from slimyolo.exporting.int8.openvino import OpenvinoQuantiser
    from slimyolo.exporting.int8.quantise import Accuracy, Quantisation, QuantisedFile, Quantiser, quantise_within
    from slimyolo.exporting.metadata import METADATA_KEYS, FileMetadata, NetworkCost, Suppression, detector_metadata
    from slimyolo.exporting.network import captured_network, output_layout, top_detections
    from slimyolo.exporting.quiet import quiet, without_telemetry
    from slimyolo.exporting.resizing import random_values, repeating_values, resized_onnx, write_quick_onnx
    from slimyolo.exporting.runtimes import ExportedModel, is_exported, open_exported, stated_size
    from slimyolo.exporting.settings import ExportSettings, Opened, Runner, RunOptions, RunPrecision, Written
    from slimyolo.exporting.stated.summary import ExportedSummary, summarise_exported
    from slimyolo.exporting.table import (
        FORMATS,
        check_settings,
        find_format,
        find_runtime,
        format_names,
        quantised_format,
        require_packages,
        runtimes,
        timed_format,
    )

__all__ = [
    "FORMATS",
    "GRAPH_RUNTIMES",
    "METADATA_KEYS",
    "Accuracy",
    "Agreement",
    "Example",
    "ExportSettings",
    "ExportedFile",
    "ExportedModel",
    "ExportedSummary",
    "FileMetadata",
    "Format",
    "GraphDetector",
    "Int8",
    "NetworkCost",
    "OnnxQuantiser",
    "Opened",
    "OpenvinoQuantiser",
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
    "can_run_graphs",
    "captured_network",
    "check_settings",
    "convolution_harm",
    "detections_agreement",
    "detector_metadata",
    "export_detector",
    "find_format",
    "find_runtime",
    "format_names",
    "import_openvino",
    "in_runtime",
    "is_exported",
    "open_exported",
    "output_layout",
    "quantise_within",
    "quantised_format",
    "quiet",
    "random_images",
    "random_values",
    "repeating_values",
    "require_packages",
    "resized_onnx",
    "runtimes",
    "stated_size",
    "summarise_exported",
    "timed_format",
    "top_detections",
    "without_telemetry",
    "write_examples",
    "write_quick_onnx",
]

names_on_first_use(
    __name__,
    {
        "slimyolo.exporting.agreement": "Agreement Tolerance agreement detections_agreement random_images",
        "slimyolo.exporting.examples": "write_examples",
        "slimyolo.exporting.exporter": "ExportedFile Suppress export_detector",
        "slimyolo.exporting.format": "Example Format Int8 Runtime",
        "slimyolo.exporting.formats.openvino": "import_openvino",
        "slimyolo.exporting.graphs.running": "GRAPH_RUNTIMES GraphDetector can_run_graphs in_runtime",
        "slimyolo.exporting.int8.harm": "convolution_harm",
        "slimyolo.exporting.int8.onnx": "OnnxQuantiser",
        "slimyolo.exporting.int8.openvino": "OpenvinoQuantiser",
        "slimyolo.exporting.int8.quantise": "Accuracy Quantisation QuantisedFile Quantiser quantise_within",
        "slimyolo.exporting.metadata": "METADATA_KEYS FileMetadata NetworkCost Suppression detector_metadata",
        "slimyolo.exporting.network": "captured_network output_layout top_detections",
        "slimyolo.exporting.quiet": "quiet without_telemetry",
        "slimyolo.exporting.resizing": "random_values repeating_values resized_onnx write_quick_onnx",
        "slimyolo.exporting.runtimes": "ExportedModel is_exported open_exported stated_size",
        "slimyolo.exporting.settings": "ExportSettings Opened Runner RunOptions RunPrecision Written",
        "slimyolo.exporting.stated.summary": "ExportedSummary summarise_exported",
        "slimyolo.exporting.table": (
            "FORMATS check_settings find_format find_runtime format_names quantised_format require_packages "
            "runtimes timed_format"
        ),
    },
)
