"""Everything under `/v1`: TensorFlow Serving's REST API, and KServe v1 beside it.

    GET  /v1/models/M[/versions/V|/labels/L]             how far its versions are, and is it ready
    GET  /v1/models/M[/versions/V|/labels/L]/metadata    its signature
    POST /v1/models/M[/versions/V|/labels/L]:predict     rows or columns; also :classify, :regress
    GET  /v1/models                                      KServe's list
    GET  /monitoring/prometheus/metrics                  the metrics under its names

Addresses under `/v1` are told apart here, not by the router: capitals do not matter, names are
percent-encoded, and what is malformed is a 400 with the address in it, as its clients expect.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.http.booking import booked
from heliograph.edge.http.payloads import read_body
from heliograph.edge.http.query import credentials, read_query
from heliograph.edge.http.wire import EXTENSION
from heliograph.edge.oip.kserve import kserve_models, kserve_ready
from heliograph.edge.services import Services
from heliograph.edge.tfserving import answers, errors, examples, metrics, replies, signatures
from heliograph.edge.tfserving.codec import Question, read_predict
from heliograph.edge.tfserving.spec import (
    Spec,
    check_signature,
    enter,
    file_input,
    signature_of,
    statuses,
    version_number,
)
from heliograph.edge.waiting import wait
from heliograph.runtimes.base import Arrays, Tensor
from heliograph.serving.values import Entry, Tensors, always

_WHERE = r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_CALL = re.compile(rf"{_WHERE}:(classify|regress|predict|explain)", re.IGNORECASE)
_LOOK = re.compile(rf"{_WHERE}(/metadata)?", re.IGNORECASE)
_LIST = re.compile(r"/v1/models", re.IGNORECASE)
MOST_BYTES = 64 << 20
"""Of a body when it is unpacked."""
_LARGE = 1 << 20
"""Bodies and answers of more bytes are read and written beside the event loop."""

Handler = Callable[[Request], Awaitable[Response]]


def routes(services: Services) -> list[BaseRoute]:
    """The routes of this API; what `/v1` takes is case-insensitive."""
    return [
        Under("/v1/{rest:path}", endpoint=Endpoint(services, Api(services).answer)),
        Route(
            "/monitoring/prometheus/metrics",
            endpoint=Endpoint(services, metrics.page(services)),
        ),
    ]


class Under(Route):
    """Every address that begins with `/v1/`, in any case, with any method."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See `starlette.routing.Route.matches`."""
        if scope["type"] == "http" and scope["path"][:4].lower() == "/v1/":
            return Match.FULL, {"endpoint": self.endpoint, "path_params": {}}
        return Match.NONE, {}


class Endpoint:
    """A handler whose errors are told as TensorFlow Serving tells them."""

    def __init__(self, services: Services, handle: Handler) -> None:
        self._services = services
        self._handle = handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        try:
            books, gate = self._services.books, self._services.gate
            reply = await booked(books, gate, Request(scope, receive), self._handle)
        except Exception as error:  # noqa: BLE001 - the last place where an error can be told
            known = errors.understand(error)
            self._services.meter.problem(known.code)
            reply = errors.respond(known)
        await reply(scope, receive, send)


