"""Real server processes for tests: started on a free port, awaited, stopped by SIGTERM."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

_ADDRESS = re.compile(r"^Heliograph on (https?://\S+)", re.MULTILINE)
_START_SECONDS = 90.0
_STOP_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running `heliograph serve`.

    Attributes:
        address: `http://127.0.0.1:PORT`.
        key: the administrator key; empty for a server that was started with `--open`.
        home: its data folder.
        process: the process; with several workers, the one that watches them.
        stderr: where its standard error goes.
    """

    address: str
    key: str
    home: Path
    process: subprocess.Popen[bytes]
    stderr: Path

    @property
    def headers(self) -> dict[str, str]:
        """What a call needs to be let in."""
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def log(self) -> str:
        """All of standard error so far."""
        return self.stderr.read_text("utf-8", "replace")

    def stop(self) -> int:
        """SIGTERM and wait; the exit code. Killed, and an error, if it does not stop."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            words = f"SIGTERM did not stop the server:\n{self.log()[-4000:]}"
            raise AssertionError(words) from None


@contextmanager
def running(
    home: Path,
    *options: str,
    stderr: Path,
    environ: Mapping[str, str] | None = None,
    ready: bool = True,
    verify: ssl.SSLContext | bool = True,
) -> Generator[Server]:
    """Run `heliograph serve OPTIONS` until the block ends.

    Args:
        home: the data folder. Share one between tests: converted models are kept in it.
        options: e.g. `--open`, `--models`, `process`; the port is free unless `--port` is given.
        stderr: a file for standard error.
        environ: further environment variables, e.g. `{"HELIOGRAPH_SERVING_SEATS": "2"}`.
        ready: wait for every model; else only until the server answers.
        verify: what httpx shows and checks, where the server speaks TLS.

    Yields:
        The server, once every model is ready.
    """
    given = list(options) if "--port" in options else ["--port", "0", *options]
    command = [sys.executable, "-m", "heliograph", "serve", "--home", str(home), *given]
    # A developer's own settings are not the tests'.
    env = {name: value for name, value in os.environ.items() if not name.startswith("HELIOGRAPH_")}
    env.update(environ or {})
    with stderr.open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env
        )
    try:
        address = _await(process, stderr, "/readyz" if ready else "/healthz", verify)
        key = "" if "--open" in options else (home / "admin.key").read_text("ascii").strip()
        server = Server(address, key, home, process, stderr)
        yield server
        if process.poll() is None:
            server.stop()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _await(
    process: subprocess.Popen[bytes], stderr: Path, path: str, verify: ssl.SSLContext | bool
) -> str:
    """The address, once this path is answered with 200."""
    ends = time.monotonic() + _START_SECONDS
    said = ""
    with httpx.Client(trust_env=False, timeout=5.0, verify=verify) as http:
        while time.monotonic() < ends and process.poll() is None:
            found = _ADDRESS.search(stderr.read_text("utf-8", "replace"))
            if found:
                try:
                    reply = http.get(found[1] + path)
                except httpx.TransportError as error:
                    said = repr(error)
                else:
                    if reply.is_success:
                        return found[1]
                    said = reply.text
            time.sleep(0.05)
    tail = stderr.read_text("utf-8", "replace")[-4000:]
    raise AssertionError(f"The server did not become ready ({said}):\n{tail}")
