"""A certificate authority for tests: Debian's `pebble`, with names that all lead to loopback."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import trustme

_BIN = shutil.which("pebble")
_NAMES = shutil.which("pebble-challtestsrv")
MISSING = "" if _BIN and _NAMES else "pebble is not installed; `apt-get install pebble` brings it"


@dataclass(slots=True)
class Pebble:
    """A running authority.

    Attributes:
        directory: its address.
        ca: a file with what its own certificate is checked against.
        port: where it looks for proofs of http-01.
        roots: the address at which it says what it signs with.
    """

    directory: str
    ca: Path
    port: int
    roots: str
    stop: Callable[[], None]
    start: Callable[[], None]

    def root(self) -> str:
        """What the certificates it has given lead to."""
        said = httpx.get(self.roots, verify=ssl.create_default_context(cafile=self.ca))
        return said.text


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@contextmanager
def pebble(folder: Path, environ: Mapping[str, str] | None = None) -> Generator[Pebble]:
    """Run an authority; its own TLS is by a small CA made here."""
    folder.mkdir(parents=True, exist_ok=True)
    ca = trustme.CA()
    ca.cert_pem.write_to_path(folder / "ca.pem")
    own = ca.issue_cert("127.0.0.1", "localhost")
    own.private_key_pem.write_to_path(folder / "key.pem")
    own.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    port, management, proof, names, control = (free_port() for _ in range(5))
    config = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(folder / "cert.pem"),
        "privateKey": str(folder / "key.pem"),
        "httpPort": proof,
        "tlsPort": free_port(),
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
    }
    (folder / "config.json").write_text(json.dumps({"pebble": config}))
    env = os.environ | {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0", **(environ or {})}
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        command = [_BIN, "-config", folder / "config.json", "-dnsserver", f"127.0.0.1:{names}"]
        running.append(_run(command, folder / "pebble.log", env))
        _await(port)

    def stop() -> None:
        while running:
            process = running.pop()
            process.kill()
            process.wait()

    resolver = [_NAMES, "-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", ""]
    resolver += ["-https01", "", "-tlsalpn01", "", "-management", f"127.0.0.1:{control}"]
    with ExitStack() as undo:
        namer = _run([*resolver, "-dns01", f"127.0.0.1:{names}"], folder / "names.log", env)
        undo.callback(namer.wait)
        undo.callback(namer.kill)
        undo.callback(stop)
        _await(control)
        start()
        yield Pebble(
            f"https://127.0.0.1:{port}/dir",
            folder / "ca.pem",
            proof,
            f"https://127.0.0.1:{management}/roots/0",
            stop,
            start,
        )


def _run(command: Sequence[object], log: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(
            [str(one) for one in command], stdout=file, stderr=file, env=dict(env)
        )


def _await(port: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nobody listens on {port}")
