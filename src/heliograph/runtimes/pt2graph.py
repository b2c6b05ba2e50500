"""The graph of an `ExportedProgram` as steps: JSON in, calls of PyTorch's operators out.

`runtimes/pt2.py` reads the archive around it and says what is covered.
"""

# PyTorch is an extra: the types may be checked where it is not installed.
# pyright: reportMissingImports=false, reportUnknownParameterType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from heliograph.core.errors import Code, HeliographError

_KEYWORD = 2
_TARGET = re.compile(
    r"torch\.ops\.(aten|prims|quantized_decomposed|torchvision)\.([A-Za-z0-9_]+)\.([A-Za-z0-9_]+)"
)
_FORBIDDEN = {"from_file", "save", "_print"}
_GRAD = "torch.ops.higher_order.wrap_with_set_grad_enabled"
_OPERATORS = (
    *("eq", "ne", "le", "ge", "lt", "gt", "neg", "pos", "mul", "add", "sub", "floordiv"),
    *("mod", "pow", "truediv", "and_", "or_", "getitem"),
)
_SYMBOLS: dict[str, Callable[..., Any]] = {
    **{f"_operator.{name}": getattr(operator, name) for name in _OPERATORS},
    **{f"math.{name}": getattr(math, name) for name in ("trunc", "ceil", "floor")},
    **{
        f"torch.sym_{name}": getattr(torch, f"sym_{name}")
        for name in ("not", "int", "float", "ite", "max", "min")
    },
}
DTYPES: dict[int, tuple[torch.dtype, str]] = {
    1: (torch.uint8, "uint8"),
    2: (torch.int8, "int8"),
    3: (torch.int16, "int16"),
    4: (torch.int32, "int32"),
    5: (torch.int64, "int64"),
    6: (torch.float16, "float16"),
    7: (torch.float32, "float32"),
    8: (torch.float64, "float64"),
    12: (torch.bool, "bool"),
    13: (torch.bfloat16, "bfloat16"),
    28: (torch.uint16, "uint16"),
    34: (torch.uint32, "uint32"),
    35: (torch.uint64, "uint64"),
}
"""The archive's number of an element type -> PyTorch's type and numpy's name."""

_MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}


class Ref(str):
    """The name of a value that an earlier step made."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One operator: what it takes, what its results are called, what nobody needs after it."""

    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[Any, ...]
    last: tuple[str, ...]


def read_steps(graph: Any, wanted: set[str], device: str) -> tuple[Step, ...]:
    """The graph's nodes as steps.

    Args:
        graph: a graph's JSON.
        wanted: values to keep to the end.
        device: where the program runs; devices that the graph names are replaced by it.

    Raises:
        HeliographError: `model_op_forbidden` for an operator that is not on the list,
            `model_invalid` for what this reader does not know.
    """
    made: list[Step] = []
    needed = set(wanted)
    # From the end: the first use met is the last one there is.
    for node in reversed(graph["nodes"]):
        call = _call(node["target"])
        args, kwargs = _arguments(node, call, device)
        used = {*_refs(args), *_refs(tuple(kwargs.values()))}
        results = tuple(_result(one) for one in node["outputs"])
        unused = {name for name in _refs(results) if name not in needed}
        last = tuple((used - needed) | unused)
        needed |= used
        made.append(Step(call, args, kwargs, results, last))
    return tuple(reversed(made))


def run_steps(steps: Sequence[Step], values: dict[str, Any]) -> None:
    """Run every step in order; `values` gains results and loses what nobody needs any more."""
    for step in steps:
        found = step.call(
            *(_fill(one, values) for one in step.args),
            **{name: _fill(one, values) for name, one in step.kwargs.items()},
        )
        _keep(step.results, found, values)
        for name in step.last:
            values.pop(name, None)


def written(graph: Any, names: set[str]) -> set[str]:
    """Which of these values the graph writes to in place, itself or through a view of it.

    Args:
        graph: a graph's JSON, whose operators `read_steps` has found to be allowed.
        names: weights and inputs.
    """
    owners: dict[str, str] = {name: name for name in names}
    found: set[str] = set()
    for node in graph["nodes"]:
        schema = getattr(_call(node["target"]), "_schema", None)
        if schema is None:
            continue
        aliases = {one.name: one.alias_info for one in schema.arguments if one.alias_info}
        viewed: list[str] = []
        for one in node["inputs"]:
            told = aliases.get(one["name"])
            given = [owners[ref] for ref in _refs(_value(one["arg"], "cpu")) if ref in owners]
            if told is not None:
                viewed += given
            if told is not None and told.is_write:
                found.update(given)
        for result in _refs(tuple(_result(one) for one in node["outputs"])):
            # A view belongs to whom it shows; of several the first will do, since all are watched.
            if viewed:
                owners[result] = viewed[0]
    return found


def invalid(why: str) -> HeliographError:
    """A program that is damaged or of a kind that is not served."""
    return HeliographError(Code.MODEL_INVALID, f"The .pt2 program cannot be served: {why}.")


def dtype_of(number: int) -> tuple[torch.dtype, str]:
    """PyTorch's element type and numpy's name of it; raises `model_invalid` for others."""
    if number not in DTYPES:
        raise invalid(f"a tensor has elements of type {number} (complex or of 8-bit floats)")
    return DTYPES[number]


