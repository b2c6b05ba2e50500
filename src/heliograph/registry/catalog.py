"""What is in service: models and their versions, which of them answers, and changing that.

A model's release (see `releases.py`) says which version answers. A version that comes into service
is loaded before the first call reaches it, and one that leaves stays in memory until no call that
was let in with it can still come: a change loses no call.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import msgspec

from heliograph.core.errors import Code, HeliographError
from heliograph.registry import releases
from heliograph.registry.releases import Release
from heliograph.registry.repository import Listing, Repository
from heliograph.registry.values import ModelPackage
from heliograph.vision.tasks import TASKS

BUILTIN = Path(__file__).parent / "builtin"
log = logging.getLogger("heliograph.registry")


class Servable(Protocol):
    """A model that can be brought into memory and let go."""

    @property
    def state(self) -> str:
        """`unloaded`, `loading`, `ready`, `unloading` or `failed`."""
        ...

    @property
    def reason(self) -> str:
        """Why it failed."""
        ...

    @property
    def takes_calls(self) -> bool:
        """Whether a call that comes now will find it."""
        ...

    def refusal(self) -> HeliographError:
        """Why a call cannot have it now."""
        ...

    def load(self) -> None:
        """Bring it into memory; raises `HeliographError`."""
        ...

    def unload(self) -> None:
        """Let its calls finish and give its memory back."""
        ...


M = TypeVar("M", bound=Servable)


@dataclass(frozen=True, slots=True)
class Shelf(Generic[M]):
    """One version of one model."""

    package: ModelPackage
    model: M

    @property
    def version(self) -> str:
        """Its number as text."""
        return str(self.package.version)

    @property
    def state(self) -> str:
        """How far its loading is; see `Servable.state`."""
        return self.model.state

    @property
    def reason(self) -> str:
        """Why it failed to load; empty if it did not."""
        return self.model.reason


@dataclass(slots=True)
class Product(Generic[M]):
    """A model by name: its versions and its release."""

    name: str
    shelves: dict[str, Shelf[M]] = field(default_factory=dict[str, "Shelf[M]"])
    release: Release = field(default_factory=Release)

    @property
    def versions(self) -> list[str]:
        """Every version, lowest number first."""
        return list(self.shelves)

    def pick(self, asked: str = "", sticky: str = "") -> Shelf[M] | None:
        """The version that answers a call; None if there is no such version."""
        if asked:
            return self.shelves.get(self.release.resolve(asked))
        version = releases.choose(self.release, self.able() or self.versions, sticky)
        return self.shelves.get(version)

    def wanted(self) -> list[str]:
        """The versions that must be in memory."""
        named = self.release.named()
        if releases.STABLE not in self.release.aliases and not self.release.split:
            named.add(releases.latest([one for one in self.versions if self.release.serves(one)]))
        return [one for one in self.versions if one in named and self.release.serves(one)]

    def able(self) -> list[str]:
        """The versions that can answer a call now."""
        return [
            version
            for version, shelf in self.shelves.items()
            if shelf.model.takes_calls and self.release.serves(version)
        ]


class Catalog(Generic[M]):
    """Finds models for calls, and takes versions in and out of service.

    Args:
        repository: where packages and releases lie.
        make: a servable model of a package; not loaded yet.
        eager: load what should answer at once, not on the first call.
        linger: seconds that a version stays loaded after it went out of service: as long as a call
            that was let in with it can take.
    """

    def __init__(
        self,
        repository: Repository,
        make: Callable[[ModelPackage], M],
        *,
        eager: bool = True,
        linger: float = 0.0,
    ) -> None:
        self._repository = repository
        self._make = make
        self._eager = eager
        self._linger = linger
        self._turn = threading.RLock()
        self._loaded = threading.Event()
        self._leaving: list[threading.Timer] = []
        self._products: dict[str, Product[M]] = {}
        self._stamp = repository.stamp()
        listing = repository.scan()
        for problem in listing.problems.values():
            raise problem
        self._apply(listing)

    # --- what calls ask ----------------------------------------------------------------------

    @property
    def products(self) -> dict[str, Product[M]]:
        """Every model by name."""
        return self._products

    @property
    def shelves(self) -> list[Shelf[M]]:
        """Every version of every model, by name and number."""
        return [shelf for one in self._products.values() for shelf in one.shelves.values()]

    def product(self, name: str) -> Product[M]:
        """A model by name.

        Raises:
            HeliographError: `not_found`.
        """
        found = self._products.get(name)
        if found is None:
            raise _absent()
        return found

    def shelf(self, name: str, version: str = "") -> Shelf[M]:
        """A version of a model, loaded or not; by default the one that answers.

        Raises:
            HeliographError: `not_found`.
        """
        shelf = self.product(name).pick(version)
        if shelf is None:
            raise _absent()
        return shelf

    def find(self, name: str, version: str = "", sticky: str = "") -> M:
        """The model that answers a call.

        Raises:
            HeliographError: `not_found` or `model_unavailable`.
        """
        product = self._products.get(name)
        shelf = product.pick(version, sticky) if product else None
        if product is None or shelf is None:
            raise _absent()
        if not shelf.model.takes_calls or not product.release.serves(shelf.version):
            raise shelf.model.refusal()
        return shelf.model

    def default(self, task: str, version: str = "", sticky: str = "") -> M:
        """The model that answers for a task: the one marked so, else the first by name.

        Raises:
            HeliographError: `not_found` or `model_unavailable`.
        """
        if task not in TASKS:
            raise HeliographError(Code.NOT_FOUND, f"There is no task {task[:60]!r}.")
        best = ""
        for name, product in self._products.items():
            shelf = product.pick()
            if shelf and shelf.package.task == task and (not best or shelf.package.default):
                best = name
                if shelf.package.default:
                    break
        if not best:
            raise HeliographError(Code.NOT_FOUND, f"No model for {task} is in service.")
        return self.find(best, version, sticky)

    def shadow(self, name: str) -> M | None:
        """The version that gets a copy of this call, if one does."""
        release = self._products[name].release
        if release.shadow is None or random.random() >= release.shadow.share:  # noqa: S311
            return None
        shelf = self._products[name].shelves.get(release.resolve(release.shadow.version))
        return shelf.model if shelf and shelf.model.takes_calls else None

    def why_not_ready(self) -> str:
        """Why readiness must say no; empty when every model that should be there is."""
        wanted = [
            (product.name, product.shelves[version])
            for product in self._products.values()
            for version in product.wanted()
        ]
        if not self._loaded.is_set():
            waiting = [name for name, one in wanted if one.state in {"loading", "unloaded"}]
            return f"loading {', '.join(waiting)}"
        # A version that fails while another one answers is the operator's trouble only.
        failed = [
            name
            for name, one in wanted
            if one.state == "failed" and not _answers(self._products[name])
        ]
        return f"failed to load: {', '.join(failed)}" if failed else ""

    # --- what operators do -------------------------------------------------------------------

    def load_all(self) -> None:
        """Load every version that should be in memory; one that fails is marked, not raised."""
        self._settle()
        self._loaded.set()

    def load_in_background(self, then: Callable[[], None] | None = None) -> None:
        """Begin `load_all` on a thread; `then` is called when it is through."""

        def load() -> None:
            self.load_all()
            if then:
                then()

        threading.Thread(target=load, name="load-all", daemon=True).start()

    def load(self, name: str, version: str = "") -> Shelf[M]:
        """Bring a version into service; blocks until it is loaded.

        Raises:
            HeliographError: `not_found`, or why it did not load.
        """
        self.refresh()
        shelf = self.shelf(name, version)
        shelf.model.load()
        product = self.product(name)
        if not product.release.serves(shelf.version):
            out = product.versions if "*" in product.release.unloaded else product.release.unloaded
            still = tuple(one for one in out if version and one != shelf.version)
            self._decide(name, msgspec.structs.replace(product.release, unloaded=still))
        return shelf

    def unload(self, name: str, version: str = "") -> None:
        """Take a version (by default all of them) out of service; blocks until memory is back.

        Raises:
            HeliographError: `not_found`.
        """
        product = self.product(name)
        going = [self.shelf(name, version)] if version else list(product.shelves.values())
        out = {one.version for one in going} | set(product.release.unloaded)
        still = tuple(sorted(out)) if version else ("*",)
        self._decide(name, msgspec.structs.replace(product.release, unloaded=still))
        for shelf in going:
            shelf.model.unload()

    def promote(self, name: str, version: str, reason: str) -> Release:
        """Load a version and make it the stable one.

        Raises:
            HeliographError: `not_found`, or why it did not load: then nothing has changed.
        """
        self.refresh()
        product, shelf = self.product(name), self.shelf(name, version)
        before = product.pick()
        shelf.model.load()
        stable = before.version if before else ""
        return self._decide(name, releases.promote(product.release, shelf.version, stable, reason))

    def rollback(self, name: str, reason: str) -> Release:
        """Take a split back, or go back to the stable version before this one.

        Raises:
            HeliographError: `not_found`, `conflict`, or why the earlier version did not load.
        """
        return self.decide(name, releases.rollback(self.product(name).release, reason))

    def decide(self, name: str, release: Release) -> Release:
        """Put a release into force: what it names is loaded first.

        Raises:
            HeliographError: `not_found`, `validation`, or why a version did not load.
        """
        self.refresh()
        product = self.product(name)
        releases.check(release, product.versions)
        for version in sorted(release.named()):
            product.shelves[version].model.load()
        return self._decide(name, release)

    def refresh(self) -> bool:
        """Look whether packages or releases have changed, and follow; True if they have."""
        stamp = self._repository.stamp()
        with self._turn:
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            listing = self._repository.scan()
            for place, problem in listing.problems.items():
                log.error("%s is not served: %s", place, problem.detail)
            gone = self._apply(listing)
        self._settle()
        self._leave(gone)
        return True

    def close(self) -> None:
        """Stop waiting for versions to leave."""
        for timer in self._leaving:
            timer.cancel()

    # --- how it is done ----------------------------------------------------------------------

    def _apply(self, listing: Listing) -> list[Shelf[M]]:
        """Take a listing over; returns the shelves that are no more."""
        gone: list[Shelf[M]] = []
        products: dict[str, Product[M]] = {}
        for name, packages in sorted(listing.packages.items()):
            old = self._products.get(name, Product[M](name))
            product = Product[M](name, release=listing.releases.get(name, Release()))
            for version, package in packages.items():
                shelf = old.shelves.get(version)
                if shelf is None or shelf.package != package:
                    shelf = Shelf(package, self._make(package))
                product.shelves[version] = shelf
            products[name] = product
        kept = {id(shelf) for one in products.values() for shelf in one.shelves.values()}
        gone += [shelf for shelf in self.shelves if id(shelf) not in kept]
        self._products = products
        return gone

    def _decide(self, name: str, release: Release) -> Release:
        with self._turn:
            self._repository.write(name, release)
            self._products[name].release = release
            self._stamp = self._repository.stamp()
        log.info("%s: %s", name, release.reason or "its release has changed")
        self._settle()
        return release

    def _settle(self) -> None:
        """Load what should be in memory and is not, several at once; let the others leave."""
        products = list(self._products.values())
        coming = [
            product.shelves[version]
            for product in products
            for version in product.wanted()
            if product.shelves[version].state in {"unloaded", "failed"}
        ]
        if coming and self._eager:
            with ThreadPoolExecutor(4, thread_name_prefix="load") as pool:
                list(pool.map(_load, coming))
        self._leave(
            [shelf for product in products for shelf in _idle(product) if shelf.state == "ready"]
        )

    def _leave(self, shelves: Sequence[Shelf[M]]) -> None:
        """Unload later: calls that were let in with these versions still come."""
        for shelf in shelves:
            timer = threading.Timer(self._linger, self._unload, (shelf,))
            timer.daemon = True
            self._leaving.append(timer)
            timer.start()
        self._leaving = [one for one in self._leaving if not one.finished.is_set()]

    def _unload(self, shelf: Shelf[M]) -> None:
        product = self._products.get(shelf.package.name)
        still = product is not None and product.shelves.get(shelf.version) is shelf
        if product is None or not still or shelf in _idle(product):
            shelf.model.unload()


def _load(shelf: Shelf[M]) -> None:
    try:
        shelf.model.load()
    except HeliographError:
        log.exception("model %s@%s did not load", shelf.package.name, shelf.version)


def _idle(product: Product[M]) -> list[Shelf[M]]:
    """The versions that nobody asks for; what answers now stays until another one can."""
    answering = product.pick()
    wanted = product.wanted()
    return [
        shelf
        for version, shelf in product.shelves.items()
        if version not in wanted and shelf is not answering
    ]


def _answers(product: Product[M]) -> bool:
    shelf = product.pick()
    return shelf is not None and shelf.model.takes_calls


def _absent() -> HeliographError:
    return HeliographError(
        Code.NOT_FOUND,
        "There is no such model or version here. GET /api/v1/models lists what is served.",
    )
