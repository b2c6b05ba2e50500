"""What is in service: models and their versions, which of them answers, and changing that.

A model's release (see `releases.py`) says which version answers. A version that comes into service
is loaded before the first call reaches it, and one that leaves stays in memory until no call that
was let in with it can still come: a change loses no call. That holds for what operators ask of this
process and for what it finds in the repository, which another process may have decided.

Calls take no lock: they read `_products` and a product's `release`, which are only ever replaced.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic

import msgspec

from heliograph.core.errors import Code, HeliographError
from heliograph.registry import releases
from heliograph.registry.following import accept, news, read_products, with_new
from heliograph.registry.moving import Movers
from heliograph.registry.releases import Change, Release
from heliograph.registry.repository import Listing, Repository
from heliograph.registry.shelves import M, Product, Servable, Shelf, alike
from heliograph.registry.values import ModelPackage
from heliograph.vision.tasks import TASKS

__all__ = ["BUILTIN", "Catalog", "Product", "Servable", "Shelf"]
BUILTIN = Path(__file__).parent / "builtin"
log = logging.getLogger("heliograph.registry")
_TRIES = 8


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
        # Held for moments only, never while something loads or is let go.
        self._turn = threading.Condition()
        self._movers = Movers[M](self._turn, self._is_wanted, eager=eager, linger=linger)
        self._epoch = 0
        self._loaded = threading.Event()
        self._told: dict[str, str] = {}
        self._products: dict[str, Product[M]] = {}
        self._stamp: int | None = repository.stamp()
        listing = repository.scan()
        self._products = read_products(listing, {}, make)
        for problem in listing.fatal():
            raise problem
        self._tell(listing)
        for product in self._products.values():
            _fits(product)
        # What is there at the start is promised to be ready; what comes later is not.
        self._promised = frozenset(self._products)

    # --- what calls ask ----------------------------------------------------------------------

    @property
    def products(self) -> dict[str, Product[M]]:
        """Every model by name."""
        return self._products

    def problems(self, name: str) -> dict[str, str]:
        """Why versions of a model that lie there cannot even be read, by what their folder says."""
        return {
            version: detail
            for place, detail in self._told.items()
            for model, _, version in [place.partition("/")]
            if model == name
        }

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
            raise _absent(None, "")
        return found

    def shelf(self, name: str, version: str = "") -> Shelf[M]:
        """A version of a model, loaded or not; by default the one that answers.

        Raises:
            HeliographError: `not_found`.
        """
        product = self.product(name)
        shelf = product.pick(version)
        if shelf is None:
            raise _absent(product, version)
        return shelf

    def find(self, name: str, version: str = "", sticky: str = "") -> M:
        """The model that answers a call.

        Raises:
            HeliographError: `not_found` or `model_unavailable`.
        """
        product = self._products.get(name)
        shelf = product.pick(version, sticky) if product else None
        if product is None or shelf is None:
            raise _absent(product, version)
        if not shelf.model.takes_calls or not product.release.serves(shelf.version):
            if shelf.state == "unloaded" and not self._loaded.is_set():  # its turn comes
                raise HeliographError(
                    Code.MODEL_UNAVAILABLE, "The model is still loading.", retry_after=1.0
                )
            raise shelf.model.refusal()
        return shelf.model

    def default(self, task: str, version: str = "", sticky: str = "") -> M:
        """The model that answers for a task: the one marked so, else the first by name.

        While that one is not there another one does not step in: its answers would be others.

        Raises:
            HeliographError: `not_found` or `model_unavailable`.
        """
        if task not in TASKS:
            raise HeliographError(Code.NOT_FOUND, f"There is no task {task[:60]!r}.")
        best = ""
        for name, product in self._products.items():
            shelf = product.answering()
            if shelf and shelf.package.task == task and (not best or shelf.package.default):
                best = name
                if shelf.package.default:
                    break
        if not best:
            raise HeliographError(Code.NOT_FOUND, f"No model for {task} is in service.")
        return self.find(best, version, sticky)

    def shadow(self, name: str) -> M | None:
        """The version that gets a copy of this call, if one does."""
        product = self._products.get(name)
        shadow = product.release.shadow if product else None
        if product is None or shadow is None or random.random() >= shadow.share:  # noqa: S311
            return None
        shelf = product.pick(shadow.version)
        return shelf.model if shelf and shelf.model.takes_calls else None

    def why_not_ready(self) -> str:
        """Why readiness must say no; empty when every model that should be there is."""
        wanted = [
            (product.name, product.shelves[version])
            for product in self._products.values()
            if product.name in self._promised
            for version in product.wanted()
            if not product.shelves[version].package.lazy
        ]
        if not self._loaded.is_set():
            waiting = [name for name, one in wanted if one.state in {"loading", "unloaded"}]
            return f"loading {', '.join(waiting)}"
        # A version that fails while another one answers is the operator's trouble only.
        failed = [
            name
            for name, one in wanted
            if one.state == "failed" and not self._products[name].answers()
        ]
        return f"failed to load: {', '.join(failed)}" if failed else ""

    # --- what operators do -------------------------------------------------------------------

    def load_all(self) -> None:
        """Load every version that should be in memory; one that fails is marked, not raised."""
        products = list(self._products.values())
        self._movers.bring(products)
        self._movers.settle(products)
        self._loaded.set()

    def load_in_background(self, then: Callable[[], None] | None = None) -> None:
        """Begin `load_all` on a thread; `then` is called when it is through."""

        def load() -> None:
            self.load_all()
            if then:
                then()

        threading.Thread(target=load, name="load-all", daemon=True).start()

    def load(self, name: str, version: str = "", match: str = "") -> Shelf[M]:
        """Bring a version into service, and keep it there; blocks until it is loaded.

        Args:
            name: the model's.
            version: a number or an alias; by default the one that answers, and all versions that
                were taken out of service are in it again.
            match: as in `decide`.

        Raises:
            HeliographError: `not_found`, `conflict`, or why it did not load: then nothing has
                changed.
        """
        self._follow(patient=False)
        shelf = self.shelf(name, version)
        shelf.model.load()

        def bring_in(product: Product[M], release: Release) -> Release:
            out = product.versions if "*" in release.unloaded else release.unloaded
            still = tuple(one for one in out if version and one != shelf.version)
            made = msgspec.structs.replace(release, unloaded=still)
            if shelf.version in Product(name, product.shelves, made).wanted():
                return made
            return msgspec.structs.replace(made, loaded=(*made.loaded, shelf.version))

        self._change(name, bring_in, match)
        self._movers.settle([self.product(name)])
        return shelf

    def unload(self, name: str, version: str = "", match: str = "") -> None:
        """Take a version (by default all of them) out of service; blocks until memory is back.

        Raises:
            HeliographError: `not_found` or `conflict`.
        """
        self._follow(patient=False)
        one = self.shelf(name, version).version if version else ""

        def take_out(product: Product[M], release: Release) -> Release:
            del product
            out = {one} | set(release.unloaded) if one else {"*"}
            loaded = tuple(each for each in release.loaded if one and each != one)
            return msgspec.structs.replace(release, unloaded=tuple(sorted(out)), loaded=loaded)

        self._change(name, take_out, match)
        for shelf in self.product(name).shelves.values():
            if not one or shelf.version == one:
                self._movers.let_go(shelf)

    def promote(self, name: str, version: str, reason: str, match: str = "") -> Release:
        """Load a version and make it the stable one.

        Args:
            name: the model's.
            version: a number or an alias.
            reason: who or what decided.
            match: as in `decide`.

        Raises:
            HeliographError: `not_found`, `conflict`, or why it did not load: then nothing has
                changed.
        """

        def raise_up(product: Product[M], release: Release) -> Release:
            number = release.resolve(version)
            if number not in product.shelves:
                raise _absent(product, version)
            return releases.promote(release, number, _before(product, release), reason)

        return self._change(name, raise_up, match)

    def rollback(self, name: str, reason: str, match: str = "") -> Release:
        """Take a split back, or go back to the stable version before this one.

        Raises:
            HeliographError: `not_found`, `conflict`, or why the earlier version did not load.
        """
        return self._change(
            name,
            lambda product, release: releases.rollback(release, product.versions, reason),
            match,
        )

    def amend(self, name: str, change: Change, match: str = "") -> Release:
        """Change parts of a release; what is left out of `change` stays as it is.

        Raises:
            HeliographError: as `decide`.
        """
        return self._change(
            name,
            lambda product, release: releases.amend(release, change, _before(product, release)),
            match,
        )

    def decide(self, name: str, release: Release, match: str = "") -> Release:
        """Put a whole release into force: what it names is loaded first.

        Args:
            name: the model's.
            release: what is decided.
            match: the `etag` of the release that this one was made from; empty for whatever it is.

        Raises:
            HeliographError: `not_found`, `validation`, why a version did not load, or `conflict` if
                somebody else has decided since.
        """
        return self._change(name, lambda _product, _release: release, match)

    def refresh(self) -> bool:
        """Look whether packages or releases have changed, and follow; True if they have.

        A folder that changes while one looks is let be until the next look: it is being copied.
        """
        return self._follow(patient=True)

    def close(self) -> None:
        """Stop waiting for versions to leave."""
        self._movers.close()

    # --- how it is done ----------------------------------------------------------------------

    def _change(
        self, name: str, rule: Callable[[Product[M], Release], Release], match: str = ""
    ) -> Release:
        """Work the next release out of the last, load what it needs, write it, put it in force.

        Nothing is locked while versions load. If somebody else has decided meanwhile, in whatever
        process, the next release is worked out anew from theirs: no decision is lost.
        """
        self._follow(patient=False)
        for _ in range(_TRIES):
            product = self.product(name)
            last = self._repository.release(name)
            if match and match != last.etag:
                raise _overtaken(name)
            made = releases.pinned(rule(product, last), _before(product, last))
            releases.check(made, product.versions)
            alike(made, product)
            if made == last == product.release:
                return made
            for version in sorted(news(product.release, made)):
                product.shelves[version].model.load()
            if self._commit(name, last, made):
                log.info("%s: %s", name, made.reason or "its release has changed")
                self._movers.settle([self.product(name)])
                return made
        raise _overtaken(name)

    def _commit(self, name: str, last: Release, made: Release) -> bool:
        """Write a release and put it in force, if all is still as it was made for."""
        with self._movers.brought(lambda: [Product(name, self.product(name).shelves, made)]):
            product = self.product(name)
            needed = [product.shelves[one] for one in news(product.release, made)]
            if not all(one.model.takes_calls for one in needed):
                return False
            with self._repository.turn(name):
                if self._repository.release(name) != last:
                    return False
                self._repository.write(name, made)
            # The stamp is let be: the next look must see whatever else has changed.
            self._epoch += 1
            product.release = made
        return True

    def _follow(self, *, patient: bool) -> bool:
        """Take over what has changed in the repository: load what comes, then put it in force."""
        stamp = self._repository.stamp()
        with self._turn:
            if stamp == self._stamp:
                return False
            listing = self._repository.scan(patient=patient)
            self._stamp = None if listing.moving else stamp
            coming = read_products(listing, self._products, self._make)
            self._tell(listing)
            self._epoch += 1
            epoch = self._epoch
            self._products = {
                name: with_new(self._products.get(name), coming.get(name))
                for name in sorted({*self._products, *coming})
            }
        with self._movers.brought(coming.values):
            there = [*self.shelves, *(one for each in coming.values() for one in _shelves(each))]
            if epoch == self._epoch:
                self._products = {
                    name: accept(product, self._products.get(name))
                    for name, product in coming.items()
                }
            else:
                # Somebody has decided or looked since, and knew more: look again.
                self._stamp = None
            kept = {id(shelf) for shelf in self.shelves}
        self._movers.settle(list(self._products.values()))
        self._movers.leave({id(one): one for one in there if id(one) not in kept}.values())
        return True

    def _tell(self, listing: Listing) -> None:
        """Log problems, each once."""
        told = {place: problem.detail for place, problem in listing.problems.items()}
        for place, detail in told.items():
            if self._told.get(place) != detail:
                log.error("%s is not served: %s", place, detail)
        self._told = told

    def _is_wanted(self, shelf: Shelf[M]) -> bool:
        product = self._products.get(shelf.package.name)
        if product is None or product.shelves.get(shelf.version) is not shelf:
            return False
        return shelf not in product.idle() and product.release.serves(shelf.version)


def _shelves(product: Product[M]) -> list[Shelf[M]]:
    return list(product.shelves.values())


def _before(product: Product[M], release: Release) -> str:
    """The version that answers under a release, whatever a split tries."""
    shelf = Product(product.name, product.shelves, release).answering()
    return shelf.version if shelf else ""


def _fits(product: Product[M]) -> None:
    try:
        releases.check(product.release, product.versions)
    except HeliographError as error:
        raise HeliographError(
            Code.MODEL_INVALID, f"{product.name}/release.json: {error.detail}"
        ) from error


def _overtaken(name: str) -> HeliographError:
    return HeliographError(
        Code.CONFLICT,
        f"Somebody else has changed the release of {name} since you looked. Look again: GET "
        f"/api/v1/models/{name}/release.",
    )


def _absent(product: Product[M] | None, version: str) -> HeliographError:
    if product is None:
        return HeliographError(
            Code.NOT_FOUND,
            "There is no such model here. `heliograph models` and GET /api/v1/models list them.",
        )
    known = ", ".join([*product.versions, *product.release.aliases])
    return HeliographError(
        Code.NOT_FOUND,
        f"{product.name} has no version or alias {version[:60]!r}; there are {known}.",
    )
