"""The composition root: settings in, a running application out.

With `worker.py`, which adds HTTP and telemetry, the only place that names concrete classes: which
gate, which catalog, which meter, which runner.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heliograph.accounts.key import KeyGate, OpenGate, admin_key
from heliograph.core.errors import Code, HeliographError
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
from heliograph.settings import ImageSettings, Settings
from heliograph.vision.decode import Limits
from heliograph.vision.picture import Picture, Size
from heliograph.vision.prepare import InputSpec, prepare
from heliograph.vision.tasks import TASKS

log = logging.getLogger("heliograph")


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
    watch: Callable[[int], object] = lambda _: None,
) -> App:
    """Wire an application; models are not loaded yet.

    Args:
        settings: the checked tree.
        gate: who may call; by default the one the settings ask for.
        meter: takes the usage; by default nobody does.
        only: names of models to serve, instead of those the settings name.
        watch: told how many calls are in progress.
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
        seats=Seats(settings.serving.seats, watch),
        deadline=settings.serving.deadline,
        limits=_limits(settings.image),
    )
    # Our own limits are held before Pillow opens a file. Not set where a program of somebody else's
    # only imports us: its guard is its own.
    Image.MAX_IMAGE_PIXELS = None
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
