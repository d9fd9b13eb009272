"""Reads and decodes an uploaded picture within limits.

Bytes are counted while they arrive. The number of pixels is read from the header of the file before anything is decoded.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from slimyolo.data import decode_image, image_size, unread_kind
from slimyolo.errors import DataError
from slimyolo.inference import ImageArray

__all__ = ["RefusedUpload", "UploadLimits", "decode_upload", "read_upload"]

# first bytes of JPEG, PNG, BMP and WebP; TIFF is refused, because it is complex and no camera or browser needs it here
SIGNATURES = (b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF")


@dataclass(frozen=True)
class UploadLimits:
    """The largest upload in bytes and in decoded pixels, and the seconds in which it must arrive."""

    max_bytes: int = 20_000_000
    max_pixels: int = 40_000_000
    seconds: float = 30.0


class RefusedUpload(Exception):
    """An upload that is refused, with the HTTP status and a sentence that says why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


async def read_upload(chunks: AsyncIterator[bytes], announced: int | None, limits: UploadLimits) -> bytes:
    """The whole body of a request whose header announced `announced` bytes (None when it did not say).

    Raises `RefusedUpload` for an empty body and, without reading the rest, as soon as the body is too large.
    """
    if announced is not None and announced > limits.max_bytes:
        raise _too_large(limits)
    parts, total = [], 0
    async for chunk in chunks:
        total += len(chunk)
        if total > limits.max_bytes:
            raise _too_large(limits)
        parts.append(chunk)
    if not total:
        raise RefusedUpload(400, "The upload is empty: send the bytes of a picture.")
    return b"".join(parts)


def decode_upload(content: bytes, limits: UploadLimits) -> ImageArray:
    """The picture as BGR uint8 ``[h, w, 3]``.

    Raises `RefusedUpload` when the file is of another format or damaged, or when it has too many pixels.
    """
    if not content.startswith(SIGNATURES):
        kind = unread_kind(content)
        reason = f": {kind} is not supported" if kind else ""
        raise RefusedUpload(415, f"The upload is not a JPEG, PNG, WebP or BMP picture{reason}.")
    try:
        size = image_size(content, "uploaded")
        if size is None:
            raise RefusedUpload(415, "The upload is not a JPEG, PNG, WebP or BMP picture.")
        if size[0] * size[1] > limits.max_pixels:
            raise RefusedUpload(
                413,
                f"The picture has {size[0]} x {size[1]} pixels (height x width); at most "
                f"{limits.max_pixels / 1e6:g} megapixels are accepted.",
            )
        return decode_image("uploaded", content)
    except DataError as error:
        raise RefusedUpload(422, str(error)) from None


def _too_large(limits: UploadLimits) -> RefusedUpload:
    return RefusedUpload(413, f"The upload is larger than {limits.max_bytes / 1e6:g} MB.")
