"""How large a graph's tensors are at least, from what is constant in it.

A few bytes can describe a tensor of 10^12 elements: a shape that is constant, or arithmetic on
constants. This follows the constants through a graph and keeps, of each value, the least number of
elements it can have. A bound is never more than the truth, so nothing honest is refused.
"""

from __future__ import annotations

import math
from collections import ChainMap

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.onnx_file import Constant, Graph, Node

MOST_ELEMENTS = 1 << 28
"""Of one tensor: a gibibyte of 32-bit numbers."""

_LONGEST = 64
_INTEGERS = {2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 12: "<u4", 13: "<u8"}
_REALS = {1: "<f4", 10: "<f2", 11: "<f8"}
Numbers = NDArray[np.float64]
"""A small constant's values; exact up to 2^53, far above every limit here."""

_ARITHMETIC = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Pow": np.power}
_UNCHANGED = {"Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Floor", "Ceil"}
_LARGEST_OF = {"Add", "Sub", "Mul", "Div", "Where", "Max", "Min", "Pow", "And", "Or", "Relu", "Neg"}


class Bounds:
    """Known values and least sizes, by name; one for a graph and its own scope.

    Args:
        outer: the scope around, whose names are seen here.
    """

    def __init__(self, outer: Bounds | None = None) -> None:
        self._known: ChainMap[str, Numbers] = outer._known.new_child() if outer else ChainMap()  # noqa: SLF001 - its own kind
        self._least: ChainMap[str, int] = outer._least.new_child() if outer else ChainMap()  # noqa: SLF001 - its own kind

    def graph(self, graph: Graph) -> None:
        """Follow a graph and the graphs within it.

        Raises:
            HeliographError: `model_resource_limit` for a tensor above `MOST_ELEMENTS`.
        """
        for constant in graph.constants:
            self._take(constant.name, constant)
        for one in (*graph.inputs, *graph.outputs):
            if one.shape:
                self._keep(one.name, math.prod(max(1, size) for size in one.shape), "is declared")
        for node in graph.nodes:
            if node.outputs and node.domain in {"", "ai.onnx"}:
                self._node(node)
            for attribute in node.attributes.values():
                for inner in attribute.graphs:
                    Bounds(self).graph(inner)

    def _take(self, name: str, constant: Constant) -> None:
        # Weights are as large as they are: their bytes are there, and were counted.
        self._least[name] = math.prod(constant.dims)
        values = _values(constant)
        if values is not None:
            self._known[name] = values

    def _keep(self, name: str, elements: int, how: str) -> None:
        if elements > MOST_ELEMENTS:
            raise HeliographError(
                Code.MODEL_RESOURCE_LIMIT,
                f"A tensor of the model {how} to have at least {elements:,} elements; "
                f"{MOST_ELEMENTS:,} are allowed.",
            )
        self._least[name] = max(self._least.get(name, 1), elements)

    def _node(self, node: Node) -> None:
        name, op = node.outputs[0], node.op
        values = self._value_of(node)
        if values is not None:
            self._known[name] = values
        elements = self._size_of(node)
        if elements is not None:
            self._keep(name, elements, f"is made by {op}")
        if op == "Constant" and "value" in node.attributes:
            for tensor in node.attributes["value"].tensors[:1]:
                self._take(name, tensor)

    def _value_of(self, node: Node) -> Numbers | None:
        """The output where it is a small constant."""
        given = [self._known.get(one) for one in node.inputs]
        if node.op == "Constant":
            for name in ("value_ints", "value_int"):
                if name in node.attributes:
                    one = node.attributes[name]
                    return np.array(one.numbers or [one.number], np.float64)[:_LONGEST]
        if not given or any(one is None for one in given[:1]):
            return None
        if node.op in _UNCHANGED:
            return given[0]
        known = [one for one in given if one is not None]
        if len(known) != len(given):
            return None
        with np.errstate(all="ignore"):
            if node.op == "Concat":
                return np.concatenate(known)[:_LONGEST]
            if node.op in _ARITHMETIC and len(known) == 2:
                try:
                    return np.asarray(_ARITHMETIC[node.op](known[0], known[1]), np.float64)
                except ValueError:
                    return None
        return None

    def _size_of(self, node: Node) -> int | None:
        """The least number of elements of the first output."""
        given = node.inputs
        least = self._least.get(given[0], 1) if given else 1
        if node.op == "Concat":
            return sum(self._least.get(one, 0) for one in given)
        if node.op in _LARGEST_OF:
            return max((self._least.get(one, 1) for one in given), default=1)
        if node.op in _UNCHANGED:
            return least
        if node.op == "Range":
            return self._range(given)
        if node.op in {"Resize", "Upsample"}:
            return self._resized(given)
        return self._shaped(node, least)

    def _shaped(self, node: Node, least: int) -> int | None:
        """Of operations that take the shape, or what to repeat, as numbers."""
        given = node.inputs
        first = self._known.get(given[0]) if given else None
        second = self._known.get(given[1]) if len(given) > 1 else None
        if node.op == "ConstantOfShape" and first is not None:
            return _product(first)
        if node.op in {"RandomNormal", "RandomUniform"} and "shape" in node.attributes:
            return _product(np.array(node.attributes["shape"].numbers, np.float64))
        if second is None:
            return None
        if node.op == "Expand":
            return max(_product(second), least)
        if node.op == "Tile" or (node.op == "OneHot" and second.size == 1):
            return _product(second) * least
        if node.op == "Pad":
            return max(1, int(min(second.clip(min=0).max(initial=0.0), 1e18)))
        return None

    def _range(self, given: list[str]) -> int | None:
        parts = [self._known.get(one) for one in given]
        if len(parts) != 3 or any(one is None or one.size != 1 for one in parts):
            return None
        start, limit, delta = (float(one.ravel()[0]) for one in parts if one is not None)
        if not delta or not all(map(math.isfinite, (start, limit, delta))):
            return None
        return max(0, math.ceil(min((limit - start) / delta, 1e18)))

    def _resized(self, given: list[str]) -> int | None:
        """`Resize` takes sizes as its fourth input, `Upsample` and old `Resize` scales."""
        sizes = self._known.get(given[3]) if len(given) > 3 else None
        if sizes is not None:
            return _product(sizes)
        scales = next((self._known[one] for one in given[1:3] if one in self._known), None)
        return _product(scales) if scales is not None and scales.size else None


