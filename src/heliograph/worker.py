"""One worker process of the server: an application, wired to HTTP and telemetry, and its life.

load -> answer -> drain -> close
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from heliograph.accounts.key import OpenGate
from heliograph.app import build
from heliograph.core.errors import Code, HeliographError
from heliograph.edge.books import NullBooks
from heliograph.edge.grpc.beside import Grpc
from heliograph.edge.http import doors
from heliograph.edge.http.application import build as build_http
from heliograph.edge.http.limits import WireLimits
from heliograph.edge.http.policy import Policy, read_policy
from heliograph.edge.http.server import Serving
from heliograph.edge.http.server import serve as serve_http
from heliograph.edge.oip import routes as oip
from heliograph.edge.oip.dialect import Dialect, Options
from heliograph.edge.services import Fetcher, Services
from heliograph.edge.tfserving import routes as tfserving
from heliograph.outbound.fetch import Courier
from heliograph.outbound.guard import Guard
from heliograph.outbound.pictures import NoPictures, Pictures
from heliograph.outbound.targets import Policy as Reach
from heliograph.registry.judge import Judge
from heliograph.registry.releases import incumbent, take_back
from heliograph.registry.values import ModelPackage
from heliograph.runtimes.base import Plan
from heliograph.settings import Settings
from heliograph.telemetry.log import setup
from heliograph.telemetry.meter import TelemetryMeter
from heliograph.telemetry.metrics import Metrics
from heliograph.telemetry.trace import Tracer

if TYPE_CHECKING:
    from grpc import GenericRpcHandler
    from starlette.routing import Route

    from heliograph.billing.meters.values import Copy
    from heliograph.edge.tls.challenges import Plain
    from heliograph.edge.tls.opening import Opened
    from heliograph.house import House

log = logging.getLogger("heliograph.registry")
_PATIENCE = 5.0
_COMPANY_SECONDS = 0.04
_SERVICES = (
    "inference.GRPCInferenceService",
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
)


class Attempt(Protocol):
    """Tries a package before it is taken; see `cli/trial.py`."""

    def __call__(
        self, home: Path, package: ModelPackage, picture: Path | None, *, like: Path | None
    ) -> object:
        """Load it and ask it once, with the settings of the data folder `like`."""
        ...


def serve(
    settings: Settings,
    sock: socket.socket,
    grpc_port: int,
    trial: Attempt,
    *,
    joining: bool = False,
    opened: Event | None = None,
) -> None:
    """Serve until a stop signal: one worker's whole life.

    Args:
        settings: the checked tree.
        sock: bound and listening, for HTTP.
        grpc_port: reserved for all workers; 0 for none.
        trial: tries a model of the watched place before it is taken.
        joining: another worker answers on the socket: this one must take no call from it before it
            can answer it, so it loads its models first.
        opened: of several workers: set by the first one when it is ready; who joins waits for it.
    """
    setup(settings.log.style, settings.log.level)
    worker = Worker(settings, grpc_port, opened, trial, sock.getsockname()[1])
    if joining:
        worker.join()
    serve_http(worker.serving(begin=not joining), sock)


class Worker:
    """The parts of one worker and what happens to them when."""

    def __init__(
        self,
        settings: Settings,
        grpc_port: int,
        opened: Event | None,
        trial: Attempt,
        https_port: int = 0,
    ) -> None:
        metrics = Metrics(histograms=settings.log.histograms)
        tracer = Tracer(settings.home / "traces" / f"{os.getpid()}.jsonl")
        self._settings = settings
        self._grpc_port = grpc_port
        self._opened = opened
        self._trial = trial
        self._meter = TelemetryMeter(metrics, tracer)
        self._house = _house(settings)
        self._judge = Judge()
        self._meter.listen(self._judge.record)
        self._app = build(
            settings,
            gate=self._house.gate if self._house else OpenGate(),
            allowance=self._house.allowances if self._house else None,
            meter=self._meter,
            watch=metrics.seats.set,
            judge=self._judge,
            replan=_batching(settings),
        )
        self._policy, self._tls = _front(settings, https_port, metrics)
        self._closed = threading.Event()
        self._importing: threading.Thread | None = None
        self._services = Services(
            self._app.path,
            self._app.catalog,
            self._app.gate,
            self._house.books if self._house else NullBooks(),
            self._meter,
            settings.serving.files,
            _hosts(settings),
            doors=self._house.doors() if self._house else (),
            fetcher=_fetcher(settings),
            exposed=self._house.expose if self._house else _forget,
        )
        self._dialect = Dialect(
            self._services,
            Options(
                home=settings.home,
                server_name=settings.oip.server_name,
                shared_memory=settings.oip.shared_memory,
                alone=settings.server.workers == 1,
            ),
            tracer,
        )

    def _copies(self) -> Sequence[Copy]:
        """What this process has in memory, for the meter."""
        from heliograph.billing.meters.values import Copy

        return [
            Copy(one.name, one.version, "cpu", 1, round(one.lane.busy_ms * 1000))
            for one in (shelf.model for shelf in self._app.catalog.shelves)
            if one.state == "ready"
        ]

    def _patience(self) -> float:
        """How long a row of the ledger waits for others: not at all unless all cores are busy."""
        busy = self._app.path.taken > len(os.sched_getaffinity(0))
        return _COMPANY_SECONDS if busy else 0.0

    def join(self) -> None:
        """Load first, and wait until the one that answers is ready, too."""
        self._renew()
        self._app.catalog.load_all()
        self._follow()
        if self._opened:
            self._opened.wait()

    def serving(self, *, begin: bool) -> Serving:
        """What the HTTP server needs; `begin`: load the models once it listens."""
        server = self._settings.server
        return Serving(
            build_http(
                self._services,
                [
                    *oip.routes(self._dialect),
                    *tfserving.routes(self._services),
                    *self._doors(),
                ],
            ),
            self._load if begin else _nothing,
            self._drain,
            self._close,
            WireLimits(
                head_seconds=server.head_seconds,
                body_rate=server.body_rate,
                # Room for the multipart or base64 wrapping around the largest picture.
                body_bytes=self._settings.image.bytes * 4 // 3 + (1 << 20),
                connections=server.connections,
                tensor_bytes=server.tensor_bytes,
            ),
            self._full,
            server.grace,
            [*([self._grpc()] if self._grpc_port else []), *self._plain()],
            self._policy,
            self._tls.certificates if self._tls else None,
        )

    def _plain(self) -> Sequence[Plain]:
        return [self._tls.plain] if self._tls and self._tls.plain else []

    def _doors(self) -> list[Route]:
        """What remembers, if accounts are kept."""
        if self._house is None:
            return []
        return doors.routes(self._house.gate, self._house.books, self._services.doors)

    def _grpc(self) -> Grpc:
        server = self._settings.server
        return Grpc(
            self._handlers,
            server.host,
            self._grpc_port,
            server.tensor_bytes,
            certificates=self._tls.certificates if self._tls else None,
            peers=self._policy.peers,
        )

    def _handlers(self) -> Sequence[GenericRpcHandler]:
        from heliograph.edge.grpc import health
        from heliograph.edge.oip import grpc as oip_grpc
        from heliograph.edge.tfserving import grpc as tfserving_grpc

        return [
            *oip_grpc.handlers(self._dialect),
            *tfserving_grpc.handlers(self._services),
            *health.handlers(self._dialect.ready, _SERVICES),
        ]

    def _load(self) -> None:
        self._renew()
        self._app.catalog.load_in_background(self._loaded)

    def _renew(self) -> None:
        if self._tls and self._tls.renewal:
            self._tls.renewal.start()

    def _loaded(self) -> None:
        self._configure()
        catalog = self._app.catalog
        ready = sum(shelf.state == "ready" for shelf in catalog.shelves)
        why = catalog.why_not_ready()
        log.info("ready: %d models are loaded%s", ready, f"; {why}" if why else "")
        # What is loaded now stays: the collector need not walk over it again and again.
        gc.collect()
        gc.freeze()
        if self._opened:
            self._opened.set()
        self._follow()

    def _configure(self) -> None:
        """Serve what TensorFlow Serving's model configuration says, if there is one."""
        file = self._settings.tfserving.model_config_file
        if not file:
            return
        from heliograph.edge.tfserving.config import read_model_config
        from heliograph.edge.tfserving.reload import replace_models

        try:
            replace_models(self._app.catalog, read_model_config(Path(file)))
        except HeliographError:
            log.exception("the model configuration is not followed")

    def _follow(self) -> None:
        """Begin to follow the repository, and the watched place if there is one."""
        if self._house:
            self._house.directory.follow()
            self._house.meter(self._copies)
            self._house.database.gather(self._patience)
        threading.Thread(target=self._watch, name="watch", daemon=True).start()
        if self._settings.registry.watch:
            self._importing = threading.Thread(target=self._import, name="import", daemon=True)
            self._importing.start()

    def _import(self) -> None:
        """Follow the watched place: whatever appears there is imported, in one of all workers."""
        from heliograph.registry.importing.places import open_place
        from heliograph.registry.importing.values import Format
        from heliograph.registry.importing.watching import Rules, Watcher

        registry, home = self._settings.registry, self._settings.home
        try:
            place = open_place(registry.watch)
        except HeliographError:
            log.exception("the watched place cannot be followed")
            return
        watcher = Watcher(
            place,
            registry.watch,
            home,
            self._app.catalog,
            lambda workshop, package: self._trial(workshop, package, None, like=home),
            Rules(
                frozenset({Format.TORCHSCRIPT} if registry.unsafe else ()),
                registry.trust == "signed",
                frozenset(filter(None, self._settings.serving.models.split(","))),
            ),
            self._closed.is_set,
        )
        while not self._closed.is_set():
            try:
                watcher.look()
            except Exception:
                log.exception("the watched place cannot be followed")
            self._closed.wait(registry.watch_seconds)
        watcher.close()

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
                try:
                    release = take_back(product.release, product.versions, reason)
                    catalog.decide(name, release, product.release.etag)
                except HeliographError as error:
                    if error.code is not Code.CONFLICT:  # somebody else has decided already
                        raise

    def _full(self) -> HeliographError | None:
        error = self._app.path.full()
        if error is not None:
            self._meter.problem(error.code)
        return error

    def _drain(self) -> None:
        self._services.draining = True

    def _close(self) -> None:
        self._closed.set()
        if self._tls:
            self._tls.close()
        if self._importing:
            # What it is at is finished or left behind; the next start clears that away.
            self._importing.join(_PATIENCE)
        self._app.close()
        self._meter.close()
        if self._house:
            self._house.close()


