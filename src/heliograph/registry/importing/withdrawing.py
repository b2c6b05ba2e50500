"""Taking a version out of service because it is gone from where it came, and back."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from heliograph.registry.catalog import Catalog

log = logging.getLogger("heliograph.registry")


def withdraw(catalog: Catalog[Any], name: str, version: str) -> bool:
    """Take a version out of service.

    While another one can answer, it leaves memory only after the calls that were let in with it;
    the last one leaves at once, and the model with it.

    Args:
        catalog: what is in service.
        name: the model's.
        version: its number.

    Returns:
        Whether that was to be done: an operator may have done so before.

    Raises:
        HeliographError: `conflict` if somebody decides at the same time, or why no other version
            can step in; then nothing has changed.
    """
    product = catalog.products.get(name)
    if product is None or version not in product.shelves:
        return False
    release = product.release
    if not release.serves(version):
        return False
    others = [
        one
        for one in product.versions
        if one != version and release.serves(one) and product.shelves[one].state != "failed"
    ]
    if not others:
        catalog.unload(name, version, release.etag)
        return True
    if version in release.named():
        log.warning(
            "%s: its release names version %s, which is gone; promote another one", name, version
        )
    made = msgspec.structs.replace(
        release,
        unloaded=tuple(sorted({*release.unloaded, version})),
        loaded=tuple(one for one in release.loaded if one != version),
        reason=f"version {version} is gone from the watched place",
    )
    catalog.decide(name, made, release.etag)
    return True


def restore(catalog: Catalog[Any], name: str, version: str) -> bool:
    """Put a version that was withdrawn back into service; it is loaded before it answers.

    Returns:
        Whether that is done; not yet if the catalogue has not seen the version.

    Raises:
        HeliographError: `conflict`, or why it does not load; then nothing has changed.
    """
    product = catalog.products.get(name)
    if product is None or version not in product.shelves:
        return False
    release = product.release
    if version in release.unloaded:
        made = msgspec.structs.replace(
            release,
            unloaded=tuple(one for one in release.unloaded if one != version),
            reason=f"version {version} is back in the watched place",
        )
        catalog.decide(name, made, release.etag)
    return True
