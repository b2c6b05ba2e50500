"""A real HTTP server that answers what it was told to, one reply after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Said:
    """One reply; without a status the connection is cut instead.

    Attributes:
        status: HTTP status; 0 to cut.
        body: sent after the headers.
        headers: further ones.
        drip: seconds between the bytes of the body.
    """

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    drip: float = 0.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Stub:
    """A running stub: its address, and what it has heard so far."""

    address: str
    heard: list[Heard]


@contextmanager
def answering(script: Sequence[Said]) -> Generator[Stub]:
    """Answer requests by the script; its last reply is repeated."""
    heard: list[Heard] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            headers = {name.lower(): value for name, value in self.headers.items()}
            heard.append(Heard(self.command, self.path, headers, self.rfile.read(length)))
            said = script[min(len(heard), len(script)) - 1]
            self.close_connection = said.status == 0 or said.drip > 0
            if said.status:
                self.send_response(said.status)
                for name, value in {**said.headers, "content-length": len(said.body)}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self._write(said)

        do_POST = do_GET  # noqa: N815 - the base class's name

        def _write(self, said: Said) -> None:
            if not said.drip:
                self.wfile.write(said.body)
                return
            for one in said.body:
                try:
                    self.wfile.write(bytes([one]))
                except OSError:
                    return
                time.sleep(said.drip)

        def log_message(self, *_: object, **__: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Stub(f"http://127.0.0.1:{http.server_address[1]}", heard)
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
