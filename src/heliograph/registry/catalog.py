"""What is in service: packages found, models loaded, one default for each task."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.values import ModelPackage, read_package
from heliograph.vision.tasks import TASKS

M = TypeVar("M")
State = Literal["loading", "ready", "failed"]
BUILTIN = Path(__file__).parent / "builtin"
log = logging.getLogger("heliograph.registry")


def find_packages(folders: Iterable[Path]) -> dict[str, ModelPackage]:
    """Read every `*/model.toml` in the folders; a later folder's package replaces an earlier one's.

    Raises:
        HeliographError: `model_invalid` for the first package that is wrong.
    """
    found: dict[str, ModelPackage] = {}
    for folder in folders:
        for toml in sorted(folder.glob("*/model.toml")):
            package = read_package(toml.parent)
            found[package.name] = package
    return found


@dataclass(slots=True)
class Shelf(Generic[M]):
    """One package and how far its loading is."""

    package: ModelPackage
    state: State = "loading"
    reason: str = ""
    model: M | None = None


class Catalog(Generic[M]):
    """Loads packages and finds models.

    Args:
        packages: what to serve, by name.
        load: makes a servable model of a package.
    """

    def __init__(
        self, packages: dict[str, ModelPackage], load: Callable[[ModelPackage], M]
    ) -> None:
        self._load = load
        self._shelves: dict[str, Shelf[M]] = {
            name: Shelf(package) for name, package in sorted(packages.items())
        }
        self._loaded = threading.Event()

    @property
    def shelves(self) -> list[Shelf[M]]:
        """Every package and its state, by name."""
        return list(self._shelves.values())

    def load_all(self) -> None:
        """Load every package, several at once; a package that fails is marked, not raised."""
        with ThreadPoolExecutor(4, thread_name_prefix="load") as pool:
            list(pool.map(self._load_one, self._shelves.values()))
        self._loaded.set()

    def load_in_background(self, then: Callable[[], None] | None = None) -> None:
        """Begin `load_all` on a thread; `then` is called when it is through."""

        def load() -> None:
            self.load_all()
            if then:
                then()

        threading.Thread(target=load, name="load-all", daemon=True).start()

    def _load_one(self, shelf: Shelf[M]) -> None:
        try:
            shelf.model = self._load(shelf.package)
            shelf.state = "ready"
        except Exception as error:
            shelf.state = "failed"
            shelf.reason = error.detail if isinstance(error, HeliographError) else "see the log"
            log.exception("model %s did not load", shelf.package.name)

    def why_not_ready(self) -> str:
        """Why readiness must say no; empty when every model is loaded."""
        if not self._loaded.is_set():
            waiting = [name for name, one in self._shelves.items() if one.state == "loading"]
            return f"loading {', '.join(waiting)}"
        failed = [name for name, one in self._shelves.items() if one.state == "failed"]
        return f"failed to load: {', '.join(failed)}" if failed else ""

    def find(self, name: str, version: str = "") -> M:
        """A loaded model by name and, if given, version.

        Raises:
            HeliographError: `not_found` or `model_unavailable`.
        """
        shelf = self._shelves.get(name)
        if shelf is None or (version and version != str(shelf.package.version)):
            raise HeliographError(
                Code.NOT_FOUND,
                "There is no such model or version here. GET /api/v1/models lists what is served.",
            )
        if shelf.model is None:
            why = "is still loading" if shelf.state == "loading" else f"is not: {shelf.reason}"
            raise HeliographError(
                Code.MODEL_UNAVAILABLE,
                f"The model {name!r} {why}",
                retry_after=1.0 if shelf.state == "loading" else None,
            )
        return shelf.model

    def default(self, task: str, version: str = "") -> M:
        """The default model of a task: the one marked so, else the first by name.

        Raises:
            HeliographError: `not_found` or `model_unavailable`.
        """
        if task not in TASKS:
            raise HeliographError(Code.NOT_FOUND, f"There is no task {task[:60]!r}.")
        of_task = [one for one in self._shelves.values() if one.package.task == task]
        of_task.sort(key=lambda one: not one.package.default)
        if not of_task:
            raise HeliographError(Code.NOT_FOUND, f"No model for {task} is in service.")
        return self.find(of_task[0].package.name, version)
