"""One writer with group commit: who waits when a transaction begins is committed together.

    submit ─┐
    submit ─┼─► line ─► BEGIN · each in turn, failing alone · COMMIT (one fsync) ─► every future
    put    ─┘

A commit that fails leaves its outcome unknown. The connection is thrown away then and never asked
again: after a failed fsync the kernel may have dropped the pages and report success the next time
(what PostgreSQL learnt in 2018).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from heliograph.core.errors import Code, HeliographError
from heliograph.core.faults import reach

log = logging.getLogger("heliograph.storage")
T = TypeVar("T")
R = TypeVar("R")
_TOGETHER = 512
_TRIES = 4
_COLLISIONS = ("40P01", "40001")
"""What PostgreSQL calls a deadlock, and a transaction that cannot be put in order."""


class _Mixed(Exception):  # noqa: N818 - no error
    """The jobs of a transaction must be kept apart."""


class _Job:
    """One piece of work in the line, and who waits for it."""

    __slots__ = ("bulk", "error", "future", "value", "work")

    def __init__(self, work: Any, bulk: Callable[[Connection, Sequence[Any]], None] | None) -> None:
        self.work = work
        self.bulk = bulk
        self.future: Future[Any] = Future()
        self.value: Any = None
        self.error: BaseException | None = None


class Bulk(Generic[R]):
    """Rows of one kind, of which all that wait are written by one statement.

    Args:
        line: the writer's.
        write: writes them; all or, if it raises, none.
    """

    def __init__(
        self,
        line: queue.SimpleQueue[_Job | None],
        write: Callable[[Connection, Sequence[R]], None],
    ) -> None:
        self._line = line
        self._write = write

    def put(self, row: R) -> Future[None]:
        """Write a row; the future is done when it is on disk."""
        job = _Job(row, self._write)
        self._line.put(job)
        return job.future


class Writer:
    """The one thread of a process that writes to the database.

    Args:
        engine: gives the connection; each transaction begins as a writer's.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._line: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._patience: Callable[[], float] = _at_once
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """Run `work` in the next transaction; the future is done when that is on disk.

        Work that raises is undone alone. It may run again if the database asks for that, so it does
        nothing but read and write rows.
        """
        job = _Job(work, None)
        with self._lock:
            if self._closed:
                raise HeliographError(Code.DB_UNAVAILABLE, "The server is stopping.")
            self._line.put(job)
        return job.future

    def gather(self, patience: Callable[[], float]) -> None:
        """Let `patience` say how many seconds a row waits for others before it is written.

        While every processor has something else to do, a transaction that waits for more rows saves
        the work of those that would follow it, and delays nobody who could be served meanwhile.
        """
        self._patience = patience

    def bulk(self, write: Callable[[Connection, Sequence[R]], None]) -> Bulk[R]:
        """Rows of one kind that are written together."""
        return Bulk(self._line, write)

    def close(self) -> None:
        """Write what waits and end."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._line.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            jobs, go_on = self._take()
            if jobs:
                self._settle(jobs)
            if not go_on:
                return

    def _take(self) -> tuple[list[_Job], bool]:
        """Everybody who waits; blocks until somebody does."""
        jobs: list[_Job] = []
        one = self._line.get()
        if one is not None and one.bulk is not None and (pause := self._patience()):
            time.sleep(pause)
        while one is not None:
            jobs.append(one)
            if len(jobs) == _TOGETHER:
                return jobs, True
            try:
                one = self._line.get_nowait()
            except queue.Empty:
                return jobs, True
        return jobs, False

    def _settle(self, jobs: list[_Job]) -> None:
        try:
            self._commit(jobs)
        except Exception as error:
            known = understand(error)
            log.exception("a transaction of %d writes failed: %s", len(jobs), known.code)
            self._engine.dispose()
            for job in jobs:
                job.future.set_exception(known)
            return
        for job in jobs:
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.value)

    def _commit(self, jobs: list[_Job]) -> None:
        """All of it in one transaction, again if the database asks for that."""
        for left in reversed(range(_TRIES)):
            try:
                try:
                    self._transact(jobs, apart=False)
                except _Mixed:
                    self._transact(jobs, apart=True)
            except DBAPIError as error:
                if not left or not _again(error):
                    raise
            else:
                return

    def _transact(self, jobs: list[_Job], *, apart: bool) -> None:
        for job in jobs:
            job.error = None
        with self._engine.connect() as connection, connection.begin() as transaction:
            if apart:
                self._each(connection, jobs)
            else:
                self._all(connection, jobs)
            reach("writer.worked")
            if len(jobs) == 1 and jobs[0].error is not None:
                transaction.rollback()
                return
            reach("writer.before_commit")
        reach("writer.after_commit")

    def _all(self, connection: Connection, jobs: list[_Job]) -> None:
        """Without savepoints, which cost as much as the rest: work that is undone as a whole."""
        first = jobs[0]
        if first.bulk is None:
            if len(jobs) > 1:
                raise _Mixed
            first.value = _do(connection, first)
            return
        if any(job.bulk is not first.bulk for job in jobs):
            raise _Mixed
        try:
            first.bulk(connection, [job.work for job in jobs])
        except (IntegrityError, HeliographError) as error:
            if len(jobs) > 1:
                raise _Mixed from error
            first.error = error

    def _each(self, connection: Connection, jobs: list[_Job]) -> None:
        """Each within a savepoint, rows of one kind together: one that fails hurts no other."""
        kinds: dict[Any, list[_Job]] = {}
        for job in jobs:
            if job.bulk is not None:
                kinds.setdefault(job.bulk, []).append(job)
                continue
            inside = connection.begin_nested()
            job.value = _do(connection, job)
            if job.error is None:
                inside.commit()
            else:
                inside.rollback()
        for write, group in kinds.items():
            self._together(connection, write, group)

    def _together(
        self,
        connection: Connection,
        write: Callable[[Connection, Sequence[Any]], None],
        group: list[_Job],
    ) -> None:
        inside = connection.begin_nested()
        try:
            write(connection, [job.work for job in group])
            inside.commit()
        except (IntegrityError, HeliographError) as error:
            inside.rollback()
            if len(group) == 1:
                group[0].error = error
                return
            # One of them is in the way of all: each on its own.
            for job in group:
                self._together(connection, write, [job])


def _at_once() -> float:
    return 0.0


def _again(error: DBAPIError) -> bool:
    """Whether two transactions were in each other's way, and this one was chosen to begin anew."""
    said = str(error.orig)
    return any(code in said for code in _COLLISIONS)


def _do(connection: Connection, job: _Job) -> Any:
    try:
        return job.work(connection)
    except (IntegrityError, HeliographError) as error:
        job.error = error
    except DBAPIError:
        # The connection itself may be broken: the whole transaction is.
        raise
    except Exception as error:  # noqa: BLE001 - a bug in one's work is told to that one
        job.error = error
    return None


def understand(error: BaseException) -> HeliographError:
    """The error of the table for what a database said; its own words stay in the log."""
    if isinstance(error, HeliographError):
        return error
    said = str(getattr(error, "orig", error)).lower()
    if "full" in said or "no space" in said or "53100" in said:
        known = HeliographError(
            Code.STORAGE_FULL, "No space is left for the database. Try again when there is."
        )
    elif isinstance(error, SQLAlchemyError | OSError):
        known = HeliographError(
            Code.DB_UNAVAILABLE, "The database cannot be written now. Try again.", retry_after=2.0
        )
    else:
        known = HeliographError(Code.INTERNAL, "An error of ours; it is in the log.")
    known.__cause__ = error
    return known
