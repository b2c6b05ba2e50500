"""PyTorch: exported programs are read as data, TorchScript only where it is allowed."""

# PyTorch is an extra: the types may be checked where it is not installed.
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Plan, Tensor
from heliograph.runtimes.engines import open_runner
from support.extras import need

pytestmark = [
    pytest.mark.engines,
    # PyTorch warns of its own deprecations as it exports; what we call is checked by the rest.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
PLAN = Plan("torch")


@pytest.fixture(scope="module")
def torch() -> Any:
    return need("torch")


@pytest.fixture(scope="module")
def network(torch: Any) -> Any:
    """images [N, 3, 8, 8], scale [N, 1] -> {"scores": [N, 3], "features": [N, 4]}."""

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)
            self.norm = torch.nn.BatchNorm2d(4)
            self.head = torch.nn.Linear(4, 3)

        def forward(self, images: Any, scale: Any) -> Any:
            features = self.norm(self.conv(images)).relu().mean((2, 3))
            # Its size is known only as it runs.
            features = features.reshape(images.shape[0], -1)
            return {"scores": (self.head(features) * scale).softmax(1), "features": features}

    torch.manual_seed(0)
    return Network().eval()


@pytest.fixture
def saved(torch: Any, network: Any, tmp_path: Path) -> Path:
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        network,
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, 1)),
        dynamic_shapes={"images": {0: batch}, "scale": {0: batch}},
    )
    path = tmp_path / "model.pt2"
    torch.export.save(program, path)
    return path


def feeds(count: int = 5) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    images = rng.random((count, 3, 8, 8), np.float32)
    return {"images": images, "scale": np.full((count, 1), 2, np.float32)}


def save(torch: Any, path: Path, forward: Callable[..., Any], *given: Any, **more: Any) -> Path:
    """A program of one function."""
    module = torch.nn.Module()
    # What `export` traces is the class's own forward.
    kind = type("Function", (torch.nn.Module,), {"forward": lambda _self, *one: forward(*one)})
    module = kind()
    torch.export.save(torch.export.export(module, given, **more), path)
    return path


def rewrite(path: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """The archive with entries changed, or left out where `change` gives None."""
    with zipfile.ZipFile(path) as archive:
        entries = [(one, archive.read(one)) for one in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            made = change(name, data)
            if made is not None:
                archive.writestr(name, made)
    return path


def edit(path: Path, ending: str, change: Callable[[Any], None]) -> Path:
    """The archive with one JSON entry changed."""

    def one(name: str, data: bytes) -> bytes:
        if not name.endswith(ending):
            return data
        said = json.loads(data)
        change(said)
        return json.dumps(said).encode()

    return rewrite(path, one)


def test_a_program_answers_as_pytorch_does(torch: Any, network: Any, saved: Path) -> None:
    runner = open_runner(saved, PLAN)
    assert runner.platform == "pytorch_pt2"
    assert runner.inputs == (
        Tensor("images", "float32", (-1, 3, 8, 8)),
        Tensor("scale", "float32", (-1, 1)),
    )
    assert runner.outputs == (
        Tensor("scores", "float32", (-1, 3)),
        Tensor("features", "float32", (-1, 4)),
    )
    given = feeds()
    with torch.inference_mode():
        expected = network(*(torch.from_numpy(one) for one in given.values()))
    found = runner.run(given)
    for name, one in expected.items():
        np.testing.assert_allclose(found[name], one.numpy(), rtol=1e-6, atol=1e-7)


def test_instances_run_at_once_and_do_not_mix(saved: Path) -> None:
    runner = open_runner(saved, Plan("torch", instances=2))
    many = feeds(32)
    singles = [{name: one[at : at + 1] for name, one in many.items()} for at in range(32)]
    alone = [runner.run(one)["scores"] for one in singles]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda one: runner.run(one)["scores"], singles))
    np.testing.assert_array_equal(together, alone)


def test_answers_are_arrays_of_their_own(torch: Any, tmp_path: Path) -> None:
    path = save(torch, tmp_path / "m.pt2", lambda x: x.reshape(4), torch.zeros(2, 2))
    runner = open_runner(path, PLAN)
    assert runner.outputs == (Tensor("output", "float32", (4,)),)
    given = np.ones((2, 2), np.float32)
    given.setflags(write=False)
    found = runner.run({runner.inputs[0].name: given})["output"]
    found[:] = 7
    assert given.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8", "int32", "int64", "bool"])
