"""Privacy: the whole of it, as the rest of the house sees it.

privacy = Privacy(parts, shelves)
privacy.consents  privacy.exports  privacy.erasures  privacy.retention
privacy.tend()                    every minute or so, where a server runs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from heliograph.accounts.privacy.consents import Consents
from heliograph.accounts.privacy.erasing import Erasing
from heliograph.accounts.privacy.erasures import Erasures
from heliograph.accounts.privacy.exports import Exports
from heliograph.accounts.privacy.own import ConsentsPlace, ExportsPlace
from heliograph.accounts.privacy.parts import Parts
from heliograph.accounts.privacy.retention import Report, Retention, Shelf
from heliograph.accounts.privacy.values import DAY_MS


class Privacy:
    """Consents, terms, exports and erasures.

    Args:
        parts: what it needs of the house; this room adds its own places.
        shelves: what is kept for a term, besides the exports.
        picture_days: see `Retention`.
    """

    def __init__(
        self, parts: Parts, shelves: Sequence[Shelf] = (), *, picture_days: int = 0
    ) -> None:
        places = (*parts.places, ConsentsPlace(), ExportsPlace(parts.vault))
        parts = replace(parts, places=places)
        self.consents = Consents(parts)
        self.exports = Exports(parts)
        self.erasures = Erasures(parts)
        self.erasing = Erasing(parts)
        names = self.erasures.names()
        if len({*names}) < len(names):
            raise AssertionError("two places have one name: one would be skipped; this is a bug")
        mine = Shelf(
            "exports",
            parts.rules.link // DAY_MS,
            "so that you can fetch them",
            self._expire,
        )
        self.retention = Retention(parts, self.consents, [mine, *shelves], picture_days)

    def tend(self) -> None:
        """Make exports, take erasures further; any number of nodes may do it at once."""
        self.exports.make_all()
        self.erasing.sweep()

    def sweep(self) -> Report:
        """Delete what is past its term; once an hour is enough."""
        return self.retention.sweep()

    def _expire(self, before_ms: int) -> int:
        # Each export has a time of its own, as its letter said.
        del before_ms
        return self.exports.expire()

    def erase_again(self, connection: Connection, tenant: str) -> None:
        """The step that a restore takes for each of the erased; see `storage.restoring.Erase`."""
        self.erasing.again(connection, tenant)