def _call(target: str) -> Callable[..., Any]:
    if target in _SYMBOLS:
        return _SYMBOLS[target]
    if target == _GRAD:
        return _ungraded
    match = _TARGET.fullmatch(target)
    if match is None or match[2] in _FORBIDDEN:
        raise HeliographError(
            Code.MODEL_OP_FORBIDDEN,
            f"The program calls {target[:120]!r}, which is not on the list of operators that a "
            "served program may call.",
        )
    try:
        return getattr(getattr(getattr(torch.ops, match[1]), match[2]), match[3])
    except AttributeError as error:
        raise invalid(f"this PyTorch has no operator {target[:120]!r}") from error


def _ungraded(_enabled: bool, graph: Callable[..., Any], *given: Any) -> Any:  # noqa: FBT001
    """A part of the program under `torch.no_grad()`: nothing is ever graded here."""
    return graph(*given)


def _arguments(node: Any, call: Any, device: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    schema = getattr(call, "_schema", None)
    only = {one.name for one in schema.arguments if one.kwarg_only} if schema else set[str]()
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for one in node["inputs"]:
        value = _value(one["arg"], device)
        if one.get("kind") == _KEYWORD or one["name"] in only:
            kwargs[one["name"]] = value
        else:
            args.append(value)
    return tuple(args), kwargs


def _plain(one: Any, _device: str) -> Any:
    return one


def _named(one: Any, _device: str) -> Any:
    """A tensor, or tensors in lists of any depth, by name."""
    return [_named(each, _device) for each in one] if isinstance(one, list) else Ref(one["name"])


def _optional(one: Any, device: str) -> Any:
    return (
        [_optional(each, device) for each in one] if isinstance(one, list) else _value(one, device)
    )


def _symbol(one: Any, device: str) -> Any:
    """A number that may be the result of an earlier step."""
    if isinstance(one, list):
        return [_symbol(each, device) for each in cast("list[Any]", one)]
    ((kind, value),) = one.items()
    return Ref(value) if kind == "as_name" else value


def _graph(one: Any, device: str) -> Callable[..., Any]:
    graph = one["graph"]
    feeds = [_value(each, device) for each in graph["inputs"]]
    answers = [_value(each, device) for each in graph["outputs"]]
    steps = read_steps(graph, set(_refs(tuple(answers))), device)

    def call(*given: Any) -> Any:
        values: dict[str, Any] = dict(zip(feeds, given, strict=True))
        run_steps(steps, values)
        found = [_fill(each, values) for each in answers]
        return found[0] if graph["is_single_tensor_return"] else tuple(found)

    return call


_KINDS: dict[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(
        ("as_int", "as_ints", "as_float", "as_floats", "as_string", "as_strings"), _plain
    ),
    **dict.fromkeys(("as_bool", "as_bools", "as_int_lists", "as_float_lists"), _plain),
    **dict.fromkeys(("as_tensor", "as_tensors", "as_nested_tensors"), _named),
    **dict.fromkeys(("as_optional_tensor", "as_optional_tensors"), _optional),
    **dict.fromkeys(("as_sym_int", "as_sym_ints", "as_sym_float", "as_sym_floats"), _symbol),
    **dict.fromkeys(("as_sym_bool", "as_sym_bools"), _symbol),
    "as_none": lambda _one, _device: None,
    "as_scalar_type": lambda one, _device: dtype_of(one)[0],
    "as_device": lambda _one, device: torch.device(device),
    "as_layout": lambda _one, _device: torch.strided,
    "as_memory_format": lambda one, _device: _MEMORY_FORMATS[one],
    "as_complex": lambda one, _device: complex(one["real"], one["imag"]),
    "as_graph": _graph,
}


def _value(arg: Any, device: str) -> Any:
    ((kind, one),) = arg.items()
    if kind not in _KINDS:
        raise invalid(f"an operator takes a {kind.removeprefix('as_')}")
    return _KINDS[kind](one, device)


def _result(arg: Any) -> Any:
    """What an operator's result is called: a name, a list of names, or None for nothing."""
    ((kind, one),) = arg.items()
    match kind:
        case "as_tensor" | "as_tensors":
            return _named(one, "")
        case "as_none":
            return None
        case "as_sym_int" | "as_sym_float" | "as_sym_bool":
            return Ref(one["as_name"])
        case "as_optional_tensor":
            return _result(one)
        case _:
            raise invalid(f"an operator gives a {kind.removeprefix('as_')}")


def _fill(arg: Any, values: Mapping[str, Any]) -> Any:
    if type(arg) is Ref:
        return values[arg]
    if type(arg) is list:
        return [_fill(one, values) for one in cast("list[Any]", arg)]
    return arg


def _keep(results: tuple[Any, ...], found: Any, values: dict[str, Any]) -> None:
    if len(results) == 1:
        # A part of the program with one result gives a tuple of one; an operator never does.
        _name(results[0], found[0] if isinstance(found, tuple) else found, values)
    elif results:
        for one, value in zip(results, found, strict=True):
            _name(one, value, values)


def _name(result: Any, value: Any, values: dict[str, Any]) -> None:
    if isinstance(result, list):
        for one, each in zip(cast("list[Any]", result), value, strict=True):
            _name(one, each, values)
    elif result is not None:
        values[result] = value


def _refs(values: Any) -> list[str]:
    if type(values) is Ref:
        return [values]
    if isinstance(values, list | tuple):
        return [name for one in cast("Sequence[Any]", values) for name in _refs(one)]
    return []
