"""Catalogs of toys: models that load by calling something, so that a test can hold or break it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.catalog import Catalog
from heliograph.registry.repository import Repository
from heliograph.registry.values import ModelPackage
from heliograph.runtimes.identity import IdentityRunner
from heliograph.serving.resident import Copies, Resident
from support import models

PATIENCE = 20.0


class Toy:
    """A model of one package."""

    def __init__(self, package: ModelPackage, work: Callable[[ModelPackage], object]) -> None:
        self.package = package
        self.resident = Resident(lambda: Copies(self._open(work)))

    def _open(self, work: Callable[[ModelPackage], object]) -> IdentityRunner:
        work(self.package)
        return IdentityRunner()

    def __repr__(self) -> str:
        return f"{self.package.name}@{self.package.version}"

    @property
    def state(self) -> str:
        return self.resident.state

    @property
    def reason(self) -> str:
        return self.resident.reason

    @property
    def takes_calls(self) -> bool:
        return self.resident.takes_calls

    def refusal(self) -> HeliographError:
        return self.resident.refusal()

    def load(self) -> None:
        self.resident.load()

    def unload(self) -> None:
        self.resident.unload()


class Works:
    """What loading does: held while `hold` names a model, failing while `broken` does."""

    def __init__(self) -> None:
        self.held: dict[str, threading.Event] = {}
        self.begun: dict[str, threading.Event] = {}
        self.broken: set[str] = set()
        self.loaded: list[str] = []
        self.during: dict[str, Callable[[], object]] = {}

    def hold(self, name: str) -> threading.Event:
        """From now on loading this one waits for the event."""
        self.begun[name] = threading.Event()
        self.held[name] = threading.Event()
        return self.held[name]

    def __call__(self, package: ModelPackage) -> None:
        name = f"{package.name}@{package.version}"
        self.loaded.append(name)
        if name in self.during:
            self.during.pop(name)()
        if name in self.held:
            self.begun[name].set()
            assert self.held[name].wait(PATIENCE)
        if name in self.broken:
            raise HeliographError(Code.MODEL_INVALID, f"{name} is broken.")


def write(folder: Path, name: str, version: int, **changes: object) -> Path:
    """`folder/name/version/model.toml`, appearing whole."""
    scratch = folder / name / f".making-{version}"
    models.write_card(scratch, models.card(name, version=version, **changes))
    return scratch.rename(folder / name / str(version))


def catalog(
    *folders: Path, works: Callable[[ModelPackage], object] = str, linger: float = 0.0
) -> Catalog[Toy]:
    """A catalog of toys, everything loaded."""
    made = Catalog(Repository(folders), lambda one: Toy(one, works), linger=linger)
    made.load_all()
    return made


def look(found: Catalog[Toy]) -> None:
    """Follow what lies there, once it is still: as two looks of the watcher do."""
    found.refresh()
    found.refresh()


def answers(found: Catalog[Toy], name: str = "a", version: str = "") -> str:
    """Which version answers."""
    return repr(found.find(name, version))


def states(found: Catalog[Toy], name: str = "a") -> dict[str, str]:
    return {version: one.state for version, one in found.product(name).shelves.items()}


def until(true: Callable[[], object], what: str = "this") -> None:
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends, f"{what} never came true"
        time.sleep(0.002)
