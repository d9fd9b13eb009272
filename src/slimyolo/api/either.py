"""`predict`, `prune` and `compare`: with a model they work in memory; with settings by keyword they are the commands.

| call | result | writes |
|---|---|---|
| ``predict(model, "photo.jpg")`` | detections of each picture | nothing |
| ``predict(weights="best.pt", source="photos", save_txt=True)`` | the record of the command | its run folder |

The same holds for ``prune(model, target)`` and ``prune(weights=…, percent=…)``, and for ``compare(first, second, data_yaml)``
and ``compare(first, second, data=…)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from slimyolo.api import commands, in_memory
from slimyolo.api.calling import keyword_parameters
from slimyolo.api.wording import setting_names
from slimyolo.errors import ConfigError, nearest_name_hint
from slimyolo.pruning import CutRules
from slimyolo.tasks.common.config import Config
from slimyolo.tasks.measure.compare_config import CompareConfig
from slimyolo.tasks.predict.config import PredictConfig
from slimyolo.tasks.prune.config import PruneConfig
from slimyolo.tasks.spellings import our_name

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from slimyolo.api import settings as of
    from slimyolo.api.in_memory import DetectorOrPath, ModelOrPath, Pruned
    from slimyolo.detections import MetricEstimates, RuleName
    from slimyolo.inference import PictureDetections, PictureSource
    from slimyolo.pruning import Calibration, Price, RuleFields, Target
    from slimyolo.tasks.common.records import CutRecord
    from slimyolo.tasks.measure.compare import CompareRecord
    from slimyolo.tasks.predict.output import PredictRecord

__all__ = ["compare", "predict", "prune"]


@overload
def predict(
    detector_or_path: ModelOrPath,
    image: PictureSource,
    imgsz: int | tuple[int, int] | None = None,
    conf: float = 0.25,
    iou: float = 0.45,
    max_det: int = 1000,
    classes: Sequence[int | str] | int | str | None = None,
    agnostic: bool = False,
    trust_code: bool = False,
) -> list[PictureDetections]: ...
@overload
def predict(*, verbose: bool = False, **settings: Unpack[of.PredictSettings]) -> PredictRecord: ...
def predict(*given: Any, **settings: Any) -> Any:
    """Detect: ``predict(model, source)`` in memory, ``predict(weights=…, source=…)`` as ``slimyolo predict`` does."""
    if given or not settings.keys().isdisjoint(("detector_or_path", "image")):
        return _in_memory(in_memory.predict, PredictConfig, given, settings)
    return commands.predict(**settings)


@overload
def prune(
    detector_or_path: DetectorOrPath,
    target: Target = ...,
    imgsz: int | None = None,
    rules: CutRules | None = None,
    *,
    price: Price | None = None,
    calibration: Calibration | None = None,
    **fields: Unpack[RuleFields],
) -> Pruned: ...
@overload
def prune(*, verbose: bool = False, **settings: Unpack[of.PruneSettings]) -> CutRecord: ...
def prune(*given: Any, **settings: Any) -> Any:
    """Remove channels: ``prune(model, target)`` in memory, ``prune(weights=…, percent=…)`` as ``slimyolo prune`` does."""
    if given or not settings.keys().isdisjoint(("detector_or_path", "target", "rules", "price", "calibration")):
        return _in_memory(in_memory.prune, PruneConfig, given, settings, tuple(CutRules.__dataclass_fields__))
    return commands.prune(**settings)


@overload
def compare(
    first: ModelOrPath,
    second: ModelOrPath,
    data_yaml: of.PathText,
    imgsz: int | tuple[int, int] | None = None,
    split: str = "val",
    rule: RuleName | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    trust_code: bool = False,
) -> MetricEstimates: ...
@overload
def compare(
    first: of.PathText, second: of.PathText, *, verbose: bool = False, **settings: Unpack[of.CompareSettings]
) -> CompareRecord: ...
def compare(*given: Any, **settings: Any) -> Any:
    """Compare two models: ``compare(first, second, data_yaml)`` in memory; with ``data=`` as ``slimyolo compare`` does."""
    if len(given) > 2 or "data_yaml" in settings:
        return _in_memory(in_memory.compare, CompareConfig, given, settings)
    return commands.compare(**dict(zip(("first", "second"), given, strict=False)), **settings)


def _in_memory(
    function: Callable[..., Any],
    kind: type[Config],
    given: Sequence[Any],
    settings: Mapping[str, Any],
    more: Sequence[str] = (),
) -> Any:
    """The result of `function`. Raises `ConfigError` for a keyword that it does not take; `more` are taken as well."""
    known = [name for name in inspect.signature(function).parameters if name != "fields"]
    for name in settings:
        if name in known or name in more:
            continue
        call = f"slimyolo.{function.__name__}"
        meant = setting_names(kind).get(name) or our_name(name, settings[name], kind)
        hint = f" Did you mean {meant!r}?" if meant in known else nearest_name_hint(name, (*known, *more))
        if name in kind.model_fields and not hint:
            hint = f" The command takes it: give all settings by keyword, {call}({_required(kind)}, {name}=…)."
        raise ConfigError(f"{call} with a model works in memory, and has no setting {name!r}.{hint}")
    return function(*given, **settings)


def _required(kind: type[Config]) -> str:
    return ", ".join(f"{name}=…" for name, field in kind.model_fields.items() if field.is_required())


def _show(
    function: Callable[..., Any], own: Callable[..., Any], command: Callable[..., Any], kind: type[Config]
) -> None:
    """Give `function` the help of both forms, and a signature with the names of both, for editors and notebooks."""
    parameters = [
        one.replace(default=None) if one.default is one.empty and one.kind is not one.VAR_KEYWORD else one
        for one in inspect.signature(own).parameters.values()
    ]
    names = {one.name for one in parameters}
    last = [one for one in parameters if one.kind is one.VAR_KEYWORD]
    more = [one for one in keyword_parameters(kind) if one.name not in names]
    vars(function)["__signature__"] = inspect.Signature([*(one for one in parameters if one not in last), *more, *last])
    function.__doc__ = "\n".join(
        (
            f"{function.__doc__}\n\nIn memory:\n",
            f"    {inspect.cleandoc(own.__doc__ or '')}\n".replace("\n", "\n    ").rstrip() + "\n",
            f"The command:\n\n{command.__doc__}",
        )
    )


_show(predict, in_memory.predict, commands.predict, PredictConfig)
_show(prune, in_memory.prune, commands.prune, PruneConfig)
_show(compare, in_memory.compare, commands.compare, CompareConfig)