def _product(sizes: Numbers) -> int:
    product = 1
    for size in sizes.ravel().tolist():
        # NaN and what is not positive say nothing about the least.
        if size > 1:
            product *= int(min(size, 1e18))
    return product


def _values(constant: Constant) -> Numbers | None:
    """The numbers of a constant of at most `_LONGEST`; None for larger ones and other types."""
    count = math.prod(constant.dims)
    if not 0 <= count <= _LONGEST:
        return None
    kind = _INTEGERS.get(constant.dtype) or _REALS.get(constant.dtype)
    if kind and constant.raw is not None:
        if len(constant.raw) != count * np.dtype(kind).itemsize:
            return None
        return np.frombuffer(constant.raw, kind).astype(np.float64)
    if constant.dtype == 1 and 4 in constant.typed:
        return np.frombuffer(b"".join(constant.typed[4]), "<f4").astype(np.float64)
    if constant.dtype in _INTEGERS:
        packed = b"".join(bytes(part) for parts in constant.typed.values() for part in parts)
        return _varints(packed)
    return None


def _varints(packed: bytes) -> Numbers:
    numbers: list[float] = []
    value = shift = 0
    for byte in packed[: 10 * _LONGEST]:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            value &= (1 << 64) - 1
            numbers.append(float(value - (1 << 64) if value >= 1 << 63 else value))
            value = shift = 0
    return np.array(numbers, np.float64)
