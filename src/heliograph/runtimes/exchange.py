"""One run after the other with a model worker: the server's half of `runtimes/desk.py`.

Everything a worker says is checked before it is used. An answer that reads like the one before was
checked then; any other is checked now.
"""

from __future__ import annotations

import ctypes
import logging
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Arrays, Tensor
from heliograph.runtimes.channel import (
    KEPT_BYTES,
    MESSAGE_BYTES,
    Arena,
    Ask,
    Done,
    Failed,
    Layout,
    Line,
    More,
    Nonsense,
    Room,
    Slot,
    agree,
    check,
    encode,
    read,
    understand,
)

log = logging.getLogger("heliograph")

_OUTLET = 64 << 10
_TELLING = frozenset((
    Code.BAD_SHAPE, Code.MODEL_EXTERNAL_DATA, Code.MODEL_FORMAT, Code.MODEL_INVALID,
    Code.MODEL_OP_FORBIDDEN, Code.MODEL_UNAVAILABLE, Code.UNKNOWN_FIELD, Code.UNSAFE_FORMAT,
    Code.UNSUPPORTED, Code.VALIDATION,
))  # fmt: skip
"""Codes that a worker may give for itself."""

_MASK_BYTES = 128
# Held under the interpreter's lock: these calls take less time than giving it up.
_libc = ctypes.PyDLL(None)


def _mask(processors: set[int]) -> bytes:
    return sum(1 << one for one in processors).to_bytes(_MASK_BYTES, "little")


_ANYWHERE = _mask(os.sched_getaffinity(0))
_ONLY = {one: _mask({one}) for one in os.sched_getaffinity(0)}


