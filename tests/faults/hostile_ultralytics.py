"""Hostile checkpoints in the form of ultralytics: honest files of `ultralytics_files`, each spoilt in one place.

`hostile_ultralytics(seed)` yields `Spoilt` files: names of code in every place where a training leaves data, wrong types,
cycles, trees of thousands, impossible channels, tensors that lie about their size, and networks of other tasks.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from inert_writer import Call, Name, Stored, Thing, file_of
from ultralytics_files import BLOCK, CONV, FAMILIES, HEAD, NN, checkpoint

CANARY = "OWNED"
Tree = dict[str, Any]
Change = Callable[[Tree], Any]


@dataclass(frozen=True, kw_only=True)
class Spoilt:
    """A file. `refused`: the dotted name that the message must say. `readable`: a reader may pass over the change."""

    name: str
    make: Callable[[], bytes]
    refused: str | None = None
    readable: bool = False
    words: str = ""

    @property
    def content(self) -> bytes:
        """The bytes of the file, made now."""
        return self.make()


def hostile_ultralytics(seed: int = 0) -> Iterator[Spoilt]:
    """Well over two hundred files, the same for the same seed."""
    numbers = random.Random(seed)
    yield from _smuggled(numbers)
    for table, readable in ((_BROKEN, False), (_ODD, True)):
        for name, change in table.items():
            family = FAMILIES[numbers.randrange(3)]
            yield Spoilt(name=f"{name}, {family}", make=partial(_spoilt, family, change), readable=readable)
    for task, (model, head) in _TASKS.items():
        yield Spoilt(
            name=f"a network for {task}", make=partial(_spoilt, "yolov8", _as_task(task, model, head)), words=task
        )
    for family in FAMILIES:
        for number in range(8):
            make = partial(_damaged, family, numbers.random(), bit=numbers.randrange(8))
            yield Spoilt(name=f"{family} with a flipped bit {number}", make=make, readable=True)
        for number in range(3):
            make = partial(_damaged, family, numbers.random(), bit=None)
            yield Spoilt(name=f"{family} cut short {number}", make=make)


def _damaged(family: str, share: float, *, bit: int | None) -> bytes:
    """An honest file that is cut at `share` of its length, or has one bit flipped there."""
    content = file_of(checkpoint(family))
    place = int(share * (len(content) - 30))
    if bit is None:
        return content[:place]
    return content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]


# --- where things are -------------------------------------------------------------------------------------------------


def _model(tree: Tree) -> Thing:
    found = tree["model"] or tree["ema"]
    assert isinstance(found, Thing)
    return found


def _rows(tree: Tree) -> dict[str, Any]:
    rows: dict[str, Any] = _model(tree).state["_modules"]["model"].state["_modules"]
    return rows


def _at(tree: Tree, path: str) -> Thing:
    """The module at `path` below the rows, such as ``0.conv``; ``head`` is the last row."""
    first, *rest = path.split(".")
    module = list(_rows(tree).values())[-1] if first == "head" else _rows(tree)[first]
    for name in rest:
        module = module.state["_modules"][name]
    assert isinstance(module, Thing)
    return module


def _spoilt(family: str, change: Change) -> bytes:
    tree = checkpoint(family)
    result = change(tree)
    return file_of(tree if result is None else result)


def _set(path: str, **attributes: Any) -> Change:
    """Set attributes of the module at `path` (`model`: the whole)."""

    def change(tree: Tree) -> None:
        module = _model(tree) if path == "model" else _at(tree, path)
        module.state.update(attributes)

    return change


def _tensor(path: str, name: str, **claims: Any) -> Change:
    """Change what the pickle claims of one tensor."""

    def change(tree: Tree) -> None:
        module = _model(tree) if path == "model" else _at(tree, path)
        place = next(p for p in (module.state["_parameters"], module.state["_buffers"], module.state) if name in p)
        for claim, value in claims.items():
            setattr(place[name], claim, value)

    return change


def _yaml(**keys: Any) -> Change:
    return lambda tree: _model(tree).state["yaml"].update(keys)


def _stride(*values: float, shape: tuple[int, ...] | None = None) -> Change:
    content = struct.pack(f"<{len(values)}f", *values)
    stored = Stored(kind="FloatStorage", shape=shape or (len(values),), content=content)

    def change(tree: Tree) -> None:
        _model(tree).state["stride"] = stored
        _at(tree, "head").state["stride"] = stored

    return change


# --- code in a place of data ------------------------------------------------------------------------------------------

_GADGETS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("os.system", (f"touch {CANARY}",)),
    ("posix.system", (f"touch {CANARY}",)),
    ("builtins.exec", (f"open('{CANARY}', 'w')",)),
    ("builtins.eval", (f"open('{CANARY}', 'w')",)),
    ("builtins.getattr", (Name("ultralytics.nn.tasks.DetectionModel"), "forward")),
    ("builtins.setattr", (Name("ultralytics.nn.tasks.DetectionModel"), "forward", 1)),
    ("subprocess.Popen", (f"touch {CANARY}",)),
    ("dill._dill._create_function", ("x",)),
    ("dill._dill._import_module", ("antigravity",)),
    ("dill._dill._load_type", ("CodeType",)),
    ("torch.load", (CANARY,)),
    ("torch.storage._load_from_bytes", (b"x",)),
    ("torch.hub.load_state_dict_from_url", ("http://example.invalid",)),
    ("torch.jit._script.load", (CANARY,)),
    ("torchvision.transforms.transforms.Compose", ([],)),
    ("numpy.load", (CANARY,)),
    ("functools.partial", (Name("os.system"), f"touch {CANARY}")),
    ("operator.attrgetter", ("system",)),
    ("pathlib.Path.unlink", (CANARY,)),
    ("importlib.import_module", ("antigravity",)),
    ("ultralytics_actions.run", ("x",)),
    ("ultralyticsX.nn.tasks.DetectionModel", ()),
)
_PLACES: dict[str, Callable[[Tree, Any], None]] = {
    "the criterion": lambda tree, it: _model(tree).state.update(criterion=it),
    "an option": lambda tree, it: _model(tree).state["args"].update(data=it),
    "a class name": lambda tree, it: _model(tree).state["names"].update({1: it}),
    "the yaml": lambda tree, it: _model(tree).state["yaml"].update(scale=it),
    "an argument of the yaml": lambda tree, it: _model(tree).state["yaml"]["backbone"][0][3].append(it),
    "a forward": lambda tree, it: _at(tree, "0").state.update(forward=it),
    "a hook": lambda tree, it: _at(tree, "0").state.update(_forward_hooks={0: it}),
    "an activation": lambda tree, it: _at(tree, "0").state["_modules"].update(act=it),
    "a row": lambda tree, it: _rows(tree).update({"3": it}),
    "a weight": lambda tree, it: _at(tree, "0.conv").state["_parameters"].update(weight=it),
    "a buffer": lambda tree, it: _at(tree, "0.bn").state["_buffers"].update(running_mean=it),
    "the stride": lambda tree, it: _model(tree).state.update(stride=it),
    "the type of a row": lambda tree, it: _at(tree, "2").state.update(type=it),
    "the optimizer": lambda tree, it: tree.update(optimizer={"state": {0: it}}),
    "a result": lambda tree, it: tree["train_results"].update(time=[it]),
    "the scaler": lambda tree, it: tree.update(scaler=it),
    "the state of a module": lambda tree, it: setattr(_at(tree, "1"), "state", it),
    "the model": lambda tree, it: tree.update(model=it),
    "another key": lambda tree, it: tree.update(git={"origin": it}),
}


def _smuggled(numbers: random.Random) -> Iterator[Spoilt]:
    places = list(_PLACES)
    for number, (gadget, arguments) in enumerate(_GADGETS):
        for place in (places[number % len(places)], places[(number * 5 + 3) % len(places)]):
            family = FAMILIES[numbers.randrange(3)]
            thing = Call(gadget, arguments) if numbers.random() < 0.8 else Name(gadget)
            make = partial(_spoilt, family, partial(_put, _PLACES[place], thing))
            yield Spoilt(name=f"{gadget} as {place}, {family}", make=make, refused=gadget)


def _put(place: Callable[[Tree, Any], None], thing: Any, tree: Tree) -> None:
    place(tree, thing)


# --- what no reader can make a network of -----------------------------------------------------------------------------


def _loop(path: str) -> Change:
    def change(tree: Tree) -> None:
        module = _at(tree, path)
        module.state["_modules"]["again"] = module

    return change


def _whole_in_itself(tree: Tree) -> None:
    _model(tree).state["_modules"]["model"].state["_modules"]["3"] = _model(tree)


def _nested(depth: int) -> Change:
    def change(tree: Tree) -> None:
        inner: Any = _at(tree, "0")
        for _ in range(depth):
            inner = Thing(f"{NN}.container.Sequential", {"_parameters": {}, "_buffers": {}, "_modules": {"0": inner}})
        _rows(tree)["0"] = inner

    return change


def _many(count: int) -> Change:
    def change(tree: Tree) -> None:
        for number in range(count):
            row = Thing(f"{NN}.linear.Identity", {"_parameters": {}, "_buffers": {}, "_modules": {}})
            row.state |= {"i": number, "f": -1, "type": f"{NN}.linear.Identity"}
            _rows(tree)[str(1000 + number)] = row

    return change


def _class(path: str, name: str) -> Change:
    return lambda tree: setattr(_at(tree, path), "name", name)


def _drop(path: str, holder: str, name: str) -> Change:
    return lambda tree: (_at(tree, path) if path else _model(tree)).state[holder].pop(name) and None


def _without(path: str, *keys: str) -> Change:
    def change(tree: Tree) -> None:
        for key in keys:
            (_at(tree, path) if path else _model(tree)).state.pop(key)

    return change


def _two_heads(tree: Tree) -> None:
    rows = _rows(tree)
    rows[str(len(rows))] = list(rows.values())[-1]


def _no_head(tree: Tree) -> None:
    _rows(tree).popitem()


def _weight(path: str, shape: tuple[int, ...], name: str = "weight") -> Change:
    """A tensor of another shape that is honest about its size."""
    count = 1
    for length in shape:
        count *= length
    return _tensor(path, name, shape=shape, content=b"\0\x3c" * count)


def _grown(tree: Tree) -> None:
    """Every convolution of the first rows says that it has ten million channels, in views of one element."""
    for path in ("0.conv", "1.conv"):
        weight = _at(tree, path).state["_parameters"]["weight"]
        weight.shape, weight.stride, weight.content, weight.numel = (10**7, 3, 3, 3), (0, 0, 0, 0), b"\0\0", 1


_BROKEN: dict[str, Change] = {
    "nothing at all": lambda tree: {},
    "model and ema both None": lambda tree: tree.update(model=None),
    "no model key": lambda tree: tree.pop("model") and None,
    "the model is a text": lambda tree: tree.update(model="yolov8n"),
    "the model is a number": lambda tree: tree.update(model=8),
    "the model is a list": lambda tree: tree.update(model=[tree["model"]]),
    "the model is its class": lambda tree: tree.update(model=Name("ultralytics.nn.tasks.DetectionModel")),
    "the model has no state": lambda tree: setattr(_model(tree), "state", None),
    "the state of the model is a tuple": lambda tree: setattr(_model(tree), "state", ({}, {})),
    "the state of the model is empty": lambda tree: setattr(_model(tree), "state", {}),
    "no modules": _without("", "_modules"),
    "modules are a list": _set("model", _modules=[1, 2]),
    "modules are a text": _set("model", _modules="model"),
    "the rows are a text": lambda tree: _model(tree).state["_modules"].update(model="rows"),
    "no rows": lambda tree: _rows(tree).clear(),
    "one row": lambda tree: [_rows(tree).popitem() for _ in range(len(_rows(tree)) - 1)] and None,
    "a row is None": lambda tree: _rows(tree).update({"4": None}),
    "a row is a number": lambda tree: _rows(tree).update({"4": 4}),
    "a row is a dict": lambda tree: _rows(tree).update({"4": {"_modules": {}}}),
    "a row is missing": lambda tree: _rows(tree).pop("5") and None,
    "no head": _no_head,
    "two heads": _two_heads,
    "the head first": lambda tree: _rows(tree).update({"0": _at(tree, "head")}),
    "a module in itself": _loop("2"),
    "a convolution in itself": _loop("0.conv"),
    "the model in its rows": _whole_in_itself,
    "nested 60 deep": _nested(60),
    "nested 3,000 deep": _nested(3000),
    "three thousand rows": _many(3000),
    "thirty thousand rows": _many(30_000),
    "an unknown block": _class("2", f"{BLOCK}.Backdoor"),
    "an unknown layer of torch": _class("2", f"{NN}.rnn.LSTM"),
    "a layer that is a function": _class("2", "torch.nn.modules.module.register_module_forward_hook"),
    "a block of a third party": _class("2", "ultralytics.nn.extra_modules.block.C2f_Evil"),
    "an unknown convolution": _class("0.conv", f"{NN}.conv.Conv3d"),
    "a convolution that is a norm": _class("0.conv", f"{NN}.batchnorm.BatchNorm2d"),
    "an unknown activation": _class("0.act", f"{NN}.activation.MultiheadAttention"),
    "an unknown head": _class("head", f"{HEAD}.RTDETRDecoder"),
    "an unknown model": lambda tree: setattr(_model(tree), "name", "ultralytics.nn.tasks.WorldModel"),
    "a row reads a row after it": _set("4", f=20),
    "a row reads itself": _set("4", f=4),
    "a row reads row 99": _set("4", f=99),
    "a row reads row -99": _set("4", f=-99),
    "a row reads a text": _set("4", f="-1"),
    "a row reads nothing": _set("4", f=[]),
    "a row reads ten thousand rows": _set("11", f=[-1] * 10_000),
    "a row reads a fraction": _set("4", f=0.5),
    "the head reads one level": _set("head", f=[15]),
    "the head reads six levels": _set("head", f=[15, 15, 15, 15, 15, 15]),
    "a convolution without a weight": lambda tree: _at(tree, "0.conv").state["_parameters"].update(weight=None),
    "a convolution without parameters": _without("0.conv", "_parameters"),
    "parameters are a text": _set("0.conv", _parameters="weight"),
    "a weight is a number": lambda tree: _at(tree, "0.conv").state["_parameters"].update(weight=1.0),
    "a weight is a list": lambda tree: _at(tree, "0.conv").state["_parameters"].update(weight=[1.0]),
    "a norm without a mean": _drop("0.bn", "_buffers", "running_mean"),
    "a block without its first convolution": _drop("2", "_modules", "cv1"),
    "a block without its inner blocks": _drop("2", "_modules", "m"),
    "a head without its classes": _drop("head", "_modules", "cv3"),
    "a head without its boxes": _drop("head", "_modules", "cv2"),
    "a head with two levels of three": _drop("head.cv2", "_modules", "2"),
    "a weight of two dimensions": _weight("0.conv", (8, 27)),
    "a weight of five dimensions": _weight("0.conv", (8, 3, 3, 3, 1)),
    "a weight without channels": _weight("0.conv", (0, 3, 3, 3)),
    "a weight with more channels than its norm": _weight("0.conv", (16, 3, 3, 3)),
    "a weight with fewer inputs than there are": _weight("1.conv", (8, 4, 3, 3)),
    "a norm of another width": _weight("0.bn", (9,)),
    "a mean of another width": _weight("0.bn", (9,), "running_mean"),
    "a last convolution of other classes": _weight("head.cv3.0.2", (7, 16, 1, 1)),
    "a kernel that is not square": _weight("0.conv", (8, 3, 3, 1)),
    "a tensor larger than its storage": _tensor("0.conv", "weight", shape=(8, 3, 300, 300), numel=216),
    "a tensor of 2^60 elements": _tensor("0.conv", "weight", shape=(2**20, 2**20, 2**20), numel=216),
    "a tensor of a negative size": _tensor("0.conv", "weight", shape=(-8, 3, 3, 3), numel=216),
    "a tensor of a negative stride": _tensor("0.conv", "weight", stride=(-27, 9, 3, 1)),
    "a tensor of a fractional size": _tensor("0.conv", "weight", shape=(8.0, 3, 3, 3), numel=216),
    "a tensor of forty dimensions": _tensor("0.conv", "weight", shape=(1,) * 40, numel=216),
    "a tensor with an offset beyond its end": _tensor("0.conv", "weight", offset=10**9),
    "a tensor with a negative offset": _tensor("0.conv", "weight", offset=-1),
    "a storage that claims more than it has": _tensor("0.conv", "weight", numel=10**12),
    "a storage that claims less than it has": _tensor("0.conv", "weight", numel=3),
    "a storage that is not in the file": _tensor("0.conv", "weight", content=None, key="777"),
    "a storage of another type": _tensor("0.conv", "weight", kind="DoubleStorage"),
    "a storage of no type": _tensor("0.conv", "weight", kind="EvilStorage"),
    "a storage key that climbs": _tensor("0.conv", "weight", key="../../etc/passwd"),
    "a weight that unfolds one element a million times": _tensor(
        "0.conv", "weight", shape=(8, 3, 9999, 9999), stride=(0, 0, 0, 0), numel=1, content=b"\0\0"
    ),
    "ten million channels of one element": _grown,
    "yaml and modules both None": lambda tree: _model(tree).state.update(yaml=None, _modules=None),
    "minus one class": _set("head", nc=-1, no=63),
    "a head of a billion classes": _set("head", nc=10**9),
    "a head whose classes are a text": _set("head", nc="two"),
    "names are a number": _set("model", names=2),
    "names are a text": _set("model", names="face"),
    "names without classes": _set("model", names={}),
    "names that leave a class out": _set("model", names={0: "a", 2: "b"}),
    "names of three classes": _set("model", names={0: "a", 1: "b", 2: "c"}),
    "a hundred thousand names": _set("model", names=dict.fromkeys(range(100000), "x")),
    "strides are not a number": _stride(8, float("nan"), 32),
    "strides are infinite": _stride(8, 16, float("inf")),
    "strides are zero": _stride(0, 0, 0),
    "strides are negative": _stride(-8, -16, -32),
    "strides of two levels": _stride(8, 16),
    "strides of another network": _stride(4, 8, 16),
    "strides in a square": _stride(*[8.0] * 9, shape=(3, 3)),
    "strides of 10^30": _stride(1e30, 1e30, 1e30),
    "a convolution of stride 0": _set("1.conv", stride=(0, 0)),
    "a convolution of a negative stride": _set("1.conv", stride=(-2, -2)),
    "a convolution of stride 1,000": _set("1.conv", stride=(1000, 1000)),
    "a convolution of a stride of text": _set("1.conv", stride="2"),
    "a convolution of no groups": _set("1.conv", groups=0),
    "a convolution of minus two groups": _set("1.conv", groups=-2),
    "a convolution of a million groups": _set("1.conv", groups=10**6),
    "a convolution of a padding of 10^9": _set("1.conv", padding=(10**9, 10**9)),
    "a dilated convolution": _set("1.conv", dilation=(2, 2)),
    "a transposed convolution": _set("1.conv", transposed=True),
    "a convolution with mirrored borders": _set("1.conv", padding_mode="reflect"),
    "a norm whose epsilon is not a number": _set("0.bn", eps=float("nan")),
    "a norm whose epsilon is negative": _set("0.bn", eps=-1.0),
    "a norm whose epsilon is a text": _set("0.bn", eps="small"),
    "a join over the rows of pixels": lambda tree: _spoil_concat(tree, d=2),
    "a join over a text": lambda tree: _spoil_concat(tree, d="channels"),
    "a pool of kernel 0": _set("9.m", kernel_size=0),
    "a pool of kernel 10^9": _set("9.m", kernel_size=10**9, padding=5 * 10**8),
    "a pool that is read a billion times": _set("9", n=10**9),
    "an enlargement of 10^6": _set("head", f=[-1]),
}

# --- what a reader may pass over, since it knows the value from elsewhere ---------------------------------------------

_ODD: dict[str, Change] = {
    "a function of ultralytics as criterion": lambda tree: _model(tree).state.update(
        criterion=Call("ultralytics.utils.downloads.safe_download", ("http://example.invalid",))
    ),
    "a loss as criterion": _set("model", criterion=Thing("ultralytics.utils.loss.v8DetectionLoss", {"stride": None})),
    "a path as yaml file": _yaml(yaml_file="../../../../etc/passwd"),
    "a yaml that says other layers": _yaml(backbone=[[-1, 1, "os.system", ["touch OWNED"]]]),
    "a yaml that is None": _set("model", yaml=None),
    "a yaml that is a text": _set("model", yaml="yolov8n.yaml"),
    "a yaml without layers": _set("model", yaml={"nc": 2}),
    "a yaml of no classes": _yaml(nc=0),
    "bins for distances: none": _set("head", reg_max=0),
    "bins for distances: minus one": _set("head", reg_max=-1),
    "bins for distances: a billion": _set("head", reg_max=10**9),
    "bins for distances: a text": _set("head", reg_max="16"),
    "bins for distances: another number": _set("head", reg_max=12),
    "names that are numbers in a list": _set("model", names=[[1], [2]]),
    "a name of a million letters": _set("model", names={0: "a" * 1_000_000, 1: "b"}),
    "a yaml of a billion classes": _yaml(nc=10**9),
    "a yaml of a text of classes": _yaml(nc="__import__('os').system('touch OWNED')"),
    "a yaml with a scale of text": _yaml(scales={"n": ["a", "b", "c"]}),
    "a yaml with a scale of 10^9": _yaml(scales={"n": [10**9, 10**9, 10**9]}),
    "a yaml whose width is not a number": _yaml(width_multiple=float("nan"), depth_multiple=float("nan")),
    "a yaml with a scale letter of 10,000": _yaml(scale="n" * 10_000),
    "a yaml with an activation to evaluate": _yaml(activation="__import__('os').system('touch OWNED')"),
    "a list of rows to save that is a text": _set("model", save="all"),
    "a list of rows to save that is long": _set("model", save=list(range(100_000))),
    "names in a list": _set("model", names=["face", "face_mask"]),
    "names with control characters": _set("model", names={0: "a\x1b[2J\x00b", 1: "../../x"}),
    "a class name that is a number": _set("model", names={0: 5, 1: 6}),
    "a class count of the model that is wrong": _set("model", nc=99),
    "a class count of the model that is a text": _set("model", nc="two"),
    "channels that are negative": _set("0.conv", in_channels=-3, out_channels=-8),
    "channels that are a billion": _set("0.conv", in_channels=10**9, out_channels=10**9),
    "channels that are a text": _set("0.conv", in_channels="three"),
    "hidden channels that are negative": _set("2", c=-8),
    "hidden channels that are a text": _set("2", c="8"),
    "a kernel size that lies": _set("0.conv", kernel_size=(7, 7)),
    "a width of a norm that lies": _set("0.bn", num_features=-1),
    "a momentum that is not a number": _set("0.bn", momentum=float("nan")),
    "levels that lie": _set("head", nl=7),
    "outputs that lie": _set("head", no=-1),
    "old caches of anchors": _set("head", anchors="x", strides=None, shape="y"),
    "no stride in the model": _without("", "stride"),
    "no stride in the head": _without("head", "stride"),
    "no names": _without("", "names"),
    "no options": _without("", "args"),
    "options that are a list": _set("model", args=[1, 2]),
    "weights that are not a number": _tensor("0.conv", "weight", content=struct.pack("<e", float("nan")) * 216),
    "weights that are infinite": _tensor("0.conv", "weight", content=struct.pack("<e", float("inf")) * 216),
    "a variance that is negative": _tensor("0.bn", "running_var", content=struct.pack("<e", -1.0) * 8),
    "a variance that is zero": _tensor("0.bn", "running_var", content=struct.pack("<e", 0.0) * 8),
    "bins that are not 0 to 15": lambda tree: _spoil_bins(tree),
    "a module more than is known": lambda tree: _at(tree, "0").state["_modules"].update(more=_at(tree, "1.conv")),
    "a parameter more than is known": lambda tree: (
        _at(tree, "0.act").state["_parameters"].update(beta=Stored(shape=(1,), content=b"\0\0"))
    ),
    "one module in two rows": lambda tree: _rows(tree).update({"2": _at(tree, "2")}),
    "a row number that lies": _set("4", i=99),
    "a row type that lies": _set("4", type="os.system"),
    "a row type of a million letters": _set("4", type="x" * 1_000_000),
    "a training flag that is a text": _set("model", training="yes"),
    "an epoch that is not a number": lambda tree: tree.update(epoch=float("nan")),
    "a version that is a list": lambda tree: tree.update(version=[8, 4]),
    "a date of a million letters": lambda tree: tree.update(date="x" * 1_000_000),
    "results of two hundred thousand epochs": lambda tree: tree.update(train_results={"epoch": list(range(200_000))}),
    "options that are a text": lambda tree: tree.update(train_args="epochs=3"),
    "the ema beside the model": lambda tree: tree.update(ema=tree["model"]),
    "an ema of another class": lambda tree: tree.update(ema=Thing(f"{CONV}.Conv", {})),
    "an addition that is a text": _set("9", add="yes"),
    "an enlargement that is not a number": lambda tree: _spoil_upsample(tree, scale_factor=float("nan")),
    "an enlargement of a million": lambda tree: _spoil_upsample(tree, scale_factor=1e6),
    "an enlargement of another kind": lambda tree: _spoil_upsample(tree, mode="bicubic"),
}


def _spoil_bins(tree: Tree) -> None:
    modules = _at(tree, "head").state["_modules"]
    inner = modules["dfl"].state["_modules"]
    if inner:
        inner["conv"].state["_parameters"]["weight"].content = struct.pack("<16e", *range(16, 0, -1))


def _spoil_upsample(tree: Tree, **attributes: Any) -> None:
    next(row for row in _rows(tree).values() if row.name.endswith(".Upsample")).state.update(attributes)


def _spoil_concat(tree: Tree, **attributes: Any) -> None:
    next(row for row in _rows(tree).values() if row.name.endswith(".Concat")).state.update(attributes)


# --- other tasks ------------------------------------------------------------------------------------------------------

_TASKS = {
    "segment": ("SegmentationModel", "Segment"),
    "pose": ("PoseModel", "Pose"),
    "obb": ("OBBModel", "OBB"),
    "classify": ("ClassificationModel", "Classify"),
}


def _as_task(task: str, model: str, head: str) -> Change:
    def change(tree: Tree) -> None:
        whole, last = _model(tree), _at(tree, "head")
        whole.name, last.name = f"ultralytics.nn.tasks.{model}", f"{HEAD}.{head}"
        last.state["_modules"]["cv4"] = last.state["_modules"]["cv2"]
        last.state |= {"nm": 32, "npr": 64, "ne": 1, "kpt_shape": [17, 3], "nk": 51}
        whole.state["task"] = whole.state["args"]["task"] = tree["train_args"]["task"] = task

    return change
