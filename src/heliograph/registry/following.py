"""What a look at the repository means for what is in service: pure steps of `Catalog.refresh`.

    Listing -> read_products -> with_new (seen at once) -> (loading) -> accept (in force)

Nothing that answers calls makes way for what does not: a version or a release that turns out to be
broken is reported, and what answered before goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from heliograph.core.errors import Code, HeliographError
from heliograph.registry import releases
from heliograph.registry.releases import Release
from heliograph.registry.repository import Listing
from heliograph.registry.shelves import M, Product, Shelf, alike
from heliograph.registry.values import ModelPackage

log = logging.getLogger("heliograph.registry")


def read_products(
    listing: Listing, now: Mapping[str, Product[M]], make: Callable[[ModelPackage], M]
) -> dict[str, Product[M]]:
    """What a listing says is to be in service.

    What lies there but cannot be read now, or is being written, stays as it is; further problems
    are added to the listing.

    Args:
        listing: what was found.
        now: what is in service.
        make: a servable model of a package; not loaded yet.
    """
    found: dict[str, Product[M]] = {}
    for name in sorted({*listing.packages, *now}):
        old = now.get(name, Product[M](name))
        shelves: dict[str, Shelf[M]] = {}
        for version, package in listing.packages.get(name, {}).items():
            shelf = old.shelves.get(version)
            mark = listing.marks[name][version]
            if shelf is None or (shelf.package, shelf.mark) != (package, mark):
                try:
                    shelf = Shelf(package, make(package), mark)
                except (OSError, ValueError, HeliographError) as error:
                    where = f"{name}/{Path(package.folder).name}"
                    listing.problems[where] = _problem(name, error)
                    continue
            shelves[version] = shelf
        for version, shelf in old.shelves.items():
            if version not in shelves and listing.unread(name, version):
                shelves[version] = shelf
        if shelves:
            told = listing.releases.get(name, Release())
            release = old.release if name in listing.problems else told
            found[name] = Product(name, _in_order(shelves), release)
    return found


def _problem(name: str, error: Exception) -> HeliographError:
    if isinstance(error, HeliographError):
        return error
    return HeliographError(Code.MODEL_INVALID, f"{name}: its labels cannot be read as UTF-8")


def with_new(old: Product[M] | None, coming: Product[M] | None) -> Product[M]:
    """A product as it is, with the versions that have come; they answer once they are loaded."""
    if old is None or coming is None:
        made = coming or old
        if made is None:
            raise AssertionError("a product that neither was nor comes; this is a bug")
        return made
    return Product(old.name, _in_order({**coming.shelves, **old.shelves}), old.release)


def accept(coming: Product[M], now: Product[M] | None) -> Product[M]:
    """A product as it can be put in force, after what it needs was loaded."""
    if now is None or coming is now:
        return coming
    shelves = dict(coming.shelves)
    for version, shelf in now.shelves.items():
        new = shelves.get(version)
        # A version that the release names stays in memory even if its files are gone.
        dear = new is None and version in now.release.named() | coming.release.named()
        if shelf.model.takes_calls and (dear or (new is not None and new.state == "failed")):
            shelves[version] = shelf
    made = Product(coming.name, _in_order(shelves), coming.release)
    why = _unfit(made) if made.release != now.release else ""
    if why:
        log.error("%s: its release is not followed: %s", made.name, why)
        made.release = now.release
    return made


def news(last: Release, made: Release) -> set[str]:
    """The versions that get calls under a release and did not under the one before."""
    return _called(made) - _called(last)


def _called(release: Release) -> set[str]:
    return {one for one in release.named() if release.serves(one)}


def _unfit(product: Product[M]) -> str:
    """Why a release that somebody else has written cannot be put in force; empty if it can."""
    try:
        releases.check(product.release, product.versions)
        alike(product.release, product)
    except HeliographError as error:
        return error.detail
    shelves = [product.shelves[one] for one in sorted(_called(product.release))]
    absent = [one for one in shelves if not one.model.takes_calls]
    return "; ".join(f"version {one.version} did not load: {one.reason}" for one in absent)


def _in_order(shelves: Mapping[str, Shelf[M]]) -> dict[str, Shelf[M]]:
    return dict(sorted(shelves.items(), key=lambda one: int(one[0])))
