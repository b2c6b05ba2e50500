"""The protocol over HTTP: every address under `/v2`, and who answers it.

Clients put model names into addresses with their slashes and blanks escaped, may add any query, and
expect of this protocol's errors a form of their own; therefore it finds its way by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.grpc.errors import understand
from heliograph.edge.http.booking import booked
from heliograph.edge.http.payloads import answer, read_json
from heliograph.edge.http.query import credentials
from heliograph.edge.oip import repository, rest
from heliograph.edge.oip.describe import configuration, metadata
from heliograph.edge.oip.dialect import Dialect
from heliograph.edge.oip.errors import respond
from heliograph.edge.oip.stats import statistics

Act = Callable[[Request], Awaitable[Response]]
Acts = dict[str, Act]
"""Who answers, by method."""


def routes(dialect: Dialect) -> list[Route]:
    """The routes of the protocol."""
    whole = Rest(dialect)
    return [Route("/v2", whole), Route("/v2/{rest:path}", whole)]


class Rest:
    """The ASGI application of every address under `/v2`."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        request = Request(scope, receive)
        try:
            services = self._dialect.services
            reply = await booked(services.books, services.gate, request, self._answer)
        except Exception as error:  # noqa: BLE001 - the last place where an error can be told
            known = understand(error)
            self._dialect.services.meter.problem(known.code)
            reply = respond(known)
        await reply(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.scope["raw_path"].decode("ascii").removeprefix("/v2").strip("/")
        acts = self._find([unquote(part) for part in path.split("/")] if path else [])
        act = acts.get("GET" if request.method == "HEAD" else request.method)
        if act is None:
            raise HeliographError(Code.METHOD_NOT_ALLOWED, "Method Not Allowed")
        return await act(request)

    def _find(self, parts: list[str]) -> Acts:
        match parts:
            case ["models", name, "infer"]:
                return {"POST": lambda request: rest.infer(self._dialect, request, name, "")}
            case ["models", name, "versions", version, "infer"]:
                return {"POST": lambda request: rest.infer(self._dialect, request, name, version)}
            case ["models", *below]:
                return self._models(below)
            case ["repository", *below]:
                return self._repository(below)
            case ["systemsharedmemory" | "cudasharedmemory" as kind, *below]:
                return self._memory(kind, below)
            case _:
                return self._server(parts)

    def _server(self, parts: list[str]) -> Acts:
        match parts:
            case []:
                return self._get(self._dialect.server)
            case ["health", "live"]:
                return {"GET": self._live}
            case ["health", "ready"]:
                return {"GET": self._ready}
            case ["trace", "setting"]:
                return self._trace("")
            case ["logging"]:
                return {"GET": self._read_log, "POST": self._change_log}
            case _:
                raise HeliographError(Code.NOT_FOUND, "Not Found")

    def _models(self, below: list[str]) -> Acts:
        dialect = self._dialect
        match below:
            case []:
                return self._get(lambda: {"models": list(dialect.services.catalog.products)})
            case ["stats"]:
                return self._get(lambda: _off_loop(lambda: _stats(dialect, "", "")))
            case [name, "versions", version, *rest]:
                return self._model(name, version, rest)
            case [name, *rest]:
                return self._model(name, "", rest)
            case _:
                raise HeliographError(Code.NOT_FOUND, "Not Found")

    def _model(self, name: str, version: str, rest_of: list[str]) -> Acts:
        dialect = self._dialect
        match rest_of:
            case []:
                return self._get(lambda: self._metadata(name, version))
            case ["ready"]:
                return {"GET": lambda request: self._model_ready(request, name, version)}
            case ["config"]:
                return self._get(lambda: self._config(name, version))
            case ["stats"]:
                return self._get(lambda: _off_loop(lambda: _stats(dialect, name, version)))
            case ["generate" | "generate_stream" as how]:
                stream = how == "generate_stream"
                return {
                    "POST": lambda request: rest.generate(
                        dialect, request, name, version, stream=stream
                    )
                }
            case ["trace", "setting"] if not version:
                return self._trace(name)
            case _:
                raise HeliographError(Code.NOT_FOUND, "Not Found")

    def _get(self, make: Callable[[], Any], needs: Permission = Permission.MODELS_READ) -> Acts:
        """An address to read, for callers with a key; `make` may be a coroutine's function."""

        async def read(request: Request) -> Response:
            self._dialect.check(credentials(request), needs)
            made = make()
            return _json(await made if asyncio.iscoroutine(made) else made)

        return {"GET": read}

    # --- health ------------------------------------------------------------------------------

    async def _live(self, request: Request) -> Response:
        del request
        return _json({"live": True})

    async def _ready(self, request: Request) -> Response:
        del request
        if not self._dialect.ready():
            raise HeliographError(Code.MODEL_UNAVAILABLE, "The server is not ready")
        return _json({"ready": True})

    async def _model_ready(self, request: Request, name: str, version: str) -> Response:
        self._dialect.check(credentials(request), Permission.MODELS_READ)
        if not self._dialect.model_ready(name, version):
            raise HeliographError(Code.MODEL_UNAVAILABLE, "Model version not ready")
        return _json({"name": name, "ready": True})

    # --- models ------------------------------------------------------------------------------

    async def _metadata(self, name: str, version: str) -> Any:
        one = await self._dialect.describe(name, version)
        versions = [one.model.version] if version else self._dialect.versions(name)
        return metadata(one, versions)

    async def _config(self, name: str, version: str) -> Any:
        return configuration(await self._dialect.describe(name, version))

    # --- repository --------------------------------------------------------------------------

    def _repository(self, below: list[str]) -> Acts:
        match below:
            case ["index"]:
                return {"POST": self._index}
            case ["models", name, "load"]:
                return {"POST": lambda request: self._load(request, name)}
            case ["models", name, "unload"]:
                return {"POST": lambda request: self._unload(request, name)}
            case [_, "index"] | [_, "models", _, "load" | "unload"]:
                raise HeliographError(
                    Code.UNSUPPORTED, "'repository_name' specification is not supported"
                )
            case _:
                raise HeliographError(Code.NOT_FOUND, "Not Found")

    async def _index(self, request: Request) -> Response:
        self._dialect.check(credentials(request), Permission.MODELS_READ)
        said = await self._said(request)
        ready = said.get("ready", False)
        if not isinstance(ready, bool) or set(said) - {"ready"}:
            raise HeliographError(
                Code.VALIDATION, "'ready' must be true or false, and nothing else"
            )
        return _json(repository.index(self._dialect, ready=ready))

    async def _load(self, request: Request, name: str) -> Response:
        self._dialect.check(credentials(request), Permission.MODELS_WRITE)
        parameters = _parameters(await self._said(request))
        decoded = {
            key: repository.decode_file(value) if key.startswith("file:") else value
            for key, value in parameters.items()
        }
        await repository.load(self._dialect, name, decoded)
        return answer(b"")

    async def _unload(self, request: Request, name: str) -> Response:
        self._dialect.check(credentials(request), Permission.MODELS_WRITE)
        await repository.unload(self._dialect, name, _parameters(await self._said(request)))
        return answer(b"")

    # --- shared memory -----------------------------------------------------------------------

    def _memory(self, kind: str, below: list[str]) -> Acts:
        cuda = kind == "cudasharedmemory"
        match below:
            case ["region", name, "status"]:
                return self._get(lambda: self._regions(name, cuda=cuda), Permission.SERVER_OPERATE)
            case ["status"]:
                return self._get(lambda: self._regions("", cuda=cuda), Permission.SERVER_OPERATE)
            case ["region", name, "register"]:
                return {"POST": lambda request: self._register(request, name, cuda=cuda)}
            case ["region", name, "unregister"]:
                return {"POST": lambda request: self._unregister(request, name)}
            case ["unregister"]:
                return {"POST": lambda request: self._unregister(request, "")}
            case _:
                raise HeliographError(Code.NOT_FOUND, "Not Found")

    def _regions(self, name: str, *, cuda: bool) -> list[dict[str, Any]]:
        found = self._dialect.memory.status("" if cuda else name)
        if cuda:
            return []
        return [
            {
                "name": one.name,
                "key": one.key,
                "offset": one.offset,
                "byte_size": one.byte_size,
            }
            for one in found
        ]

    async def _register(self, request: Request, name: str, *, cuda: bool) -> Response:
        self._dialect.check(credentials(request), Permission.SERVER_OPERATE)
        said = await self._said(request)
        if cuda:
            raise self._dialect.no_cuda(name)
        key, offset, size = said.get("key"), said.get("offset", 0), said.get("byte_size")
        if not isinstance(key, str) or type(offset) is not int or type(size) is not int:
            raise HeliographError(
                Code.VALIDATION, "a region needs 'key', a text, 'offset' and 'byte_size', numbers"
            )
        self._dialect.memory.register(name, key, offset, size)
        return answer(b"")

    async def _unregister(self, request: Request, name: str) -> Response:
        self._dialect.check(credentials(request), Permission.SERVER_OPERATE)
        self._dialect.memory.unregister(name)
        return answer(b"")

    # --- trace and log -----------------------------------------------------------------------

    def _trace(self, model: str) -> Acts:
        def look() -> Any:
            if model:
                self._dialect.find(model)
            return self._dialect.trace.read(model)

        async def change(request: Request) -> Response:
            self._dialect.check(credentials(request), Permission.SERVER_OPERATE)
            if model:
                self._dialect.find(model)
            return _json(await self._dialect.change_trace(await self._said(request), model))

        return self._get(look) | {"POST": change}

    async def _read_log(self, request: Request) -> Response:
        self._dialect.check(credentials(request), Permission.SERVER_OPERATE)
        return _json(self._dialect.log.read())

    async def _change_log(self, request: Request) -> Response:
        self._dialect.check(credentials(request), Permission.SERVER_OPERATE)
        self._dialect.check_alone("A change of log settings")
        return _json(self._dialect.log.update(await self._said(request)))

    async def _said(self, request: Request) -> dict[str, Any]:
        return await read_json(request, self._dialect.options.most_bytes)


async def _off_loop(work: Callable[[], Any]) -> Any:
    """Done on a thread: it counts rows and reads the counters of all workers."""
    return await asyncio.to_thread(work)


def _stats(dialect: Dialect, name: str, version: str) -> dict[str, Any]:
    return {"model_stats": statistics(dialect, name, version)}


def _parameters(said: dict[str, Any]) -> dict[str, Any]:
    parameters = said.get("parameters", {})
    if not isinstance(parameters, dict) or set(said) - {"parameters"}:
        raise HeliographError(Code.VALIDATION, "'parameters' must be an object, and nothing else")
    return parameters


def _json(body: Any) -> Response:
    return answer(msgspec.json.encode(body))
