"""The result of the analysis: which channels must be cut together, which layers read them, what they cost."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from slimyolo.one_line import one_line_repr
from slimyolo.tracing.capture import TracedProgram
from slimyolo.tracing.code_lines import Line

__all__ = [
    "Adder",
    "ChannelGraph",
    "Consumer",
    "Emitter",
    "Group",
    "Member",
    "Product",
    "SizeSite",
    "Strategy",
    "shapes_of",
    "spec_hash",
]


@one_line_repr
@dataclass(frozen=True, eq=False)
class Member:
    """An axis of a tensor that a group cuts. Channel `i` of the group stands at the positions `index[i]` ([width, copies])."""

    tensor: str
    axis: int
    index: Tensor


@one_line_repr
@dataclass(frozen=True, eq=False, kw_only=True)
class Group:
    """Channels that stand in the same tensors. Each of the `width` channels is one coupled set, which is cut or kept as one.

    `units` are the ids of the channels in the graph; `gammas` is how many norm scales one channel owns.
    """

    id: int
    name: str
    width: int
    units: Tensor
    members: tuple[Member, ...]
    layers: tuple[str, ...]
    gammas: int


@one_line_repr
@dataclass(frozen=True, eq=False, kw_only=True)
class Emitter:
    """A layer whose parameters decide which constant a removed channel emits.

    A norm (`kind` "norm") emits its β when γ is 0. A convolution or linear layer ("linear") emits its bias when its row is 0.
    `units` [channels out] are the ids. `activation` names the element-wise operation that is the only reader of the result, if
    there is one. A `shadowed` layer is read only by a norm, so its own constant never has an effect.
    """

    kind: str  # "norm" | "linear"
    node: str
    weight: str
    bias: str | None
    units: Tensor
    activation: str | None
    shadowed: bool


@one_line_repr
@dataclass(frozen=True, eq=False, kw_only=True)
class Consumer:
    """A convolution or linear layer that mixes channels. `units` [channels in] are the ids in the order of its input.

    `axis` is the input axis of its weight, `groups` its number of groups. `flat` means that there is no padding, so a constant
    input channel adds a constant to the output. That constant can be put into the parameter `bias` or the buffer `running_mean`.
    """

    node: str
    weight: str
    bias: str | None
    running_mean: str | None
    owner: str
    axis: int
    groups: int
    flat: bool
    units: Tensor

    @property
    def output_axis(self) -> int:
        """The axis of the weight along which channels leave: 0, or 1 for a transposed convolution."""
        return 1 - self.axis


@one_line_repr
@dataclass(frozen=True, eq=False)
class Adder:
    """An operation that adds channels up without weights of its own. A removed channel must be zero there.

    `units` [channels in] are the ids along the axis that the operation `node` adds up.
    """

    node: str
    units: Tensor


@one_line_repr
@dataclass(frozen=True, eq=False)
class Product:
    """Multiply-accumulates that no weight of the module causes, such as those of queries and keys: `macs` for one image.

    Each of `axes` [channels] holds the ids along one axis that is multiplied; the MACs are proportional to its length.
    """

    macs: float
    axes: tuple[Tensor, ...] = ()


@one_line_repr
@dataclass(frozen=True, eq=False)
class SizeSite:
    """A number in an attribute of a module that must shrink with the channels, such as `groups` or a split size.

    `item` is the position in a list or tuple attribute. The new value is the number of `units` that are kept.
    """

    path: str
    attribute: str
    item: int | None
    value: int
    units: Tensor


@dataclass(frozen=True)
class KeptWidth:
    """A width that code checks: `axis` of the parameter `tensor`, which the layer `layer` makes. `where` has the check."""

    tensor: str
    axis: int
    layer: str
    where: str


@dataclass(frozen=True)
class Strategy:
    """How modules whose code contains sizes (of a split, a reshape …) are treated.

    `by_path` maps the path of such a module to one of these ways:

    | way          | what is assumed, and done                                                                            |
    |--------------|------------------------------------------------------------------------------------------------------|
    | "weights"    | the code reads sizes from its layers: each part of a split shrinks separately (see `SaysSizes`)      |
    | "adapt"      | the code reads sizes from shapes: the parts of a split stay equal                                    |
    | "attributes" | the code reads integer attributes of the module: those that hold the old size shrink, too            |
    | "tied"       | as "attributes", and the code gives a result the shape of what enters the module: their channels    |
    |              | are coupled one by one, so that both keep the same number                                            |
    | "inputs"     | as "attributes", and the code reads sizes of what enters the module: those channels are kept as well |
    | "freeze"     | the sizes are numbers in the code: all channels at these operations are kept                         |

    The other fields name what is kept or changed in addition:

    | field     | effect                                                                                                   |
    |-----------|----------------------------------------------------------------------------------------------------------|
    | `checked` | these modules compare sizes with their integer attributes: such attributes shrink, too                   |
    | `lines`   | operations at these lines of code keep all channels that they touch                                      |
    | `widths`  | the channels along these axes of parameters are kept: code checks how many there are                     |
    | `whole`   | `"a.b"`: all values in the code of this module keep their channels (inputs, results, parts' results);   |
    |           | `"a.b.*"`: all values inside the module do                                                               |
    """

    by_path: Mapping[str, str] = field(default_factory=dict)
    checked: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    lines: frozenset[Line] = frozenset()
    widths: tuple[KeptWidth, ...] = ()

    def of(self, path: str, default: str) -> str:
        return self.by_path.get(path, default)

    def keeps_operation(self, path: str, line: Line | None) -> bool:
        """True when an operation keeps all channels that enter and leave it."""
        return line in self.lines or any(_inside(path, name[:-2]) for name in self.whole if name.endswith(".*"))

    def checking(self, maker: str, reader: str) -> list[str]:
        """The `checked` modules whose code sees a value that goes from module `maker` to module `reader`."""
        return [path for path in self.checked if _shows(path, maker, reader)]

    def keeps_value(self, maker: str, reader: str) -> bool:
        """True when a value that goes from module `maker` to module `reader` keeps its channels."""
        if any(_shows(path, maker, reader) for path in self.whole):
            return True
        entered = (path for path, way in self.by_path.items() if way == "inputs")
        return any(_inside(reader, path) and not _inside(maker, path) for path in entered)


def _inside(path: str, outer: str) -> bool:
    return path == outer or path.startswith(f"{outer}.")


def _shows(path: str, maker: str, reader: str) -> bool:
    """True when the code of the module at `path` sees a value that goes from `maker` to `reader`."""
    parts = [_part(path, place) for place in (maker, reader)]
    return parts != [None, None] and (parts[0] != parts[1] or parts[0] == path)


def _part(path: str, place: str) -> str | None:
    """The direct part of the module at `path` in which `place` lies; `path` for its own code, None for outside."""
    if place == path:
        return path
    leading = f"{path}." if path else ""
    return leading + place[len(leading) :].partition(".")[0] if place.startswith(leading) else None


@one_line_repr
@dataclass(frozen=True, eq=False, kw_only=True)
class ChannelGraph:
    """Everything `score`, `select` and `apply` need to know about a module; made by `trace`.

    Unit ids are canonical: two positions with the same id are cut together; id 0 is "kept whole".
    """

    module: nn.Module
    program: TracedProgram
    groups: tuple[Group, ...]
    emitters: tuple[Emitter, ...]
    consumers: tuple[Consumer, ...]
    sites: tuple[SizeSite, ...]
    positions: Mapping[str, float]  # weight name -> multiply-accumulates per weight element (one image)
    products: tuple[Product, ...]  # of two activations
    sizes: Mapping[str, tuple[int, ...]]  # parameter name -> shape, without those in `undeployed`
    fragile: Mapping[str, str]  # module path -> strategy in use there
    kept: tuple[str, ...]  # human-readable reasons why channels are kept whole
    spec: str
    input_shape: tuple[int, ...]
    adders: tuple[Adder, ...] = ()
    repeats: tuple[SizeSite, ...] = ()  # attributes that forward does not read (`repeated_widths`)
    tieable: frozenset[str] = frozenset()  # `fragile` modules for which the way "tied" differs from "attributes"
    undeployed: tuple[str, ...] = ()  # module paths of the parts that are dropped before use
    fragile_lines: frozenset[Line] = frozenset()  # where the sizes of `fragile` modules are written


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shape of every parameter and buffer, by name."""
    state = module.state_dict(keep_vars=True)
    return {name: tuple(state[name].shape) for name in sorted(state) if isinstance(state[name], Tensor)}


def spec_hash(module: nn.Module) -> str:
    """Hash of all tensor names and shapes: equal for models that a plan fits, different for all others."""
    digest = hashlib.sha256()
    for name, shape in shapes_of(module).items():
        digest.update(f"{name}:{shape};".encode())
    return digest.hexdigest()[:32]
