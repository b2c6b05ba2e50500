"""Servers for hostile tests, and what must hold after each of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support import pictures
from support.server import Server, running
from support.wire import ask, post

GOOD = pictures.file(pictures.scene())
GROWTH_MB = 64.0


@pytest.fixture(scope="session")
def lean_server(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without weights and with every default limit."""
    log = tmp_path_factory.mktemp("lean-server") / "stderr"
    with running(home, "--open", "--models", "edges,process", stderr=log) as started:
        ask(started, post(GOOD))
        yield started


@pytest.fixture(scope="session")
def hurried_server(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same with a second for a head, few connections and a short deadline."""
    log = tmp_path_factory.mktemp("hurried-server") / "stderr"
    environ = {
        "HELIOGRAPH_SERVER_HEAD_SECONDS": "1",
        "HELIOGRAPH_SERVER_CONNECTIONS": "20",
        "HELIOGRAPH_SERVING_DEADLINE": "2",
    }
    with running(
        home, "--open", "--models", "edges,process", stderr=log, environ=environ
    ) as started:
        yield started


@pytest.fixture
def lean(lean_server: Server) -> Iterator[Server]:
    yield from _unharmed(lean_server)


@pytest.fixture
def hurried(hurried_server: Server) -> Iterator[Server]:
    yield from _unharmed(hurried_server)


def _unharmed(server: Server) -> Iterator[Server]:
    """After every row: the same process answers the next good request, and no error was ours."""
    written = len(server.log())
    yield server
    assert server.process.poll() is None, server.log()[-4000:]
    reply = ask(server, post(GOOD))
    assert reply.status == 200, reply
    assert reply.json["image"] == {"width": 48, "height": 32}
    said = server.log()[written:]
    assert "Traceback" not in said, said[-4000:]
