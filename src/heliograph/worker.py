"""One worker process of the server: an application, wired to HTTP and telemetry, and its life.

load -> answer -> drain -> close
"""

from __future__ import annotations

import gc
import logging
import socket
import threading
from multiprocessing.synchronize import Event

from heliograph.app import build
from heliograph.core.errors import HeliographError
from heliograph.edge.http.application import build as build_http
from heliograph.edge.http.limits import WireLimits
from heliograph.edge.http.server import Serving
from heliograph.edge.http.server import serve as serve_http
from heliograph.edge.http.services import Services
from heliograph.registry.judge import Judge
from heliograph.registry.releases import incumbent, take_back
from heliograph.settings import Settings
from heliograph.telemetry.log import setup
from heliograph.telemetry.meter import TelemetryMeter
from heliograph.telemetry.metrics import Metrics

log = logging.getLogger("heliograph.registry")


def serve(
    settings: Settings, sock: socket.socket, *, joining: bool = False, opened: Event | None = None
) -> None:
    """Serve HTTP on a bound socket until a stop signal: one worker's whole life.

    Args:
        settings: the checked tree.
        sock: bound and listening.
        joining: another worker answers on the socket: this one must take no call from it before it
            can answer it, so it loads its models first.
        opened: of several workers: set by the first one when it is ready; who joins waits for it.
    """
    setup(settings.log.style, settings.log.level)
    worker = Worker(settings, opened)
    if joining:
        worker.join()
    serve_http(worker.serving(begin=not joining), sock)


class Worker:
    """The parts of one worker and what happens to them when."""

    def __init__(self, settings: Settings, opened: Event | None) -> None:
        metrics = Metrics()
        self._settings = settings
        self._opened = opened
        self._meter = TelemetryMeter(metrics)
        self._judge = Judge()
        self._meter.listen(self._judge.record)
        self._app = build(settings, meter=self._meter, watch=metrics.seats.set, judge=self._judge)
        self._closed = threading.Event()
        self._services = Services(
            self._app.path,
            self._app.catalog,
            self._app.gate,
            self._meter,
            settings.serving.files,
            _hosts(settings),
        )

    def join(self) -> None:
        """Load first, and wait until the one that answers is ready, too."""
        self._app.catalog.load_all()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        if self._opened:
            self._opened.wait()

    def serving(self, *, begin: bool) -> Serving:
        """What the HTTP server needs; `begin`: load the models once it listens."""
        server = self._settings.server
        return Serving(
            build_http(self._services),
            self._load if begin else _nothing,
            self._drain,
            self._close,
            WireLimits(
                head_seconds=server.head_seconds,
                body_rate=server.body_rate,
                # Room for the multipart or base64 wrapping around the largest picture.
                body_bytes=self._settings.image.bytes * 4 // 3 + (1 << 20),
                connections=server.connections,
            ),
            self._full,
            server.grace,
        )

    def _load(self) -> None:
        self._app.catalog.load_in_background(self._loaded)

    def _loaded(self) -> None:
        # What is loaded now stays: the collector need not walk over it again and again.
        gc.collect()
        gc.freeze()
        if self._opened:
            self._opened.set()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def _watch(self) -> None:
        """Follow what happens in the repository: new versions, releases decided elsewhere."""
        poll = self._settings.registry.poll
        while poll and not self._closed.wait(poll):
            try:
                self._app.catalog.refresh()
                self._judge_releases()
            except Exception:
                log.exception("the repository cannot be followed")

    def _judge_releases(self) -> None:
        """Take back new versions that do worse than their gates allow."""
        catalog = self._app.catalog
        for name, product in list(catalog.products.items()):
            stable = incumbent(product.release, product.versions)
            reason = self._judge.verdict(name, product.release, stable)
            if reason:
                self._judge.forget(name)
                log.warning("%s: %s", name, reason)
                catalog.decide(name, take_back(product.release, product.versions, reason))

    def _full(self) -> HeliographError | None:
        error = self._app.path.full()
        if error is not None:
            self._meter.problem(error.code)
        return error

    def _drain(self) -> None:
        self._services.draining = True

    def _close(self) -> None:
        self._closed.set()
        self._app.close()
        self._meter.close()


def _nothing() -> None:
    pass


def _hosts(settings: Settings) -> frozenset[str]:
    named = settings.server.hosts.lower().split(",")
    return frozenset({one.strip() for one in named if one.strip()} | {socket.gethostname().lower()})
