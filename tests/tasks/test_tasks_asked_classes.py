"""Table of cases: the numbers and names of classes that ``predict`` takes."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from slimyolo.errors import ConfigError
from slimyolo.tasks.predict.asked_classes import class_numbers
from slimyolo.tasks.predict.config import PredictConfig

NAMES = ("person", "Car", "car", "Traffic Light", "salt, pepper", "7")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((), ()),
        (("person",), (0,)),
        ((2, 0, 2), (2, 0)),
        (("car", "Car"), (2, 1)),
        (("PERSON",), (0,)),
        (("traffic light",), (3,)),
        (("person,car",), (0, 2)),
        (("person, 3",), (0, 3)),
        (("salt, pepper",), (4,)),  # a name with a comma
        ("person", (0,)),
        (1, (1,)),
        (np.array([1, 3]), (1, 3)),
    ],
)
def test_numbers_and_names(asked: Any, expected: tuple[int, ...]) -> None:
    assert class_numbers(asked, NAMES) == expected


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((6,), "--classes: the model has no class 6. It has 0 person, 1 Car, 2 car, 3 Traffic Light,"),
        (("9" * 5000,), "--classes: the model has no class 9999"),
        ((-1,), "--classes: the model has no class -1."),
        (("persn",), "--classes: the model has no class 'persn'. Did you mean 'person'? It has 0 person, 1 Car"),
        (("CAR",), "--classes: the model has no class 'CAR'."),  # two names are written so
    ],
)
def test_an_unknown_class_is_answered_with_the_list(asked: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        class_numbers(asked, NAMES)


def test_a_word_of_digits_is_a_number() -> None:
    assert PredictConfig(weights="a.pt", source="b", classes=["0", "person"]).classes == (0, "person")
    assert PredictConfig(weights="a.pt", source="b", classes=3).classes == (3,)
    with pytest.raises(ConfigError, match=r"--classes: got \[1\.5\], expected class numbers or class names"):
        PredictConfig(weights="a.pt", source="b", classes=[1.5])
