"""The same model through every engine and format answers the same on real photos."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from support.extras import need

ROOT = Path(__file__).parents[3]
TOLERANCES = {"probability": 2e-5, "logit": 2e-4}
"""As `bench/agreement.py` states them; a change there has to be made here too, and explained."""

ALWAYS = {("ONNX", "onnx"), ("ONNX", "openvino"), ("IR", "openvino")}
TORCH = {("pt2", "torch"), ("TorchScript", "torch")}
TENSORFLOW = {
    ("keras", "tensorflow"),
    ("SavedModel", "tensorflow"),
    ("SavedModel", "openvino"),
    ("frozen graph", "tensorflow"),
    ("frozen graph", "openvino"),
    ("TFLite", "openvino"),
}


def check(photos: Path) -> set[tuple[str, str]]:
    """Run the comparison; the pairs of format and engine that it told."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.agreement", "--json", "--data", str(photos.parent)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads(done.stdout.splitlines()[-1])
    assert {one["model"] for one in rows} == {"small random network", "EfficientNet-Lite0"}
    for one in rows:
        assert one["pictures"] >= 8, one
        assert one["same"] == one["pictures"], one
        assert all(one[what] <= most for what, most in TOLERANCES.items()), one
    return {(one["format"], one["engine"]) for one in rows}


def test_the_engines_of_the_base_installation_agree(photos: Path) -> None:
    if importlib.util.find_spec("torch") or importlib.util.find_spec("tensorflow"):
        pytest.skip("every engine is here: the next test compares them all")
    assert check(photos) == ALWAYS


@pytest.mark.engines
@pytest.mark.timeout(400)
def test_every_engine_agrees_in_every_format(photos: Path) -> None:
    need("torch")
    need("tensorflow")
    assert check(photos) == ALWAYS | TORCH | TENSORFLOW
