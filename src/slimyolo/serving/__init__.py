"""A local web page that detects with one model, or with several models side by side.

All answers come from memory: no request can name a file of the machine. The application itself is
`slimyolo.serving.app`, which needs the extra ``serve``; the other modules do not need it.
"""

from slimyolo.serving.guarding import AllowedHosts
from slimyolo.serving.models import ServedModel
from slimyolo.serving.uploads import UploadLimits

__all__ = ["AllowedHosts", "ServedModel", "UploadLimits"]