def _batching(settings: Settings) -> Callable[[Plan], Plan]:
    """What TensorFlow Serving's batching parameters make of a plan."""
    file = settings.tfserving.batching_parameters_file
    if not file:
        return lambda plan: plan
    from heliograph.edge.tfserving.config import read_batching

    return read_batching(Path(file)).plan


def _front(settings: Settings, port: int, metrics: Metrics) -> tuple[Policy, Opened | None]:
    """What the server shows of itself."""
    policy, tls = read_policy(settings), settings.tls
    if not tls.on:
        return policy, None
    # Loaded only where there is TLS: it takes a while.
    from heliograph.edge.tls.opening import open_tls

    days = metrics.certificate_days.labels("files" if tls.certificate else "acme")
    return policy, open_tls(settings, port, days.set)


def _house(settings: Settings) -> House | None:
    """What remembers; nothing does where everybody is let in."""
    if settings.server.open:
        return None
    # What it imports would cost an open server a third of a second of its start.
    from heliograph.house import open_house

    return open_house(settings, serving=True)


def _fetcher(settings: Settings) -> Fetcher:
    """Fetches pictures by URL, if the operator lets it."""
    fetch = settings.fetch
    if not fetch.allow:
        return NoPictures()
    courier = Courier(Guard(_hosts(settings) - {"*"}), hops=fetch.redirects, proxy=fetch.proxy)
    policy = Reach.read(fetch.allow, fetch.ports)
    return Pictures(courier, policy, most=settings.image.bytes, seconds=fetch.seconds)


def _forget(key: str) -> None:
    del key


def _nothing() -> None:
    pass


def _hosts(settings: Settings) -> frozenset[str]:
    named = settings.server.hosts.lower().split(",")
    return frozenset({one.strip() for one in named if one.strip()} | {socket.gethostname().lower()})
