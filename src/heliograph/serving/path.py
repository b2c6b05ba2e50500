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
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Arrays
from heliograph.serving.admit import Desk, Ticket
from heliograph.serving.batch import Item
from heliograph.serving.chain import walk
from heliograph.serving.decode import decode_picture, decode_whole
from heliograph.serving.finish import finish, read_arrays
from heliograph.serving.run import run_model
from heliograph.serving.shadow import Judge, NullJudge, Shadows
from heliograph.serving.tensors import Feeds, gather_feeds
from heliograph.serving.values import Answer, Entry, Head, Model, Prepared, Sight, Tensors, sight
from heliograph.vision.agreement import same_arrays, same_predictions
from heliograph.vision.tasks.base import Result
from heliograph.vision.tasks.chain import Chain

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

    @property
    def seats(self) -> int:
        """How many calls may be in progress."""
        return self._desk.seats.count

    @property
    def taken(self) -> int:
        """How many calls are in progress."""
        return self._desk.seats.taken

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
            ticket.timings.lap("queue")
            ticket.check()
            prepared = self._decode(ticket, seen, body)
            ticket.timings.lap("decode")
            ticket.check()
            result = self._look(ticket, seen, prepared)
            answer = finish(ticket, seen, prepared, result)
            ticket.timings.lap("finish")
        if ticket.entry.shadow:
            self._follow(ticket, ticket.entry.shadow, partial(self._agrees, ticket, body, answer))
        return replace(answer, usage=ticket.usage)

    def _decode(self, ticket: Ticket, seen: Sight, body: bytes) -> Prepared:
        limits = self._desk.limits
        if seen.decoder.runs:
            return decode_whole(ticket, body, limits)
        exact = self._exact or ticket.entry.pictured
        return decode_picture(ticket, body, seen.input, limits, exact=exact)

    def _look(self, ticket: Ticket, seen: Sight, prepared: Prepared) -> Result:
        """What the ticket's model, or the chain of models that it stands for, says of a picture."""
        if seen.decoder.runs:
            result = walk(ticket, seen, prepared, self._desk.catalog)
            ticket.timings.lap("run")
            return result
        arrays = run_model(ticket, Item.picture(prepared.tensor, ticket.check))
        ticket.timings.lap("run")
        ticket.check()
        return read_arrays(ticket, seen, prepared, arrays)

    def infer(self, ticket: Ticket, feeds: Feeds) -> Tensors:
        """One tensor call: check or decode, run; otherwise as `serve`."""
        with ticket:
            ticket.timings.lap("queue")
            ticket.check()
            _refuse_chain(ticket.entry.model)
            item = gather_feeds(ticket, feeds, partial(self._tensor_of, ticket))
            ticket.timings.lap("decode")
            ticket.check()
            arrays = run_model(ticket, item)
            ticket.timings.lap("run")
            model = ticket.entry.model
        if ticket.entry.shadow:
            alike = partial(self._agrees_on_tensors, ticket, feeds, arrays)
            self._follow(ticket, ticket.entry.shadow, alike)
        return Tensors(
            ticket.id,
            model.name,
            model.version,
            arrays,
            ticket.timings,
            ticket.batch,
            ticket.usage,
        )

    def _follow(self, ticket: Ticket, shadow: Model, agrees: Callable[[], bool]) -> None:
        self._shadows.follow(shadow, ticket.entry.model, ticket.timings.total_ms(), agrees)

    def _agrees(self, ticket: Ticket, body: bytes, answer: Answer) -> bool:
        """Whether the shadow of a call says of the same file what its caller was told."""
        with self._desk.shadow(ticket.entry, len(body)) as again:
            seen = sight(again.entry.model)
            theirs = self._look(again, seen, self._decode(again, seen, body))
        return same_predictions(answer.result.predictions(), theirs.predictions())

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
            caller = ticket.entry.caller
            future = ticket.entry.model.lane.submit(
                work, ticket, given, whose=caller.workspace, share=caller.share
            )
        except RuntimeError as error:
            with ticket:
                raise _stopping() from error
        future.add_done_callback(partial(_settle, ticket))
        return future


def _refuse_chain(model: Model) -> None:
    if isinstance(model.decoder, Chain):
        raise HeliographError(
            Code.UNSUPPORTED,
            f"{model.name!r} is a pipeline of models: it takes pictures, not tensors. Call "
            f"/api/v1/models/{model.name}/predict.",
        )


def _settle(ticket: Ticket, future: Future[Any]) -> None:
    """A stop may leave a call in the line: it gives its seat back and passes the meter, too."""
    if future.cancelled():
        with suppress(HeliographError), ticket:
            raise _stopping()


def _stopping() -> HeliographError:
    return HeliographError(Code.DRAINING, "The server is stopping. Try again elsewhere.")
