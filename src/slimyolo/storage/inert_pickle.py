"""A pickle reader that runs nothing.

`pickletools` splits the stream into operations; the small stack machine below builds lists, dicts, tuples, numbers and
texts from them. A name in the stream is looked up in an explicit table. No module is imported and no attribute is
fetched because of the file, so a crafted stream has nothing that it could call. CPython's ``Lib/pickletools.py``
describes the pickle machine. Ours knows fewer operations, and limits what it builds:

* at most `MAX_OPERATIONS` operations; elements that the allowed calls copy count too (`BYTES_PER_STEP` bytes are one);
* keys are scalars; `plain_tree.check_tree` checks the result afterwards.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from slimyolo.errors import CheckpointError, UnsafeCheckpointError
from slimyolo.storage.plain_tree import ForeignClass, ForeignObject

__all__ = ["AllowedCall", "InertMachine"]

MAX_OPERATIONS = 2_000_000
BYTES_PER_STEP = 8  # copied bytes that count as one operation
_MAX_BITS = 4096  # of an integer: Python refuses to print longer ones, and no checkpoint needs them
_MAX_KEY_BITS = 64  # longer integers could be chosen so that they collide in a dict

_IDENTIFIER = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


@dataclass(frozen=True)
class AllowedCall:
    """A callable that the stream may name. Our own `build` takes its place; it gets the machine and the arguments."""

    name: str
    build: Callable[[InertMachine, tuple[Any, ...]], Any]


class AttributeDict(dict[str, Any]):
    """A namespace read as a plain dict; the state that follows in the stream becomes its items."""


class _Mark:
    """Marks the place on the stack where a list of items begins."""


_MARK = _Mark()


class InertMachine:
    """Reads one pickle from a binary stream.

    `allowed` maps dotted names to `AllowedCall` objects or to constants; names that start with one of
    `foreign_prefixes` become `ForeignClass`; `persistent` turns a persistent id (a tuple) into a value. Anything else
    is refused by name with the error that `refuse` makes.
    """

    def __init__(
        self,
        allowed: Mapping[str, Any],
        foreign_prefixes: tuple[str, ...],
        persistent: Callable[[Any], Any],
        refuse: Callable[[str], UnsafeCheckpointError],
    ) -> None:
        self._allowed = allowed
        self._foreign_prefixes = foreign_prefixes
        self._persistent = persistent
        self._refuse = refuse
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._spent = 0

    def read(self, stream: IO[bytes]) -> Any:
        """The value of the pickle that starts at the stream's position.

        Raises `UnsafeCheckpointError` for a name or an operation that would have to be executed, `CheckpointError` for
        a damaged stream or one beyond the limits. The value is not yet checked with `check_tree`.
        """
        self._stack, self._memo = [], {}
        position: int | None = 0
        try:
            for operation, argument, at in pickletools.genops(stream):
                position = at
                self.spend(1)
                if operation.name == "STOP":
                    return self._last_value()
                action = _ACTIONS.get(operation.name)
                if action is None:
                    raise self._refuse(f"the pickle operation {operation.name}")
                action(self, argument)
        except CheckpointError:
            raise
        except Exception as error:  # any error of a malformed operand means that the stream is damaged
            raise CheckpointError(f"its pickle is damaged near byte {position}: {error}") from error
        raise CheckpointError("its pickle ends before its last operation")

    def spend(self, elements: int) -> None:
        """Count the work. Raises `CheckpointError` when a stream asks for more than a checkpoint can need."""
        self._spent += elements
        if self._spent > MAX_OPERATIONS:
            raise CheckpointError(f"its pickle asks for more than {MAX_OPERATIONS:,} steps; no checkpoint needs them")

    def call(self, function: Any, arguments: Any) -> Any:
        """The value of `function(*arguments)`, built by our own code."""
        if not isinstance(arguments, tuple):
            raise CheckpointError("its pickle calls something without a tuple of arguments")
        if isinstance(function, ForeignClass):
            return ForeignObject(function.class_name, arguments)
        if isinstance(function, AllowedCall):
            return function.build(self, arguments)
        raise self._refuse(f"a call of something that is not a name ({type(function).__name__})")

    def find(self, module: str, name: str) -> Any:
        """The inert stand-in for a dotted name of the stream."""
        full = f"{module}.{name}"
        if full in self._allowed:
            return self._allowed[full]
        plain = _IDENTIFIER.fullmatch(module) and name.isidentifier()
        if plain and full.startswith(self._foreign_prefixes):
            return ForeignClass(full)
        raise self._refuse(f"`{full[:200]}`")

    # The stack. Every action below is the meaning of one pickle operation.

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise CheckpointError("its pickle is damaged: a value is missing on the stack")
        return value

    def top(self) -> Any:
        value = self._stack[-1]
        if value is _MARK:
            raise CheckpointError("its pickle is damaged: a value is missing on the stack")
        return value

    def pop_items(self) -> list[Any]:
        """The values above the last mark, which is removed with them."""
        for start in range(len(self._stack) - 1, -1, -1):
            if self._stack[start] is _MARK:
                items = self._stack[start + 1 :]
                del self._stack[start:]
                return items
        raise CheckpointError("its pickle is damaged: a mark is missing on the stack")

    def discard(self) -> None:
        self._stack.pop()

    def discard_items(self) -> None:
        self.pop_items()

    def remember(self, index: int | None = None) -> None:
        self._memo[len(self._memo) if index is None else index] = self.top()

    def recall(self, index: int) -> None:
        self.push(self._memo[index])

    def resolve_persistent(self) -> None:
        self.push(self._persistent(self.pop()))

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(items) % 2:
            raise CheckpointError("its pickle is damaged: items for something that is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def append_items(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise CheckpointError("its pickle is damaged: items for something that is not a list")
        target.extend(items)

    def add_items(self, items: list[Any]) -> None:
        target = self.top()
        if not isinstance(target, set):
            raise CheckpointError("its pickle is damaged: items for something that is not a set")
        target.update(checked_key(item) for item in items)

    def make_dict(self, items: list[Any]) -> None:
        self.push({})
        self.set_items(items)

    def reduce(self) -> None:
        arguments, function = self.pop(), self.pop()
        self.push(self.call(function, arguments))

    def new_object(self, with_keywords: bool = False) -> None:
        keywords = self.pop() if with_keywords else {}
        arguments, cls = self.pop(), self.pop()
        if keywords:
            raise self._refuse(f"making an object with keyword arguments ({_name_of(cls)})")
        self.push(self.call(cls, arguments))

    def build(self) -> None:
        """Give the state on the stack to the object below it."""
        state, target = self.pop(), self.top()
        if isinstance(target, ForeignObject):
            target.state = state
        elif isinstance(target, AttributeDict):
            if not isinstance(state, dict):
                raise CheckpointError("its pickle is damaged: a namespace whose state is not a dict")
            target.update(state)
        elif isinstance(target, dict):
            pass  # attributes of an OrderedDict, such as the `_metadata` of a state_dict, are not needed
        elif isinstance(target, np.ndarray):
            self.spend(fill_array_(target, state) // BYTES_PER_STEP)
        elif not isinstance(target, np.dtype):  # the state of a dtype only repeats its name
            raise self._refuse(f"setting the state of a {type(target).__name__}")

    def find_on_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise CheckpointError("its pickle is damaged: a name that is not text")
        self.push(self.find(module, name))

    def _last_value(self) -> Any:
        if len(self._stack) != 1:
            raise CheckpointError("its pickle is damaged: it ends with values left over")
        return self.pop()


def checked_key(key: Any) -> Any:
    """`key` when it is a plain scalar; others are refused, because hashing a very deep tuple can exhaust the C stack."""
    if key is None or isinstance(key, (str, bytes, bool, float)):
        return key
    if isinstance(key, int) and key.bit_length() <= _MAX_KEY_BITS:
        return key
    raise CheckpointError(f"its pickle uses a {type(key).__name__} as a key, expected a text or a number")


def fill_array_(array: np.ndarray[Any, Any], state: Any) -> int:
    """Give an empty array the (version, shape, dtype, Fortran order, bytes) of a pickled one; returns its bytes."""
    if not (isinstance(state, tuple) and len(state) == 5):
        raise CheckpointError("its pickle is damaged: an array without shape, type and content")
    _, shape, dtype, fortran, content = state
    good_shape = isinstance(shape, tuple) and len(shape) <= 16 and all(type(n) is int and n >= 0 for n in shape)
    if not (good_shape and isinstance(dtype, np.dtype) and isinstance(content, bytes) and type(fortran) in (bool, int)):
        raise CheckpointError("its pickle is damaged: an array without shape, type and content")
    expected = dtype.itemsize
    for length in shape:
        expected *= length
    if expected != len(content):
        raise CheckpointError(f"its pickle is damaged: an array of {len(content)} bytes, expected {expected}")
    array.__setstate__((1, shape, dtype, int(fortran), content))  # type: ignore[arg-type]  # numpy takes an int here
    return len(content)


def _name_of(value: Any) -> str:
    if isinstance(value, (AllowedCall, ForeignClass)):
        return value.name if isinstance(value, AllowedCall) else value.class_name
    return f"a bare {type(value).__name__}"


def _push_argument(machine: InertMachine, argument: Any) -> None:
    if isinstance(argument, int) and argument.bit_length() > _MAX_BITS:
        raise CheckpointError(f"its pickle holds a number of {argument.bit_length():,} bits")
    machine.push(argument)


def _push_tuple(length: int) -> Callable[[InertMachine, Any], None]:
    def push(machine: InertMachine, _: Any) -> None:
        items = [machine.pop() for _ in range(length)]
        machine.push(tuple(reversed(items)))

    return push


def _push_global(machine: InertMachine, argument: Any) -> None:
    module, _, name = str(argument).partition(" ")
    machine.push(machine.find(module, name))


def _set_item(machine: InertMachine, _: Any) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


# Operations whose argument is the value: numbers, texts (those of Python 2 are decoded as Latin-1) and bytes.
_VALUE_OPERATIONS = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
)

# What each pickle operation does here. One that is not in the table is refused by name.
_ACTIONS: dict[str, Callable[[InertMachine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda m, _: None),
    **dict.fromkeys(
        _VALUE_OPERATIONS,
        _push_argument,
    ),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "MARK": lambda m, _: m.push(_MARK),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "EMPTY_SET": lambda m, _: m.push(set()),
    "TUPLE1": _push_tuple(1),
    "TUPLE2": _push_tuple(2),
    "TUPLE3": _push_tuple(3),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_items())),
    "LIST": lambda m, _: m.push(m.pop_items()),
    "DICT": lambda m, _: m.make_dict(m.pop_items()),
    "FROZENSET": lambda m, _: m.push(frozenset(checked_key(item) for item in m.pop_items())),
    "APPEND": lambda m, _: m.append_items([m.pop()]),
    "APPENDS": lambda m, _: m.append_items(m.pop_items()),
    "SETITEM": _set_item,
    "SETITEMS": lambda m, _: m.set_items(m.pop_items()),
    "ADDITEMS": lambda m, _: m.add_items(m.pop_items()),
    "POP": lambda m, _: m.discard(),
    "POP_MARK": lambda m, _: m.discard_items(),
    "DUP": lambda m, _: m.push(m.top()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda m, index: m.remember(index)),
    "MEMOIZE": lambda m, _: m.remember(),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, index: m.recall(index)),
    "GLOBAL": _push_global,
    "STACK_GLOBAL": lambda m, _: m.find_on_stack(),
    "REDUCE": lambda m, _: m.reduce(),
    "NEWOBJ": lambda m, _: m.new_object(),
    "NEWOBJ_EX": lambda m, _: m.new_object(with_keywords=True),
    "BUILD": lambda m, _: m.build(),
    "BINPERSID": lambda m, _: m.resolve_persistent(),
}
