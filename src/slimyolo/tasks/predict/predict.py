"""``slimyolo predict``: detects in pictures and videos, and writes detections, pictures and files."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from slimyolo.inference import (
    BrokenPicture,
    DetectionSettings,
    Patience,
    named_files,
    open_window,
    picture_count,
    predict_pictures,
)
from slimyolo.models import Detector
from slimyolo.tasks.common.network_runtime import NetworkWork, network_runtime
from slimyolo.tasks.common.opened_model import fixed_size, open_model, run_device
from slimyolo.tasks.predict.asked_classes import class_numbers
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.predict.output import PredictOutput, PredictRecord

__all__ = ["PredictRecord", "predict"]

log = logging.getLogger("slimyolo")

PREPARING_CALLS = 2  # of an exported file, before its times are taken; a TorchScript file optimises itself in both


def predict(config: PredictConfig) -> PredictRecord:
    """Detect in every picture of ``config.source``, log a line for each, and write what the settings ask for.

    A picture that cannot be read is reported, and the others are still processed. Ctrl-C ends the reading (for example of a
    camera), and what was found until then is written. Raises `SlimyoloError` when the checkpoint cannot be read, the
    source has no pictures, there is no display for ``show``, or the run folder cannot be written.
    """
    window = open_window(f"slimyolo {config.source}") if config.show else None
    model = open_model(
        config.weights, config.class_names, config.device, trust_code=config.trust_code, runtime=config.runtime
    )
    device = run_device(model, config.device, config.half)
    classes = class_numbers(config.classes, model.names)
    size = fixed_size(model, config.imgsz)
    settings = DetectionSettings(
        imgsz=size or config.imgsz,
        conf=config.conf,
        iou=config.iou,
        max_det=config.max_det,
        classes=classes or None,
        agnostic=config.agnostic_nms,
        half=config.half,
        fixed=size is not None,
    )
    files = tuple(named_files(config.source))
    network = network_runtime(model, config.runtime, lambda: _work(config, files), device)
    detector = network or (model.deployed(device) if isinstance(model, Detector) else model)
    if size is not None and not isinstance(model, Detector):
        for _ in range(PREPARING_CALLS):
            model(torch.zeros(1, 3, *size))
    if config.half and isinstance(detector, Detector):
        detector = detector.half()
    patience = Patience(config.stream_timeout, config.reconnect)
    outcomes = predict_pictures(detector, config.source, settings, vid_stride=config.vid_stride, patience=patience)
    with PredictOutput(config=config, names=detector.names, files=files, window=window) as output:
        try:
            started = time.perf_counter()
            for outcome in outcomes:
                if isinstance(outcome, BrokenPicture):
                    output.report_broken(outcome)
                else:
                    output.take(outcome, (time.perf_counter() - started) * 1e3)
                if output.closed:
                    break
                started = time.perf_counter()
        except KeyboardInterrupt:
            log.warning("stopped by Ctrl-C; the results so far are kept")
            return output.finish(interrupted=True)
        return output.finish()


def _work(config: PredictConfig, files: Sequence[Path]) -> NetworkWork:
    """What the network has to do. The pictures of cameras and addresses are not known, and do not count."""
    images = picture_count(files, config.vid_stride)
    return NetworkWork(images=images, imgsz=max(config.imgsz), come_in="single images")
