"""Doors: addresses of our API that say, all in one value, who may come in and what goes through.

    Door("POST", "/api/v1/keys", Permission.KEYS_WRITE, create, takes=NewKey, gives=KeySecret)

A door that needs nothing is visibly `PUBLIC`. What goes through is checked before the use case is
called: the caller, the query, the body against `takes`, where unknown names are errors. The use
case runs in a thread, since it reads and writes the database. The same value makes the route, its
entry in OpenAPI and the tests that try every door with the wrong key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Annotated, Any, Final, Literal, TypeVar, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from heliograph.core.call import NO_CREDENTIALS, Caller, Credentials
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.books import Books
from heliograph.edge.http import strictjson
from heliograph.edge.http.booking import booked
from heliograph.edge.http.payloads import receive_all
from heliograph.edge.http.query import credentials, read_query
from heliograph.serving.values import Gate

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
PUBLIC: Final = None
"""Needs no key: anybody may come in."""
S = TypeVar("S", bound=msgspec.Struct)
_MOST_BYTES = 64 << 10
_BODY_SECONDS = 30.0
NOBODY = Caller("nobody")


class Page(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which part of a list.

    Attributes:
        after: id of the last one seen; empty to begin.
        limit: most to be told.
    """

    after: Annotated[str, msgspec.Meta(max_length=80)] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """What came through a door.

    Attributes:
        caller: who, as the gate found out; `NOBODY` at a public door.
        path: the address's parameters by name.
        query: an instance of the door's `query`; None if it has none.
        body: an instance of the door's `takes`; bytes if that is `bytes`; None if it has none.
        credentials: what the request said of its sender, for doors that log people in and out.
        headers: by lower-case name.
    """

    caller: Caller
    path: Mapping[str, str] = field(default_factory=dict[str, str])
    query: Any = None
    body: Any = None
    credentials: Credentials = NO_CREDENTIALS
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is more than JSON with status 200.

    Attributes:
        body: bytes as they are, or anything that msgspec writes as JSON.
        status: of HTTP.
        media: content type of bytes.
        headers: further headers.
    """

    body: Any
    status: int = 200
    media: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Door:
    """One method of one address.

    Attributes:
        method: of HTTP.
        path: with `{name}` for its parameters.
        needs: the permission to ask the gate for; `PUBLIC` for none.
        use: the use case; gives anything that msgspec writes as JSON, None for status 204, or a
            `Reply`. It runs in a thread.
        summary: one line for the reference.
        tag: the reference's chapter.
        takes: a struct that the body must be (unknown fields refused), or `bytes`.
        gives: the struct of the answer, for the reference; `bytes` for files.
        query: a struct of text-like fields that the query must be.
        codes: which refusals it may answer besides those that any door may.
        status: of a good answer, for the reference.
        most: bytes of the largest body.
    """

    method: Method
    path: str
    needs: Permission | None
    use: Callable[[Asked], Any]
    summary: str = ""
    tag: str = ""
    takes: type[msgspec.Struct | bytes] | None = None
    gives: Any = None
    query: type[msgspec.Struct] | None = None
    codes: tuple[Code, ...] = ()
    status: int = 200
    most: int = _MOST_BYTES


def routes(gate: Gate, books: Books, doors: Iterable[Door]) -> list[Route]:
    """The routes of these doors."""
    ordered = sorted(doors, key=lambda door: door.path)
    by_path = groupby(ordered, lambda door: door.path)
    return [_route(gate, books, path, list(group)) for path, group in by_path]


def _route(gate: Gate, books: Books, path: str, doors: list[Door]) -> Route:
    by_method = {door.method: (_opened(gate, door), door.needs) for door in doors}

    async def answer(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        act, needs = by_method[method]
        return await booked(books, gate, request, act, needs)

    return Route(path, answer, methods=list(by_method))


def _opened(gate: Gate, door: Door) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def answer(request: Request) -> Response:
        said = credentials(request)
        caller = gate.check(said, door.needs) if door.needs else NOBODY
        query = _query(request, door.query)
        body = await _body(request, door)
        asked = Asked(caller, request.path_params, query, body, said, request.headers)
        return _told(await asyncio.to_thread(door.use, asked), door)

    return answer


def _query(request: Request, kind: type[S] | None) -> S | None:
    said = read_query(request)
    if kind is None:
        for name in said:
            raise HeliographError(
                Code.UNKNOWN_FILTER, f"This address takes no parameter; {name[:60]!r} came."
            )
        return None
    for name in said:
        if name not in kind.__struct_encode_fields__:
            known = ", ".join(kind.__struct_encode_fields__)
            raise HeliographError(
                Code.UNKNOWN_FILTER, f"There is no parameter {name[:60]!r}; there are {known}."
            )
    try:
        return msgspec.convert(said, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _refuse(str(error)) from error


async def _body(request: Request, door: Door) -> Any:
    if door.takes is None:
        return None
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > door.most:
        raise _too_large(door.most)
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await receive_all(request)
    except TimeoutError as error:
        raise HeliographError(Code.REQUEST_TIMEOUT, "The body did not arrive in time.") from error
    if len(body) > door.most:
        raise _too_large(door.most)
    if door.takes is bytes:
        return body
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Never a form or text/plain: those are what another site's page can send without asking.
        raise HeliographError(Code.UNSUPPORTED_MEDIA, "Send Content-Type: application/json.")
    return read_struct(body, cast("type[msgspec.Struct]", door.takes))


def read_struct(body: bytes, kind: type[S]) -> S:
    """A JSON body as a struct.

    Raises:
        HeliographError: the JSON codes, `unknown_field` or `validation`.
    """
    try:
        return msgspec.convert(strictjson.parse(body), kind)
    except msgspec.ValidationError as error:
        raise _refuse(str(error)) from error


def _refuse(message: str) -> HeliographError:
    # msgspec's messages name the field and the bound of our own declaration: ours to show.
    code = Code.UNKNOWN_FIELD if "unknown field" in message else Code.VALIDATION
    return HeliographError(code, f"{message[:300]}.")


def _too_large(most: int) -> HeliographError:
    return HeliographError(Code.TOO_LARGE, f"The body may be {most} bytes.")


def _told(given: Any, door: Door) -> Response:
    made = given if isinstance(given, Reply) else Reply(given, door.status)
    headers = {"cache-control": "no-store", **made.headers}
    if made.body is None:
        return Response(status_code=204 if made.status == 200 else made.status, headers=headers)
    body = made.body if isinstance(made.body, bytes) else msgspec.json.encode(made.body)
    return Response(body, made.status, headers=headers, media_type=made.media)
