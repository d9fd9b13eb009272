"""`CutRules`: everything that decides which channels may be removed, in which order, and what replaces them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TypedDict

from slimyolo.errors import ConfigError, nearest_name_hint
from slimyolo.one_line import one_line_repr
from slimyolo.pruning.scores.importance import ImportanceLike

__all__ = [
    "CONSTANT_MODES",
    "PER",
    "POLICIES",
    "CutRules",
    "RuleFields",
    "SelectionFields",
    "check_constants",
    "check_on_unknown",
    "check_per",
    "layer_matches",
    "leading_paths",
    "rules_with",
]

POLICIES = ("coupled", "reference")
PER = ("channels", "macs", "params", "ms")
CONSTANT_MODES = ("carrier", "bias", "none")

_OTHER_SPELLINGS = {"skip-shortcuts": "reference"}  # the name in the options of the command line
_FLOOR = 0.1


@one_line_repr
@dataclass(frozen=True, kw_only=True)
class CutRules:
    """The rules of a cut; only how much is cut is given separately (`Target`). Raises `ConfigError` for impossible values.

    Which channels may be removed:

    * `keep`: patterns of module paths (`"model.0.*"`) of layers that stay whole; `frozen`: exact module paths of such layers.
    * `floor`: the share of each layer that must stay; at least one channel always stays. None means 0.1, and 0 for the policy
      "reference". `floor_of` maps patterns to another share (the last pattern that matches counts), `cap_of` maps patterns to
      the largest share that may be removed. If layers are coupled, the strictest of them counts.
    * `round_to`: kept widths are multiples of this number, carriers included.
    * `on_unknown`: "raise" an error at an operation that has no pruning rule, or "keep" all channels that it touches.

    Which channels are removed first:

    * `importance`: a name of `IMPORTANCES`, scores by group id, or a function of model and graph that returns scores, such
      as `DataImportance`.
    * `per`: each score is divided by the cost that removing the channel saves, in this unit: "macs", "params" or "ms". With
      "channels", scores are not divided.
    * `policy`: "coupled" removes the least important channels step by step. "reference" is the threshold rule of the
      reference project: it removes every channel whose |score| is below the value at index int(N · share) of the sorted
      pool. It accepts `ChannelShare` only; pass the layers that the project skips as `frozen`. "skip-shortcuts" is another
      name for "reference".

    What replaces the constant that a removed channel leaves behind: `constants` is "carrier" (exact), "bias" (approximated at
    padded borders) or "none" (β is set to zero, as the reference project does).

    `seed` is the seed of the random inputs on which the cut model is compared with the masked one.
    """

    keep: Sequence[str] = ()
    frozen: Sequence[str] = ()
    floor: float | None = None
    floor_of: Mapping[str, float] = field(default_factory=dict)
    cap_of: Mapping[str, float] = field(default_factory=dict)
    round_to: int = 1
    on_unknown: str = "raise"
    importance: ImportanceLike = "gamma"
    per: str = "channels"
    policy: str = "coupled"
    constants: str = "carrier"
    seed: int = 0

    def __post_init__(self) -> None:
        made = {
            "keep": tuple(self.keep),
            "frozen": tuple(self.frozen),
            "floor_of": dict(self.floor_of or {}),
            "cap_of": dict(self.cap_of or {}),
            "policy": _OTHER_SPELLINGS.get(self.policy, self.policy),
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)
        self._check_choices()
        self._check_shares()

    @property
    def least_share(self) -> float:
        """The share that must stay of each layer that no pattern matches."""
        if self.floor is not None:
            return self.floor
        return 0.0 if self.policy == "reference" else _FLOOR

    def share_kept_of(self, layer: str) -> float:
        """The share of the layer at this module path that must stay."""
        least = self.least_share
        for pattern, share in self.floor_of.items():
            if layer_matches(layer, pattern):
                least = share
        for pattern, share in self.cap_of.items():
            if layer_matches(layer, pattern):
                least = max(least, 1.0 - share)
        return least

    def _check_choices(self) -> None:
        if self.policy not in POLICIES:
            raise ConfigError(
                f"policy={self.policy!r}: expected one of {', '.join(POLICIES)}."
                f"{nearest_name_hint(self.policy, POLICIES)}"
            )
        if isinstance(self.round_to, bool) or not isinstance(self.round_to, int) or self.round_to < 1:
            raise ConfigError(f"round_to={self.round_to!r}: expected a whole number of at least 1, for instance 8.")
        check_per(self.per)
        check_constants(self.constants)
        check_on_unknown(self.on_unknown)

    def _check_shares(self) -> None:
        if not 0.0 <= self.least_share < 1.0:
            raise ConfigError(f"floor={self.floor!r}: expected a share from 0 to below 1, for instance 0.1.")
        for name, shares, example in (("floor_of", self.floor_of, 0.5), ("cap_of", self.cap_of, 0.3)):
            for pattern, share in shares.items():
                if not 0.0 <= share <= 1.0:
                    raise ConfigError(
                        f"{name} {pattern!r}: {share!r} is not a share from 0 to 1, for instance {example}."
                    )


class SelectionFields(TypedDict, total=False):
    """The fields of `CutRules` without `constants`, which `select` also takes one by one."""

    keep: Sequence[str]
    frozen: Sequence[str]
    floor: float | None
    floor_of: Mapping[str, float] | None
    cap_of: Mapping[str, float] | None
    round_to: int
    on_unknown: str
    importance: ImportanceLike
    per: str
    policy: str
    seed: int


class RuleFields(SelectionFields, total=False):
    """All fields of `CutRules`, for functions that also take them one by one."""

    constants: str


def rules_with(rules: CutRules | None, fields: SelectionFields) -> CutRules:
    """`rules`, or the default rules, with other values for some fields."""
    return replace(CutRules() if rules is None else rules, **fields)  # type: ignore[arg-type]  # None means no patterns


def check_per(unit: str) -> None:
    """Raise `ConfigError` unless `unit` is one of `PER`."""
    if unit not in PER:
        raise ConfigError(f"per={unit!r}: expected one of {', '.join(PER)}.{nearest_name_hint(unit, PER)}")


def check_constants(mode: str) -> None:
    """Raise `ConfigError` unless `mode` is one of `CONSTANT_MODES`."""
    if mode not in CONSTANT_MODES:
        raise ConfigError(f"constants={mode!r}: expected one of {', '.join(CONSTANT_MODES)}.")


def check_on_unknown(answer: str) -> None:
    """Raise `ConfigError` unless `answer` is "raise" or "keep"."""
    if answer not in {"raise", "keep"}:
        raise ConfigError(f"on_unknown={answer!r}: expected 'raise' or 'keep'.")


def leading_paths(layer: str) -> list[str]:
    """A module path and all paths above it: `"a.b"` → `["a", "a.b"]`."""
    parts = layer.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def layer_matches(layer: str, pattern: str) -> bool:
    """True when the pattern matches a module path, or any path above it: `"model.0"` matches `model.0.conv`."""
    return any(fnmatchcase(part, pattern) for part in leading_paths(layer))
