"""A local page that detects with one model or several side by side. What it answers with comes from memory, never by path.

The application itself is `slimyolo.serving.app`, which needs the extra ``serve``; the rest does not.
"""

from slimyolo.serving.guarding import AllowedHosts
from slimyolo.serving.models import ServedModel
from slimyolo.serving.uploads import UploadLimits

__all__ = ["AllowedHosts", "ServedModel", "UploadLimits"]
