"""A new version that does badly is taken back by itself; a shadow is compared and harms nobody."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from support import models, pictures
from support.server import Server, running

PATIENCE = 20.0


def version(home: Path, number: int, make: Callable[[Path], Path], labels: list[str]) -> None:
    folder = home / "models" / "colour" / str(number)
    folder.mkdir(parents=True)
    (folder / "labels.txt").write_text("\n".join(labels) + "\n", "utf-8")
    digest = hashlib.sha256(make(folder / "model.onnx").read_bytes()).hexdigest()
    weights = {"file": "model.onnx", "sha256": digest}
    models.write_card(folder, models.card("colour", version=number, weights=weights))


def release(home: Path, **decided: Any) -> None:
    (home / "models" / "colour" / "release.json").write_text(json.dumps(decided), "utf-8")


def decided(home: Path) -> dict[str, Any]:
    return json.loads((home / "models" / "colour" / "release.json").read_bytes())


def ask(server: Server, picture: bytes, many: int) -> Counter[str]:
    """How often each version, or an error, answered."""
    seen: Counter[str] = Counter()
    with httpx.Client(trust_env=False, timeout=20.0) as http:
        for _ in range(many):
            reply = http.post(f"{server.address}/api/v1/models/colour/predict", content=picture)
            body = reply.json()
            seen[body["version"] if reply.is_success else body["code"]] += 1
    return seen


def until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < ends, "this never came true"
        time.sleep(0.1)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    version(tmp_path, 1, models.mean_colour, ["red", "green", "blue"])
    return tmp_path


def test_a_split_ends_when_the_new_version_fails(own: Path, tmp_path: Path) -> None:
    version(own, 2, models.fails_on_black, ["red", "green", "blue"])
    gates = {"errors": 0.2, "calls": 20}
    release(
        own, aliases={"stable": "1", "canary": "2"}, split={"stable": 50, "canary": 50}, gates=gates
    )
    black = pictures.plain((0, 0, 0))
    with running(own, "--open", "--models", "colour", stderr=tmp_path / "log") as server:
        before = ask(server, black, 80)
        assert before["1"] > 10
        assert before["model_crashed"] > 10
        until(lambda: not decided(own)["split"])
        after = ask(server, black, 40)
    assert after == {"1": 40}
    said = decided(own)
    assert said["aliases"] == {"stable": "1"}
    assert "version 2 was taken back" in said["reason"]
    assert "of its calls failed, the gate is 20.0%" in said["reason"]
    assert said["gates"] == {"slower": None, "disagree": None} | gates


def test_a_shadow_is_compared_and_the_caller_sees_nothing_of_it(own: Path, tmp_path: Path) -> None:
    version(own, 2, models.mean_colour, ["blue", "green", "red"])
    gates = {"errors": None, "disagree": 0.3, "calls": 15}
    release(own, aliases={"stable": "1"}, shadow={"version": "2"}, gates=gates)
    with running(own, "--open", "--models", "colour", stderr=tmp_path / "log") as server:
        green = ask(server, pictures.plain((0, 255, 0)), 30)
        assert green == {"1": 30}
        time.sleep(1.5)
        assert decided(own)["shadow"], "both versions call green green"
        red = ask(server, pictures.plain((255, 0, 0)), 60)
        assert red == {"1": 60}, "whatever the shadow says"
        until(lambda: not decided(own)["shadow"])
        rows = httpx.get(f"{server.address}/metrics", trust_env=False).text
    assert "shadow 2 was ended: it disagreed" in decided(own)["reason"]
    assert 'heliograph_calls_total{model="colour",outcome="ok",version="1"} 90.0' in rows
    assert 'version="2"' not in rows, "nobody is charged for a shadow"