class Channel:
    """One run at a time with a worker.

    Args:
        sock: the server's end.
        run_seconds: longest wait for an answer.
        output_bytes: most that an answer may take.
    """

    def __init__(self, sock: socket.socket, run_seconds: float, output_bytes: int) -> None:
        self.line = Line(sock, run_seconds)
        self.thread = 0
        """The worker's thread at the other end; 0 if it is not known."""
        self._most = output_bytes
        self._arenas: dict[int, Arena] = {}
        self._turn = 0
        self._layout = Layout({})
        self._ask = b""
        self._answer = b""
        self._slots: list[Slot] = []
        self._places: list[tuple[str, NDArray[Any]]] = []

    def exchange(self, feeds: Mapping[str, NDArray[Any]], outputs: tuple[Tensor, ...]) -> Arrays:
        """Have one batch run.

        Raises:
            Gone, TimeoutError, Nonsense: the worker is of no more use.
            HeliographError: it is; this call failed.
        """
        if not self._ask or not self._layout.suits(feeds):
            self._lay_out(feeds)
        self._turn += 1
        if len(self._arenas) == 2 and self._arenas[0].size >= self._layout.size:
            self._layout.write(self._arenas[0], feeds)
            self._tell(self._ask, ())
        else:
            self._tell_of_arenas(feeds)
        said = self.line.hear(self._turn)
        if said != self._answer:
            self._judge(said, outputs)
        if self._places:
            arrays = {name: place.copy() for name, place in self._places}
        else:
            arrays = {one.name: read(self._arenas[1], one, copy=True) for one in self._slots}
        if self._arenas[0].size > KEPT_BYTES or self._arenas[1].size > KEPT_BYTES:
            self._let_go()
        return arrays

    def _tell_of_arenas(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        """Ask, and send the arenas that are missing or too small."""
        wanted = {0: self._layout.size, 1: _OUTLET}
        missing = [one for one in (0, 1) if self._lacks(one, wanted[one])]
        descriptors = [self._renew(one, wanted[one]) for one in missing]
        try:
            self._layout.write(self._arenas[0], feeds)
            self._tell(encode(Ask(self._layout.slots, missing)), descriptors)
        finally:
            for one in descriptors:
                os.close(one)

    def _let_go(self) -> None:
        """Give large arenas back, as the worker does."""
        for place in [one for one, arena in self._arenas.items() if arena.size > KEPT_BYTES]:
            self._drop(place)

    def _lay_out(self, feeds: Mapping[str, NDArray[Any]]) -> None:
        self._ask = b""
        try:
            self._layout = Layout(feeds)
        except TypeError:
            raise HeliographError(
                Code.VALIDATION, "An input has an element type that models do not take."
            ) from None
        body = encode(Ask(self._layout.slots, [0, 1]))
        if len(body) > MESSAGE_BYTES:
            raise HeliographError(Code.VALIDATION, "The call has too many inputs.")
        self._ask = encode(Ask(self._layout.slots, []))

    def _tell(self, body: bytes, descriptors: Sequence[int]) -> None:
        """Send, and have the worker's thread woken on this very processor.

        This thread is about to wait, so its processor is free, and the inputs are in its cache.
        Left to itself the kernel wakes the other side on an idle one, which takes longer and moves
        every byte between caches. Once awake the thread may go anywhere.
        """
        here = _ONLY.get(_libc.sched_getcpu()) if self.thread else None
        if here is None:
            self.line.send(self._turn, body, descriptors)
            return
        _libc.sched_setaffinity(self.thread, _MASK_BYTES, here)
        try:
            self.line.send(self._turn, body, descriptors)
        finally:
            _libc.sched_setaffinity(self.thread, _MASK_BYTES, _ANYWHERE)

    def _lacks(self, place: int, least: int) -> bool:
        return place not in self._arenas or self._arenas[place].size < least

    def _renew(self, place: int, size: int) -> int:
        """Put a new arena in place; its memory file, to be sent and closed."""
        descriptor = Arena.make(size)
        self._drop(place)
        self._arenas[place] = Arena(descriptor)
        return descriptor

    def _drop(self, place: int) -> None:
        if place == 0:
            self._layout.release()
        else:
            # An answer was checked against the arena that it lay in.
            self._answer, self._slots, self._places = b"", [], []
        old = self._arenas.pop(place, None)
        if old is not None:
            old.close()

    def _judge(self, body: bytes, outputs: tuple[Tensor, ...]) -> None:
        """Check everything about an answer, and keep where its outputs lie.

        Raises:
            Nonsense: it cannot be.
            HeliographError: the worker said that the run failed, or its outputs are too large.
        """
        said = understand(body)
        if isinstance(said, More):
            body = self._more(said.size)
            said = understand(body)
        if isinstance(said, Failed):
            raise refusal(said, loading=False)
        if not isinstance(said, Done):
            raise Nonsense("no answer to what was asked")
        agree(said.slots, outputs)
        for slot in said.slots:
            check(slot, min(self._arenas[1].size, self._most))
        self._answer, self._slots, self._places = body, said.slots, []
        if all(slot.dtype != "object" for slot in said.slots):
            arena = self._arenas[1]
            self._places = [(one.name, read(arena, one, copy=False)) for one in said.slots]

    def _more(self, size: int) -> bytes:
        if not 0 <= size <= self._most:
            self.line.send(self._turn, encode(Room()))
            self.line.hear(self._turn)
            raise HeliographError(
                Code.MODEL_CRASHED,
                f"The model's outputs take {size} bytes; at most {self._most} are taken.",
            )
        descriptor = self._renew(1, size)
        try:
            self.line.send(self._turn, encode(Room()), [descriptor])
        finally:
            os.close(descriptor)
        return self.line.hear(self._turn)

    def close(self) -> None:
        """Hang up and unmap; nobody may be in `exchange`."""
        self.line.close()
        for place in list(self._arenas):
            self._drop(place)


def refusal(said: Failed, *, loading: bool) -> HeliographError:
    """A worker's failure as the caller sees it; its own words go to the log."""
    log.info("a model worker said: %s", printable(said.reason))
    if said.code == Code.MODEL_RESOURCE_LIMIT:
        return HeliographError(
            Code.MODEL_RESOURCE_LIMIT, "The model asked for more memory than it may have."
        )
    if said.code in _TELLING:
        return HeliographError(Code(said.code), printable(said.detail)[:500])
    if loading:
        return HeliographError(
            Code.MODEL_INVALID, "The model cannot be loaded; the log has the reason."
        )
    return HeliographError(
        Code.MODEL_CRASHED, "The model failed on this input; the log has the reason."
    )


def printable(said: str) -> str:
    """What a worker wrote, safe for a log: one line, no control characters, 2,000 at most."""
    return "".join(one if one.isprintable() else " " for one in said[-2_000:])
