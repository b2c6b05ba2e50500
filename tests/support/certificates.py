"""Certificates for tests: pairs laid where a server looks, contexts of clients."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

NAMES = ("localhost", "127.0.0.1")


def pair(
    ca: trustme.CA,
    *names: str,
    begins: float = -1,
    days: float = 90,
) -> tuple[bytes, bytes]:
    """A certificate with its chain, and its key; it begins and lasts so many days from now."""
    start = datetime.now(UTC) + timedelta(days=begins)
    made = ca.issue_cert(
        *(names or NAMES), not_before=start, not_after=start + timedelta(days=days)
    )
    return b"".join(one.bytes() for one in made.cert_chain_pems), made.private_key_pem.bytes()


def lay(folder: Path, chain: bytes, key: bytes) -> tuple[Path, Path]:
    """Put a pair where the server looks for it, each file whole at once."""
    return put(folder / "server.pem", chain), put(folder / "server.key", key)


def put(path: Path, data: bytes, mode: int = 0o600) -> Path:
    """Replace a file."""
    scratch = path.with_suffix(".new")
    scratch.write_bytes(data)
    scratch.chmod(mode)
    scratch.replace(path)
    return path


def client(ca: trustme.CA, shows: trustme.LeafCert | None = None) -> ssl.SSLContext:
    """What a client trusts, and the certificate that it shows."""
    context = ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())
    if shows is not None:
        shows.configure_cert(context)
    return context
