"""The way of one inference call, from bytes to an answer.

    head    -> admit    who, may they, which model, is there room        (before the body is read)
    body    -> seat     a Ticket: a seat in the house, one usage row at the end
    file    -> decode   upright pixels within limits; fails alone, before any batch
    tensor  -> run      on the model's lane, alone or in a batch
    arrays  -> finish   labels, boxes, points, pixels: typed values
            -> meter    exactly one Usage per Ticket, success or failure

The same path serves every protocol, the command line and evaluation. A call that brings tensors
and wants tensors goes the same way, with nothing to decode and nothing to finish.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.serving.admit import Desk, Ticket
from heliograph.serving.batch import Item
from heliograph.serving.decode import decode_picture
from heliograph.serving.finish import finish
from heliograph.serving.run import run_model
from heliograph.serving.tensors import Feeds, gather_feeds
from heliograph.serving.values import Answer, Entry, Head, Tensors, sight

T = TypeVar("T")


class Path:
    """The inference path over one desk.

    Args:
        desk: lets calls in.
        exact: decode every picture at full size.
    """

    def __init__(self, desk: Desk, *, exact: bool = False) -> None:
        self._desk = desk
        self._exact = exact

    def enter(self, head: Head) -> Entry:
        """Decide on a call before its body is read; see `Desk.enter`."""
        return self._desk.enter(head)

    def full(self) -> HeliographError | None:
        """Why no call at all can come in now; None while one can."""
        return self._desk.seats.refusal()

    def submit(self, entry: Entry, body: bytes) -> Future[Answer]:
        """Take a seat and queue a picture on its model's lane."""
        return self._queue(self._desk.seat(entry, body), self.serve, body)

    def submit_tensors(self, entry: Entry, feeds: Feeds, size: int) -> Future[Tensors]:
        """Take a seat and queue tensors, `size` bytes on the wire, on their model's lane."""
        return self._queue(self._desk.seat_tensors(entry, size), self.infer, feeds)

    def answer(self, entry: Entry, body: bytes) -> Answer:
        """Answer a call in this thread: for the command line and evaluation."""
        return self.serve(self._desk.seat(entry, body), body)

    def serve(self, ticket: Ticket, body: bytes) -> Answer:
        """One picture: decode, run, finish; at the end seat and usage are settled."""
        with ticket:
            seen = sight(ticket.entry.model)
            exact = self._exact or ticket.entry.pictured
            ticket.timings.lap("queue")
            ticket.check()
            prepared = decode_picture(ticket, body, seen.input, self._desk.limits, exact=exact)
            ticket.timings.lap("decode")
            ticket.check()
            arrays = run_model(ticket, Item.picture(prepared.tensor, ticket.check))
            ticket.timings.lap("run")
            ticket.check()
            answer = finish(ticket, seen, prepared, arrays)
            ticket.timings.lap("finish")
            return answer

    def infer(self, ticket: Ticket, feeds: Feeds) -> Tensors:
        """One tensor call: check or decode, run; otherwise as `serve`."""
        with ticket:
            ticket.timings.lap("queue")
            ticket.check()
            item = gather_feeds(ticket, feeds, partial(self._tensor_of, ticket))
            ticket.timings.lap("decode")
            ticket.check()
            arrays = run_model(ticket, item)
            ticket.timings.lap("run")
            model = ticket.entry.model
            return Tensors(
                ticket.id, model.name, model.version, arrays, ticket.timings, ticket.batch
            )

    def _tensor_of(self, ticket: Ticket, body: bytes) -> NDArray[Any]:
        spec, limits = sight(ticket.entry.model).input, self._desk.limits
        return decode_picture(ticket, body, spec, limits, exact=self._exact).tensor

    def _queue(self, ticket: Ticket, work: Callable[..., T], given: Any) -> Future[T]:
        try:
            future = ticket.entry.model.lane.submit(work, ticket, given)
        except RuntimeError as error:
            with ticket:
                raise _stopping() from error
        future.add_done_callback(partial(_settle, ticket))
        return future


def _settle(ticket: Ticket, future: Future[Any]) -> None:
    """A stop may leave a call in the line: it gives its seat back and passes the meter, too."""
    if future.cancelled():
        with suppress(HeliographError), ticket:
            raise _stopping()


def _stopping() -> HeliographError:
    return HeliographError(Code.DRAINING, "The server is stopping. Try again elsewhere.")
