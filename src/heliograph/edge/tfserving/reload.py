"""Replacing what is served by what a configuration says, as TensorFlow Serving does.

Everything is checked first. Then what is wanted is loaded, and last what is absent is unloaded, so
that a model which stays loses no call. Each change is a release of the model: other workers, and
the next start, follow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.tfserving.config import ServedModel
from heliograph.registry.catalog import Catalog, Product, Shelf
from heliograph.registry.releases import STABLE, Release
from heliograph.serving.values import Model

_REASON = "as the model configuration says"


def replace_models(catalog: Catalog[Model], models: Sequence[ServedModel]) -> None:
    """Serve these models and no others; blocks until that is so.

    Args:
        catalog: what is served now.
        models: what shall be.

    Raises:
        HeliographError: `validation` or `not_found` for what cannot be served, or why a model did
            not load; nothing has changed then.
    """
    catalog.refresh()
    wanted = {one.name: _versions(_product(catalog, one), one) for one in models}
    for name, versions in wanted.items():
        for version in versions:
            catalog.product(name).shelves[version].model.load()
    for one in models:
        catalog.decide(one.name, _release(catalog.product(one.name), one, wanted[one.name]))
    for name, product in list(catalog.products.items()):
        if name not in wanted and any(map(product.release.serves, product.versions)):
            catalog.unload(name)


def _product(catalog: Catalog[Model], model: ServedModel) -> Product[Model]:
    product = catalog.products.get(model.name)
    base = Path(model.base_path.removeprefix("file://"))
    shelves = product.shelves.values() if product else ()
    if product is None or not any(_lies_in(base, one) for one in shelves):
        raise HeliographError(
            Code.VALIDATION,
            f"Model {model.name[:80]}: base_path is not the folder of a model of that name in this "
            "server's repository. Import the model (heliograph import), then name its folder.",
        )
    return product


def _lies_in(base: Path, shelf: Shelf[Model]) -> bool:
    """Whether a package is this folder, or one of the numbered folders in it."""
    package = Path(shelf.package.folder).resolve()
    folder = package.parent if package.name == shelf.version else package
    return base.is_absolute() and base.resolve() == folder


def _versions(product: Product[Model], model: ServedModel) -> list[str]:
    """The versions that the policy picks, lowest first."""
    there = product.versions
    if model.policy.kind == "all":
        picked = there
    elif model.policy.kind == "latest":
        picked = there[-model.policy.count :]
    else:
        picked = [str(one) for one in model.policy.versions]
    for version in picked:
        if version not in there:
            raise HeliographError(
                Code.NOT_FOUND, f"Could not find version {version} of model {model.name}"
            )
    for label, version in model.labels.items():
        if str(version) not in picked:
            raise HeliographError(
                Code.VALIDATION,
                f"Request to assign label {label[:80]} to version {version} of model {model.name}, "
                "which is not currently available for inference",
            )
    return picked


def _release(product: Product[Model], model: ServedModel, picked: list[str]) -> Release:
    """What the configuration decides about one model."""
    # The highest version answers a call that names none, even where a label is called stable.
    split = {picked[-1]: 1.0} if STABLE in model.labels and picked else {}
    return Release(
        aliases={label: str(version) for label, version in model.labels.items()},
        split=split,
        loaded=tuple(picked),
        unloaded=tuple(one for one in product.versions if one not in picked),
        history=product.release.history,
        reason=_REASON,
    )
