"""`heliograph import` as people type it: in a process of its own, on a terminal and off it."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from heliograph.registry.repository import Repository
from support import foreign, models

COMMAND = [sys.executable, "-m", "heliograph", "import"]


def run(*words: object, home: Path) -> subprocess.CompletedProcess[str]:
    """Off a terminal."""
    return subprocess.run(
        [*COMMAND, *map(str, words), "--home", str(home)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def typed(answers: list[tuple[str, str]], *words: object, home: Path) -> tuple[int, str]:
    """On a terminal: each answer is typed once its prompt is there."""
    mine, theirs = pty.openpty()
    environ = os.environ | {"COLUMNS": "200", "TERM": "dumb"}
    process = subprocess.Popen(
        [*COMMAND, *map(str, words), "--home", str(home)],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environ,
    )  # fmt: skip
    os.close(theirs)
    said, waiting, until = "", list(answers), time.monotonic() + 100
    while time.monotonic() < until:
        if not select.select([mine], [], [], 1.0)[0]:
            continue
        try:
            block = os.read(mine, 4096)
        except OSError:
            break
        said += block.decode()
        if waiting and waiting[0][0] in said:
            os.write(mine, waiting.pop(0)[1].encode() + b"\n")
    os.close(mine)
    return process.wait(10), said


def names(home: Path) -> list[str]:
    return sorted(Repository([home / "models"]).scan().packages)


def test_one_line_is_enough_for_plain_tensors(tmp_path: Path) -> None:
    done = run(foreign.add(tmp_path / "add.onnx"), "--name", "add", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert "add version 1 is in place" in done.stdout
    assert "tried on zeros" in done.stdout
    assert names(tmp_path / "home") == ["add"]


def test_off_a_terminal_open_questions_are_listed_and_nothing_is_kept(tmp_path: Path) -> None:
    source = models.save(foreign.classifier(1000), tmp_path / "net.onnx")
    done = run(source, home=tmp_path / "home")
    assert done.returncode == 2
    assert "--scaling (imagenet | 0-1 | -1-1 | 0-255)" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(tmp_path / "home") == []
    assert not list((tmp_path / "home" / "models").iterdir())


def test_json_tells_the_outcome_with_every_reason(tmp_path: Path) -> None:
    home = tmp_path / "home"
    source = models.save(foreign.classifier(3, ends="Softmax"), tmp_path / "net.onnx")
    (tmp_path / "net.labels.txt").write_text("a\nb\nc\n", "utf-8")
    first, second = (run(source, "--scaling", "0-1", "--json", home=home) for _ in range(2))
    assert first.returncode == 0, first.stderr
    said, again = json.loads(first.stdout), json.loads(second.stdout)
    assert (said["name"], said["version"], said["new"]) == ("net", 1, True)
    assert (again["version"], again["new"]) == (1, False)
    assert said["trial"]["predictions"][0]["label"] == "b"
    assert all(one["reason"] for one in said["decisions"])


@pytest.mark.parametrize(("answer", "kept"), [("y", ["net"]), ("n", [])])
def test_on_a_terminal_it_asks_and_shows_before_it_keeps(
    tmp_path: Path, answer: str, kept: list[str]
) -> None:
    home = tmp_path / "home"
    source = models.save(foreign.classifier(1000), tmp_path / "net.onnx")
    status, said = typed(
        [("--scaling", "imagenet"), ("Serve it as 'net'?", answer)], source, home=home
    )
    assert status == 0, said
    assert "tried on" in said.partition("Serve it as")[0], "the answer is shown before it asks"
    assert names(home) == kept


def test_a_model_that_does_not_load_is_not_kept(tmp_path: Path) -> None:
    """Well-formed, but no engine knows the operation."""
    made = foreign.bomb("NoSuchOperation")
    done = run(models.save(made, tmp_path / "net.onnx"), "--yes", home=tmp_path / "home")
    assert done.returncode == 2
    assert "[model_invalid]" in done.stderr
    assert names(tmp_path / "home") == []


def test_a_refusal_ends_with_its_code_and_without_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "net.pkl"
    path.write_bytes(foreign.pickled(tmp_path / "pwned", 4))
    done = run(path, home=tmp_path / "home")
    assert done.returncode == 2
    assert done.stderr.startswith("error [unsafe_format] ")
    assert not (tmp_path / "pwned").exists()
    missing = run(tmp_path / "none.onnx", home=tmp_path / "home")
    assert "[not_found]" in missing.stderr