def test_types_pass(torch: Any, dtype: str, tmp_path: Path) -> None:
    zeros = torch.zeros(2, 2, dtype=getattr(torch, dtype))
    runner = open_runner(save(torch, tmp_path / "m.pt2", lambda x: x.transpose(0, 1), zeros), PLAN)
    given = np.array([[0, 1], [1, 1]], dtype)
    found = runner.run({runner.inputs[0].name: given.T})["output"]
    np.testing.assert_array_equal(found, given, strict=True)


def test_bfloat16_and_scalars_pass(torch: Any, tmp_path: Path) -> None:
    one = torch.zeros((), dtype=torch.bfloat16)
    runner = open_runner(save(torch, tmp_path / "m.pt2", lambda x: (x * 2, x), one), PLAN)
    assert runner.inputs[0].dtype == "bfloat16"
    assert [(one.name, one.shape) for one in runner.outputs] == [("output_0", ()), ("output_1", ())]
    found = runner.run({runner.inputs[0].name: np.array(1.5, np.float32)})
    assert (found["output_0"].dtype, float(found["output_0"])) == (np.float32, 3.0)


def test_lists_splits_and_parts_without_gradient_run(torch: Any, tmp_path: Path) -> None:
    def forward(x: Any) -> Any:
        left, right = x.split(2, dim=1)
        with torch.no_grad():
            both = torch.cat([right, left], dim=1)
        values, places = both.max(dim=1)
        return values, places, torch.zeros(x.shape[0], 2, device=x.device) + 1

    batch = {0: torch.export.Dim("batch")}
    path = save(
        torch, tmp_path / "m.pt2", forward, torch.zeros(3, 4), dynamic_shapes={"one": (batch,)}
    )
    runner = open_runner(path, PLAN)
    x = np.arange(20, dtype=np.float32).reshape(5, 4)
    found = list(runner.run({runner.inputs[0].name: x}).values())
    np.testing.assert_array_equal(found[0], x.max(1))
    assert found[1].tolist() == [1] * 5
    assert found[2].shape == (5, 2)


def test_nothing_of_the_example_inputs_is_read(saved: Path) -> None:
    # PyTorch's own loader unpickles this entry, and anything at all if that fails.
    bomb = b"cos\nsystem\n(S'touch pwned'\ntR."
    rewrite(saved, lambda name, data: bomb if "sample_inputs" in name else data)
    assert open_runner(saved, PLAN).run(feeds())["scores"].shape == (5, 3)


