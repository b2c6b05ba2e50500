"""Methods of a service: bytes in, a message to a coroutine, a message or bytes out, errors told.

gRPC hands over bytes and takes bytes: were it to parse, a message that is none would be answered
with a library's text, and a tensor would be copied twice more.

    def handlers(services):
        return [service("grpc.health.v1.Health", {"Check": unary(Request, check)})]
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote

import grpc

from heliograph.core.call import Credentials
from heliograph.core.errors import HeliographError
from heliograph.edge.grpc.errors import Refusal, refuse, understand
from heliograph.edge.grpc.messages import parse

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any
"""A `grpc.RpcMethodHandler`, which is typed nowhere."""
Render = Callable[[HeliographError], Refusal]
Unary = Callable[[Any, Context], Awaitable[Any]]
Stream = Callable[[AsyncIterator[Any], Context], AsyncIterator[Any]]
_WHO = {"authorization", "heliograph-workspace"}


def unary(kind: Any, behave: Unary, *, render: Render = refuse) -> Handler:
    """A method of one question and one answer.

    Args:
        kind: class of the request; None hands the bytes over as they came.
        behave: answers with a message or with bytes; raises `HeliographError`.
        render: what a protocol makes of an error, where its clients want something of their own.
    """

    async def call(data: bytes, context: Context) -> bytes:
        try:
            question = data if kind is None else parse(kind, data)
            return to_bytes(await behave(question, context))
        except Exception as error:  # noqa: BLE001 - the last place where an error can be told
            return await abort(context, error, render)

    return grpc.unary_unary_rpc_method_handler(call)


def serial(kind: Any, behave: Unary, *, render: Render = refuse) -> Handler:
    """A method of one question and a stream of answers: `behave` gives an async iterator."""

    async def call(data: bytes, context: Context) -> AsyncIterator[bytes]:
        try:
            async for one in await behave(parse(kind, data), context):
                yield to_bytes(one)
        except Exception as error:  # noqa: BLE001 - the last place where an error can be told
            await abort(context, error, render)

    return grpc.unary_stream_rpc_method_handler(call)


def duplex(behave: Stream, *, render: Render = refuse) -> Handler:
    """A method of streams both ways; `behave` gets the bytes of each question as they come."""

    async def call(questions: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        try:
            async for one in behave(questions, context):
                yield to_bytes(one)
        except Exception as error:  # noqa: BLE001 - the last place where an error can be told
            await abort(context, error, render)

    return grpc.stream_stream_rpc_method_handler(call)


def service(name: str, methods: Mapping[str, Handler]) -> grpc.GenericRpcHandler:
    """A service of these methods, for `Server`."""
    return grpc.method_handlers_generic_handler(name, dict(methods))


async def abort(context: Context, error: Exception, render: Render = refuse) -> Any:
    """Tell an error and end the call; never returns."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    told = render(understand(error))
    await context.abort(told.status, told.detail, told.trailers)


def credentials(context: Context) -> Credentials:
    """What the call's metadata say of its sender."""
    said = {one: value for one, value in context.invocation_metadata() or () if one in _WHO}
    scheme, _, key = str(said.get("authorization", "")).partition(" ")
    return Credentials(
        key=key.strip() if scheme.lower() == "bearer" else "",
        workspace=str(said.get("heliograph-workspace", "")),
        address=_address(context.peer()),
    )


def _address(peer: str) -> str:
    """The address in gRPC's `ipv4:1.2.3.4:5` or `ipv6:[::1]:5`; empty for anything else."""
    kind, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in {"ipv4", "ipv6"} else ""


def metadata(context: Context, name: str) -> str:
    """A value of the call's metadata, by its name in lower case; empty when there is none."""
    for one, value in context.invocation_metadata() or ():
        if one == name:
            return value if isinstance(value, str) else ""
    return ""


def to_bytes(answer: Any) -> bytes:
    """An answer on the wire."""
    return answer if isinstance(answer, bytes) else answer.SerializeToString()
