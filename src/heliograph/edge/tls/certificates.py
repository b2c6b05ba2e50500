"""The certificate that is served now, and the files it comes from, followed.

Whoever lays a new pair there has it served within two seconds, by every worker and over every
protocol; one that cannot be served is said so in the log, and the old one stays.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from heliograph.core.clock import Clock
from heliograph.core.errors import HeliographError
from heliograph.edge.tls.context import make_context
from heliograph.edge.tls.files import Files, Stamp
from heliograph.edge.tls.values import Pair, check_times, due_warning, refused

log = logging.getLogger("heliograph.tls")
Take = Callable[[Pair], None]


class Certificates:
    """What to show, to whom it is told when that changes, and how long it still holds.

    Args:
        files: where it lies.
        clock: the time.
        client_ca: of clients' certificates; read once, at the start.
        renewed: we renew it ourselves, for names of the settings.
        told: gets the days left, at each look.

    Raises:
        HeliographError: `validation`: there is no pair to start with.
    """

    def __init__(
        self,
        files: Files,
        clock: Clock,
        *,
        client_ca: Path | None = None,
        renewed: bool = False,
        told: Callable[[float], object] = lambda _: None,
    ) -> None:
        self.client_ca = client_ca
        self._files = files
        self._clock = clock
        self._renewed = renewed
        self._told = told
        self._stamp = files.stamp()
        self.current = files.read()
        check_times(self.current, clock())
        make_context(self.current, client_ca)
        self._takers: list[Take] = []
        self._doubt: tuple[Stamp, str] | None = None
        self._said: tuple[Stamp, str] | None = None
        self._warned: tuple[str, int] | None = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def tell(self, take: Take) -> None:
        """Have `take` called with each later pair, in the thread that watches."""
        self._takers.append(take)

    def start(self, period: float = 1.0) -> None:
        """Begin to watch, every `period` seconds."""
        self._thread = threading.Thread(
            target=self._watch, args=(period,), name="certificates", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> bool:
        """Look at the files once; whether another pair is served from now on."""
        stamp = self._files.stamp()
        changed = stamp != self._stamp and self._try(stamp)
        self._warn()
        return changed

    def _watch(self, period: float) -> None:
        while not self._closed.wait(period):
            try:
                self.look()
            except Exception:
                log.exception("the certificate's files cannot be followed")

    def _try(self, stamp: Stamp) -> bool:
        try:
            pair = self._files.read()
            self._check(pair)
        except HeliographError as error:
            self._refuse(stamp, error.detail)
            return False
        self._stamp = stamp
        if pair.print == self.current.print and pair.chain == self.current.chain:
            return False
        self.current = pair
        for take in self._takers:
            take(pair)
        log.info(
            "a new certificate is served, for %s, with %.1f days left",
            ", ".join(sorted(pair.names)),
            pair.days_left(self._clock()),
        )
        return True

    def _check(self, pair: Pair) -> None:
        check_times(pair, self._clock())
        make_context(pair, self.client_ca)
        if not self._renewed and not pair.names & self.current.names:
            theirs, ours = (", ".join(sorted(one.names)) for one in (pair, self.current))
            raise refused(
                f"The new certificate is for {theirs}, the one served for {ours}. If that is "
                "meant, start the server again."
            )

    def _refuse(self, stamp: Stamp, why: str) -> None:
        """Say it once; and only if it is so again: two files are not written at one moment."""
        if self._doubt == (stamp, why) and self._said != (stamp, why):
            self._said = stamp, why
            log.error("a new certificate is not served, the old one stays. %s", why)
        self._doubt = stamp, why

    def _warn(self) -> None:
        pair, now = self.current, self._clock()
        self._told(pair.days_left(now))
        left = pair.days_left(now)
        days = 0 if left <= 0 else due_warning(pair, now, renewed=self._renewed)
        if pair.placeholder or days is None or self._warned == (pair.print, days):
            return
        self._warned = pair.print, days
        if left <= 0:
            log.error("the certificate has ended; clients refuse it. Lay a new one there")
        else:
            log.warning("the certificate ends in %.1f days", left)
