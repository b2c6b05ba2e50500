"""PyTorch and TensorFlow behind the wall: no network, no files of their own, no programs."""

# The libraries are extras: the types may be checked where they are not installed.
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heliograph.runtimes.base import Plan
from heliograph.runtimes.host import open_hosted
from support.extras import need

pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("ignore")]
ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


def pt2(folder: Path) -> Path:
    torch = need("torch")
    layer = torch.nn.Linear(4, 3)
    torch.export.save(torch.export.export(layer, (torch.zeros(2, 4),)), folder / "m.pt2")
    return folder / "m.pt2"


def keras(folder: Path) -> Path:
    need("tensorflow")
    library = need("keras")
    x = library.Input((4,), name="x")
    library.Model(x, library.layers.Dense(3)(x)).save(folder / "m.keras")
    return folder / "m.keras"


def saved(folder: Path) -> Path:
    tf = need("tensorflow")
    spec: Any = tf.TensorSpec((None, 4), tf.float32, name="x")
    function = tf.function(lambda x: {"y": x[:, :3]}, input_signature=[spec])
    tf.saved_model.save(tf.Module(), str(folder / "m"), signatures=function)
    return folder / "m"


@pytest.mark.parametrize(
    ("make", "engine"), [(pt2, "torch"), (keras, "tensorflow"), (saved, "tensorflow")]
)
def test_an_engine_loads_and_runs_behind_the_wall(make: Any, engine: str, tmp_path: Path) -> None:
    runner = open_hosted(make(tmp_path), Plan(engine))
    try:
        (found,) = runner.run({runner.inputs[0].name: ROWS}).values()
    finally:
        runner.close()
    assert (found.shape, found.dtype) == ((2, 3), np.float32)
    assert np.isfinite(found).all()
