"""Running the HTTP server: one process or several that share a port; a stop that cuts nothing.

With TLS, a connection counts only once its handshake is done, for which it has as long as for the
head of a request.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import ssl
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

import uvicorn
from starlette.types import ASGIApp

from heliograph.edge.http.limits import WireLimits
from heliograph.edge.http.policy import PLAIN, Policy
from heliograph.edge.http.wire import Full, Wire, protocol

if TYPE_CHECKING:
    # Loaded only where there is TLS: it takes a while.
    from heliograph.edge.tls.certificates import Certificates
    from heliograph.edge.tls.values import Pair

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LONGEST_STOP = 30
_HOPELESS_SECONDS = 30.0


class Beside(Protocol):
    """A server of another protocol in the same event loop."""

    async def start(self) -> None:
        """Begin to listen."""
        ...

    async def stop(self) -> None:
        """Take no new call; return when those in flight are answered."""
        ...


@dataclass(frozen=True, slots=True)
class Serving:
    """What a worker process serves.

    Attributes:
        app: the ASGI application.
        begin: called once the loop runs: begin loading models.
        drain: called when a stop begins: readiness says no from then on.
        close: called when everything has been answered.
        wire: limits of a connection.
        full: why no prediction can be taken now, if so.
        grace: seconds between `drain` and closing the port, in which load balancers see it.
        beside: other servers that live and die with this one, in its event loop.
        policy: of every connection and answer.
        certificates: what to show; None to speak in the clear.
    """

    app: ASGIApp
    begin: Callable[[], None]
    drain: Callable[[], None]
    close: Callable[[], None]
    wire: WireLimits
    full: Full
    grace: float
    beside: Sequence[Beside] = ()
    policy: Policy = PLAIN
    certificates: Certificates | None = None


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, serving: Serving) -> None:
        super().__init__(config)
        self._serving = serving
        self._stopping = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, with a time for handshakes and certificates that change."""
        self._loop = asyncio.get_running_loop()
        await self.lifespan.startup()
        certificates = self._serving.certificates
        context = self._context()
        self.servers = [
            await self._loop.create_server(
                self._connection,
                sock=sock,
                ssl=context,
                backlog=self.config.backlog,
                ssl_handshake_timeout=self._serving.wire.head_seconds if context else None,
            )
            for sock in sockets or ()
        ]
        self.started = True
        if certificates and context:
            certificates.tell(lambda pair: self._show(context, pair))
            certificates.start()
        self._serving.begin()
        for one in self._serving.beside:
            await one.start()

    def _connection(self) -> asyncio.Protocol:
        made: Any = self.config.http_protocol_class
        return made(self.config, self.server_state, self.lifespan.state)

    def _context(self) -> ssl.SSLContext | None:
        certificates = self._serving.certificates
        if certificates is None:
            return None
        from heliograph.edge.tls.context import make_context

        return make_context(certificates.current, certificates.client_ca)

    def _show(self, context: ssl.SSLContext, pair: Pair) -> None:
        from heliograph.edge.tls.context import load

        # There connections are accepted; see `load`.
        self._loop.call_soon_threadsafe(load, context, pair)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """All servers stop at once, each when its calls are answered."""
        await asyncio.gather(
            super().shutdown(sockets), *(one.stop() for one in self._serving.beside)
        )

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """First signal: say not ready, stop keeping connections, then close; second: now."""
        del frame
        if self._stopping:
            if sig == signal.SIGINT:
                self.force_exit = True
            return
        self._stopping = True
        self._serving.drain()
        Wire.draining = True
        self._loop.call_soon_threadsafe(self._loop.call_later, self._serving.grace, self._exit)

    def _exit(self) -> None:
        self.should_exit = True


def listen(host: str, port: int) -> socket.socket:
    """Bind the port; 0 picks a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(1024)
    sock.set_inheritable(True)
    return sock


def serve(serving: Serving, sock: socket.socket) -> None:
    """Serve on a bound socket until a stop signal; returns when all calls are answered."""
    config = uvicorn.Config(
        serving.app,
        http=protocol(serving.wire, serving.full, serving.policy),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        headers=[(name.decode(), value.decode()) for name, value in serving.policy.headers],
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_LONGEST_STOP,
        loop="auto",
    )
    _Server(config, serving).run(sockets=[sock])
    serving.close()


def supervise(work: Callable[..., None], args: tuple[Any, ...], workers: int) -> int:
    """Keep `workers` processes running `work(*args, joining=…, opened=…)`; returns the exit code.

    A worker that dies is replaced; if ten die within thirty seconds the whole server stops with
    code 1, since something is wrong that restarting does not mend.
    """
    context = multiprocessing.get_context("spawn")
    stop, opened = threading.Event(), context.Event()
    for sig in _STOP_SIGNALS:
        signal.signal(sig, lambda _sig, _frame: stop.set())
    with tempfile.TemporaryDirectory(prefix="heliograph-metrics-") as folder:
        # Each worker counts in its own files; prometheus_client adds them up.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder

        def start(*, joining: bool) -> BaseProcess:
            others = {"joining": joining, "opened": opened}
            process = context.Process(target=work, args=args, kwargs=others)
            process.start()
            return process

        # The first one answers while it loads: alive, not ready. The others join when it and they
        # are ready, so that what `/readyz` says holds for whichever worker takes a call.
        running = [start(joining=at > 0) for at in range(workers)]
        deaths: deque[float] = deque(maxlen=10)
        while not stop.wait(0.2) and not _hopeless(deaths):
            for at, process in enumerate(running):
                if process.exitcode is not None:
                    deaths.append(time.monotonic())
                    _forget(process.pid)
                    running[at] = start(joining=at > 0 or opened.is_set())
        for one in args:
            # While we hold the port open, too, new callers would wait for nobody.
            if isinstance(one, socket.socket):
                one.close()
        for process in running:
            process.terminate()
        for process in running:
            process.join(_LONGEST_STOP + 5)
    return 0 if stop.is_set() else 1


def _forget(pid: int | None) -> None:
    """A dead worker's counts stay, but what it was doing it does no longer."""
    # Read the environment first: prometheus_client looks at it once, when it is imported.
    from prometheus_client.multiprocess import mark_process_dead

    mark_process_dead(pid)


def _hopeless(deaths: deque[float]) -> bool:
    return len(deaths) == deaths.maxlen and deaths[-1] - deaths[0] < _HOPELESS_SECONDS
