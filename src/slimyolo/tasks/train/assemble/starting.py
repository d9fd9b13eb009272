"""Makes the detector that a training starts from: new, from a checkpoint, or new with tensors of a checkpoint."""

from __future__ import annotations

import logging
from dataclasses import replace

from slimyolo.checkpoints import Checkpoint, dense_widths, transfer_
from slimyolo.errors import ConfigError
from slimyolo.families import read_architecture
from slimyolo.models import DEFAULT_ACTIVATION, Architecture, Detector, build_detector
from slimyolo.shown_text import counted
from slimyolo.tasks.common.weights import FROM_SCRATCH, load_weights
from slimyolo.tasks.train.config import TrainConfig

__all__ = ["starting_detector"]

log = logging.getLogger("slimyolo")


def starting_detector(config: TrainConfig, names: tuple[str, ...]) -> Detector:
    """The detector to train for the classes `names`, on the CPU, with the activation that ``--activation`` or the YAML names.

    A checkpoint keeps its own architecture, widths and **anchors** if ``--cfg`` is not given, if ``--cfg`` has the same
    layers, or if it was pruned; a new head is made if the number of classes differs. From any other checkpoint, the tensors
    that fit are copied into a new ``--cfg`` detector, and their number is logged. Raises `ConfigError` when nothing fits.
    """
    asked = read_architecture(config.cfg).with_classes(len(names)) if config.cfg is not None else None
    detector = _chosen(config, asked, names)
    own = detector.architecture
    wanted: str | None = config.activation
    if wanted is None and asked is not None and asked.activation != DEFAULT_ACTIVATION:
        wanted = asked.activation
    if wanted is not None and own.with_activation(wanted) != own:
        count = detector.set_activation_(wanted)
        log.info(
            "activation: %s is replaced by %s in %s",
            own.activation,
            detector.architecture.activation,
            counted(count, "layer"),
        )
    return detector


def _chosen(config: TrainConfig, asked: Architecture | None, names: tuple[str, ...]) -> Detector:
    checkpoint = load_weights(config.weights, otherwise=FROM_SCRATCH) if config.weights is not None else None
    if checkpoint is None:
        if asked is None:
            raise ConfigError("Give --weights FILE to start from a checkpoint, or --cfg yolov5n to train from scratch.")
        log.info("model: %s from scratch, %s", asked.name, counted(len(names), "class", "classes"))
        return build_detector(asked, names=names, seed=config.seed)
    if asked is None or _same_layers(asked, checkpoint.architecture) or checkpoint.widths is not None:
        if asked is not None and not _same_layers(asked, checkpoint.architecture):
            log.warning("--cfg %s is not used: a pruned checkpoint keeps its own architecture", config.cfg)
        return _continued(checkpoint, names, config.seed)
    detector = build_detector(asked, names=names, seed=config.seed)
    report = transfer_(detector, checkpoint)
    if not report.matched:
        raise ConfigError(
            f"No tensor of {config.weights} fits {config.cfg}: they are different networks. Leave --cfg out to train "
            f"the checkpoint's own network, or --weights out to train {config.cfg} from scratch."
        )
    log.info("model: %s; %s", asked.name, report.summary())
    return detector


def _continued(checkpoint: Checkpoint, names: tuple[str, ...], seed: int) -> Detector:
    architecture = checkpoint.architecture
    if len(names) == architecture.nc and not _in_another_order(checkpoint, names):
        detector = checkpoint.detector().train()
        if names != checkpoint.names:
            log.warning("class names: %s are replaced by %s", list(checkpoint.names), list(names))
            detector.names = names
        log.info("model: %s as in the checkpoint, %s", architecture.name, counted(len(names), "class", "classes"))
        return detector
    widths = checkpoint.widths
    if widths is None and architecture.family.holds_classes is not None:
        widths = dense_widths(
            architecture
        )  # the hidden class layers keep their widths, which depend on the number of classes
    if widths is not None:
        widths = architecture.family.widths_for_classes(widths, architecture, len(names))
    detector = build_detector(architecture.with_classes(len(names)), names=names, widths=widths, seed=seed)
    report = transfer_(detector, checkpoint, exclude=())
    classes = counted(len(names), "class", "classes")
    log.info("model: %s with a new head for %s; %s", architecture.name, classes, report.summary())
    return detector


def _in_another_order(checkpoint: Checkpoint, names: tuple[str, ...]) -> bool:
    """Whether some of `names` are classes of the checkpoint with another number, and their rows can be moved."""
    if checkpoint.architecture.family.holds_classes is None:
        return False
    return any(name in checkpoint.names and checkpoint.names[place] != name for place, name in enumerate(names))


def _same_layers(asked: Architecture, own: Architecture) -> bool:
    """Whether both describe the same network, apart from classes, anchors, activations and names."""
    if asked.family != own.family:
        return False
    return replace(asked, name=own.name, nc=own.nc, anchors=own.anchors, activation=own.activation) == own
