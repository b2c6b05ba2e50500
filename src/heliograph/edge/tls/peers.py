"""Certificates of clients: which service one stands for.

A certificate is let in by its names: of hosts (`DNS`), of services (`URI`, as SPIFFE has them), or
its common name if it has neither. OpenSSL has seen to its signature and its time before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from heliograph.core.errors import Code, HeliographError

_KINDS = ("DNS", "URI")


class Peers:
    """Who is let in as what.

    Args:
        services: the service by a certificate's name; empty to let in every certificate that is
            rightly signed, each under its first name.
    """

    def __init__(self, services: Mapping[str, str]) -> None:
        self._services = dict(services)

    def service(self, names: Iterable[str]) -> str:
        """The service that a certificate of these names stands for.

        Raises:
            HeliographError: `forbidden`.
        """
        found = list(names)
        if not self._services and found:
            return found[0]
        for name in found:
            if name in self._services:
                return self._services[name]
        raise HeliographError(
            Code.FORBIDDEN,
            "The client certificate names no service that is let in here (tls.client_names).",
        )

    @property
    def everybody(self) -> bool:
        """Whether every certificate that is rightly signed is let in."""
        return not self._services


def read_services(said: str) -> dict[str, str]:
    """`NAME=SERVICE` with commas, or `NAME` for a service of that name, as a mapping.

    Raises:
        HeliographError: `validation`.
    """
    found: dict[str, str] = {}
    for one in filter(None, (part.strip() for part in said.split(","))):
        name, _, service = one.partition("=")
        if not name or ("=" in one and not service) or name in found:
            raise HeliographError(
                Code.VALIDATION,
                f"tls.client_names: {one[:60]!r} is not NAME or NAME=SERVICE, or stands twice.",
            )
        found[name] = service or name
    return found


def names_in(certificate: Mapping[str, Any] | None) -> list[str]:
    """The names of a certificate in the form of `SSLSocket.getpeercert()`."""
    if not certificate:
        return []
    held: Iterable[tuple[str, str]] = certificate.get("subjectAltName", ())
    names = [name for kind, name in held if kind in _KINDS]
    if names:
        return names
    subject: Iterable[Iterable[tuple[str, str]]] = certificate.get("subject", ())
    return [value for part in subject for kind, value in part if kind == "commonName"]


def names_by(context: Mapping[str, Iterable[bytes]]) -> list[str]:
    """The names of a certificate in the form of gRPC's `auth_context()`."""
    # gRPC repeats the common name among the others, and gives addresses of every kind.
    named = [
        one.decode("utf-8", "replace")
        for key in ("peer_dns", "peer_uri")
        for one in context.get(key, ())
    ]
    common = context.get("x509_common_name", ())
    return named or [one.decode("utf-8", "replace") for one in common]
