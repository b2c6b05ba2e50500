"""Inference over HTTP: `/v2/models/{name}[/versions/{version}]/infer`, `…/generate`."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import orjson
from starlette.requests import Request
from starlette.responses import Response

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http.payloads import (
    answer,
    answer_in_parts,
    coding_of,
    compress,
    read_body,
    read_json,
)
from heliograph.edge.http.query import credentials
from heliograph.edge.http.wire import EXTENSION
from heliograph.edge.oip.codec import (
    HEADER,
    read_header_length,
    read_question,
    read_whole,
    write_reply,
)
from heliograph.edge.oip.datatypes import NUMPY, datatype, read_list, write_list
from heliograph.edge.oip.describe import Described
from heliograph.edge.oip.dialect import Dialect, aside
from heliograph.edge.oip.parameters import check_parameters
from heliograph.edge.oip.values import Given, Question
from heliograph.runtimes.base import Tensor
from heliograph.serving.values import Entry, always

_TAKES = {"id", "parameters"}


async def infer(dialect: Dialect, request: Request, name: str, version: str) -> Response:
    """One inference request, from its head to its answer."""
    entry = enter(dialect, request, name, version)
    body = await read_body(request, dialect.options.most_bytes, entry.left())
    header = read_header_length(request.headers.get(HEADER, ""), len(body))
    if header == 0:
        one = await dialect.described(entry)
        kind = datatype(one.inputs[0].dtype) if one.inputs else ""
        question = read_whole(body, one.inputs, kind, batched=one.max_batch > 0)
    else:
        question = await aside(len(body), read_question, body, header, name)
    reply = await dialect.infer(entry, question, len(body))
    size = sum(one.array.nbytes for one in reply.outputs if one.array is not None)
    parts, length = await aside(size, write_reply, reply)
    coding = coding_of(request.headers.get("accept-encoding", ""))
    if coding:
        parts = [await compress(b"".join(parts), coding)]
    extra = [(b"content-encoding", coding.encode())] if coding else []
    if length is None:
        return answer_in_parts(parts, b"application/json", extra)
    extra.append((HEADER.encode(), str(length).encode()))
    return answer_in_parts(parts, b"application/octet-stream", extra)


async def generate(
    dialect: Dialect, request: Request, name: str, version: str, *, stream: bool
) -> Response:
    """The generate extension: inputs and outputs as plain members of a JSON object, one row."""
    entry = enter(dialect, request, name, version)
    said = await read_json(request, dialect.options.most_bytes)
    one = await dialect.described(entry)
    reply = await dialect.infer(entry, _plain_question(one, said), len(msgspec.json.encode(said)))
    told: dict[str, Any] = {"id": reply.id} if reply.id else {}
    told |= {"model_name": reply.model, "model_version": reply.version}
    for output in reply.outputs:
        assert output.array is not None
        values = write_list(output.array, output.datatype, output.name)
        told[output.name] = values[0] if len(values) == 1 else values
    body = orjson.dumps(told, option=orjson.OPT_SERIALIZE_NUMPY)
    if stream:
        return answer(b"data: " + body + b"\n\n", kind=b"text/event-stream; charset=utf-8")
    return answer(body)


def enter(dialect: Dialect, request: Request, name: str, version: str) -> Entry:
    """Decide on a call by its head."""
    connection = request.scope.get("extensions", {}).get(EXTENSION)
    alive = connection.alive if connection is not None else always
    sticky = request.headers.get("x-sticky-key", "")
    return dialect.enter(name, version, credentials(request), alive, sticky)


def _plain_question(one: Described, said: dict[str, Any]) -> Question:
    known = {tensor.name: tensor for tensor in one.inputs}
    parameters: dict[str, Any] = dict(said.get("parameters", {}))
    inputs: list[Given] = []
    for name, value in said.items():
        if name in known:
            inputs.append(_plain_input(known[name], value, batched=one.max_batch > 0))
        elif name not in _TAKES:
            parameters[name] = value
    check_parameters(parameters)
    return Question(str(said.get("id", "")), tuple(inputs), (), parameters=parameters)


def _plain_input(tensor: Tensor, value: Any, *, batched: bool) -> Given:
    values: list[Any] = value if isinstance(value, list) else [value]
    kind = datatype(tensor.dtype)
    shape = [1, *tensor.shape[1:]] if batched else list(tensor.shape)
    if shape.count(-1) == 1:
        shape[shape.index(-1)] = len(values) // max(1, abs(math.prod(shape)))
    wanted = str if NUMPY[kind].kind == "O" else int | float
    if -1 in shape or not all(isinstance(one, wanted) for one in values):
        raise HeliographError(
            Code.VALIDATION,
            f"attempt to access JSON '{tensor.name}' as a flat list of {kind} failed",
        )
    return Given(tensor.name, kind, tuple(shape), read_list(tensor.name, kind, shape, values))
