"""Replacing what is served: everything is checked before anything changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from heliograph.accounts.key import OpenGate
from heliograph.app import build
from heliograph.core.errors import HeliographError
from heliograph.edge.tfserving.config import Policy, ServedModel
from heliograph.edge.tfserving.reload import replace_models
from heliograph.registry.catalog import Catalog
from heliograph.serving.values import Model
from heliograph.settings import Settings
from support.tfserving import half_plus, tensor_package

HALF = "{home}/models/half"
OUTSIDE = "base_path is not the folder"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog[Model]]:
    for version in (1, 2, 3):
        tensor_package(tmp_path, "half", half_plus, version=version)
    tensor_package(tmp_path, "line", half_plus)
    app = build(Settings(home=tmp_path), gate=OpenGate(), only=["half", "line"])
    app.catalog.load_all()
    yield app.catalog
    app.close()


def served(catalog: Catalog[Model]) -> dict[str, list[str]]:
    return {
        name: [one for one in product.versions if product.release.serves(one)]
        for name, product in catalog.products.items()
    }


def base(tmp_path: Path, name: str) -> str:
    return str(tmp_path / "models" / name)


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        (Policy(), ["3"]),
        (Policy("latest", count=2), ["2", "3"]),
        (Policy("latest", count=9), ["1", "2", "3"]),
        (Policy("all"), ["1", "2", "3"]),
        (Policy("specific", versions=(1, 3)), ["1", "3"]),
    ],
)
def test_a_policy_picks_versions(
    tmp_path: Path, catalog: Catalog[Model], policy: Policy, versions: list[str]
) -> None:
    replace_models(catalog, [ServedModel("half", base(tmp_path, "half"), policy)])
    assert served(catalog) == {"half": versions, "line": []}
    for version in versions:
        assert catalog.find("half", version).state == "ready"
    assert catalog.find("half").version == versions[-1]


def test_labels_are_aliases_and_the_highest_version_stays_the_default(
    tmp_path: Path, catalog: Catalog[Model]
) -> None:
    labels = {"stable": 1, "Canary_2": 2}
    model = ServedModel("half", base(tmp_path, "half"), Policy("all"), labels)
    replace_models(catalog, [model])
    assert catalog.find("half", "stable").version == "1"
    assert catalog.find("half", "Canary_2").version == "2"
    assert catalog.find("half").version == "3"
    replace_models(catalog, [ServedModel("half", base(tmp_path, "half"))])
    assert catalog.product("half").release.aliases == {}


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (ServedModel("half", "/etc"), OUTSIDE),
        (ServedModel("half", "models/half"), OUTSIDE),
        (ServedModel("half", "{home}/models/line"), OUTSIDE),
        (ServedModel("half", "{home}/models"), OUTSIDE),
        (ServedModel("half", "{home}/models/half/1"), OUTSIDE),
        (ServedModel("half", "{home}/models/line/../../../.."), OUTSIDE),
        (ServedModel("nosuch", "{home}/models/half"), OUTSIDE),
        (ServedModel("half", HALF, Policy("specific", versions=(9,))), "find version 9"),
        (ServedModel("half", HALF, labels={"stable": 1}), "not currently available"),
    ],
)
def test_what_cannot_be_served_changes_nothing(
    tmp_path: Path, catalog: Catalog[Model], model: ServedModel, words: str
) -> None:
    before = served(catalog)
    wanted = [
        ServedModel("line", base(tmp_path, "line")),
        replace(model, base_path=model.base_path.format(home=tmp_path)),
    ]
    with pytest.raises(HeliographError) as caught:
        replace_models(catalog, wanted)
    assert words in caught.value.detail
    assert str(tmp_path) not in caught.value.detail
    assert served(catalog) == before
    assert catalog.find("half").version == "3"


def test_an_empty_configuration_serves_nothing(catalog: Catalog[Model]) -> None:
    replace_models(catalog, [])
    assert served(catalog) == {"half": [], "line": []}


def test_a_version_that_comes_later_is_found(tmp_path: Path, catalog: Catalog[Model]) -> None:
    tensor_package(tmp_path, "half", half_plus, version=4)
    replace_models(catalog, [ServedModel("half", base(tmp_path, "half"))])
    assert catalog.find("half").version == "4"
