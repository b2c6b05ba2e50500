"""A model that sees faces: asked only for those who have agreed to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx

from support import models, pictures
from support.server import running

ASK = "/api/v1/models/faces/predict"


def test_a_model_that_needs_consent_answers_who_has_given_it(tmp_path: Path) -> None:
    models.colour_package(tmp_path, "faces", consent="faces")
    models.colour_package(tmp_path)
    with (
        running(tmp_path, "--models", "faces,colour", stderr=tmp_path / "stderr") as server,
        httpx.Client(base_url=server.address, headers=server.headers, trust_env=False) as http,
    ):
        assert http.post("/api/v1/models/colour/predict", content=pictures.plain()).is_success
        refused = http.post(ASK, content=pictures.plain())
        assert (refused.status_code, refused.json()["code"]) == (403, "consent_required")
        tensors = http.post("/v2/models/faces/infer", json={"inputs": []})
        assert tensors.status_code == 403

        texts = http.get("/api/v1/workspace/consents").json()["consents"]
        version = next(one["version"] for one in texts if one["purpose"] == "faces")
        said = {"purpose": "faces", "given": True, "version": version}
        http.post("/api/v1/workspace/consents", json=said).raise_for_status()
        assert until(lambda: http.post(ASK, content=pictures.plain()).status_code == 200)

        said = {"purpose": "faces", "given": False}
        http.post("/api/v1/workspace/consents", json=said).raise_for_status()
        assert until(lambda: http.post(ASK, content=pictures.plain()).status_code == 403)
        rows = http.get("/api/v1/usage", params={"group_by": "model"}).json()["groups"]
        assert {one["by"]["model"]: one["calls"] for one in rows}["faces"] >= 1


def until(true: Callable[[], bool]) -> bool:
    """Whether it comes true within the minute that the house allows itself."""
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        if true():
            return True
        time.sleep(0.2)
    return False
