"""What every edge is given by the composition root."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from heliograph.edge.books import Books
from heliograph.edge.http.doors import Door
from heliograph.outbound.pictures import NoPictures
from heliograph.registry.catalog import Catalog
from heliograph.serving.path import Path
from heliograph.serving.values import Gate, Model
from heliograph.telemetry.meter import TelemetryMeter


class Fetcher(Protocol):
    """Fetches pictures that callers name by their address."""

    async def fetch(self, url: str, seconds: float, holder: str) -> bytes:
        """The file at an address, for a workspace or key; see `outbound/pictures.py`."""
        ...


def _unheard(key: str) -> None:
    """Nobody keeps keys."""
    del key


@dataclass(slots=True)
class Services:
    """The use cases behind the routes.

    Attributes:
        path: the inference path.
        catalog: what is in service.
        gate: who may call.
        books: where answers are booked.
        meter: has what `/metrics` shows.
        most_files: most pictures in one multipart call.
        hosts: accepted Host names besides loopback names and addresses; `*` for any.
        doors: every address of what the house remembers; none where nobody keeps accounts.
        exposed: told of a key that stood in an address; must not wait.
        draining: set once a graceful stop has begun.
        openapi: the OpenAPI document, made on first demand.
        fetcher: fetches pictures by their address; by default nobody does.
    """

    path: Path
    catalog: Catalog[Model]
    gate: Gate
    books: Books
    meter: TelemetryMeter
    most_files: int
    hosts: frozenset[str]
    doors: Sequence[Door] = ()
    exposed: Callable[[str], None] = _unheard
    draining: bool = False
    openapi: dict[str, Any] = field(default_factory=dict[str, Any])
    fetcher: Fetcher = field(default_factory=NoPictures)
