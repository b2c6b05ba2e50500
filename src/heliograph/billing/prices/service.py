"""Publishing price books, and knowing which one is in force.

A book is never changed: a new one takes its place at its time, and what was priced by the old one
stays priced by it. Every process keeps all books in memory and looks for new ones every few
seconds; a book that is to hold at once therefore comes into force a little later than it was handed
in, everywhere at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from heliograph.billing.prices import store
from heliograph.billing.prices.quoting import CallUse, quote
from heliograph.billing.prices.sheet import (
    PriceSheet,
    canonical,
    compile_book,
    fits,
    instant,
)
from heliograph.billing.prices.values import PriceBook, Shelf
from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.money import Cost
from heliograph.storage.database import Database, Record

LEAD_MS = 5_000
"""From handing a book in to its coming into force, at least: by then every process has read it."""
_LOOK_MS = 2_000
_SOME_YEARS_MS = 10 * 366 * 86_400_000


def no_plans(connection: Connection) -> frozenset[str]:
    """No plan is anybody's."""
    del connection
    return frozenset()


class PriceService:
    """The price books of this house.

    Args:
        database: where they are kept.
        clock: the time of day.
        record: writes to the audit log.
        plans_in_use: names of plans that workspaces have agreed to, which a new book must keep.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        record: Record,
        plans_in_use: Callable[[Connection], frozenset[str]] = no_plans,
    ) -> None:
        self._database = database
        self._clock = clock
        self._record = record
        self._plans_in_use = plans_in_use
        self._lock = threading.Lock()
        # Replaced as a whole: readers take no lock.
        self._shelf = Shelf()
        self._looked_ms = -_LOOK_MS

    def publish(self, sheet: PriceSheet, actor: str) -> PriceBook:
        """Keep a new book; it comes into force at its time.

        Raises:
            HeliographError: `validation` where the sheet is not right, names another currency than
                the books before it, a time that has passed, or lacks a plan that is in use;
                `conflict` if somebody else published at the same time.
        """
        now, valid = self._clock(), self.check(sheet)

        def work(connection: Connection) -> PriceBook:
            before = store.latest(connection)
            book = compile_book(sheet, before.version + 1 if before else 1, valid, now)
            self._check(connection, book, before)
            store.add(
                connection,
                store.Kept(book.version, valid, now, actor, canonical(sheet), book.digest),
            )
            facts = {"version": book.version, "valid_from_ms": valid, "digest": book.digest}
            self._record(
                connection, Event(Act.PRICE_PUBLISHED, actor, "", str(book.version), facts)
            )
            return book

        try:
            book = self._database.write(work)
        except IntegrityError as error:
            raise HeliographError(
                Code.CONFLICT,
                "Somebody else published prices just now; look at them and try again.",
            ) from error
        self.refresh()
        return book

    def check(self, sheet: PriceSheet) -> int:
        """Hold a sheet against everything that needs no other book.

        Returns:
            When it would come into force, in milliseconds since 1970.

        Raises:
            HeliographError: `validation`.
        """
        now = self._clock()
        valid = instant(sheet.valid_from, "valid_from") if sheet.valid_from else now + LEAD_MS
        if not now <= valid <= now + _SOME_YEARS_MS:
            raise HeliographError(
                Code.VALIDATION,
                "valid_from lies in the past, or more than ten years ahead: what has been told to "
                "callers stays as it was told. Leave it out for at once.",
            )
        compile_book(sheet, 0, valid, now)
        return valid

    def _check(self, connection: Connection, book: PriceBook, before: store.Kept | None) -> None:
        if before is not None:
            old = _compiled(before)
            if book.currency != old.currency:
                raise HeliographError(
                    Code.VALIDATION,
                    f"The books are kept in {old.currency}; this sheet says {book.currency}.",
                )
            if book.valid_from_ms <= old.valid_from_ms:
                raise HeliographError(
                    Code.VALIDATION,
                    f"Price version {old.version} comes into force later or at the same time; "
                    "a new one must follow it.",
                )
        lost = sorted(self._plans_in_use(connection) - set(book.plans))
        if lost:
            raise HeliographError(
                Code.VALIDATION,
                f"Workspaces have agreed to the plan {lost[0][:63]!r}, which this sheet lacks.",
            )

    def refresh(self) -> None:
        """Read the books that have been published since the last look."""
        with self._lock:
            known = self._shelf.books[-1].version
            with self._database.read() as connection:
                new = store.after(connection, known)
            if new:
                self._shelf = Shelf((*self._shelf.books, *(_compiled(one) for one in new)))
            self._looked_ms = self._clock()

    def current(self) -> PriceBook:
        """The book in force now; a database that cannot be read leaves the known ones in force."""
        now = self._clock()
        if not 0 <= now - self._looked_ms < _LOOK_MS:
            try:
                self.refresh()
            except HeliographError:
                self._looked_ms = now
        return self._shelf.at(now)

    def shelf(self) -> Shelf:
        """Every book there is now."""
        self.refresh()
        return self._shelf

    def sheet(self, number: int) -> tuple[store.Kept, PriceSheet]:
        """A book as it was written.

        Raises:
            HeliographError: `not_found`.
        """
        with self._database.read() as connection:
            found = store.after(connection, number - 1)
        if not found or found[0].version != number:
            raise HeliographError(Code.NOT_FOUND, f"There is no price version {number}.")
        return found[0], _read(found[0].sheet)

    def history(self) -> list[store.Kept]:
        """Every book's row, the newest first."""
        with self._database.read() as connection:
            return store.after(connection, 0)[::-1]

    def quote(self, use: CallUse) -> Cost:
        """What a call costs by the book in force; see `quoting.quote`."""
        return quote(self.current(), use)


def _read(text: str) -> PriceSheet:
    import json

    return fits(json.loads(text), PriceSheet)


def _compiled(row: store.Kept) -> PriceBook:
    return compile_book(_read(row.sheet), row.version, row.valid_from_ms, row.published_ms)
