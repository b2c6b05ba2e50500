"""The README's blocks and the tutorials' are run as they stand, against a real server."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.server import Server, running

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DEFAULT = "127.0.0.1:8000"


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    return [body for kind, body in BLOCK.findall(text) if kind == language]


@pytest.fixture(scope="module")
def desk(
    home: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Path]]:
    """A keyed server with everything, and a folder as a reader would have it."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copy(photos / "pets.jpg", folder / "photo.jpg")
    shutil.copy(ROOT / "README.md", folder / "README.md")
    (folder / "photos").mkdir()
    shutil.copy(photos / "dog.jpg", folder / "photos" / "dog.jpg")
    # The reader's ~/.heliograph is the server's data folder; .venv is this environment.
    (folder / ".heliograph").symlink_to(home)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "heliograph").symlink_to(Path(sys.executable).parent / "heliograph")
    with running(home, stderr=folder / "stderr") as server:
        yield server, folder


def run(desk: tuple[Server, Path], command: list[str]) -> str:
    server, folder = desk
    clean = {name: value for name, value in os.environ.items() if not name.startswith("HELIOGRAPH")}
    environ = clean | {
        "HOME": str(folder),
        "HELIOGRAPH_ADDRESS": server.address,
        "HELIOGRAPH_KEY": server.key,
    }
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def at(desk: tuple[Server, Path], text: str) -> str:
    return text.replace(DEFAULT, desk[0].address.removeprefix("http://"))


def test_the_first_command_is_make_run_and_the_second_names_two_dogs(
    desk: tuple[Server, Path],
) -> None:
    first, second, third = blocks("README.md", "sh")
    assert first.strip() == "make run"
    answer = json.loads(run(desk, ["sh", "-ec", at(desk, second)]))
    assert [one["label"] for one in answer["predictions"]] == ["dog", "dog"]
    assert all(one["box"]["width"] > 100 for one in answer["predictions"])
    run(desk, ["sh", "-ec", third])
    assert (desk[1] / "out" / "dog.jpg").exists()
    assert (desk[1] / "processed" / "photo.png").exists()


def test_the_python_block_runs(desk: tuple[Server, Path]) -> None:
    (block,) = blocks("README.md", "python")
    assert run(desk, [sys.executable, "-W", "error", "-c", block]).strip() == "dog"
    assert (desk[1] / "boxes.png").read_bytes().startswith(b"\x89PNG")


def test_the_answer_shown_has_the_shape_of_the_answer_given(desk: tuple[Server, Path]) -> None:
    (shown,) = blocks("README.md", "json")
    told = json.loads(shown.replace("…", "").replace("},  ]", "}]").replace("}, ]", "}]"))
    second = blocks("README.md", "sh")[1]
    given = json.loads(run(desk, ["sh", "-ec", at(desk, second)]))
    assert list(told) == list(given)
    assert list(told["predictions"][0]) == list(given["predictions"][0])
    assert list(told["timings_ms"]) == list(given["timings_ms"])


def test_the_tutorial_runs(desk: tuple[Server, Path]) -> None:
    for block in blocks("docs/tutorial/first-answers.md", "sh"):
        if block.strip() == "make run":
            continue
        script = (
            block if block.startswith("KEY=") else "KEY=$(cat ~/.heliograph/admin.key)\n" + block
        )
        run(desk, ["sh", "-ec", at(desk, script)])


def test_the_client_page_runs(desk: tuple[Server, Path]) -> None:
    page = ROOT / "docs" / "howto" / "python-client.md"
    source = "\n".join(blocks(str(page.relative_to(ROOT)), "python"))
    run(desk, [sys.executable, "-W", "error", "-c", at(desk, source)])
