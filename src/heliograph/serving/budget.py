"""How much memory loaded models may take together; who was asked least recently goes first.

A model that was asked a moment ago is protected: without that, two models that together do not fit
would push each other out call after call, and nobody would be answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Protocol

from heliograph.core.errors import Code, HeliographError


class Lodger(Protocol):
    """Something that takes memory while it is in; `Resident` is one."""

    @property
    def state(self) -> str:
        """`ready` while it takes memory and could be let go."""
        ...

    @property
    def on_demand(self) -> bool:
        """Whether its next call brings it back; who would stay out is never let go for another."""
        ...

    @property
    def leases(self) -> int:
        """How many use it now."""
        ...

    @property
    def used(self) -> float:
        """When it was last used, on `time.monotonic`'s clock."""
        ...

    @property
    def weight(self) -> int:
        """Bytes it takes, or would take."""
        ...

    def unload(self, *, patience: float | None = None) -> bool:
        """Let it go if nobody uses it within `patience` seconds; whether it went."""
        ...


class Budget:
    """A bound on the sum of weights.

    Args:
        most: bytes; 0 for no bound.
        protect: seconds after its last use in which a model is not let go for another one.
    """

    def __init__(self, most: int = 0, protect: float = 10.0) -> None:
        self._most = most
        self._protect = protect
        self._lodgers: list[Lodger] = []
        self._turn = threading.Lock()

    def join(self, lodger: Lodger) -> None:
        """From now on this one counts while it is loaded."""
        with self._turn:
            self._lodgers.append(lodger)

    def leave(self, lodger: Lodger) -> None:
        """It will never be loaded again."""
        with self._turn:
            self._lodgers = [one for one in self._lodgers if one is not lodger]

    def make_room(self, newcomer: Lodger) -> None:
        """Let others go until the newcomer fits; called before it loads.

        Raises:
            HeliographError: `model_resource_limit` if it would not fit alone, `model_unavailable`
                if those that are in are all in use.
        """
        if not self._most:
            return
        if newcomer.weight > self._most:
            raise HeliographError(
                Code.MODEL_RESOURCE_LIMIT,
                f"The model needs {newcomer.weight >> 20} MiB; the setting registry.memory allows "
                f"{self._most >> 20} MiB for all of them.",
            )
        with self._turn:
            while self._taken(newcomer) + newcomer.weight > self._most:
                if not any(one.unload(patience=0.0) for one in self._idle(newcomer)[:1]):
                    raise HeliographError(
                        Code.MODEL_UNAVAILABLE,
                        "There is no memory for this model now: the models that are loaded are in "
                        "use. Try again in a moment.",
                        retry_after=max(1.0, self._protect),
                    )

    def _taken(self, newcomer: Lodger) -> int:
        present: Iterable[Lodger] = (one for one in self._lodgers if one is not newcomer)
        return sum(one.weight for one in present if one.state in {"ready", "loading", "unloading"})

    def _idle(self, newcomer: Lodger) -> list[Lodger]:
        """Those that may go, the least recently used first."""
        late = time.monotonic() - self._protect
        idle = [
            one
            for one in self._lodgers
            if one is not newcomer
            and one.state == "ready"
            and one.on_demand
            and not one.leases
            and one.used <= late
        ]
        return sorted(idle, key=lambda one: one.used)