class Api:
    """The API over these services."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(self, request: Request) -> Response:
        """Find out what an address means and do it."""
        read_query(request)
        path = _raw_path(request.scope)
        if request.method == "POST" and (call := _CALL.fullmatch(path)):
            return await self._call(request, _spec(call), call[4].lower())
        if request.method == "GET" and (look := _LOOK.fullmatch(path)):
            self._services.gate.check(credentials(request), Permission.MODELS_READ)
            return await (self._metadata if look[4] else self._status)(request, _spec(look))
        if request.method == "GET" and _LIST.fullmatch(path):
            self._services.gate.check(credentials(request), Permission.MODELS_READ)
            return errors.write(msgspec.json.encode(kserve_models(self._services)))
        raise HeliographError(
            Code.BAD_REQUEST, f"Malformed request: {request.method[:16]} {path[:200]}"
        )

    async def _call(self, request: Request, spec: Spec, method: str) -> Response:
        if method == "explain":
            self._services.gate.check(credentials(request), Permission.MODELS_CALL, spec.name)
            raise HeliographError(Code.UNSUPPORTED, "Explanations are not offered here.")
        connection = request.scope.get("extensions", {}).get(EXTENSION)
        alive = connection.alive if connection is not None else always
        sticky = request.headers.get("x-sticky-key", "")
        entry = enter(self._services, spec, credentials(request), alive, sticky)
        body = await read_body(request, MOST_BYTES, entry.left())
        inputs = (await signature_of(entry.model)).inputs
        if method == "predict":
            return await self._predict(entry, body, inputs)
        return await self._examples(entry, body, inputs, method)

    async def _predict(self, entry: Entry, body: bytes, inputs: tuple[Tensor, ...]) -> Response:
        files = file_input(entry.model, inputs)
        question: Question = await _apart(len(body), read_predict, body, inputs, files)
        check_signature(question.signature)
        found = await self._run(entry, question.feeds, len(body))
        size = sum(one.nbytes for one in found.arrays.values())
        text = await _apart(size, replies.write_predict, found.arrays, rows=question.rows)
        return _told(text, found)

    async def _examples(
        self, entry: Entry, body: bytes, inputs: tuple[Tensor, ...], method: str
    ) -> Response:
        model = entry.model
        check = answers.check_classifies if method == "classify" else answers.check_regresses
        check(model)
        name, rows = await _apart(len(body), examples.read_examples, body)
        check_signature(name)
        feeds = examples.feeds_of(rows, inputs, file_input(model, inputs))
        found = await self._run(entry, feeds, len(body))
        if method == "classify":
            return _told(answers.results(answers.classify(model, found.arrays)), found)
        return _told(answers.results(answers.regress(found.arrays)), found)

    async def _run(self, entry: Entry, feeds: Arrays, size: int) -> Tensors:
        return await wait(entry, self._services.path.submit_tensors(entry, feeds, size))

    async def _status(self, request: Request, spec: Spec) -> Response:
        del request
        said = statuses(self._services, spec)
        versions = [
            {
                "version": one.version,
                "state": one.state,
                "status": {"error_code": one.code, "error_message": one.message},
            }
            for one in said
        ]
        # TensorFlow Serving's clients read the first member, KServe's the other two.
        body = {"model_version_status": versions} | self._ready(spec)
        return errors.write(msgspec.json.encode(body))

    def _ready(self, spec: Spec) -> dict[str, Any]:
        """Where KServe alone would say 503, its clients read `ready` of a 200 just as well."""
        try:
            return kserve_ready(self._services.catalog.find(spec.name, spec.version or spec.label))
        except HeliographError:
            return {"name": spec.name, "ready": False}

    async def _metadata(self, request: Request, spec: Spec) -> Response:
        model = enter(self._services, spec, credentials(request)).model
        said = signatures.in_json(spec.name, model.version, await signature_of(model))
        return errors.write(msgspec.json.encode(said))


def _spec(found: re.Match[str]) -> Spec:
    try:
        name, label = (unquote(found[at] or "", errors="strict") for at in (1, 3))
    except UnicodeDecodeError as error:
        raise HeliographError(Code.BAD_REQUEST, "Failed to decode model name") from error
    return Spec(name, version_number(found[2]) if found[2] else "", label)


def _raw_path(scope: Scope) -> str:
    raw = scope.get("raw_path") or scope["path"].encode()
    return raw.decode("ascii", "replace")


async def _apart(size: int, work: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Do something that takes as long as so many bytes; beside the event loop if that is long."""
    if size > _LARGE:
        return await asyncio.to_thread(work, *given, **named)
    return work(*given, **named)


def _told(body: bytes, found: Tensors) -> Response:
    """An answer with its id and timings, as our own API has them."""
    reply = errors.write(body)
    steps = found.timings.rounded().items()
    reply.headers["server-timing"] = ", ".join(f"{step};dur={ms:.3f}" for step, ms in steps)
    reply.headers["x-request-id"] = found.id
    return reply
