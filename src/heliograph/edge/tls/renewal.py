"""Keeping a certificate from ACME fresh: when to ask, and what to do when nobody answers.

    placeholder -> first certificate -> its renewal, when the authority says or after two thirds

Of several workers one does it, the one that holds the lock; all of them follow the file it writes.
Whatever fails, the certificate that is there is served until it ends, and asked for again later and
later.
"""

from __future__ import annotations

import fcntl
import logging
import random
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from heliograph.core.clock import Clock
from heliograph.core.errors import HeliographError
from heliograph.edge.tls.certificates import Certificates
from heliograph.edge.tls.files import Files, write_secret
from heliograph.edge.tls.values import (
    PLACEHOLDER,
    Pair,
    back_off_ms,
    check_times,
    is_address,
    renewal_ms,
)

log = logging.getLogger("heliograph.tls")
_TICK = 1.0
_LEAST_MS = 60_000


class Issuer(Protocol):
    """Who gives certificates (`tls/acme.py: Authority`)."""

    def issue(self, names: Sequence[str]) -> bytes:
        """A key and a certificate in one PEM file."""
        ...

    def renewal(self, chain: bytes) -> tuple[int | None, int]:
        """When to renew, if it says so, and when to ask that again."""
        ...


def prepare(folder: Path, names: Sequence[str], now_ms: int) -> Files:
    """The files of the certificate: the last one that came, or a placeholder that nobody trusts."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "acme.pem"
    files = Files(path, path)
    if path.exists():
        try:
            check_times(files.read(), now_ms)
        except HeliographError as error:
            log.warning("the last certificate cannot be served any more. %s", error.detail)
            write_secret(path, _placeholder(names))
    else:
        write_secret(path, _placeholder(names), replace=False)
    return files


class Renewal:
    """Asks for certificates when it is time to.

    Args:
        issuer: opens the directory; called when it is needed.
        names: what the certificate is to be for.
        path: where it is written.
        certificates: that are served now.
        clock: the time.
        draw: from 0 to 1, by lot.
    """

    def __init__(
        self,
        issuer: Callable[[], Issuer],
        names: Sequence[str],
        path: Path,
        certificates: Certificates,
        clock: Clock,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._issuer = issuer
        self._names = list(names)
        self._path = path
        self._certificates = certificates
        self._clock = clock
        self._draw = draw
        self._next_ms = 0
        self._failures = 0
        self._said: tuple[str, int | None] = ("", None)
        self._ask_ms = 0
        self._unwritten = b""
        self._lock: IO[bytes] | None = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="acme", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Begin nothing new; what is being asked may go on until the process ends."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(2.0)
        if self._lock is not None:
            self._lock.close()

    def step(self) -> bool:
        """Do what is due; whether a new certificate was written."""
        now = self._clock()
        if now < self._next_ms:
            return False
        pair = self._certificates.current
        due = renewal_ms(pair, self._names, self._ask(pair, now))
        if now < due:
            self._next_ms = min(due, self._ask_ms)
            return False
        try:
            # One that could not be written is not asked for again: authorities count.
            self._unwritten = self._unwritten or self._issuer().issue(self._names)
            write_secret(self._path, self._unwritten)
        except Exception as error:  # noqa: BLE001 - of a library, of the network, of the disk
            self._fail(now, error, pair)
            return False
        self._unwritten = b""
        self._failures, self._ask_ms = 0, 0
        self._next_ms = now + _LEAST_MS
        self._certificates.look()
        return True

    def _ask(self, pair: Pair, now: int) -> int | None:
        """What the authority says of this certificate; it is asked as often as it wants."""
        if pair.placeholder or now >= pair.until_ms:
            return None
        if self._said[0] == pair.print and now < self._ask_ms:
            return self._said[1]
        try:
            when, self._ask_ms = self._issuer().renewal(pair.chain)
        except Exception as error:  # noqa: BLE001 - as above
            log.warning("the authority does not say when to renew. %s", error)
            when = self._said[1] if self._said[0] == pair.print else None
            self._ask_ms = now + back_off_ms(10, self._draw())
        self._ask_ms = max(self._ask_ms, now + _LEAST_MS)
        self._said = pair.print, when
        return when

    def _fail(self, now: int, error: Exception, pair: Pair) -> None:
        self._failures += 1
        wait = back_off_ms(self._failures, self._draw())
        self._next_ms = now + wait
        log.error(
            "no new certificate, asked %d times; again in %d minutes; the old one ends in %.1f "
            "days. %s",
            self._failures,
            -(-wait // 60_000),
            pair.days_left(now),
            error,
        )

    def _run(self) -> None:
        while not self._closed.wait(_TICK if self._lock or self._hold() else 5 * _TICK):
            if self._lock is not None:
                try:
                    self.step()
                except Exception:
                    log.exception("the certificate is not looked after")

    def _hold(self) -> bool:
        """Become the one who asks, if nobody is; the lock goes with the process."""
        file = (self._path.parent / "lock").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._lock = file
        return True


def _placeholder(names: Sequence[str]) -> bytes:
    """A pair that lets the server start before the first certificate is there."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, PLACEHOLDER)])
    now = datetime.now(UTC)
    held = [
        x509.IPAddress(ipaddress.ip_address(one)) if is_address(one) else x509.DNSName(one)
        for one in names
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName(held), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(
        Encoding.PEM
    )
