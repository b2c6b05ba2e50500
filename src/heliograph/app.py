"""The composition root: settings in, a running application out.

The only file that names every concrete class: which gate, which catalog, which meter, which runner.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.accounts.key import KeyGate, OpenGate, admin_key
from heliograph.core import settings as core_settings
from heliograph.core.errors import Code, HeliographError
from heliograph.core.settings import Branch
from heliograph.registry.catalog import BUILTIN, Catalog, find_packages
from heliograph.registry.sources import locate
from heliograph.registry.values import ModelPackage
from heliograph.runtimes.base import Plan
from heliograph.runtimes.engines import open_runner
from heliograph.runtimes.tune import Trial, default_plan, read_plan, tune, write_plan
from heliograph.serving.admit import Desk, Seats
from heliograph.serving.batch import Lane
from heliograph.serving.path import Path as ServingPath
from heliograph.serving.values import Gate, Meter, Model, NullMeter
from heliograph.vision.decode import Limits
from heliograph.vision.picture import Picture, Size
from heliograph.vision.prepare import InputSpec, prepare
from heliograph.vision.tasks import TASKS

log = logging.getLogger("heliograph")
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class ServerSettings(Branch, frozen=True):
    """The HTTP server.

    Attributes:
        host: address to listen on; anything but loopback needs a TLS proxy in front for now.
        port: 0 picks a free one.
        workers: processes that share the port.
        open: no key needed; only on loopback.
        hosts: names accepted in the Host header besides localhost and addresses, with commas;
            `*` for any.
        connections: most connections open at once in one worker.
        head_seconds: in which the headers of a request must arrive.
        body_rate: least bytes per second of a body.
        grace: seconds between saying "not ready" and closing the port at a stop.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 8000
    workers: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    open: bool = False
    hosts: str = ""
    connections: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 2048
    head_seconds: Annotated[float, msgspec.Meta(gt=0, le=300)] = 10.0
    body_rate: Annotated[float, msgspec.Meta(ge=1)] = 1024.0
    grace: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.5


class ServingSettings(Branch, frozen=True):
    """The inference path.

    Attributes:
        seats: calls in progress in one worker; further ones are refused at once.
        deadline: seconds from a call's head to its answer.
        exact: decode every JPEG at full size.
        files: most pictures in one multipart call.
        models: names of the models to serve, with commas; empty for all that are found.
        instances: runs of a model at the same time; 0 for one a core.
    """

    seats: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 64
    deadline: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 30.0
    exact: bool = False
    files: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 16
    models: str = ""
    instances: Annotated[int, msgspec.Meta(ge=0, le=256)] = 0


class ImageSettings(Branch, frozen=True):
    """What a picture may cost.

    Attributes:
        bytes: largest file.
        pixels: largest width x height.
        side: longest side in pixels.
        frames: most frames of an animation.
        metadata: most bytes of EXIF, XMP, ICC and text.
        extra_formats: also take HEIC, AVIF and TIFF (needs the `formats` extra).
    """

    bytes: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)] = 20 << 20
    pixels: Annotated[int, msgspec.Meta(ge=1, le=1 << 30)] = 40_000_000
    side: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 12_000
    frames: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 64
    metadata: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 4 << 20
    extra_formats: bool = False


