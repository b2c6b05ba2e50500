"""Inference over gRPC: one call, or a stream of them answered in their order.

Cancelling a call, or its deadline at the client, cancels the coroutine that serves it: a call that
waits in line leaves it and gives its seat back, one that runs stops at its next step.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from heliograph.core.errors import HeliographError
from heliograph.edge.grpc.booking import booked
from heliograph.edge.grpc.calls import Context, credentials, metadata
from heliograph.edge.grpc.errors import understand
from heliograph.edge.grpc.messages import parse
from heliograph.edge.oip.dialect import Dialect, aside
from heliograph.edge.oip.errors import render
from heliograph.edge.oip.parameters import FINAL
from heliograph.edge.oip.protos import MESSAGES
from heliograph.edge.oip.split import encode_varint, join_response, split_request
from heliograph.edge.oip.wire import read_request, write_response

_AHEAD = 32
_REQUEST = MESSAGES["inference.ModelInferRequest"]
_STREAMED = MESSAGES["inference.ModelStreamInferResponse"]
_INFER_RESPONSE_TAG = bytes([2 << 3 | 2])


class _Presence:
    """Whether somebody still waits for a call."""

    __slots__ = ("here",)

    def __init__(self) -> None:
        self.here = True

    def alive(self) -> bool:
        return self.here


async def answer(dialect: Dialect, data: bytes, context: Context, *, final: bool = False) -> bytes:
    """One ModelInfer: the bytes of its request to those of its answer, which is booked.

    The arguments are those of `_answer`.
    """
    return await booked(
        dialect.services,
        context,
        "ModelInfer",
        lambda: data,
        lambda: _answer(dialect, data, context, final=final),
        tell=not final,
    )


async def _answer(dialect: Dialect, data: bytes, context: Context, *, final: bool) -> bytes:
    """The answer to one ModelInfer.

    Args:
        dialect: the protocol.
        data: a ModelInferRequest.
        context: of the call.
        final: say that it is the last answer to this request, if the client asks for that.
    """
    head, raws = split_request(data)
    asked = parse(_REQUEST, head)
    presence = _Presence()
    entry = dialect.enter(
        asked.model_name,
        asked.model_version,
        credentials(context),
        presence.alive,
        metadata(context, "x-sticky-key"),
    )
    try:
        question = await aside(len(data), read_request, asked, raws)
        reply = await dialect.infer(entry, question, len(data))
    except asyncio.CancelledError:
        presence.here = False
        raise
    told, outputs = write_response(reply)
    if final and question.parameters.get(FINAL) is True:
        told.parameters["triton_final_response"].bool_param = True
    return join_response(told.SerializeToString(), outputs)


class Streams:
    """ModelStreamInfer: many requests on one stream, several in work, answered in their order."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    async def serve(
        self, questions: AsyncIterator[bytes], context: Context
    ) -> AsyncIterator[bytes]:
        """One stream, until the client ends or leaves it.

        An error is one of the answers, and the stream goes on; with the metadata
        `triton_grpc_error: true` it ends the stream with its status.
        """
        ends = metadata(context, "triton_grpc_error").lower() == "true"
        # One stream alone must not fill the house and then be refused for it.
        ahead = max(1, min(_AHEAD, self._dialect.services.path.seats // 4))
        line: asyncio.Queue[asyncio.Task[bytes] | None] = asyncio.Queue(ahead)
        tasks: set[asyncio.Task[bytes]] = set()

        async def take() -> None:
            async for data in questions:
                task = asyncio.create_task(answer(self._dialect, data, context, final=True))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                await line.put(task)
            await line.put(None)

        taker = asyncio.create_task(take())
        try:
            while (task := await line.get()) is not None:
                try:
                    yield _streamed(await task)
                except Exception as error:
                    if ends:
                        raise
                    yield self._failed(understand(error))
        finally:
            taker.cancel()
            for task in tasks:
                task.cancel()

    def _failed(self, error: HeliographError) -> bytes:
        self._dialect.services.meter.problem(error.code)
        told: Any = _STREAMED(error_message=render(error).detail)
        return told.SerializeToString()


def _streamed(reply: bytes) -> bytes:
    """An answer within the message of a stream; put together by hand, as its tensors were."""
    return b"".join((_INFER_RESPONSE_TAG, encode_varint(len(reply)), reply))
