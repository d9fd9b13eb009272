"""Reads image files: their size from the header, and their pixels.

The header is read before any pixel is decoded, so a file that would unpack to gigabytes of pixels is refused early. Files
are never changed.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from slimyolo.errors import DataError
from slimyolo.storage import open_user_file, read_user_file

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "UNREAD_SUFFIXES",
    "ImageHeader",
    "decode_image",
    "image_header",
    "image_size",
    "lacks_end_marker",
    "read_image_bytes",
    "read_image_header",
]

IMAGE_SUFFIXES = (".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp")
UNREAD_SUFFIXES = (
    *(".arw", ".avif", ".cr2", ".cr3", ".dng", ".exr", ".gif", ".hdr", ".heic", ".heics", ".heif", ".hif", ".ico"),
    *(".j2k", ".jp2", ".jpf", ".jpx", ".jxl", ".nef", ".orf", ".pbm", ".pef", ".pfm", ".pgm", ".pnm"),
    *(".ppm", ".psd", ".raf", ".raw", ".rw2", ".svg", ".svgz", ".tga", ".xcf"),
)
"""Suffixes of pictures that are not read. They are named, because otherwise a picture would be missing without a word."""
MAX_PIXELS = 150_000_000  # 450 MB as BGR; the largest cameras have 150 megapixels
_END_OF_IMAGE = b"\xff\xd9"
_START_OF_SCAN = b"\xff\xda"
_MOST_SCANS = 100  # a progressive JPEG has about ten; a picture in several sizes (MPO) has those of each
_LARGEST_TILE = 4096 * 4096  # pixels; TIFF files have tiles of 16 × 16 to 1024 × 1024
_ORIENTATIONS = range(1, 9)  # of EXIF; other values mean nothing
_ROTATED = range(5, 9)  # these swap height and width
_HEIF_BRANDS = frozenset(
    (
        b"heic",
        b"heix",
        b"heim",
        b"heis",
        b"hevc",
        b"hevx",
        b"mif1",
        b"mif2",
        b"msf1",
        b"miaf",
        b"avif",
        b"avis",
        b"avio",
    )
)
_UNREAD_STARTS = {
    b"GIF8": "GIF",
    b"8BPS": "a Photoshop file",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"v/1\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
}
_HEAD = 2**16  # bytes; longer headers hold previews or colour profiles
_FILLER = 128  # the grey with which libjpeg fills missing data

Image = npt.NDArray[np.uint8]


def read_image_bytes(path: str | Path) -> bytes:
    """The content of a file. Raises `DataError` when it cannot be read or is empty."""
    try:
        content = read_user_file(path, "picture")
    except OSError as error:
        raise DataError(f"Cannot read the image {path}: {error.strerror}.") from error
    if not content:
        raise DataError(f"The image {path} is empty (zero bytes). Fetch it again, or remove it.")
    return content


@dataclass(frozen=True)
class ImageHeader:
    """What the header of an image says: (height, width) as `stored` in the file, and its EXIF `orientation` (1 to 8).

    `size` is (height, width) after the rotation.
    """

    stored: tuple[int, int]
    orientation: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the decoded image, rotated as its EXIF tag says."""
        return self.stored[::-1] if self.orientation in _ROTATED else self.stored


def image_size(content: bytes, path: str | Path = "") -> tuple[int, int] | None:
    """(height, width) of an encoded image after decoding and EXIF rotation, read from its header.

    The result is None for a format that this function does not know. `path` is for messages. Raises `DataError` for a
    damaged header.
    """
    header = image_header(content, path)
    return None if header is None else header.size


