"""ModelInfer's messages: read into a `Question`, written from a `Reply`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.oip.datatypes import read_list, read_raw, write_raw
from heliograph.edge.oip.parameters import check_parameters, classes, region
from heliograph.edge.oip.protos import MESSAGES
from heliograph.edge.oip.values import Given, Question, Reply, Wanted

_RESPONSE = MESSAGES["inference.ModelInferResponse"]
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def read_request(asked: Any, raws: Sequence[memoryview]) -> Question:
    """Read an inference request.

    Args:
        asked: a ModelInferRequest without its raw contents.
        raws: these, in order.

    Raises:
        HeliographError: whatever is wrong with it.
    """
    parameters = _plain(asked.parameters)
    check_parameters(parameters)
    names = [one.name for one in asked.inputs]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise HeliographError(Code.BAD_REQUEST, f"input '{twice[:80]}' already exists in request")
    left = list(reversed(raws))
    inputs = tuple([_given(one, left, raw=bool(raws)) for one in asked.inputs])
    if left:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"expected {len(raws) - len(left)} raw inputs, but got {len(raws)} for model "
            f"'{asked.model_name[:80]}'",
        )
    return Question(asked.id, inputs, _wanted(asked.outputs), binary=True, parameters=parameters)


def write_response(reply: Reply) -> tuple[Any, list[bytes | memoryview]]:
    """Write an answer.

    Returns:
        A ModelInferResponse without its raw contents, and these: one for each output.
    """
    told = _RESPONSE(model_name=reply.model, model_version=reply.version, id=reply.id)
    raws: list[bytes | memoryview] = []
    for one in reply.outputs:
        output = told.outputs.add(name=one.name, datatype=one.datatype, shape=one.shape)
        if one.array is not None:
            raws.append(write_raw(one.array, one.datatype))
            continue
        raws.append(b"")
        if one.region is not None:
            output.parameters["shared_memory_region"].string_param = one.region.name
            output.parameters["shared_memory_offset"].int64_param = one.region.offset
            output.parameters["shared_memory_byte_size"].int64_param = one.region.size
    return told, raws


def _given(one: Any, left: list[memoryview], *, raw: bool) -> Given:
    """One input; takes its raw contents from the end of `left`."""
    name, kind, shape = one.name, one.datatype, tuple(one.shape)
    parameters = _plain(one.parameters)
    where = region(parameters) if parameters else None
    said = one.HasField("contents")
    if said and (raw or where is not None):
        raise HeliographError(
            Code.BAD_REQUEST,
            f"contents field must not be specified when using raw_input_contents for '{name[:80]}'",
        )
    if where is not None:
        return Given(name, kind, shape, None, where)
    if raw:
        if not left:
            raise HeliographError(
                Code.BAD_SHAPE, f"expected raw_input_contents for input '{name[:80]}', but got none"
            )
        return Given(name, kind, shape, read_raw(name, kind, shape, left.pop()))
    return Given(name, kind, shape, read_list(name, kind, shape, _elements(one)))


def _elements(one: Any) -> list[Any]:
    field = _CONTENTS.get(one.datatype)
    for other, values in one.contents.ListFields():
        if other.name != field:
            raise HeliographError(
                Code.VALIDATION,
                f"unexpected explicit tensor data for input tensor '{one.name[:80]}' of type "
                f"'{one.datatype[:20]}'",
            )
        return list(values)
    return []


def _wanted(outputs: Any) -> tuple[Wanted, ...]:
    wanted: dict[str, Wanted] = {}
    for one in outputs:
        if one.name in wanted:
            raise HeliographError(
                Code.BAD_REQUEST, f"output '{one.name[:80]}' already exists in request"
            )
        parameters = _plain(one.parameters)
        wanted[one.name] = Wanted(
            one.name, binary=True, classes=classes(parameters), region=region(parameters)
        )
    return tuple(wanted.values())


def _plain(parameters: Any) -> dict[str, Any]:
    if not parameters:
        return {}
    plain: dict[str, Any] = {}
    for name, one in parameters.items():
        chosen = one.WhichOneof("parameter_choice")
        if chosen is None:
            raise HeliographError(Code.VALIDATION, f"parameter '{name[:60]}' has no value")
        plain[name] = getattr(one, chosen)
    return plain
