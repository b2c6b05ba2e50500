"""Fixtures for every test: a data folder with converted models, real servers, real photos."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliograph.storage.database import Database
from support.databases import fresh, opened, postgres
from support.server import Server, running
from support.tenants import Site, site

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT.parent / "shared" / "data" / "photos"
RECIPES = ROOT / "src" / "heliograph" / "registry" / "recipes"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of the golden tests."""
    parser.addoption("--update-goldens", action="store_true", help="Write the goldens anew.")
    parser.addoption("--keep-pictures", metavar="DIR", help="Write the goldens' pictures to DIR.")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is long on PostgreSQL, and short on SQLite, runs there with `make test-slow` only."""
    for item in items:
        if item.get_closest_marker("long_on_postgresql") and "postgresql" in item.name:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def home(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that all servers of a session share, and later sessions too.

    Converting the built-in models takes seconds; their recipes' digest names the folder, so that
    changed recipes convert afresh.
    """
    digest = hashlib.sha256()
    for recipe in sorted(RECIPES.glob("*.py")):
        digest.update(recipe.read_bytes())
    if not pytestconfig.pluginmanager.hasplugin("cacheprovider"):
        return tmp_path_factory.mktemp("home")
    return pytestconfig.cache.mkdir(f"heliograph-home-{digest.hexdigest()[:12]}")


@pytest.fixture(scope="session")
def server(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lets everybody in, with every built-in model."""
    log = tmp_path_factory.mktemp("server") / "stderr"
    with running(home, "--open", stderr=log) as started:
        yield started


@pytest.fixture(scope="session")
def keyed_server(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that asks for the administrator key; it serves `process` and `edges` only."""
    log = tmp_path_factory.mktemp("keyed-server") / "stderr"
    with running(home, "--models", "process,edges", stderr=log) as started:
        yield started


@pytest.fixture(scope="session")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server with two workspaces that have one of everything; leave them as they are."""
    with site(tmp_path_factory.mktemp("estate")) as made:
        yield made


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of real photos beside the checkout; without it the test is skipped."""
    if not PHOTOS.is_dir():
        pytest.skip("the photos are not here: expected ../shared/data/photos beside the repository")
    return PHOTOS


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a real PostgreSQL server."""
    with postgres() as address:
        yield address


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database with every table: each test that asks for it runs on both kinds."""
    url = ""
    if request.param == "postgresql":
        url = fresh(request.getfixturevalue("postgres_server"))
    with opened(url, tmp_path / "database") as made:
        yield made
