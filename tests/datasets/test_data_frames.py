"""Closed formulas: evaluation in a rectangle fits every image into it, and its boxes lead back to the source."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from slimyolo.data import EvalBatches, LoaderSettings, letterbox, read_dataset_yaml, read_split
from slimyolo.data.pictures.letterbox import inside_size, long_side_size
from slimyolo.errors import ConfigError


@pytest.mark.parametrize(
    ("size", "frame", "expected"),
    [
        ((480, 640), (320, 320), (240, 320)),
        ((480, 640), (192, 320), (192, 256)),  # the height decides
        ((640, 480), (192, 320), (192, 144)),
        ((90, 160), (192, 320), (180, 320)),  # enlarged; the width decides
        ((192, 320), (192, 320), (192, 320)),
        ((1, 1000), (64, 64), (1, 64)),
    ],
)
def test_inside_size(size: tuple[int, int], frame: tuple[int, int], expected: tuple[int, int]) -> None:
    for rounding in ("down", "up"):
        assert inside_size(size, frame, rounding=rounding) == expected  # type: ignore[arg-type]
        assert inside_size(size, (320, 320), rounding=rounding) == long_side_size(size, 320, rounding=rounding)  # type: ignore[arg-type]


def test_every_image_is_in_the_frame_where_letterbox_puts_it(make_dataset: Callable[..., Path]) -> None:
    split = read_split(read_dataset_yaml(make_dataset(val=5)), "val")
    settings = LoaderSettings(imgsz=96, batch_size=2, stride=32, frame=(64, 96))
    with closing(EvalBatches(split, settings)) as batches:
        for batch in batches:
            assert batch.images.shape[2:] == (64, 96)
            for placement, truth in zip(batch.placements, batch.truths, strict=True):
                assert placement.network_size == (64, 96)
                _, expected = letterbox(np.zeros((*placement.source_size, 3), np.uint8), (64, 96))
                np.testing.assert_allclose(placement.pad, expected.pad, atol=1)
                np.testing.assert_allclose(placement.undo(placement.do(truth[:, 1:])), truth[:, 1:], atol=0.5)


def test_frames_are_multiples_of_the_stride() -> None:
    with pytest.raises(ConfigError, match="multiple of the stride 32, got 100"):
        LoaderSettings(imgsz=96, batch_size=2, stride=32, frame=(64, 100))