def test_no_expression_guard_or_spec_is_evaluated(saved: Path, tmp_path: Path) -> None:
    mark = tmp_path / "pwned"
    code = f"__import__('pathlib').Path({str(mark)!r}).touch()"

    def change(said: Any) -> None:
        said["guards_code"] = [code]
        for meta in said["graph_module"]["graph"]["tensor_values"].values():
            for size in meta["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = code
        spec = said["graph_module"]["module_call_graph"][0]["signature"]
        spec["in_spec"] = json.dumps([1, {"type": "collections.defaultdict", "context": code}])

    runner = open_runner(edit(saved, "models/model.json", change), PLAN)
    assert runner.run(feeds())["scores"].shape == (5, 3)
    assert not mark.exists()


@pytest.mark.parametrize(
    "target",
    [
        "torch.hub.load",
        "torch.ops.aten.from_file.default",
        "torch.ops.load_library",
        "torch.serialization.load",
        "_operator.attrgetter",
        "math.__loader__.load_module",
        "torch.ops.aten.conv2d.default.__class__",
        "torch.ops.mine.thing.default",
        "builtins.eval",
    ],
)
def test_what_is_no_operator_of_the_list_is_refused(saved: Path, target: str) -> None:
    def change(said: Any) -> None:
        said["graph_module"]["graph"]["nodes"][0]["target"] = target

    with pytest.raises(HeliographError) as refused:
        open_runner(edit(saved, "models/model.json", change), PLAN)
    assert refused.value.code is Code.MODEL_OP_FORBIDDEN
    assert target in refused.value.detail


def pickled(said: Any) -> None:
    next(iter(said["config"].values()))["use_pickle"] = True


def too_large(said: Any) -> None:
    next(iter(said["config"].values()))["tensor_meta"]["sizes"][0]["as_int"] = 10**6


def test_pickled_weights_are_refused(saved: Path) -> None:
    with pytest.raises(HeliographError) as refused:
        open_runner(edit(saved, "model_weights_config.json", pickled), PLAN)
    assert refused.value.code is Code.UNSAFE_FORMAT
    assert "pickled" in refused.value.detail


def test_weights_that_reach_behind_their_bytes_are_refused(saved: Path) -> None:
    with pytest.raises(HeliographError) as refused:
        open_runner(edit(saved, "model_weights_config.json", too_large), PLAN)
    assert refused.value.code is Code.MODEL_INVALID


def test_native_code_beside_the_program_is_refused(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr("model/data/aotinductor/model/wrapper.so", b"\x7fELF")
    with pytest.raises(HeliographError) as refused:
        open_runner(saved, PLAN)
    assert refused.value.code is Code.UNSAFE_FORMAT


def test_a_program_that_changes_itself_is_refused(torch: Any, tmp_path: Path) -> None:
    class Counter(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x: Any) -> Any:
            self.seen.add_(1)
            return x + self.seen

    torch.export.save(torch.export.export(Counter(), (torch.zeros(1),)), tmp_path / "m.pt2")
    with pytest.raises(HeliographError) as refused:
        open_runner(tmp_path / "m.pt2", PLAN)
    assert refused.value.code is Code.MODEL_INVALID
    assert "eval mode" in refused.value.detail


def test_an_input_that_is_written_to_stays_the_callers(torch: Any, tmp_path: Path) -> None:
    path = save(torch, tmp_path / "m.pt2", lambda x: x.view(4).mul_(2) + 0, torch.zeros(2, 2))
    runner = open_runner(path, PLAN)
    given = np.ones((2, 2), np.float32)
    assert runner.run({runner.inputs[0].name: given})["output"].tolist() == [2] * 4
    assert given.tolist() == [[1, 1], [1, 1]]


def test_pickles_are_refused_by_what_they_are(torch: Any, network: Any, tmp_path: Path) -> None:
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    (tmp_path / "old.pt").write_bytes(b"\x80\x02]q\x00.")
    for name in ("weights.pt", "old.pt"):
        for unsafe in (False, True):
            with pytest.raises(HeliographError) as refused:
                open_runner(tmp_path / name, PLAN, unsafe=unsafe)
            assert refused.value.code is Code.UNSAFE_FORMAT
            assert "pickle" in refused.value.detail


@pytest.fixture
def scripted(torch: Any, network: Any, tmp_path: Path) -> Path:
    path = tmp_path / "script" / "model.pt"
    path.parent.mkdir()
    torch.jit.trace(
        network, (torch.zeros(2, 3, 8, 8), torch.zeros(2, 1)), strict=False
    ).save(str(path))  # fmt: skip
    return path


SIGNATURE = {
    "inputs": [
        {"name": "images", "dtype": "float32", "shape": [-1, 3, 8, 8]},
        {"name": "scale", "dtype": "float32", "shape": [-1, 1]},
    ],
    "outputs": [
        {"name": "features", "dtype": "float32", "shape": [-1, 4]},
        {"name": "scores", "dtype": "float32", "shape": [-1, 3]},
    ],
}


def test_torchscript_runs_only_where_it_is_allowed(scripted: Path, saved: Path) -> None:
    (scripted.parent / "signature.json").write_text(json.dumps(SIGNATURE), "utf-8")
    with pytest.raises(HeliographError) as refused:
        open_runner(scripted, PLAN)
    assert refused.value.code is Code.UNSAFE_FORMAT
    assert "operator" in refused.value.detail
    runner = open_runner(scripted, PLAN, unsafe=True)
    assert runner.platform == "pytorch_libtorch"
    found, expected = runner.run(feeds()), open_runner(saved, PLAN).run(feeds())
    assert list(found) == ["features", "scores"]
    for name, one in found.items():
        np.testing.assert_allclose(one, expected[name], rtol=1e-6, atol=1e-7)
    runner.close()
    with pytest.raises(RuntimeError, match="closed"):
        runner.run(feeds())


@pytest.mark.parametrize(
    "said",
    ["", "[]", '{"inputs": []}', '{"inputs": [{"name": "x", "dtype": "f", "shape": []}]}'],
)
def test_torchscript_without_its_signature_says_what_is_missing(scripted: Path, said: str) -> None:
    if said:
        (scripted.parent / "signature.json").write_text(said, "utf-8")
    with pytest.raises(HeliographError) as refused:
        open_runner(scripted, PLAN, unsafe=True)
    assert refused.value.code is Code.MODEL_INVALID
    assert "signature.json" in refused.value.detail
