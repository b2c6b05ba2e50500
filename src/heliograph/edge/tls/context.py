"""OpenSSL's side: a context with today's defaults, and a pair put into one.

Covered: TLS 1.2 with forward secrecy and authenticated ciphers, TLS 1.3; no compression, no
renegotiation; `http/1.1` by ALPN; certificates asked of clients.
Not covered: revocation lists. Give services certificates that live for days.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from heliograph.edge.tls.values import Pair, refused

# TLS 1.3 has suites of its own, all of which will do.
_SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"


def make_context(pair: Pair, client_ca: Path | None = None) -> ssl.SSLContext:
    """A server's context.

    Args:
        pair: what it shows.
        client_ca: certificates of whoever signs those that clients must show; None to ask no one.

    Raises:
        HeliographError: `validation`: OpenSSL does not take the pair or the file.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    load(context, pair)
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ssl.SSLError) as error:
            raise refused(f"{client_ca.name} holds no certificates in PEM form.") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def load(context: ssl.SSLContext, pair: Pair) -> None:
    """Show another pair from the next connection on; those that are open go on as they are.

    Call it where connections are accepted: a handshake at the same moment in another thread could
    see the new certificate with the old key.

    Raises:
        HeliographError: `validation`.
    """
    try:
        with _file(pair) as path:
            context.load_cert_chain(path)
    except ssl.SSLError as error:
        raise refused(f"OpenSSL does not take the pair: {error.reason}.") from error


@contextmanager
def _file(pair: Pair) -> Generator[str]:
    """What was checked, as a file: OpenSSL reads nothing else, and the real ones may change."""
    data = pair.key.rstrip() + b"\n" + pair.chain
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("pair")
        try:
            with open(handle, "wb", closefd=False) as file:
                file.write(data)
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)
        return
    with tempfile.NamedTemporaryFile() as kept:  # mode 0600
        kept.write(data)
        kept.flush()
        yield kept.name
