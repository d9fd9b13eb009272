"""How many multiply-accumulates a traced operation costs, by closed formulas from the shapes of its operands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch.fx import Node

from slimyolo.tracing.calls import argument, shape_of
from slimyolo.tracing.kinds import operation_name

__all__ = ["product_macs", "unknown_macs"]

_RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
_RECURRENT_CELLS = {"lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"}
_TRANSFORMS = """fft_rfft2 fft_irfft2 fft_fft2 fft_ifft2 fft_rfft fft_irfft fft_fft fft_ifft fft_fftn fft_ifftn
    fft_rfftn fft_irfftn"""
_FUSED = "_native_multi_head_attention _transformer_encoder_layer_fwd multi_head_attention"
_NOT_COUNTED = frozenset(f"bilinear tensordot cdist kron inverse logdet {_FUSED} {_TRANSFORMS}".split())


def product_macs(node: Node) -> float:
    """Multiply-accumulates of a product, convolution or recurrent operation, for the whole batch; 0 for any other operation.

    Shapes are those of the traced run. An operation whose multiplications have no formula here is named by `unknown_macs`.
    """
    name = operation_name(node.target).removeprefix("aten.")
    if name in _RECURRENT:
        return _recurrent(node)
    if name in _RECURRENT_CELLS:
        return _recurrent_cell(node)
    if name == "einsum":
        return _einsum(node)
    operands = [one for one in (*node.args, *node.kwargs.values()) if isinstance(one, Node)]  # the same may stand twice
    shapes = [shape for shape in map(shape_of, operands) if shape is not None]
    out = shape_of(node)
    rule = _RULES.get(name, _convolution if name.startswith("conv") else None)
    return 0.0 if rule is None or out is None or len(shapes) < 2 else float(rule(name, shapes, out))


def unknown_macs(node: Node) -> bool:
    """True for an operation that multiplies, but for which `product_macs` has no formula."""
    space, _, name = operation_name(node.target).partition(".")
    return name in _NOT_COUNTED if space == "aten" else space not in {"_operator", "prims"}


Shapes = Sequence[tuple[int, ...]]


def _convolution(name: str, shapes: Shapes, out: tuple[int, ...]) -> int:
    places = shapes[0] if "transpose" in name else out
    return math.prod(places) * math.prod(shapes[1][1:])


def _product(name: str, shapes: Shapes, out: tuple[int, ...]) -> int:
    return math.prod(out) * shapes[0][-1]


def _added_product(name: str, shapes: Shapes, out: tuple[int, ...]) -> int:
    return math.prod(out) * shapes[1][-1] if len(shapes) == 3 else 0


def _attention(name: str, shapes: Shapes, out: tuple[int, ...]) -> int:
    rows = math.prod(shapes[0]) // max(shapes[0][-1], 1)
    return rows * shapes[1][-2] * (shapes[0][-1] + shapes[2][-1])


_RULES: dict[str, Callable[[str, Shapes, tuple[int, ...]], int]] = {
    "linear": _convolution,
    "matmul": _product,
    "mm": _product,
    "bmm": _product,
    "mv": _product,
    "dot": _product,
    "baddbmm": _added_product,
    "addmm": _added_product,
    "scaled_dot_product_attention": _attention,
}


def _recurrent(node: Node) -> float:
    """Each element of a weight matrix is used once for each step of each sequence (torch's `nn.LSTM`, `nn.GRU`, `nn.RNN`).

    The input is [steps, batch, channels] or [batch, steps, channels], or [all steps, channels] when it is packed.
    """
    held = {one.name: argument(node, place, one.name) for place, one in enumerate(_schema(node))}
    given = shape_of(held["input" if "input" in held else "data"])
    matrices = [shape for shape in map(shape_of, held["params"]) if shape is not None and len(shape) == 2]
    return float(math.prod((given or (0,))[:-1]) * sum(math.prod(shape) for shape in matrices))


def _recurrent_cell(node: Node) -> float:
    """One step: every element of the two weight matrices is used once for each row of the input [batch, channels]."""
    held = {one.name: argument(node, place, one.name) for place, one in enumerate(_schema(node))}
    rows = math.prod((shape_of(held["input"]) or (0,))[:-1])
    return float(rows * sum(math.prod(shape_of(held[name]) or (0,)) for name in ("w_ih", "w_hh")))


def _schema(node: Node) -> Sequence[Any]:
    target: Any = node.target
    arguments: Sequence[Any] = target._schema.arguments
    return arguments


def _einsum(node: Node) -> float:
    """The operands are contracted two by two from the left, as torch does it without an optimiser of the path."""
    equation: Any = argument(node, 0, "equation")
    operands: Any = argument(node, 1, "tensors")
    shapes = [shape_of(operand) or () for operand in operands]
    terms, result = _labels(equation.replace(" ", ""), shapes)
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for label, size in zip(term, shape, strict=True):
            sizes[label] = max(size, sizes.get(label, 1))
    macs, known = 0, set(terms[0])
    for place, term in enumerate(terms[1:], start=1):
        later = set(result).union(*terms[place + 1 :])
        summed = (known & set(term)) - later
        kept = (known | set(term)) & later
        macs += math.prod(sizes[label] for label in kept | summed) if summed else 0
        known = kept
    return float(macs)


def _labels(equation: str, shapes: Sequence[tuple[int, ...]]) -> tuple[list[list[str]], list[str]]:
    """The labels of each operand's axes, and those of the result. An ellipsis gets the labels ".0", ".1" … from the right."""
    left, arrow, right = equation.partition("->")
    terms = []
    dots: list[str] = []
    for text, shape in zip(left.split(","), shapes, strict=True):
        before, ellipsis, after = text.partition("...")
        hidden = len(shape) - len(before) - len(after) if ellipsis else 0
        names = [f".{place}" for place in reversed(range(hidden))]
        dots = max(dots, names, key=len)
        terms.append([*before, *names, *after])
    if not arrow:
        letters = [label for term in terms for label in term if not label.startswith(".")]
        return terms, [*dots, *sorted(label for label in set(letters) if letters.count(label) == 1)]
    before, ellipsis, after = right.partition("...")
    return terms, [*before, *(dots if ellipsis else []), *after]
