"""The composition root: settings in, a running application out.

With `worker.py`, which adds HTTP and telemetry, the only place that names concrete classes: which
gate, which catalog, which meter, which runner.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heliograph.accounts.key import OpenGate
from heliograph.core.errors import Code, HeliographError
from heliograph.registry.catalog import BUILTIN, Catalog
from heliograph.registry.repository import Listing, Repository
from heliograph.registry.signing import trusted_keys, verify
from heliograph.registry.sources import locate
from heliograph.registry.values import ModelPackage
from heliograph.runtimes.base import Plan, Runner
from heliograph.runtimes.engines import open_runner
from heliograph.runtimes.host import open_hosted
from heliograph.runtimes.late import LateRunner
from heliograph.runtimes.process import GuestLimits
from heliograph.runtimes.quiet import quietly
from heliograph.runtimes.tune import Trial, default_plan, read_plan, tune, write_plan
from heliograph.runtimes.wall import ESSENTIAL
from heliograph.serving.admit import Desk, Seats
from heliograph.serving.batch import Lane
from heliograph.serving.budget import Budget
from heliograph.serving.path import Path as ServingPath
from heliograph.serving.resident import Copies, Resident
from heliograph.serving.shadow import Judge
from heliograph.serving.values import (
    Allowance,
    Gate,
    Meter,
    Model,
    NullMeter,
)
from heliograph.settings import ImageSettings, Settings
from heliograph.vision.decode import Limits
from heliograph.vision.picture import Picture, Size
from heliograph.vision.prepare import InputSpec, prepare
from heliograph.vision.tasks import TASKS
from heliograph.vision.tasks.base import Decoder
from heliograph.vision.tasks.chain import Chain
from heliograph.vision.tasks.embedding import Nearest

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
        self.catalog.close()
        for shelf in self.catalog.shelves:
            shelf.model.lane.close()


def build(
    settings: Settings,
    *,
    gate: Gate | None = None,
    allowance: Allowance | None = None,
    meter: Meter | None = None,
    only: Iterable[str] = (),
    watch: Callable[[int], object] = lambda _: None,
    judge: Judge | None = None,
    replan: Callable[[Plan], Plan] = lambda plan: plan,
) -> App:
    """Wire an application; models are not loaded yet.

    Args:
        settings: the checked tree.
        gate: who may call; by default everybody.
        allowance: how much they may use; by default as much as they like.
        meter: takes the usage; by default nobody does.
        only: names of models to serve, instead of those the settings name.
        watch: told how many calls are in progress.
        judge: takes what shadow calls came to.
        replan: what an operator says about every model's plan.
    """
    budget = Budget(settings.registry.memory << 20, settings.registry.protect)
    folders = [BUILTIN, settings.home / "models"]
    wanted = set(only) or {one for one in settings.serving.models.split(",") if one}
    there = Repository(folders).scan() if wanted else Listing()
    repository = Repository(folders, _with_parts(wanted, there))
    catalog = Catalog[Model](
        repository,
        lambda package: make_model(package, settings, budget, replan),
        eager=settings.registry.load == "start",
        # As long as a call that was let in can take to bring its body and to be answered.
        linger=settings.serving.deadline,
    )
    unknown = wanted - set(catalog.products)
    if unknown:
        strange, names = ", ".join(sorted(unknown)), ", ".join(there.packages)
        raise HeliographError(Code.NOT_FOUND, f"There is no model {strange}; there are {names}.")
    desk = Desk(
        gate=gate or OpenGate(),
        catalog=catalog,
        meter=meter or NullMeter(),
        seats=Seats(settings.serving.seats, watch),
        deadline=settings.serving.deadline,
        limits=_limits(settings.image),
        allowance=allowance,
    )
    # Our own limits are held before Pillow opens a file. Not set where a program of somebody else's
    # only imports us: its guard is its own.
    Image.MAX_IMAGE_PIXELS = None
    path = ServingPath(desk, exact=settings.serving.exact, judge=judge)
    return App(settings, desk.gate, catalog, path)


def _with_parts(names: set[str], listing: Listing) -> set[str]:
    """Models and, of pipelines among them, every model that they ask."""
    found = list(names)
    for name in found:
        for package in listing.packages.get(name, {}).values():
            parts = package.output.models() if isinstance(package.output, Chain) else ()
            found += [part for one in parts if (part := one.partition("@")[0]) not in found]
    return set(found)


def _limits(image: ImageSettings) -> Limits:
    return Limits(
        image.bytes, image.pixels, image.side, image.frames, image.metadata, image.extra_formats
    )


def make_model(
    package: ModelPackage,
    settings: Settings,
    budget: Budget,
    replan: Callable[[Plan], Plan],
) -> Model:
    """A package as a model that can be loaded; reads no more than its labels and its plan."""
    measured = read_plan(settings.home / "plans", package.digest)
    plan = replan(measured or default_plan(package.engine, settings.serving.instances))
    resident = Resident(
        lambda: _open_quietly(package, plan, settings),
        on_demand=settings.registry.load == "demand" or package.lazy,
        budget=budget,
        estimate=_estimate(package),
    )
    return Model(
        package.name,
        str(package.version),
        package.digest,
        TASKS.get(package.task),
        package.input,
        _decoder(package),
        package.read_labels(),
        Lane(
            resident,
            plan,
            name=package.name,
            feed=package.input.name if package.input else "",
        ),
        package.consent,
    )


def _decoder(package: ModelPackage) -> Decoder | None:
    """A package's decoder, with the files that it reads itself."""
    if isinstance(package.output, Nearest):
        return package.output.opened(Path(package.folder))
    return package.output


