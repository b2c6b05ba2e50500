"""The work of a model worker, behind its wall: open the model, then a thread for each line.

Whatever goes wrong here, the server judges by itself (`runtimes/process.py`); this side only tries
to say what it was.
"""

from __future__ import annotations

import importlib
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes import wall
from heliograph.runtimes.base import Arrays, Plan, Runner
from heliograph.runtimes.channel import (
    KEPT_BYTES,
    Arena,
    Ask,
    Done,
    Failed,
    Gone,
    Here,
    Layout,
    Line,
    Loaded,
    More,
    Walled,
    encode,
    obey,
    read,
)

_OUT_OF_MEMORY = re.compile(r"bad_?alloc|out of memory|allocate", re.IGNORECASE)
_REASON = 2_000

Opener = Callable[..., Runner]


def work(order: Mapping[str, Any], parts: wall.Report) -> None:
    """Open the ordered model and run it until the server hangs up.

    Args:
        order: an `Order` of `runtimes/process.py`, as JSON has it.
        parts: what the wall said; without a part that the order requires nothing is opened.
    """
    lines = [
        Line(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=one))
        for one in order["sockets"]
    ]
    lines[0].send(0, encode(Walled(parts)))
    if wall.missing(parts, order["require"]):
        return
    try:
        runner = _open(order)
        loaded = Loaded(_told(runner.inputs), _told(runner.outputs), runner.platform)
        lines[0].send(0, encode(loaded))
    except Exception as error:  # noqa: BLE001 - an engine may raise anything; the server is told
        lines[0].send(0, encode(failure(error)))
        return
    # What engines print reaches the server's file, which has an end; Python must not fail there.
    sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    for line in lines[1:]:
        threading.Thread(target=Desk(runner, line).serve, daemon=True).start()
    Desk(runner, lines[0]).serve()


def _open(order: Mapping[str, Any]) -> Runner:
    if order["folder"]:
        sys.path.append(order["folder"])
    opener = cast("Opener", getattr(importlib.import_module(order["module"]), order["opener"]))
    options = {"unsafe": True} if order["unsafe"] else {}
    return opener(Path(order["path"]), Plan(**order["plan"]), **options)


def _told(tensors: Any) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(one.name, one.dtype, tuple(one.shape)) for one in tensors]


def failure(error: BaseException) -> Failed:
    """What the server is told of an exception."""
    root = error
    while isinstance(root, HeliographError) and root.__cause__ is not None:
        root = root.__cause__
    reason = f"{type(root).__name__}: {root}"[:_REASON]
    if not isinstance(root, HeliographError) and _OUT_OF_MEMORY.search(reason):
        return Failed(Code.MODEL_RESOURCE_LIMIT, "", reason)
    if isinstance(root, MemoryError):
        return Failed(Code.MODEL_RESOURCE_LIMIT, "", reason)
    if isinstance(error, HeliographError):
        return Failed(error.code, error.detail, reason)
    return Failed("", "", reason)


class Desk:
    """One thread's work: take inputs from a line, run, put the outputs back.

    Args:
        runner: the model; shared with the other desks.
        line: to the server.
    """

    def __init__(self, runner: Runner, line: Line) -> None:
        self._runner = runner
        self._line = line
        self._outputs = [one.name for one in runner.outputs]
        self._arenas: dict[int, Arena] = {}
        self._asked = b""
        self._feeds: Arrays = {}
        self._layout = Layout({})
        self._done = b""

    def serve(self) -> None:
        """Serve until the server hangs up; then the whole process ends."""
        try:
            self._line.send(0, encode(Here(threading.get_native_id())))
            while True:
                turn, asked, came = self._line.listen()
                self._line.send(turn, self._answer(turn, asked, came))
                self._let_go()
        except Gone:
            # Other threads may be deep in an engine: nothing is to be saved here.
            os._exit(0)

    def _attach(self, places: list[int], descriptors: list[int]) -> None:
        for place, descriptor in zip(places, descriptors, strict=True):
            self._drop(place)
            self._arenas[place] = Arena(descriptor)
            os.close(descriptor)

    def _drop(self, place: int) -> None:
        if place == 0:
            self._asked, self._feeds = b"", {}
        else:
            self._layout.release()
        old = self._arenas.pop(place, None)
        if old is not None:
            old.close()

    def _let_go(self) -> None:
        """Give large arenas back, as the server does."""
        for place in [one for one, arena in self._arenas.items() if arena.size > KEPT_BYTES]:
            self._drop(place)

    def _answer(self, turn: int, asked: bytes, came: list[int]) -> bytes:
        try:
            if asked != self._asked:
                self._take(asked, came)
            return self._put(turn, self._runner.run(dict(self._feeds)))
        except Gone:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            return encode(failure(error))

    def _take(self, asked: bytes, came: list[int]) -> None:
        """Find the inputs. Most calls look like the one before, so they are kept for it."""
        told = obey(asked)
        if not isinstance(told, Ask):
            raise TypeError("the server made room that was not asked for; this is a bug")
        self._attach(told.arenas, came)
        self._feeds = {slot.name: read(self._arenas[0], slot, copy=False) for slot in told.slots}
        lasting = not came and all(slot.dtype != "object" for slot in told.slots)
        self._asked = asked if lasting else b""

    def _put(self, turn: int, arrays: Arrays) -> bytes:
        plain = {name: _plain(arrays[name]) for name in self._outputs}
        if not self._done or not self._layout.suits(plain):
            self._layout = Layout(plain)
            self._done = encode(Done(self._layout.slots))
        if self._layout.size > self._arenas[1].size:
            self._line.send(turn, encode(More(self._layout.size)))
            _, _, came = self._line.listen()
            if not came:
                raise ValueError(f"the server has no room for {self._layout.size} bytes of outputs")
            self._attach([1], came)
        self._layout.write(self._arenas[1], plain)
        return self._done


def _plain(one: NDArray[Any]) -> NDArray[Any]:
    """An output as it can be sent: text of fixed width as objects, else as it is."""
    one = np.asarray(one)
    return one.astype(object) if one.dtype.kind in "SU" else one
