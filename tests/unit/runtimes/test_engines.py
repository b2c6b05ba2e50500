"""The engines: the same answers from each, in float32, from several threads at once."""

from __future__ import annotations

import gc
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Plan, Runner, Tensor
from heliograph.runtimes.engines import ENGINES, EXTRAS, open_runner
from heliograph.runtimes.identity import IdentityRunner
from heliograph.runtimes.resident import resident
from support import models

BASE = ("onnx", "openvino")
"""The engines of the base installation; the others have files of their own."""

engines = pytest.mark.parametrize("engine", BASE)


def rows(count: int, width: int = 512) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((count, width)).astype(np.float32)


def open_model(path: Path, engine: str, *, threads: int = 1, instances: int = 1) -> Runner:
    return open_runner(path, Plan(engine, threads, instances))


@engines
def test_a_runner_says_what_it_takes_and_gives(engine: str, tmp_path: Path) -> None:
    runner = open_model(models.mean_colour(tmp_path / "m.onnx"), engine)
    assert runner.inputs == (Tensor("images", "float32", (-1, 3, 8, 8)),)
    assert runner.outputs == (Tensor("scores", "float32", (-1, 3)),)


@engines
def test_what_goes_in_comes_out_of_an_identity(engine: str, tmp_path: Path) -> None:
    runner = open_model(models.identity(tmp_path / "m.onnx"), engine)
    given = rows(3, 4)
    given[0, 0], given[1, 1] = np.nan, np.inf
    np.testing.assert_array_equal(runner.run({"x": given})["y"], given, strict=True)


@engines
@pytest.mark.parametrize("threads", [1, 2])
def test_the_arithmetic_is_float32(engine: str, threads: int, tmp_path: Path) -> None:
    # bfloat16 keeps 8 bits: its sums of 512 products are off by a tenth here, float32's by 1e-4.
    path = models.product(tmp_path / "m.onnx")
    given = rows(4)
    weights = np.random.default_rng(1).standard_normal((512, 8)).astype(np.float32)
    exact = given.astype(np.float64) @ weights
    found = open_model(path, engine, threads=threads).run({"x": given})["y"]
    assert found.dtype == np.float32
    assert np.abs(found - exact).max() < 1e-3


def test_engines_agree_on_the_same_file(tmp_path: Path) -> None:
    for make in (models.mean_colour, models.slow):
        path = make(tmp_path / "m.onnx")
        pictures = np.random.default_rng(2).random((3, 3, 8, 8), np.float32)
        one, other = (open_model(path, engine).run({"images": pictures}) for engine in BASE)
        assert list(one) == list(other) == ["scores"]
        np.testing.assert_allclose(one["scores"], other["scores"], rtol=1e-5)


@engines
def test_instances_run_at_once_and_do_not_mix(engine: str, tmp_path: Path) -> None:
    runner = open_model(models.product(tmp_path / "m.onnx"), engine, instances=2)
    given = rows(64)

    def run(one: NDArray[np.float32]) -> NDArray[np.float32]:
        return runner.run({"x": one[None]})["y"]

    alone = [run(one) for one in given]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, given))
    np.testing.assert_array_equal(together, alone)


@engines
def test_each_answer_is_an_array_of_its_own(engine: str, tmp_path: Path) -> None:
    runner = open_model(models.identity(tmp_path / "m.onnx"), engine)
    first = runner.run({"x": np.ones((1, 4), np.float32)})["y"]
    runner.run({"x": np.zeros((1, 4), np.float32)})
    assert first.tolist() == [[1, 1, 1, 1]]


@engines
@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x08\x08\x12\x00"])
def test_a_file_that_is_no_model_is_model_invalid(
    engine: str, content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(HeliographError) as failed:
        open_model(path, engine)
    assert failed.value.code is Code.MODEL_INVALID
    assert "'broken.onnx'" in failed.value.detail
    assert str(tmp_path) not in failed.value.detail
    assert failed.value.__cause__ is not None


@pytest.mark.parametrize(
    ("field", "says"), [("opset", "operator set"), ("ir_version", "IR version")]
)
def test_a_file_from_newer_tools_is_refused_with_what_to_do(
    field: str, says: str, tmp_path: Path
) -> None:
    model = onnx.load(models.identity(tmp_path / "m.onnx"))
    if field == "opset":
        model.opset_import[0].version = 999
    else:
        model.ir_version = 999
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(HeliographError, match=rf"{says} 999; .* reads up to \d+\.") as failed:
        open_model(tmp_path / "m.onnx", "onnx")
    assert failed.value.code is Code.MODEL_INVALID


@engines
def test_a_file_that_is_not_there_is_model_invalid(engine: str, tmp_path: Path) -> None:
    with pytest.raises(HeliographError) as failed:
        open_model(tmp_path / "absent.onnx", engine)
    assert failed.value.code is Code.MODEL_INVALID


def test_an_unknown_engine_is_refused_with_the_list_of_known_ones(tmp_path: Path) -> None:
    with pytest.raises(HeliographError) as failed:
        open_runner(tmp_path / "m.onnx", Plan("abacus"))
    assert failed.value.code is Code.MODEL_INVALID
    assert all(name in failed.value.detail for name in ("'abacus'", *ENGINES))


def test_the_identity_engine_needs_no_file_and_hands_the_picture_through() -> None:
    runner = open_runner(Path("nowhere"), Plan("identity"))
    assert isinstance(runner, IdentityRunner)
    pixels = np.random.default_rng(3).integers(0, 256, (1, 5, 7, 3), np.uint8)
    assert runner.run({"picture": pixels})["picture"] is pixels


@engines
def test_a_closed_runner_runs_no_more_and_closes_twice(engine: str, tmp_path: Path) -> None:
    runner = open_model(models.identity(tmp_path / "m.onnx"), engine)
    assert runner.memory() >= 0
    runner.close()
    runner.close()
    with pytest.raises(RuntimeError, match="closed"):
        runner.run({"x": rows(1, 4)})


@engines
def test_loading_and_closing_gives_the_memory_back(engine: str, tmp_path: Path) -> None:
    # 64 MiB of weights: what is not given back shows at once.
    path = models.product(tmp_path / "m.onnx", inner=4096, columns=4096)
    given = rows(1, 4096)
    sizes: list[int] = []
    for _ in range(6):
        runner = open_model(path, engine)
        runner.run({"x": given})
        runner.close()
        del runner
        gc.collect()
        sizes.append(resident())
    assert max(sizes[2:]) - sizes[1] < 64 << 20, [size >> 20 for size in sizes]


def test_an_engine_without_its_library_says_which_extra_brings_it(tmp_path: Path) -> None:
    for engine, extra in EXTRAS.items():
        if importlib.util.find_spec(engine):
            continue
        with pytest.raises(HeliographError) as failed:
            open_model(tmp_path / "model", engine)
        assert failed.value.code is Code.MODEL_UNAVAILABLE
        assert f"heliograph[{extra}]" in failed.value.detail
