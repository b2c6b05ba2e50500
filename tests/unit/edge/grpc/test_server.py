"""The ground under every gRPC protocol, with a service of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest

from heliograph.core.errors import TABLE, Code, HeliographError
from heliograph.edge.grpc import health, messages
from heliograph.edge.grpc.calls import credentials, duplex, metadata, serial, service, unary
from heliograph.edge.grpc.errors import refuse
from heliograph.edge.grpc.ports import reserve
from heliograph.edge.grpc.server import GrpcLimits, GrpcServer

MESSAGES = messages.load(health.SET)
QUESTION, ANSWER = MESSAGES.methods(health.NAME)["Check"]


async def echo(asked: Any, context: Any) -> Any:
    if asked.service == "broken":
        raise RuntimeError("a secret of ours")
    if asked.service == "busy":
        raise HeliographError(Code.OVERLOADED, "Later.", retry_after=1.5)
    if asked.service == "slow":
        await asyncio.sleep(0.2)
    if asked.service == "who":
        return f"{credentials(context).key}|{metadata(context, 'x-mine')}".encode()
    return QUESTION(service=asked.service)


async def count(asked: Any, context: Any) -> AsyncIterator[Any]:
    del context

    async def answers() -> AsyncIterator[Any]:
        for at in range(3):
            yield QUESTION(service=f"{asked.service}{at}")
        raise HeliographError(Code.NOT_FOUND, "No more.")

    return answers()


async def back(questions: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
    del context
    async for one in questions:
        yield one[::-1]


HANDLERS = [
    service(
        "test.Echo",
        {"One": unary(QUESTION, echo), "Many": serial(QUESTION, count), "Back": duplex(back)},
    )
]


def run(
    act: Callable[[grpc.aio.Channel, GrpcServer], Awaitable[None]],
    limits: GrpcLimits | None = None,
) -> None:
    async def whole() -> None:
        server = GrpcServer(HANDLERS, limits)
        port = await server.start("127.0.0.1", 0)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await act(channel, server)
        await server.stop(1)

    asyncio.run(whole())


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, dict[Any, Any]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    return error.code(), error.details() or "", dict(error.trailing_metadata())


def asked(text: str) -> bytes:
    return QUESTION(service=text).SerializeToString()


def test_errors_come_from_the_one_table() -> None:
    async def act(channel: grpc.aio.Channel, server: GrpcServer) -> None:
        one = channel.unary_unary("/test.Echo/One")
        assert await one(asked("hello")) == asked("hello")
        code, words, trailers = await refusal(one(asked("busy")))
        assert (code, words) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "Later.")
        assert trailers["code"] == "overloaded"
        assert (trailers["retry-after"], trailers["grpc-retry-pushback-ms"]) == ("2", "1500")
        code, words, trailers = await refusal(one(asked("broken")))
        assert code is grpc.StatusCode.INTERNAL
        assert "secret" not in words
        assert trailers["x-request-id"].startswith("req_")
        code, words, _ = await refusal(one(b"\xff\xff"))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert words == "The bytes are not a valid grpc.health.v1.HealthCheckRequest."

    run(act)


@pytest.mark.parametrize("code", list(TABLE))
def test_every_code_has_a_status(code: Code) -> None:
    told = refuse(HeliographError(code, "x"))
    assert told.status.name == TABLE[code].grpc
    assert ("code", str(code)) in told.trailers


def test_streams() -> None:
    async def act(channel: grpc.aio.Channel, server: GrpcServer) -> None:
        seen: list[bytes] = []

        async def read() -> None:
            async for one in channel.unary_stream("/test.Echo/Many")(asked("a")):
                seen.append(one)  # noqa: PERF401 - the stream ends in an error

        assert (await refusal(read()))[0] is grpc.StatusCode.NOT_FOUND
        assert seen == [asked(f"a{at}") for at in range(3)]
        both = channel.stream_stream("/test.Echo/Back")(iter([b"ab", b"cd"]))
        assert [one async for one in both] == [b"ba", b"dc"]

    run(act)


def test_keys_come_as_metadata() -> None:
    async def act(channel: grpc.aio.Channel, server: GrpcServer) -> None:
        one = channel.unary_unary("/test.Echo/One")
        said = (("authorization", "bearer  key "), ("x-mine", "1"))
        assert await one(asked("who"), metadata=said) == b"key|1"
        assert await one(asked("who"), metadata=(("authorization", "Basic x"),)) == b"|"

    run(act)


def test_sizes_are_limited() -> None:
    async def act(channel: grpc.aio.Channel, server: GrpcServer) -> None:
        one = channel.unary_unary("/test.Echo/One")
        for call in (
            one(bytes(2000)),
            one(bytes(100_000), compression=grpc.Compression.Gzip),
            one(b"", metadata=(("x", "y" * 3000),)),
        ):
            assert (await refusal(call))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED

    run(act, GrpcLimits(message_bytes=1000, metadata_bytes=2000))


def test_a_stop_lets_calls_in_flight_finish() -> None:
    async def act(channel: grpc.aio.Channel, server: GrpcServer) -> None:
        waiting = channel.unary_unary("/test.Echo/One")(asked("slow"))
        await asyncio.sleep(0.05)
        await server.stop(5)
        assert await waiting == asked("slow")

    run(act)


def test_workers_share_a_port_and_strangers_do_not_get_it() -> None:
    held = reserve("127.0.0.1", 0)
    port = held.getsockname()[1]

    async def both() -> None:
        servers = [GrpcServer(HANDLERS, shared=True) for _ in range(2)]
        for one in servers:
            assert await one.start("127.0.0.1", port) == port
        stranger = GrpcServer(HANDLERS)
        with pytest.raises(HeliographError, match="is taken"):
            await stranger.start("127.0.0.1", port)
        for one in servers:
            await one.stop(1)

    with held:
        asyncio.run(both())
        with pytest.raises(HeliographError, match="is taken"):
            reserve("127.0.0.1", port)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(HeliographError, match="--grpc-port"):
            reserve("127.0.0.1", other.getsockname()[1])


def test_messages_live_in_a_pool_of_their_own() -> None:
    again = messages.load(health.SET)
    assert again[QUESTION.DESCRIPTOR.full_name] is not QUESTION
    with pytest.raises(KeyError):
        again["grpc.health.v1.Nothing"]
