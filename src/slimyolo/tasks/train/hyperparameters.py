"""Training hyper-parameters: the reference's YAML keys, typed and checked.

The numbers are those of YOLOv5 6.2: ``scratch-low`` is the default for training, ``scratch`` (lrf 0.1) the default for
fine-tuning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from slimyolo.errors import ConfigError
from slimyolo.tasks.common.config import Config, option, refuse_unknown_keys

__all__ = ["PRESETS", "HyperParameters", "read_hyperparameters"]


class HyperParameters(Config):
    """The numbers of one training. Learning rates hold for optimizer steps at nominal batch 64; gains are before scaling."""

    lr0: float = option(0.01, gt=0, help="first learning rate")
    lrf: float = option(0.01, gt=0, le=1, help="last learning rate as a share of lr0")
    momentum: float = option(0.937, ge=0, lt=1, help="SGD momentum, Adam's beta1")
    weight_decay: float = option(0.0005, ge=0, help="weight decay of convolution weights, at nominal batch 64")
    warmup_epochs: float = option(3.0, ge=0, help="epochs of warm-up (at least 100 steps)")
    warmup_momentum: float = option(0.8, ge=0, lt=1, help="momentum at the first step")
    warmup_bias_lr: float = option(0.1, ge=0, help="learning rate of biases at the first step")
    box: float = option(0.05, ge=0, help="gain of the box loss")
    cls: float = option(0.5, ge=0, help="gain of the class loss")
    dfl: float = option(1.5, ge=0, help="gain of the distribution loss of box sides, in heads without anchors")
    cls_pw: float = option(
        1.0,
        ge=0,
        help="YOLOv5: weight of positives in the class loss; later families: power of the class weights, 0: no weights",
    )
    obj: float = option(1.0, ge=0, help="gain of the objectness loss")
    obj_pw: float = option(1.0, gt=0, help="weight of positives in the objectness loss")
    iou_t: float = option(0.2, ge=0, le=1, help="kept for old files; YOLOv5 6.2 does not use it either")
    anchor_t: float = option(4.0, gt=1, help="largest ratio of a box side to an anchor side for a match")
    anchors: int | None = option(None, ge=1, help="number of anchors per level to fit; empty: keep the model's anchors")
    fl_gamma: float = option(0.0, ge=0, help="focal loss gamma; 0: ordinary cross-entropy")
    hsv_h: float = option(0.015, ge=0, le=1, help="hue variation")
    hsv_s: float = option(0.7, ge=0, le=1, help="saturation variation")
    hsv_v: float = option(0.4, ge=0, le=1, help="brightness variation")
    degrees: float = option(0.0, ge=0, le=180, help="rotation, +/- degrees")
    translate: float = option(0.1, ge=0, le=1, help="shift, +/- share of the image")
    scale: float = option(0.5, ge=0, lt=1, help="size variation, 1 +/- this")
    shear: float = option(0.0, ge=0, le=90, help="shear, +/- degrees")
    perspective: float = option(0.0, ge=0, le=0.001, help="perspective, +/- this")
    flipud: float = option(0.0, ge=0, le=1, help="chance of an upside-down flip")
    fliplr: float = option(0.5, ge=0, le=1, help="chance of a left-right flip")
    mosaic: float = option(1.0, ge=0, le=1, help="chance of a mosaic of four images")
    mixup: float = option(0.0, ge=0, le=1, help="chance of mixing two mosaics")
    copy_paste: float = option(0.0, ge=0, le=1, help="chance of pasting segments (needs polygon labels)")


PRESETS: Mapping[str, Mapping[str, Any]] = {"scratch-low": {}, "scratch": {"lrf": 0.1}}
"""The defaults that each preset changes."""


def read_hyperparameters(
    source: str | Path | None,
    assignments: Sequence[str] = (),
    *,
    preset: str = "scratch-low",
    family: Mapping[str, Any] = MappingProxyType({}),
) -> HyperParameters:
    """Hyper-parameters from a YAML file or the name of a preset, then changed by ``key=value`` assignments.

    `family` holds the defaults of a family that differ from YOLOv5's. With `source` None, the values are those of `preset`,
    then of `family`. A file or a named preset needs only the keys that differ from the defaults. Raises `ConfigError` for a
    missing file, an unknown key (the message names the nearest one), or a value out of range.
    """
    if source is None:
        values = {**PRESETS[preset], **family}
    elif str(source) in PRESETS:
        values = {**family, **PRESETS[str(source)]}
    else:
        values = {**family, **_read_file(Path(source))}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--hyp-set: got {assignment!r}, expected KEY=VALUE, such as lr0=0.005.")
        if key.strip() in ("lr", "learning_rate"):
            raise ConfigError(f"Unknown key {key.strip()!r} for --hyp-set. Did you mean 'lr0'?")
        refuse_unknown_keys({key.strip(): text}, tuple(HyperParameters.model_fields), "--hyp-set")
        values[key.strip()] = text.strip()
    try:
        return HyperParameters(**values)
    except ConfigError as error:
        where = f"Hyper-parameters {source}" if source is not None else "Hyper-parameters"
        raise ConfigError(f"{where}: {str(error).replace('--', '')}") from None


def _read_file(path: Path) -> dict[str, Any]:
    from slimyolo.storage import read_yaml  # not at the top: it imports torch, and `--help` must answer at once

    try:
        plain = read_yaml(path)
    except OSError as error:
        raise ConfigError(
            f"Cannot read the hyper-parameter file {path}: {error.strerror}. Give --hyp a YAML file, or one of "
            f"{', '.join(PRESETS)}."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a YAML file: {error}") from None
    if not isinstance(plain, dict):
        raise ConfigError(f"{path} holds no hyper-parameters: expected lines such as `lr0: 0.01`.")
    refuse_unknown_keys(plain, tuple(HyperParameters.model_fields), str(path))
    return plain
