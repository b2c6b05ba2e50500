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
from heliograph.runtimes.base import Arrays
from heliograph.serving.admit import Desk, Ticket
from heliograph.serving.batch import Item
from heliograph.serving.decode import decode_picture
from heliograph.serving.finish import finish
from heliograph.serving.run import run_model
from heliograph.serving.shadow import Judge, NullJudge, Shadows
from heliograph.serving.tensors import Feeds, gather_feeds
from heliograph.serving.values import Answer, Entry, Head, Model, Tensors, sight
from heliograph.vision.agreement import same_arrays, same_predictions

T = TypeVar("T")


class Path:
    """The inference path over one desk.

    Args:
        desk: lets calls in.
        exact: decode every picture at full size.
        judge: takes what shadow calls came to.
    """

    def __init__(self, desk: Desk, *, exact: bool = False, judge: Judge | None = None) -> None:
        self._desk = desk
        self._exact = exact
        self._shadows = Shadows(judge or NullJudge())

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
        if ticket.entry.shadow:
            self._follow(ticket, ticket.entry.shadow, partial(self._agrees, ticket, body, answer))
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
        if ticket.entry.shadow:
            alike = partial(self._agrees_on_tensors, ticket, feeds, arrays)
            self._follow(ticket, ticket.entry.shadow, alike)
        return Tensors(ticket.id, model.name, model.version, arrays, ticket.timings, ticket.batch)

    def _follow(self, ticket: Ticket, shadow: Model, agrees: Callable[[], bool]) -> None:
        self._shadows.follow(shadow, ticket.entry.model, ticket.timings.total_ms(), agrees)

    def _agrees(self, ticket: Ticket, body: bytes, answer: Answer) -> bool:
        """Whether the shadow of a call says of the same file what its caller was told."""
        with self._desk.shadow(ticket.entry, len(body)) as again:
            seen = sight(again.entry.model)
            prepared = decode_picture(again, body, seen.input, self._desk.limits, exact=self._exact)
            arrays = run_model(again, Item.picture(prepared.tensor, again.check))
            theirs = finish(again, seen, prepared, arrays)
        return same_predictions(answer.result.predictions(), theirs.result.predictions())

    def _agrees_on_tensors(self, ticket: Ticket, feeds: Feeds, arrays: Arrays) -> bool:
        with self._desk.shadow(ticket.entry, ticket.size) as again:
            item = gather_feeds(again, feeds, partial(self._tensor_of, again))
            theirs = run_model(again, item)
        return same_arrays(arrays, theirs)

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
