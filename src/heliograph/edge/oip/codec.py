"""The REST body of an inference: JSON, or JSON followed by the raw bytes of tensors. Pure.

    body = JSON header || raw bytes of each input that says `binary_data_size`, in their order

The header's length comes in `Inference-Header-Content-Length`; without it the body is all JSON; 0
stands for a body that is one raw tensor. Unknown fields and duplicate keys are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import orjson

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http import strictjson
from heliograph.edge.oip.datatypes import (
    Array,
    byte_size,
    check,
    read_list,
    read_raw,
    write_list,
    write_raw,
)
from heliograph.edge.oip.parameters import check_parameters, classes, region
from heliograph.edge.oip.values import Given, Question, Reply, Told, Wanted
from heliograph.runtimes.base import Tensor

HEADER = "inference-header-content-length"
LONGEST_LIST = 64 << 20
_DEEPEST = 100
_SHORT = 64 << 10
_PLAIN = b"".join([bytes([one]) for one in range(256) if one not in b"[]"])
_DIGITS = re.compile(r"[0-9]{1,12}")


class _Named(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parameters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class _Tensor(_Named, forbid_unknown_fields=True, kw_only=True):
    shape: list[int]
    datatype: str
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[_Tensor]
    id: str | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    outputs: list[_Named] | msgspec.UnsetType = msgspec.UNSET
    # kserve's client says again what stands in the address.
    model_name: str | msgspec.UnsetType | None = msgspec.UNSET
    model_version: str | msgspec.UnsetType | None = msgspec.UNSET


_decoder = msgspec.json.Decoder(_Request)
_LISTS: dict[str, msgspec.json.Decoder[list[Any]]] = {
    "BOOL": msgspec.json.Decoder(list[bool | int]),
    "FP32": msgspec.json.Decoder(list[float]),
    "FP64": msgspec.json.Decoder(list[float]),
    "BYTES": msgspec.json.Decoder(list[str]),
}
_integers = msgspec.json.Decoder(list[int])


def read_header_length(said: str, total: int) -> int | None:
    """The length of the JSON header; None when the body is all JSON.

    Args:
        said: the header `Inference-Header-Content-Length` as sent; empty for none.
        total: bytes of the body.

    Raises:
        HeliographError: `bad_request`.
    """
    if not said:
        return None
    if not _DIGITS.fullmatch(said):
        raise HeliographError(
            Code.BAD_REQUEST, f"Unable to parse Inference-Header-Content-Length, got: {said[:20]}"
        )
    length = int(said)
    if length > total:
        raise HeliographError(
            Code.BAD_REQUEST,
            f"inference header size should be in range (0, {total}), got: {length}",
        )
    return length


def read_question(body: bytes, header: int | None, model: str) -> Question:
    """Read an inference request.

    Args:
        body: decompressed.
        header: bytes of its JSON; None for all of them.
        model: name of the model, for errors.

    Raises:
        HeliographError: whatever is wrong with it; nothing of it was run.
    """
    whole = body if header is None else body[:header]
    said = _parse(whole)
    if said.model_name and said.model_name != model:
        raise HeliographError(
            Code.BAD_REQUEST,
            f"the body names model '{said.model_name[:80]}', but the address '{model[:80]}'",
        )
    rest = memoryview(body)[header:] if header is not None else None
    inputs: list[Given] = []
    seen: set[str] = set()
    for one in said.inputs:
        if one.name in seen:
            raise _twice("input", one.name)
        seen.add(one.name)
        given, rest = _given(one, rest, model)
        inputs.append(given)
    if rest:
        raise HeliographError(
            Code.BAD_SHAPE, f"unexpected additional input data for model '{model}'"
        )
    parameters = said.parameters or {}
    check_parameters(parameters)
    binary = parameters.get("binary_data_output", False) is True
    return Question(said.id or "", tuple(inputs), _outputs(said, binary), binary, parameters)


def read_whole(body: bytes, inputs: tuple[Tensor, ...], kind: str, *, batched: bool) -> Question:
    """Read a raw binary request: the whole body is the model's one input, as a batch of one.

    Args:
        body: decompressed.
        inputs: of the model.
        kind: datatype of its first input.
        batched: whether the model's first axis is a batch.

    Raises:
        HeliographError: `bad_shape`; such a request does not fit this model or these bytes.
    """
    if len(inputs) != 1:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"Raw request must only have 1 input (found {len(inputs)}) to be deduced but got "
            f"{len(inputs)} inputs in the model's signature",
        )
    name = inputs[0].name
    shape = [1, *inputs[0].shape[1:]] if batched else list(inputs[0].shape)
    open_axes = [at for at, size in enumerate(shape) if size == -1]
    if kind == "BYTES":
        if len(open_axes) > 1 or any(size not in {-1, 1} for size in shape):
            raise HeliographError(
                Code.BAD_SHAPE,
                f"For BYTE datatype raw input '{name}', the model must have input shape [1]",
            )
        array = np.empty([1] * len(shape), object)
        array.fill(body)
    else:
        if len(open_axes) > 1:
            raise HeliographError(
                Code.BAD_SHAPE,
                f"The shape of the raw input '{name}' can not be deduced because there are more "
                "than one variable-sized dimension",
            )
        one = byte_size(kind, abs(math.prod(shape))) or 1
        for at in open_axes:
            shape[at] = len(body) // one
        array = read_raw(name, kind, shape, body)
    given = Given(name, kind, array.shape, array)
    return Question("", (given,), (), binary=True)


def write_reply(reply: Reply) -> tuple[list[bytes | memoryview], int | None]:
    """The body of an answer.

    Returns:
        Its parts in order, and the length of the JSON header; None when it is all JSON.

    Raises:
        HeliographError: `validation`; a tensor has no form in JSON.
    """
    outputs: list[dict[str, Any]] = []
    raws: list[bytes | memoryview] = []
    for one in reply.outputs:
        told: dict[str, Any] = {"name": one.name, "datatype": one.datatype, "shape": one.shape}
        if one.region is not None:
            told["parameters"] = {
                "shared_memory_region": one.region.name,
                "shared_memory_offset": one.region.offset,
                "shared_memory_byte_size": one.region.size,
            }
        elif one.binary:
            raw = write_raw(_array(one), one.datatype)
            told["parameters"] = {"binary_data_size": len(raw)}
            raws.append(raw)
        else:
            told["data"] = write_list(_array(one), one.datatype, one.name)
        outputs.append(told)
    said: dict[str, Any] = {"id": reply.id} if reply.id else {}
    said |= {"model_name": reply.model, "model_version": reply.version}
    if reply.parameters:
        said["parameters"] = reply.parameters
    header = orjson.dumps(said | {"outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    if not any(map(len, raws)):
        return [header], None
    return [header, *raws], len(header)


def _parse(header: bytes) -> _Request:
    try:
        said = _decoder.decode(header)
    except RecursionError as error:
        raise _too_deep() from error
    except (msgspec.DecodeError, ValueError) as error:
        if len(header) <= _SHORT:  # says more exactly what is wrong with the JSON itself
            strictjson.parse(header)
        _check_depth(header)
        raise _explain(error) from error
    # Each key has one colon, and only texts can have more: with as many colons as known keys
    # there is no key twice.
    if not _occurs(header, b":", _keys(said)):
        strictjson.parse(_skeleton(header, said))
    return said


def _occurs(text: bytes, sign: bytes, times: int) -> bool:
    """Whether a sign stands in a text exactly so often.

    Looking for the next one is ten times as fast as counting where there are few in megabytes.
    """
    at = -1
    for _ in range(times):
        at = text.find(sign, at + 1)
        if at < 0:
            return False
    return text.find(sign, at + 1) < 0


def _keys(said: _Request) -> int:
    optional = (said.id, said.outputs, said.model_name, said.model_version)
    count = 1 + sum(one is not msgspec.UNSET for one in optional)
    count += _parameter_keys(said.parameters)
    for one in said.inputs:
        count += 3 + (one.data is not msgspec.UNSET) + _parameter_keys(one.parameters)
    for one in said.outputs or ():
        count += 1 + _parameter_keys(one.parameters)
    return count


def _parameter_keys(given: Mapping[str, Any] | msgspec.UnsetType) -> int:
    return 0 if given is msgspec.UNSET else 1 + len(given)


def _skeleton(header: bytes, said: _Request) -> bytes:
    """The JSON without its tensors' elements, so that looking through it costs little."""
    for one in said.inputs:
        if one.data is not msgspec.UNSET:
            data = bytes(one.data)
            if len(data) > 64:
                header = header.replace(data, b"0", 1)
    return header


