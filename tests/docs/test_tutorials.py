"""The pages that bring models and ask them with other people's clients, run from top to bottom."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from heliograph.registry.values import read_package
from support.clients import PYTHON as CLIENTS
from support.foreign import classifier
from support.models import save
from support.pages import Block, Reader, read
from support.server import Server, running

BIN = Path(sys.executable).parent
# TensorFlow tells its standard error about every machine.
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": ""}
UP = Block("sh", 'curl -sf -H "$AUTH" http://127.0.0.1:8000/v2/models/colours/ready')


@contextmanager
def reader(
    home: Path, folder: Path, *options: str, before: str = ""
) -> Generator[tuple[Server, Reader]]:
    """A server with a data folder of its own, and somebody in a fresh clone beside it."""
    own = folder / ".heliograph"
    own.mkdir()
    # Converted built-in models are shared by all tests.
    (home / "cache").mkdir(exist_ok=True)
    (own / "cache").symlink_to(home / "cache")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").write_text(f'PATH="{BIN}:$PATH"\n')
    with running(own, *options, stderr=folder / "stderr") as server:
        yield server, Reader(folder, {"HELIOGRAPH_KEY": server.key}, before)


def walk(server: Server, typist: Reader, blocks: list[Block]) -> dict[str, str]:
    """Do what a page says, in its order; what its commands said."""
    grpc = re.search(r"^gRPC on (\S+)$", server.log(), re.MULTILINE)
    ports = {"127.0.0.1:8000": server.address.removeprefix("http://")}
    ports["127.0.0.1:8001"] = grpc[1] if grpc else ""
    said: dict[str, str] = {}
    for block in blocks:
        body = block.body
        for shown, real in ports.items():
            body = body.replace(shown, real)
        if block.file:
            path = typist.folder / "mine" / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body, "utf-8")
        elif block.kind == "sh":
            said[block.body] = typist.run(Block("sh", body, block.said))
    return said


def test_bring_your_own_model(home: Path, tmp_path: Path) -> None:
    start, first, *rest = read("docs/tutorial/bring-your-own-model.md")
    assert start.body.strip() == "make run"
    with reader(home, tmp_path, before=first.body) as (server, typist):
        said = walk(server, typist, rest)
    assert len(said) > 10


def test_accounts(home: Path, tmp_path: Path) -> None:
    start, first, *rest = read("docs/tutorial/accounts.md")
    assert start.body.strip() == "make run"
    with reader(home, tmp_path, "--models", "edges", before=first.body) as (server, typist):
        said = walk(server, typist, rest)
    assert len(said) > 10
    assert (tmp_path / "mine" / "invoice.pdf").read_bytes().startswith(b"%PDF-")


def test_ask_with_existing_clients(home: Path, tmp_path: Path) -> None:
    if not CLIENTS.exists():
        pytest.skip("the real clients are not here: make .venv-clients/.ready")
    _, first, *tutorial = read("docs/tutorial/bring-your-own-model.md")
    bring = [one for one in tutorial if one.file or "heliograph import" in one.body][:4]
    with reader(home, tmp_path, "--grpc-port", "0", before=first.body) as (server, typist):
        walk(server, typist, [*bring, UP])
        before, *page = read("docs/howto/ask-with-existing-clients.md")
        theirs = Reader(
            typist.folder, {"PATH": f"{CLIENTS.parent}:/usr/bin:/bin", **QUIET}, before.body
        )
        said = walk(server, theirs, page)
    assert len(said) == 6


def test_pipelines(home: Path, photos: Path, tmp_path: Path) -> None:
    _, first, *_ = read("docs/tutorial/bring-your-own-model.md")
    with reader(home, tmp_path, before=first.body) as (server, typist):
        (tmp_path / "mine").mkdir()
        shutil.copy(photos / "pets.jpg", tmp_path / "mine" / "photo.jpg")
        said = walk(server, typist, read("docs/howto/pipelines.md"))
    assert len(said) == 2


def test_release_a_model(home: Path, tmp_path: Path) -> None:
    _, first, *tutorial = read("docs/tutorial/bring-your-own-model.md")
    (colours,) = [one for one in tutorial if one.file == "colours.py"]
    bring = "python colours.py leaves.onnx {}\nheliograph import leaves.onnx --scaling 0-1 --yes"
    page = [
        Block("sh", one.body.replace("/srv/other", str(tmp_path / "other")))
        for one in read("docs/howto/release-a-model.md")
        if one.kind == "sh"
    ]
    other = tmp_path / "other" / "models" / "leaves"
    other.mkdir(parents=True)
    versions = [Block("sh", bring.format(names)) for names in ("red blue", "red blue green")]
    with reader(home, tmp_path, before=first.body) as (server, typist):
        walk(server, typist, [colours, *versions])
        said = "\n".join(walk(server, typist, page).values())
    assert "gates: errors 0.05, slower 2, calls 50" in said
    assert '"version":"2"' in said, "the promotion over HTTP"
    assert read_package(other / "2").version == 2


def test_a_package_written_by_hand(tmp_path: Path) -> None:
    (toml,) = [one.body for one in read("docs/howto/serve-your-own-model.md") if one.kind == "toml"]
    save(classifier(3), tmp_path / "model.onnx")
    digest = hashlib.sha256((tmp_path / "model.onnx").read_bytes()).hexdigest()
    (tmp_path / "labels.txt").write_text("a\nb\nc\n", "utf-8")
    (tmp_path / "model.toml").write_text(toml.replace('"…"', f'"{digest}"'), "utf-8")
    package = read_package(tmp_path)
    assert (package.task, package.read_labels()) == ("classification", ("a", "b", "c"))