def image_header(content: bytes, path: str | Path = "") -> ImageHeader | None:
    """The header of an encoded image. The result and the errors are those of `image_size`."""
    try:
        if content[:2] == b"\xff\xd8":
            header = _jpeg_header(content)
        elif content[:8] == b"\x89PNG\r\n\x1a\n":
            header = ImageHeader(_png_size(content))
        elif content[:2] == b"BM":
            header = ImageHeader(_bmp_size(content))
        elif content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            header = ImageHeader(_webp_size(content))
        elif content[:4] in (b"II*\0", b"MM\0*"):
            header = _tiff_header(content)
        else:
            return None
    except (struct.error, IndexError, ValueError) as error:
        raise DataError(f"The image {path} has a damaged header. Fetch it again, or remove it.") from error
    height, width = header.size
    if min(height, width) < 1:
        raise DataError(
            f"The image {path} claims to have {height} x {width} pixels (height x width). Fetch it again, or remove it."
        )
    return header


def read_image_header(path: str | Path) -> ImageHeader:
    """The header of an image file. Only its beginning is read, if that is enough.

    Raises `DataError` when the file cannot be read, is empty or damaged, or has a format that is not read.
    """
    try:
        with open_user_file(path, "picture") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise DataError(f"Cannot read the image {path}: {error.strerror}.") from error
    with suppress(DataError):  # the header may be longer
        if (header := image_header(head, path)) is not None:
            return header
    content = read_image_bytes(path)
    header = image_header(content, path)
    if header is None:
        raise _cannot_decode(path, content)
    return header


def decode_image(path: str | Path, content: bytes | None = None) -> Image:
    """Read an image as BGR uint8 ``[h, w, 3]``, rotated as its EXIF tag says.

    Grey becomes three equal channels, alpha is dropped, 16-bit values keep their upper 8 bits, and CMYK becomes BGR. Any
    file name works. If `content` holds the bytes of the file, the file is not read again.

    A JPEG without its end marker gets one in memory (never in the file). When only the marker is missing, the image is
    used. When image data is missing too, the decoder leaves the lower right corner grey, and the image is refused.

    Raises `DataError` when the file cannot be read, when it is empty, damaged, truncated or not an image, or when it has
    more than `MAX_PIXELS` pixels.
    """
    content = read_image_bytes(path) if content is None else content
    size = image_size(content, path)
    refuse_huge(size, path)
    refuse_many_scans(content, path)
    if size is None:  # OpenCV may know this format, but its size in pixels is unknown before decoding
        raise _cannot_decode(path, content)
    cut_short = lacks_end_marker(content)
    if cut_short:
        content += _END_OF_IMAGE
        _refuse_missing_data(content, path)
    image = _imdecode(content, cv2.IMREAD_COLOR)
    if image is None:
        raise _cannot_decode(path, content)
    refuse_huge((image.shape[0], image.shape[1]), path)
    return image


def lacks_end_marker(content: bytes) -> bool:
    """Whether `content` is a JPEG that was cut short: no end marker follows its last scan."""
    return content[:2] == b"\xff\xd8" and content.rfind(_END_OF_IMAGE) < content.rfind(b"\xff\xda")


def refuse_huge(size: tuple[int, int] | None, path: str | Path) -> None:
    """Raises `DataError` when `size` (height, width) has more than `MAX_PIXELS` pixels."""
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise DataError(
            f"The image {path} unpacks to {size[0]} x {size[1]} pixels (height x width); at most {MAX_PIXELS:,} are decoded. "
            f"Scale it down, or remove it."
        )


def refuse_many_scans(content: bytes, path: str | Path) -> None:
    """Raises `DataError` for a JPEG with more than `_MOST_SCANS` scans. Each takes as long as a picture, also when it is empty,
    so that a file of one megabyte could take an hour."""
    if content[:2] == b"\xff\xd8" and (scans := content.count(_START_OF_SCAN)) > _MOST_SCANS:
        raise DataError(
            f"The image {path} has {scans:,} scans; at most {_MOST_SCANS} are decoded. Save it anew with another program, or "
            "remove it."
        )


def _imdecode(content: bytes, flags: int) -> Image | None:
    try:
        image: Image | None = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None
    return image