def _estimate(package: ModelPackage) -> int:
    """What a model will take, before anybody has measured it: its files and as much again."""
    if package.weights is None or package.weights.source:
        return 0
    names = (package.weights.file, *package.weights.parts)
    files = (Path(package.folder, name) for name in names)
    return 2 * sum(one.stat().st_size for one in files if one.is_file())


def _open_quietly(package: ModelPackage, plan: Plan, settings: Settings) -> Copies:
    """Load a model beside calls to others; see `runtimes.quiet` for why not with every engine."""
    # A worker process would inherit the low priority and keep it.
    if plan.engine != "onnx" or plan.threads > 1 or _hosted(package, settings):
        return open_copies(package, plan, settings)
    return quietly(lambda: open_copies(package, plan, settings))


def open_copies(package: ModelPackage, plan: Plan, settings: Settings) -> Copies:
    """Find a package's file, open it with the plan's engine and run it once.

    Raises:
        HeliographError: `model_unavailable` or `model_invalid`.
    """
    # Where it lies decides, not what it says of itself: that could have been tampered with, too.
    if settings.registry.trust == "signed" and not Path(package.folder).is_relative_to(BUILTIN):
        verify(Path(package.folder), trusted_keys(settings.home))
    path = locate(package, settings.home / "cache")
    runner = _open_warm(package, path, plan, settings)
    # A second worker process costs more memory than a lone caller's time is worth.
    if not plan.wide or _hosted(package, settings):
        return Copies(runner)
    alone = replace(plan, threads=plan.wide, instances=1)
    return Copies(runner, LateRunner(lambda: _open_warm(package, path, alone, settings), runner))


def _open_warm(package: ModelPackage, path: Path, plan: Plan, settings: Settings) -> Runner:
    """Open a copy and run it, so that the first caller does not pay for first allocations."""
    runner = _open(package, path, plan, settings)
    spec = package.input
    if spec is None or not (spec.width and spec.height) or package.lazy:
        return runner
    with contextlib.ExitStack() as undo:
        undo.callback(runner.close)
        tensor = _example(spec)[None]
        # ONNX Runtime has one session for all instances; others have a request for each.
        for _ in range(1 if plan.engine == "onnx" else plan.instances):
            runner.run({spec.name or runner.inputs[0].name: tensor})
        undo.pop_all()
    return runner


def tune_model(
    package: ModelPackage, home: Path, *, seconds: float, told: Callable[[Trial], None]
) -> Plan:
    """Measure a package's plans on this machine and keep the best one under `home/plans`."""
    if package.input is None:
        raise HeliographError(
            Code.UNSUPPORTED,
            f"{package.name} takes plain tensors; only models of pictures are tuned.",
        )
    example = {package.input.name: _example(package.input)[None]}
    path = locate(package, home / "cache")
    plan, trials = tune(path, package.engine, example, open_runner, seconds=seconds, told=told)
    write_plan(home / "plans", package.digest, plan, trials)
    return plan


def _hosted(package: ModelPackage, settings: Settings) -> bool:
    """A model of ours runs in this process, one of somebody else's in its own, behind a wall."""
    around = settings.walls.around
    return package.weights is not None and (
        around == "all" or (around == "imported" and package.foreign)
    )


def _open(package: ModelPackage, path: Path, plan: Plan, settings: Settings) -> Runner:
    """Open one copy, here or behind a wall."""
    walls, unsafe = settings.walls, settings.registry.unsafe
    if package.weights is None or not _hosted(package, settings):
        return open_runner(path, plan, unsafe=unsafe)
    limits = GuestLimits(
        memory_bytes=walls.memory << 20,
        run_seconds=walls.run_seconds,
        output_bytes=walls.output << 20,
        require=ESSENTIAL if walls.strict else (),
    )
    parts = [Path(package.folder, part) for part in package.weights.parts]
    return open_hosted(path, plan, limits, readable=parts, unsafe=unsafe)


def _example(spec: InputSpec) -> NDArray[np.generic]:
    """The tensor of a grey picture, of a usual size where the input has none of its own."""
    width, height = spec.width or 640, spec.height or 480
    grey = np.full((height, width, 3), 127, np.uint8)
    return prepare(Picture(grey, Size(width, height), ""), spec)[0]
