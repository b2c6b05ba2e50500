"""Pictures in, answers out: `/models/{name}/predict`, `/detect`, `/process` under `/api/v1`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from heliograph.core.errors import Code, HeliographError
from heliograph.core.ids import new_id
from heliograph.core.money import Cost, written
from heliograph.edge.http.bodies import File, pictures
from heliograph.edge.http.errors import describe
from heliograph.edge.http.payloads import receive_all
from heliograph.edge.http.query import read_head
from heliograph.edge.services import Services
from heliograph.edge.waiting import wait
from heliograph.serving.values import Answer, Entry, Head
from heliograph.vision.tasks.base import Task

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def by_model(services: Services) -> Handler:
    """`POST /api/v1/models/{name}/predict`."""

    async def predict(request: Request) -> Response:
        # The name is where the route's pattern has it: /api/v1/models/NAME/predict.
        name = request.scope["path"].split("/")[4]
        return await _predict(services, request, read_head(request, model=name))

    return predict


def by_task(services: Services, task: Task) -> Handler:
    """`POST /api/v1/classify` and its sisters: the default model of a task."""

    async def predict(request: Request) -> Response:
        return await _predict(services, request, read_head(request, task=task.name))

    return predict


async def _predict(services: Services, request: Request, head: Head) -> Response:
    """One request: admission, body, answer."""
    entry = services.path.enter(head)
    body = await _body(request, entry)
    files, several = pictures(request.headers.get("content-type", ""), body, services.most_files)
    if not several:
        file = await _brought(services, entry, files[0])
        return _reply(services, await _answer(services, entry, file))
    if entry.pictured:
        raise HeliographError(
            Code.VALIDATION,
            f"A picture as answer needs one picture as question; {len(files)} came. Ask for JSON.",
        )
    results = await asyncio.gather(
        *(_answer(services, entry, one) for one in files), return_exceptions=True
    )
    items = [_item(services, one, file) for one, file in zip(results, files, strict=True)]
    return _json({"results": items}, [(b"x-request-id", new_id("req").encode())])


async def _body(request: Request, entry: Entry) -> bytes:
    """The whole body, which must be there by the call's deadline."""
    try:
        async with asyncio.timeout(max(0.0, entry.left())):
            return await receive_all(request)
    except TimeoutError as error:
        raise HeliographError(
            Code.REQUEST_TIMEOUT, "The body did not arrive before the call's deadline."
        ) from error


async def _brought(services: Services, entry: Entry, file: File) -> File:
    """The file, fetched if it lies elsewhere."""
    if not file.url:
        return file
    holder = entry.caller.workspace or entry.caller.name
    return File(await services.fetcher.fetch(file.url, entry.left(), holder))


async def _answer(services: Services, entry: Entry, file: File) -> Answer:
    """Queue one picture and wait for its answer until the deadline."""
    return await wait(entry, services.path.submit(entry, file.data))


def _item(services: Services, outcome: Answer | BaseException, file: File) -> dict[str, Any]:
    if isinstance(outcome, Answer):
        return {"file": file.name} | _body_of(services, outcome, outcome.timings.rounded())
    if not isinstance(outcome, HeliographError):
        error = HeliographError(Code.INTERNAL, "An error of ours; it is in the log.")
        error.__cause__ = outcome
        outcome = error
    return {"file": file.name, "error": msgspec.to_builtins(describe(outcome))}


def _body_of(services: Services, answer: Answer, timings: dict[str, float]) -> dict[str, Any]:
    """The JSON form of an answer (the contract's `prediction`)."""
    cost = services.books.cost(answer.usage) if answer.usage else None
    told = {"cost": _cost_of(cost)} if cost else {}
    return {
        "id": answer.id,
        "model": answer.model,
        "version": answer.version,
        "task": answer.task,
        "image": {"width": answer.size.width, "height": answer.size.height},
        "predictions": answer.result.predictions(),
        "timings_ms": timings,
        **told,
    }


def _cost_of(cost: Cost) -> dict[str, str]:
    """What a call costs by the price list, before taxes, tiers and free amounts."""
    return {"amount": written(cost.amount_millionths, 6), "currency": cost.currency}


def _reply(services: Services, answer: Answer) -> Response:
    timings = answer.timings.rounded()
    told = ", ".join([f"{step};dur={ms:.3f}" for step, ms in timings.items()]).encode()
    extra = [(b"server-timing", told), (b"x-request-id", answer.id.encode())]
    if answer.drawn is None:
        return _json(_body_of(services, answer, timings), extra)
    extra.append((b"x-model", f"{answer.model}@{answer.version}".encode()))
    return _raw(answer.drawn.data, answer.drawn.media_type, extra)


def _json(body: Any, extra: list[tuple[bytes, bytes]] | None = None) -> Response:
    return _raw(msgspec.json.encode(body), "application/json", extra or [])


def _raw(body: bytes, media_type: str, extra: list[tuple[bytes, bytes]]) -> Response:
    reply = Response(body)
    reply.raw_headers = [
        (b"content-type", media_type.encode()),
        (b"content-length", str(len(body)).encode()),
        *extra,
    ]
    return reply
