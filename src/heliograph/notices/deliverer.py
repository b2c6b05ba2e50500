"""Empties the outbox in the background: looks, claims, and lends each message a thread.

Bulkheads: letters and webhooks have hands of their own; a webhook has one message on its way at a
time; webhooks that fail may hold half of the hands. So one that takes its time delays nobody else,
and nothing here ever waits on the path of a call.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from heliograph.core.clock import Clock
from heliograph.core.errors import HeliographError
from heliograph.notices import store
from heliograph.notices.carrier import HOOK_SECONDS, Carrier
from heliograph.notices.values import KEPT_DELIVERIES, Message
from heliograph.storage.database import Database

log = logging.getLogger("heliograph.notices")
_LOOK_SECONDS = 0.5
_HOOK_HANDS, _MAIL_HANDS = 16, 2
_CLAIM_MS = round(4 * HOOK_SECONDS * 1000)
_MAIL_CLAIM_MS = 300_000
_MAIL_REST_MS = (5_000, 30_000, 120_000)
_SWEEP_MS = 3_600_000
_KEEP_MS = 30 * 24 * 3_600_000
Find = Callable[[Connection, int, int], Sequence[str]]


class Deliverer:
    """The thread that looks into the outbox, and those that carry.

    Args:
        database: where the outbox is.
        clock: the time of day.
        carrier: carries one message.
    """

    def __init__(self, database: Database, clock: Clock, carrier: Carrier) -> None:
        self._database = database
        self._clock = clock
        self._carrier = carrier
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Condition()
        self._away = {"mail": 0, "well": 0, "failing": 0}
        self._mail_failures = 0
        self._mail_closed_until_ms = 0
        self._swept_ms = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread = threading.Thread(target=self._run, name="notices", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = HOOK_SECONDS) -> None:
        """End, and let what is on its way arrive.

        Args:
            seconds: how long to wait for that; what has not arrived then is sent again later.
        """
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        with self._lock:
            self._lock.wait_for(lambda: not any(self._away.values()), seconds)

    def nudge(self) -> None:
        """Look now."""
        self._wake.set()

    def flush(self) -> int:
        """Send everything that is due now, in this thread; how many messages were tried.

        For commands, which have no thread running.
        """
        count = 0
        while taken := self._take("mail", 1) or self._take("well", 1) or self._take("failing", 1):
            for message in taken:
                self._carry(message)
                count += 1
        return count

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self._round()
            except HeliographError as error:
                log.warning("the outbox cannot be read: %s", error)
            except Exception:
                log.exception("a bug of ours; the outbox is looked at again")
            self._wake.wait(_LOOK_SECONDS)

    def _round(self) -> None:
        now = self._clock()
        if now - self._swept_ms >= _SWEEP_MS:
            self._swept_ms = now
            self._database.write(lambda c: store.sweep(c, now - _KEEP_MS, KEPT_DELIVERIES))
        for lane, hands in (
            ("mail", _MAIL_HANDS),
            ("well", _HOOK_HANDS - self._away["failing"]),
            ("failing", min(_HOOK_HANDS // 2, _HOOK_HANDS - self._away["well"])),
        ):
            free = hands - self._away[lane]
            for message in self._take(lane, free) if free > 0 else ():
                self._lend(lane, message)

    def _take(self, lane: str, most: int) -> list[Message]:
        """Claim what is due; nothing is written where nothing is."""
        now = self._clock()
        until = now + (_MAIL_CLAIM_MS if lane == "mail" else _CLAIM_MS)
        if lane == "mail" and now < self._mail_closed_until_ms:
            return []
        with self._database.read() as connection:
            if lane == "mail":
                ids = store.due_mail(connection, now, most)
            else:
                ids = store.due_hooks(connection, now, most, failing=lane == "failing")
        if not ids:
            return []
        name = self._carrier.name
        return self._database.write(lambda c: store.claim(c, ids, name, now, until))

    def _lend(self, lane: str, message: Message) -> None:
        with self._lock:
            self._away[lane] += 1
        threading.Thread(
            target=self._carry_off, args=(lane, message), name=f"notices-{lane}", daemon=True
        ).start()

    def _carry_off(self, lane: str, message: Message) -> None:
        try:
            self._carry(message)
        finally:
            with self._lock:
                self._away[lane] -= 1
                self._lock.notify_all()
            self._wake.set()

    def _carry(self, message: Message) -> None:
        try:
            is_open = self._carrier.carry(message)
        except HeliographError as error:
            # The database is away; the claim runs out and the message is sent again.
            log.warning("%s was tried, but that could not be written down: %s", message.id, error)
            return
        except Exception:
            log.exception("a bug of ours; %s is tried again when its claim has run out", message.id)
            return
        if message.way == "mail":
            self._judge_mail(is_open=is_open)

    def _judge_mail(self, *, is_open: bool) -> None:
        """The mail server's circuit: while it is away, one letter at a time asks for it."""
        if is_open:
            self._mail_failures, self._mail_closed_until_ms = 0, 0
            return
        self._mail_failures += 1
        rest = _MAIL_REST_MS[min(self._mail_failures, len(_MAIL_REST_MS)) - 1]
        self._mail_closed_until_ms = self._clock() + rest