def _refuse_missing_data(content: bytes, path: str | Path) -> None:
    image = _imdecode(content, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or bool((image[-4:, -4:] == _FILLER).all()):
        raise DataError(f"The image {path} is truncated: part of its pixels are missing. Fetch it again, or remove it.")


def unread_kind(content: bytes) -> str:
    """The name of the picture format of `content` when it is known but not read here ("HEIC or AVIF"), else empty."""
    if content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS:
        return "HEIC or AVIF"
    return next((kind for start, kind in _UNREAD_STARTS.items() if content.startswith(start)), "")


def _cannot_decode(path: str | Path, content: bytes) -> DataError:
    pages = {b"%PDF": "it is a PDF", b"<!DO": "it is a web page", b"<htm": "it is a web page"}
    kind = unread_kind(content)
    if kind:
        return DataError(f"The image {path} cannot be decoded: {kind} is not supported. Convert it to JPEG or PNG.")
    wrong = pages.get(content[:4], "it is damaged or not an image (JPEG, PNG, WebP, BMP and TIFF can be read)")
    return DataError(f"The image {path} cannot be decoded: {wrong}. Fetch it again, or remove it.")


def _jpeg_header(content: bytes) -> ImageHeader:
    position, orientation = 2, 0
    while True:
        while content[position] != 0xFF:  # allow stray bytes between segments, as decoders do
            position += 1
        while content[position] == 0xFF:
            position += 1
        marker = content[position]
        position += 1
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # a stray byte 255, and markers without a segment
            continue
        if marker in (0xD9, 0xDA):
            raise ValueError("image data before a frame header")
        (length,) = struct.unpack_from(">H", content, position)
        if marker == 0xE1 and not orientation and content[position + 2 : position + 8] == b"Exif\0\0":
            orientation = _tiff_tags(content[position + 8 : position + length]).get(274, 1)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, position + 3)
            return ImageHeader((height, width), orientation if orientation in _ORIENTATIONS else 1)
        position += max(length, 2)


def _png_size(content: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", content, 16)
    return height, width


def _bmp_size(content: bytes) -> tuple[int, int]:
    (length,) = struct.unpack_from("<I", content, 14)
    width, height = struct.unpack_from("<HH" if length == 12 else "<ii", content, 18)  # OS/2 writes the short header
    return abs(height), abs(width)


def _webp_size(content: bytes) -> tuple[int, int]:
    kind = content[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(content[start : start + 3], "little") for start in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", content, 26))
    return height, width


def _tiff_header(content: bytes) -> ImageHeader:
    tags = _tiff_tags(content)
    if 256 not in tags or 257 not in tags:
        raise ValueError("no size in the first directory")
    if tags.get(322, 0) * tags.get(323, 0) > max(_LARGEST_TILE, tags[256] * tags[257]):
        raise ValueError("a tile that is larger than the picture")  # it would be decoded whole
    orientation = tags.get(274, 1)
    return ImageHeader((tags[257], tags[256]), orientation if orientation in _ORIENTATIONS else 1)


def _tiff_tags(content: bytes) -> dict[int, int]:
    """The tags in the first directory of a TIFF file; 0 stands for what is no integer. EXIF data has the same form."""
    order = {b"II": "<", b"MM": ">"}.get(content[:2])
    if order is None or len(content) < 8:
        return {}
    tags: dict[int, int] = {}
    try:
        (start,) = struct.unpack_from(order + "I", content, 4)
        (count,) = struct.unpack_from(order + "H", content, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _ = struct.unpack_from(order + "HHI", content, entry)
            if tag not in tags:  # decoders take the first of several values; one of another kind means nothing
                tags[tag] = _number(content, entry + 8, order, kind) if kind in (3, 4) else 0
    except struct.error:
        pass  # the tags before the damage are used, as decoders do
    return tags


def _number(content: bytes, position: int, order: str, kind: int) -> int:
    value: Any = struct.unpack_from(order + ("H" if kind == 3 else "I"), content, position)[0]
    return int(value)
