"""The table of the rules by which mAP is computed. The same detections give different numbers under different rules.

| rule | computes as | mAP50 and mAP50-95 of one set of detections (tests/data/d4) |
|---|---|---|
| ``yolov5`` | YOLOv5 6.2 and 7.0; ultralytics until 8.4.0 | .834 and .609 |
| ``coco`` | pycocotools | .796 and .572 |
| ``ultralytics`` | ultralytics 8.4.190 | .799 and .573 |

Numbers of different rules cannot be compared, so every record and every table names its rule. Tables with several families
use ``coco``. P, R and F1 are the same under all rules, except that crowded objects may be matched differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from slimyolo.errors import ConfigError, nearest_name_hint

__all__ = ["RULES", "MetricRule", "RuleName", "find_rule", "rule_words"]

RuleName = Literal["yolov5", "coco", "ultralytics"]


@dataclass(frozen=True, kw_only=True)
class MetricRule:
    """How detections become mAP.

    | field | values |
    |---|---|
    | `title` | the program whose numbers these are, for tables |
    | `matching` | ``pointing``: each detection points at the box that it overlaps most, and a box takes the detection with the |
    | | best score that points at it. ``score``: in order of score, each detection takes the free box that it overlaps most |
    | `equal_overlaps` | which of two boxes of equal overlap a detection takes: the ``first`` or the ``last`` |
    | `curve` | precision above the last recall reached: ``slope``: falls to (1, 0), and this area counts; ``drop``: is 0; |
    | | ``points``: AP is the mean of 101 points, each 0 if its recall is not reached |
    | `most_per_class` | maximum number of detections that count for an image and a class, best first; None: all |
    | `map50_share` | weight of mAP50 in the fitness, by which the best checkpoint is chosen; the rest is mAP50-95 |
    """

    title: str
    matching: Literal["pointing", "score"]
    equal_overlaps: Literal["first", "last"]
    curve: Literal["slope", "drop", "points"]
    most_per_class: int | None = None
    map50_share: float = 0.0


RULES: Mapping[RuleName, MetricRule] = {
    "yolov5": MetricRule(
        title="as YOLOv5 6.2 computes it",
        matching="pointing",
        equal_overlaps="first",
        curve="slope",
        map50_share=0.1,
    ),
    "coco": MetricRule(
        title="as pycocotools computes it",
        matching="score",
        equal_overlaps="last",
        curve="points",
        most_per_class=100,
    ),
    "ultralytics": MetricRule(
        title="as ultralytics 8.4.190 computes it",
        matching="score",
        equal_overlaps="first",
        curve="drop",
    ),
}


def rule_words(rules: Iterable[str]) -> str:
    """One sentence for a table about the `rules` of its rows."""
    names = sorted(set(rules))
    if len(names) == 1:
        return f"mAP by the rule {names[0]}: {find_rule(names[0]).title}."
    return f"mAP by several rules, {', '.join(names)}: numbers of different rules cannot be compared."


def find_rule(name: str) -> MetricRule:
    """The rule called `name`. Raises `ConfigError` with the nearest name."""
    for known, rule in RULES.items():
        if known == name:
            return rule
    raise ConfigError(f"There is no metrics rule {name!r}.{nearest_name_hint(name, RULES)} Known: {', '.join(RULES)}.")
