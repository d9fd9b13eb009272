"""slimyolo: make a YOLO detector smaller and faster without losing accuracy."""

__version__ = "0.1.0"
__all__ = ["__version__"]