def _given(said: _Tensor, rest: memoryview | None, model: str) -> tuple[Given, memoryview | None]:
    """One input, and what is left of the raw bytes after it."""
    parameters = said.parameters or {}
    count = check(said.name, said.datatype, said.shape)
    shape = tuple(said.shape)
    where = region(parameters)
    size = parameters.get("binary_data_size")
    if where is not None or size is not None:
        if said.data is not msgspec.UNSET:
            raise HeliographError(
                Code.BAD_REQUEST,
                f"must not specify 'data' for input '{said.name}', whose bytes lie elsewhere",
            )
        if where is not None:
            return Given(said.name, said.datatype, shape, None, where), rest
        raw, rest = _take(said, size, rest, count, model)
        return Given(
            said.name, said.datatype, shape, read_raw(said.name, said.datatype, shape, raw)
        ), rest
    if said.data is msgspec.UNSET:
        raise HeliographError(
            Code.BAD_REQUEST, f"must specify 'data' for input '{said.name}' of model '{model}'"
        )
    values = _values(said.name, said.datatype, said.data)
    return Given(
        said.name, said.datatype, shape, read_list(said.name, said.datatype, shape, values)
    ), rest


def _take(
    said: _Tensor, size: Any, rest: memoryview | None, count: int, model: str
) -> tuple[memoryview, memoryview]:
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise HeliographError(
            Code.BAD_REQUEST,
            f"Unable to parse 'binary_data_size' of input '{said.name}': it must be a number of "
            "bytes",
        )
    if rest is None:
        raise HeliographError(
            Code.BAD_REQUEST,
            "must specify valid 'Infer-Header-Content-Length' in request header and 'binary_data' "
            "when passing inputs in binary data format",
        )
    expected = byte_size(said.datatype, count)
    if expected is not None and size != expected:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"unexpected total byte size {size} for input '{said.name}', expecting {expected}",
        )
    if size > len(rest):
        raise HeliographError(
            Code.BAD_SHAPE,
            f"unexpected size for input '{said.name}', expecting {size - len(rest)} additional "
            f"bytes for model '{model}'",
        )
    return rest[:size], rest[size:]


