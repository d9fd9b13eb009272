"""A local web page that detects with one model, or with several models side by side.

All answers come from memory: no request can name a file of the machine. The application itself is
`slimyolo.serving.app`, which needs the extra ``serve``; the other modules do not need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slimyolo.on_first_use import names_on_first_use

if TYPE_CHECKING:
    from slimyolo.serving.guarding import AllowedHosts
    from slimyolo.serving.models import ServedModel
    from slimyolo.serving.uploads import UploadLimits

__all__ = ["AllowedHosts", "ServedModel", "UploadLimits"]

names_on_first_use(
    __name__,
    {
        "slimyolo.serving.guarding": "AllowedHosts",
        "slimyolo.serving.models": "ServedModel",
        "slimyolo.serving.uploads": "UploadLimits",
    },
)
