"""`grpc.health.v1.Health`: what orchestrators ask before they send calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import grpc

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.grpc import messages
from heliograph.edge.grpc.calls import Context, serial, service, unary

NAME = "grpc.health.v1.Health"
SET = Path(__file__).with_name("grpc.binpb")
_SERVING, _NOT_SERVING, _UNKNOWN = 1, 2, 3
_EVERY_SECONDS = 0.5


def handlers(ready: Callable[[], bool], names: Sequence[str]) -> list[grpc.GenericRpcHandler]:
    """The health service.

    Args:
        ready: whether a call to any served model would be taken now.
        names: full names of the services here; all are as ready as the whole.
    """
    made = messages.load(SET)
    question, answer = made.methods(NAME)["Check"]
    asked_list, list_answer = made.methods(NAME)["List"]
    known = {"", NAME, *names}

    def status(name: str) -> Any:
        if name not in known:
            return answer(status=_UNKNOWN)
        return answer(status=_SERVING if ready() else _NOT_SERVING)

    async def check(asked: Any, context: Context) -> Any:
        del context
        if asked.service not in known:
            raise HeliographError(Code.NOT_FOUND, "There is no such service here.")
        return status(asked.service)

    async def every(asked: Any, context: Context) -> Any:
        del asked, context
        return list_answer(statuses={name: status(name) for name in sorted(known)})

    async def watch(asked: Any, context: Context) -> AsyncIterator[Any]:
        del context
        return _changes(lambda: status(asked.service))

    return [
        service(
            NAME,
            {
                "Check": unary(question, check),
                "List": unary(asked_list, every),
                "Watch": serial(question, watch),
            },
        )
    ]


async def _changes(look: Callable[[], Any]) -> AsyncIterator[Any]:
    last = None
    while True:
        now = look()
        if now != last:
            yield now
            last = now
        await asyncio.sleep(_EVERY_SECONDS)
