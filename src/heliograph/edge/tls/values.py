"""A certificate with its key, what can be read of it, and the rules of when to warn and to renew.

Pure: bytes and times come in, values go out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from heliograph.core.errors import Code, HeliographError

DAY_MS = 86_400_000
WARN_DAYS = (1, 7, 14, 30)
PLACEHOLDER = "heliograph placeholder"
"""Common name of what is shown until the first certificate comes from ACME."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate, those that lead to its root, and its key.

    Attributes:
        chain: the certificates as PEM, the server's own first.
        key: the private key as PEM, not encrypted; never shown.
        names: of hosts and addresses, in lower case.
        since_ms: from when it holds.
        until_ms: the first moment at which it does not hold any more.
        print: SHA-256 of the certificate, in hex.
        placeholder: we have made it ourselves; no client trusts it.
    """

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)
    names: frozenset[str]
    since_ms: int
    until_ms: int
    print: str
    placeholder: bool = False

    @property
    def lifetime_ms(self) -> int:
        """How long it was made for."""
        return self.until_ms - self.since_ms

    def days_left(self, now_ms: int) -> float:
        """Days until it ends; negative afterwards."""
        return (self.until_ms - now_ms) / DAY_MS


def parse_pair(chain: bytes, key: bytes) -> Pair:
    """Read a pair and see that the two belong together.

    Raises:
        HeliographError: `validation`, which says what is wrong with which of the two.
    """
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise refused("The certificate's file holds no certificate in PEM form.") from error
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise refused(
            "The key's file holds no private key in PEM form, or one behind a password."
        ) from error
    own = certificates[0]
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if private.public_key().public_bytes(*form) != own.public_key().public_bytes(*form):
        raise refused("The key does not belong to the certificate.")
    return Pair(
        # Written anew: the file may hold the key, too, which is nobody's business but OpenSSL's.
        b"".join(one.public_bytes(Encoding.PEM) for one in certificates),
        key,
        names_of(own),
        _ms(own.not_valid_before_utc),
        _ms(own.not_valid_after_utc),
        own.fingerprint(hashes.SHA256()).hex(),
        _common_name(own) == PLACEHOLDER,
    )


def check_times(pair: Pair, now_ms: int) -> None:
    """Refuse a pair outside its time.

    Raises:
        HeliographError: `validation`.
    """
    if now_ms >= pair.until_ms:
        raise refused(f"The certificate ended {-pair.days_left(now_ms):.1f} days ago.")
    if now_ms < pair.since_ms:
        raise refused(
            f"The certificate holds only from {(pair.since_ms - now_ms) / DAY_MS:.1f} days "
            "from now. Is this machine's clock right?"
        )


def refused(why: str) -> HeliographError:
    """The error of a pair that cannot be served."""
    return HeliographError(Code.VALIDATION, f"TLS: {why}")


def names_of(certificate: x509.Certificate) -> frozenset[str]:
    """Hosts and addresses that a certificate is for."""
    try:
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset({_common_name(certificate).lower()} - {""})
    hosts = held.get_values_for_type(x509.DNSName)
    addresses = held.get_values_for_type(x509.IPAddress)
    return frozenset([*(one.lower() for one in hosts), *map(str, addresses)])


def due_warning(pair: Pair, now_ms: int, *, renewed: bool) -> int | None:
    """The warning that an end draws near: 30, 14, 7 or 1, days; None while there is none.

    Args:
        pair: the certificate.
        now_ms: the time.
        renewed: we renew it ourselves, after two thirds of its life: only what comes later than
            that is worth a warning, or every short-lived one would be warned of.
    """
    left = pair.days_left(now_ms)
    most = pair.lifetime_ms / DAY_MS / (3 if renewed else 1)
    return next((days for days in WARN_DAYS if left <= days < most), None)


def renewal_ms(pair: Pair, names: Collection[str], said_ms: int | None = None) -> int:
    """When a certificate is to be renewed.

    Args:
        pair: what is served now.
        names: that it should be for.
        said_ms: what the one who issued it has said (ARI), if anything.
    """
    if pair.placeholder or not frozenset(names) <= pair.names:
        return 0
    two_thirds = pair.since_ms + pair.lifetime_ms * 2 // 3
    return two_thirds if said_ms is None else min(said_ms, pair.until_ms)


def back_off_ms(failures: int, draw: float) -> int:
    """How long to wait after so many failures in a row: a minute, doubled up to six hours.

    Args:
        failures: at least 1.
        draw: from 0 to 1, by lot, so that not all of the world asks at once.
    """
    most = min(60_000 << min(failures - 1, 9), 6 * 3_600_000)
    return round(most * (0.5 + draw / 2))


def is_address(name: str) -> bool:
    """Whether a name is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _common_name(certificate: x509.Certificate) -> str:
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
