"""Waiting for an answer in an event loop, in every protocol: until the deadline, or the caller."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import TypeVar

from heliograph.edge.books import keep
from heliograph.serving.admit import out_of_time
from heliograph.serving.values import Answer, Entry, Tensors

T = TypeVar("T", Answer, Tensors)


async def wait(entry: Entry, future: Future[T]) -> T:
    """The outcome of a submitted call.

    A call that runs over keeps its seat until its thread is done with it: the caller is told at
    once, but the house does not pretend to have room that it has not. Cancelling this coroutine
    takes a call that is still in the line out of it, which frees its seat; one that has begun
    stops at its next step if `entry.alive` says so.

    What it used is kept for whoever books the answer (`edge/books.py`).

    Raises:
        HeliographError: the call's own error, or `inference_timeout`.
    """
    loop = asyncio.get_running_loop()
    awake = asyncio.Event()
    # Not asyncio.wrap_future: what it does besides costs more than all else that happens here.
    future.add_done_callback(lambda _: loop.call_soon_threadsafe(awake.set))
    late = loop.call_later(max(0.0, entry.left()), awake.set)
    try:
        await awake.wait()
    except asyncio.CancelledError:
        future.cancel()
        raise
    finally:
        late.cancel()
    if not future.done():
        raise out_of_time()
    found = future.result()
    if found.usage is not None:
        keep(found.usage)
    return found
