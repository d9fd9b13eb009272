"""The activation of a detector's convolutions, read from text such as ``nn.ReLU()``.

The text is compared with a table; it is never executed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import nn

from slimyolo.errors import ModelError, shown_value

__all__ = ["DEFAULT_ACTIVATION", "read_activation", "replace_activations_"]

DEFAULT_ACTIVATION = "SiLU"
_PLAIN: Mapping[str, type[nn.Module]] = {
    "SiLU": nn.SiLU,
    "Hardswish": nn.Hardswish,
    "ReLU": nn.ReLU,
    "ReLU6": nn.ReLU6,
}
_LEAKY = "LeakyReLU"
_FORM = re.compile(
    r"(?:torch\.)?(?:nn\.)?(\w+)(?:\((?:negative_slope=)?([\d.eE-]+)?(?:,? *inplace=(?:True|False))?\))?"
)


def read_activation(text: object) -> str:
    """The short name of an activation written as ``nn.ReLU()``, ``ReLU``, ``relu`` or ``torch.nn.LeakyReLU(0.1)``.

    The known activations are SiLU, Hardswish, ReLU, ReLU6 and LeakyReLU; the slope of LeakyReLU is 0.01 when the text
    gives none. Raises `ModelError` for any other text.
    """
    match = _FORM.fullmatch(text.strip()) if isinstance(text, str) and len(text) <= 100 else None
    if match is not None:
        by_lower = {name.lower(): name for name in (*_PLAIN, _LEAKY)}
        name, slope = by_lower.get(match.group(1).lower()), _slope(match.group(2))
        if name == _LEAKY and slope is not None:
            return f"{_LEAKY}({slope:g})"
        if name is not None and match.group(2) is None:
            return name
    raise ModelError(
        f"the activation should be one of {', '.join(_PLAIN)} or {_LEAKY}(slope), written as nn.ReLU() or relu; got "
        f"{shown_value(text)}."
    )


def replace_activations_(module: nn.Module, name: str) -> int:
    """Replace every activation in `module` by the one called `name` (see `read_activation`), and return their number.

    Layers that have an `nn.Identity` in the place of the activation keep it.
    """
    kinds = (*_PLAIN.values(), nn.LeakyReLU)
    places = [part for part in module.modules() if isinstance(getattr(part, "act", None), kinds)]
    for part in places:
        part.act = _made(name)
    return len(places)


def _made(name: str) -> nn.Module:
    plain = _PLAIN.get(name)
    return plain() if plain is not None else nn.LeakyReLU(float(name[len(_LEAKY) + 1 : -1]))


def _slope(text: str | None) -> float | None:
    """The slope written as `text`: 0.01 when there is no text, and None when the text is not a number from 0 to 1."""
    try:
        slope = 0.01 if text is None else float(text)
    except ValueError:
        return None
    return slope if math.isfinite(slope) and 0 <= slope <= 1 else None
