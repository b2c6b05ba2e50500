"""The way of one inference call, from bytes to an answer.

    head    -> admit    who, may they, which model, is there room        (before the body is read)
    body    -> seat     a Ticket: a seat in the house, one usage row at the end
    file    -> decode   upright pixels within limits; fails alone, before any batch
    tensor  -> run      on the model's lane, alone or in a batch
    arrays  -> finish   labels, boxes, points, pixels: typed values
            -> meter    exactly one Usage per Ticket, success or failure

The same path serves every protocol, the command line and evaluation.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress
from functools import partial

from heliograph.core.errors import Code, HeliographError
from heliograph.serving.admit import Desk, Ticket
from heliograph.serving.decode import decode_picture
from heliograph.serving.finish import finish
from heliograph.serving.run import run_model
from heliograph.serving.values import Answer, Entry, Head


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
        """Take a seat and queue the call on its model's lane."""
        ticket = self._desk.seat(entry, body)
        try:
            future = entry.model.lane.submit(self.serve, ticket)
        except RuntimeError as error:
            with ticket:
                raise _stopping() from error
        future.add_done_callback(partial(_settle, ticket))
        return future

    def answer(self, entry: Entry, body: bytes) -> Answer:
        """Answer a call in this thread: for the command line and evaluation."""
        return self.serve(self._desk.seat(entry, body))

    def serve(self, ticket: Ticket) -> Answer:
        """One call: decode, run, finish; the seat is given back and the usage kept at the end."""
        with ticket:
            ticket.timings.lap("queue")
            ticket.check()
            prepared = decode_picture(ticket, self._desk.limits, exact=self._exact)
            ticket.timings.lap("decode")
            ticket.check()
            raw = run_model(ticket, prepared)
            ticket.timings.lap("run")
            ticket.check()
            answer = finish(ticket, prepared, raw)
            ticket.timings.lap("finish")
            return answer


def _settle(ticket: Ticket, future: Future[Answer]) -> None:
    """A stop may leave a call in the line: it gives its seat back and passes the meter, too."""
    if future.cancelled():
        with suppress(HeliographError), ticket:
            raise _stopping()


def _stopping() -> HeliographError:
    return HeliographError(Code.DRAINING, "The server is stopping. Try again elsewhere.")