class LogSettings(Branch, frozen=True):
    """The log, on standard error.

    Attributes:
        style: `plain` for people, `json` for programs.
        level: `debug`, `info`, `warning` or `error`; `info` has a line for each call.
    """

    style: Literal["plain", "json"] = "plain"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The tree of settings, a branch per concern; `home` is the data folder."""

    home: Path
    server: ServerSettings = ServerSettings()
    serving: ServingSettings = ServingSettings()
    image: ImageSettings = ImageSettings()
    log: LogSettings = LogSettings()


def home_folder(given: str | None = None) -> Path:
    """The data folder: the argument, `HELIOGRAPH_HOME`, or `~/.heliograph`."""
    chosen = given or os.environ.get("HELIOGRAPH_HOME") or "~/.heliograph"
    return Path(chosen).expanduser().absolute()


def read_settings(home: Path, given: dict[str, dict[str, Any]] | None = None) -> Settings:
    """Merge command line, environment and `home/heliograph.toml`, and check the whole.

    Raises:
        HeliographError: `validation`, naming the setting.
    """
    settings = core_settings.load(
        Settings,
        home=home,
        file=home / "heliograph.toml",
        environ=os.environ,
        given=given or {},
    )
    if settings.server.open and settings.server.host not in _LOOPBACK:
        raise HeliographError(
            Code.VALIDATION,
            f"--open lets everybody in and is for loopback only, but host is "
            f"{settings.server.host!r}. Leave --open away: the key lies in admin.key.",
        )
    return settings


@dataclass(slots=True)
class App:
    """Everything that runs, wired."""

    settings: Settings
    gate: Gate
    catalog: Catalog[Model]
    path: ServingPath

    def close(self) -> None:
        """Let what has begun finish, then stop every lane."""
        for shelf in self.catalog.shelves:
            if shelf.model is not None:
                shelf.model.lane.close()


def build(
    settings: Settings,
    *,
    gate: Gate | None = None,
    meter: Meter | None = None,
    only: Iterable[str] = (),
) -> App:
    """Wire an application; models are not loaded yet.

    Args:
        settings: the checked tree.
        gate: who may call; by default the one the settings ask for.
        meter: takes the usage; by default nobody does.
        only: names of models to serve, instead of those the settings name.
    """
    wanted = set(only) or {one for one in settings.serving.models.split(",") if one}
    packages = find_packages([BUILTIN, settings.home / "models"])
    unknown = wanted - set(packages)
    if unknown:
        raise HeliographError(
            Code.NOT_FOUND,
            f"There is no model {', '.join(sorted(unknown))}; there are {', '.join(packages)}.",
        )
    if wanted:
        packages = {name: one for name, one in packages.items() if name in wanted}
    catalog: Catalog[Model] = Catalog(packages, lambda package: load_model(package, settings))
    desk = Desk(
        gate=gate or _gate(settings),
        catalog=catalog,
        meter=meter or NullMeter(),
        seats=Seats(settings.serving.seats),
        deadline=settings.serving.deadline,
        limits=_limits(settings.image),
    )
    return App(settings, desk.gate, catalog, ServingPath(desk, exact=settings.serving.exact))


def _gate(settings: Settings) -> Gate:
    if settings.server.open:
        return OpenGate()
    settings.home.mkdir(parents=True, exist_ok=True)
    return KeyGate(admin_key(settings.home)[0])


def _limits(image: ImageSettings) -> Limits:
    return Limits(
        image.bytes, image.pixels, image.side, image.frames, image.metadata, image.extra_formats
    )


def load_model(package: ModelPackage, settings: Settings) -> Model:
    """Make a package servable: find its file, plan, open the runner and run it once.

    Raises:
        HeliographError: `model_unavailable` or `model_invalid`.
    """
    path = locate(package, settings.home / "cache")
    plan = read_plan(settings.home / "plans", package.digest) or default_plan(
        package.engine, settings.serving.instances
    )
    wide = None
    if plan.wide:
        wide = open_runner(path, replace(plan, threads=plan.wide, instances=1))
    lane = Lane(
        open_runner(path, plan), plan, name=package.name, feed=package.input.name, wide=wide
    )
    _warm_up(lane, package.input)
    return Model(
        package.name,
        str(package.version),
        package.digest,
        TASKS[package.task],
        package.input,
        package.output,
        package.read_labels(),
        lane,
    )


def tune_model(
    package: ModelPackage, home: Path, *, seconds: float, told: Callable[[Trial], None]
) -> Plan:
    """Measure a package's plans on this machine and keep the best one under `home/plans`."""
    example = {package.input.name: _example(package.input)[None]}
    path = locate(package, home / "cache")
    plan, trials = tune(path, package.engine, example, open_runner, seconds=seconds, told=told)
    write_plan(home / "plans", package.digest, plan, trials)
    return plan


def _warm_up(lane: Lane, spec: InputSpec) -> None:
    """Run once on every copy, so that the first caller does not pay for first allocations."""
    if spec.width and spec.height:
        for _ in range(lane.plan.instances):
            lane.warm_up(_example(spec))


def _example(spec: InputSpec) -> NDArray[np.generic]:
    """The tensor of a grey picture."""
    grey = np.full((spec.height, spec.width, 3), 127, np.uint8)
    return prepare(Picture(grey, Size(spec.width, spec.height), ""), spec)[0]


def serve(settings: Settings, sock: socket.socket) -> None:
    """Serve HTTP on a bound socket until a stop signal: one worker's whole life."""
    # The server's half of the imports: the command line does not pay for them.
    from heliograph.edge.http.application import build as build_http
    from heliograph.edge.http.server import Serving
    from heliograph.edge.http.server import serve as serve_http
    from heliograph.edge.http.services import Services
    from heliograph.edge.http.wire import WireLimits
    from heliograph.telemetry import log as telemetry_log
    from heliograph.telemetry.meter import TelemetryMeter
    from heliograph.telemetry.metrics import Metrics

    telemetry_log.setup(settings.log.style, settings.log.level)
    metrics = Metrics()
    app = build(settings, meter=TelemetryMeter(metrics))
    hosts = frozenset(
        one.strip().lower() for one in settings.server.hosts.split(",") if one.strip()
    )
    services = Services(
        app.path,
        app.catalog,
        app.gate,
        metrics,
        settings.serving.files,
        hosts | {socket.gethostname()},
    )
    wire = WireLimits(
        head_seconds=settings.server.head_seconds,
        body_rate=settings.server.body_rate,
        # Room for the multipart or base64 wrapping around the largest picture.
        body_bytes=settings.image.bytes * 4 // 3 + (1 << 20),
        connections=settings.server.connections,
    )

    def drain() -> None:
        services.draining = True

    serve_http(
        Serving(
            build_http(services),
            app.catalog.load_in_background,
            drain,
            app.close,
            wire,
            settings.server.grace,
        ),
        sock,
    )
