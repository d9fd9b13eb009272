"""Outcomes of two detectors on the same drawn images, for tests of comparisons."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from slimyolo.detections import IOU_THRESHOLDS, Outcomes, RuleName


def outcomes_of(
    labels: npt.ArrayLike,
    images: int,
    *,
    image_of: npt.ArrayLike,
    scores: npt.ArrayLike,
    overlaps: npt.ArrayLike,
    classes: npt.ArrayLike,
    nc: int = 1,
    rule: RuleName = "coco",
) -> Outcomes:
    """Outcomes in the order that they must have. `labels` ``[m, 2]`` = image, class. A detection is correct at the thresholds
    that its overlap reaches."""
    rows = np.asarray(labels, np.int64).reshape(-1, 2)
    rows = rows[np.argsort(rows[:, 0], kind="stable")]
    where, found = np.asarray(image_of, np.int64), np.asarray(scores, np.float32)
    order = np.lexsort((-found, where))
    return Outcomes(
        names=tuple(f"class {number}" for number in range(nc)),
        rule=rule,
        images=tuple(f"{number}.jpg" for number in range(images)),
        image_of=where[order],
        correct=(np.asarray(overlaps, np.float64)[:, None] >= np.array(IOU_THRESHOLDS))[order],
        scores=found[order],
        classes=np.asarray(classes, np.int64)[order],
        label_image=rows[:, 0],
        label_classes=rows[:, 1],
    )


def drawn_pair(
    images: int,
    seed: int,
    *,
    rule: RuleName = "coco",
    nc: int = 2,
    labels: float = 4.0,
    wrong: float = 6.0,
    worse: float = 0.15,
) -> tuple[Outcomes, Outcomes]:
    """Two detectors, the second a little worse. What is hard in an image, or of an object, is hard for both of them."""
    rng = np.random.default_rng(seed)
    label_image = np.repeat(np.arange(images), rng.poisson(labels, images))
    label_classes = rng.integers(0, nc, len(label_image))
    hard_image, hard_object = rng.normal(0, 0.7, images), rng.normal(0, 0.8, len(label_image))
    wrong_image = np.repeat(np.arange(images), rng.poisson(wrong, images))
    wrong_classes, wrong_kind = rng.integers(0, nc, len(wrong_image)), rng.normal(0, 0.8, len(wrong_image))
    pair = []
    for quality in (0.0, -worse):
        ease = hard_image[label_image] + hard_object
        score = ease + rng.normal(0, 0.6, len(ease)) + quality + 0.6
        overlap = 1 / (1 + np.exp(-(1.2 + 0.5 * ease + rng.normal(0, 0.6, len(ease)) + quality)))
        found = score > -2
        logits = np.concatenate([score[found], -2 + wrong_kind + rng.normal(0, 0.6, len(wrong_kind))])
        pair.append(
            outcomes_of(
                np.stack([label_image, label_classes], 1),
                images,
                image_of=np.concatenate([label_image[found], wrong_image]),
                scores=1 / (1 + np.exp(-logits)),
                overlaps=np.concatenate([overlap[found], np.zeros(len(wrong_image))]),
                classes=np.concatenate([label_classes[found], wrong_classes]),
                nc=nc,
                rule=rule,
            )
        )
    return pair[0], pair[1]
