"""Pictures that a program holds in memory: arrays, Pillow images, tensors, the bytes of a file, open files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np

from slimyolo.data import decode_image
from slimyolo.errors import DataError
from slimyolo.inference.pictures import ImageArray, as_picture_array

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["HeldPictures", "held_pictures", "holds_bytes", "is_held"]

HeldPictures: TypeAlias = Any
"""What `is_held` says. The classes of Pillow and torch are not named here: only those who use them import them."""

_ROUNDING = 1e-3  # a value this far outside of 0–1 is a rounding error


def is_held(value: object) -> bool:
    """Whether `value` holds pictures itself, so that it is neither a path nor a sequence of pictures."""
    return (
        isinstance(value, np.ndarray)
        or _is_tensor(value)
        or holds_bytes(value)
        or _is_pillow(value)
        or hasattr(value, "__array__")
    )


def holds_bytes(value: object) -> bool:
    """Whether `value` is the content of an image file, or a file that is open for reading."""
    return isinstance(value, (bytes, bytearray, memoryview)) or (hasattr(value, "read") and not _is_pillow(value))


def held_pictures(value: HeldPictures, name: str) -> Iterator[ImageArray]:
    """The pictures in `value` as BGR uint8 ``[h, w, 3]``.

    | value | its pictures |
    |---|---|
    | array ``[h, w, 3]`` or ``[n, h, w, 3]`` | uint8 BGR, as OpenCV reads them |
    | Pillow image | any mode with 8 or 16 bits, turned as its EXIF tag says |
    | tensor ``[3, h, w]`` or ``[n, 3, h, w]`` | RGB, uint8 or 0–1, as a network takes them |
    | ``bytes``, or a file opened for reading bytes | the content of an image file |

    `name` is for messages. Raises `DataError` for another shape or another type of numbers, and for bytes that are no image.
    """
    if _is_pillow(value):
        yield _from_pillow(value, name)
    elif _is_tensor(value):
        yield from _from_tensor(value)
    elif holds_bytes(value):
        content = value.read() if hasattr(value, "read") else bytes(value)
        if not isinstance(content, bytes):
            raise DataError(f"{name}: the file must be opened for reading bytes: open(path, 'rb').")
        yield _decoded(content, name)
    else:
        array = np.asarray(value)
        yield from (as_picture_array(one) for one in (array if array.ndim == 4 else [array]))


def _decoded(content: bytes, name: str) -> ImageArray:
    if not content:
        raise DataError(f"{name} holds no bytes. Give the content of an image file.")
    return decode_image(name, content)


def _is_pillow(value: object) -> bool:
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(value, module.Image)


def _is_tensor(value: object) -> TypeGuard[Tensor]:
    module = sys.modules.get("torch")
    return module is not None and isinstance(value, module.Tensor)


def _from_pillow(image: Any, name: str) -> ImageArray:
    from PIL import ImageOps

    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # whole numbers of 16 bits; the mode "I" has room for 32
            numbers = np.asarray(image).astype(np.int64)
            if numbers.size and not 0 <= numbers.min() <= numbers.max() < 2**16:
                raise DataError(f"{name} is a Pillow image with values above 16 bits. Scale it to 0–255 (mode 'L').")
            return as_picture_array((numbers >> 8).astype(np.uint8))
        if image.mode == "F":
            raise DataError(
                f"{name} is a Pillow image of mode 'F', whose range is unknown. Scale it to 0–255 (mode 'L')."
            )
        return as_picture_array(np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1]))
    except (OSError, SyntaxError, ValueError) as error:  # Pillow decodes an opened file only now
        raise DataError(f"{name}: Pillow cannot decode this image: {error}.") from error


def _from_tensor(tensor: Tensor) -> Iterator[ImageArray]:
    shape = list(tensor.shape)
    if tensor.dim() not in (3, 4) or shape[-3] != 3 or 0 in shape:
        raise DataError(
            f"A tensor of pictures must have shape [3, height, width] or [n, 3, height, width] (RGB), got {shape}. "
            "For [height, width, 3] type tensor.permute(2, 0, 1)."
        )
    import torch  # somebody has it: there is a tensor

    values = tensor.detach().cpu()
    if values.dtype != torch.uint8:
        values = _whole_numbers(values)
    bgr = values.reshape(-1, *shape[-3:]).flip(1).permute(0, 2, 3, 1).contiguous().numpy()
    yield from (as_picture_array(one) for one in bgr)


def _whole_numbers(values: Tensor) -> Tensor:
    """Numbers of 0–1 as uint8 0–255, rounded to the nearest."""
    if not values.is_floating_point():
        raise DataError(f"A tensor of pictures must hold uint8 (0–255) or floats in 0–1, got {values.dtype}.")
    values = values.float()
    low, high = float(values.min()), float(values.max())
    if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):  # also for NaN
        raise DataError(
            f"A tensor of floats must hold values in 0–1, as a network takes them, got {low:g} to {high:g}. Divide values of "
            "0–255 by 255, and leave out other normalisation."
        )
    return (values.clamp(0, 1) * 255).round().byte()