def _values(name: str, kind: str, data: msgspec.Raw) -> list[Any]:
    """The elements of a JSON list, flat, whatever its nesting."""
    text = bytes(data)
    if len(text) > LONGEST_LIST:
        raise HeliographError(
            Code.TOO_LARGE,
            f"JSON of input '{name}' is larger than {LONGEST_LIST} bytes. Use the binary data "
            "format. Use --http-max-input-size to increase the limit.",
        )
    decoder = _LISTS.get(kind, _integers)
    flat = text
    if not _occurs(text, b"[", 1):
        if kind == "BYTES":  # a string may hold brackets, too
            return _flatten(name, text)
        _check_depth(text)
        # The whole has been parsed once, so that brackets can only stand where brackets may.
        flat = b"[" + text.translate(None, b"[]") + b"]"
    try:
        return decoder.decode(flat)
    except (msgspec.DecodeError, ValueError) as error:
        code = Code.JSON_BAD_NUMBER if "range" in str(error) else Code.VALIDATION
        raise HeliographError(
            code, f"unable to parse 'data' of input '{name}' as {kind}"
        ) from error


def _flatten(name: str, text: bytes) -> list[Any]:
    flat: list[Any] = []
    try:
        waiting = [iter(msgspec.json.decode(text))]
    except (RecursionError, TypeError) as error:
        raise _too_deep() from error
    while waiting:
        for one in waiting[-1]:
            if isinstance(one, list):
                if len(waiting) >= _DEEPEST:
                    raise _too_deep()
                waiting.append(iter(one))
                break
            if not isinstance(one, str):
                raise HeliographError(
                    Code.VALIDATION, f"unable to parse 'data' of input '{name}' as BYTES"
                )
            flat.append(one)
        else:
            waiting.pop()
    return flat


def _check_depth(text: bytes) -> None:
    if b"[" * 8 not in text and text.count(b"[") <= _DEEPEST:
        return
    brackets = text.translate(None, _PLAIN)
    depth = np.cumsum(np.where(np.frombuffer(brackets, np.uint8) == ord("["), 1, -1))
    if depth.size and int(depth.max()) >= _DEEPEST:
        raise _too_deep()


def _outputs(said: _Request, binary: bool) -> tuple[Wanted, ...]:  # noqa: FBT001 - as the wire says
    wanted: list[Wanted] = []
    seen: set[str] = set()
    for one in said.outputs or ():
        if one.name in seen:
            raise _twice("output", one.name)
        seen.add(one.name)
        parameters = one.parameters or {}
        raw = parameters.get("binary_data", binary)
        if not isinstance(raw, bool):
            raise HeliographError(
                Code.VALIDATION, f"'binary_data' of output '{one.name}' must be true or false"
            )
        wanted.append(Wanted(one.name, raw, classes(parameters), region(parameters)))
    return tuple(wanted)


def _array(told: Told) -> Array:
    assert told.array is not None
    return told.array


def _explain(error: Exception) -> HeliographError:
    # msgspec's messages of a validation speak of our own declaration: ours to show.
    if isinstance(error, msgspec.ValidationError):
        return HeliographError(Code.VALIDATION, f"The request is not valid: {error}")
    return HeliographError(Code.MALFORMED_JSON, "failed to parse the request JSON buffer")


def _too_deep() -> HeliographError:
    return HeliographError(
        Code.JSON_TOO_DEEP, f"JSON nesting depth exceeds maximum allowed limit ({_DEEPEST})"
    )


def _twice(what: str, name: str) -> HeliographError:
    return HeliographError(Code.BAD_REQUEST, f"{what} '{name[:80]}' already exists in request")
