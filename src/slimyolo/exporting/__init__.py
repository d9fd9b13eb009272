"""Out of PyTorch: one file per format, one table that names them, and the proof that the file computes the same."""

from slimyolo.exporting.agreement import Agreement, Tolerance, agreement, random_images
from slimyolo.exporting.exporter import ExportedFile, export_detector
from slimyolo.exporting.formats import FORMATS, Format, find_format, format_names, require_packages
from slimyolo.exporting.settings import ExportSettings, Runner, Written

__all__ = [
    "FORMATS",
    "Agreement",
    "ExportSettings",
    "ExportedFile",
    "Format",
    "Runner",
    "Tolerance",
    "Written",
    "agreement",
    "export_detector",
    "find_format",
    "format_names",
    "random_images",
    "require_packages",
]
