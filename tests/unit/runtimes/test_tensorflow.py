"""TensorFlow: SavedModels, Keras files and frozen graphs; what may not run is refused before it."""

# TensorFlow is an extra: the types may be checked where it is not installed.
# pyright: reportUnknownLambdaType=false, reportUnknownParameterType=false
# pyright: reportUntypedFunctionDecorator=false

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Plan, Tensor
from heliograph.runtimes.choose import choose_engine, scratch_environment
from heliograph.runtimes.engines import open_runner
from support import models
from support.extras import need

# TensorFlow and Keras warn of their own deprecations; what we call is checked by the rest.
pytestmark = [pytest.mark.engines, pytest.mark.filterwarnings("ignore")]
PLAN = Plan("tensorflow")


@pytest.fixture(scope="module")
def tf() -> Any:
    os.environ.update(scratch_environment())
    return need("tensorflow")


@pytest.fixture(scope="module")
def keras(tf: Any) -> Any:
    return need("keras")


@pytest.fixture(scope="module")
def network(keras: Any) -> Any:
    """images [N, 8, 8, 3] -> {"scores": [N, 3], "extra": [N, 2]}."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3), name="images")
    x = keras.layers.Conv2D(4, 3, activation="relu")(images)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization()(x))
    scores = keras.layers.Dense(3, activation="softmax")(x)
    return keras.Model(images, {"scores": scores, "extra": keras.layers.Dense(2)(x)})


@pytest.fixture(scope="module")
def kinds(tf: Any, network: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The network in each of the three formats."""
    folder = tmp_path_factory.mktemp("network")
    network.save(folder / "m.keras")
    network.export(folder / "saved", verbose=False)
    return {
        "keras": folder / "m.keras",
        "saved": folder / "saved",
        "pb": freeze(tf, folder / "saved"),
    }


def freeze(tf: Any, saved: Path) -> Path:
    """A SavedModel as a frozen graph whose ends are called `images`, `scores` and `extra`."""
    constants = need("tensorflow.python.framework.convert_to_constants")
    loaded = tf.saved_model.load(str(saved))
    function = loaded.signatures["serving_default"]
    fixed = constants.convert_variables_to_constants_v2(function)
    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.float32, (None, 8, 8, 3), name="images")
        ends = [one.name for one in fixed.outputs]
        feeds = {fixed.inputs[0].op.name: images}
        found = tf.import_graph_def(fixed.graph.as_graph_def(), feeds, ends, name="inner")
        for name, one in zip(sorted(function.structured_outputs), found, strict=True):
            tf.identity(one, name=name)
    path = saved.parent / "frozen.pb"
    names = sorted(function.structured_outputs)
    # Importing leaves a placeholder of its own behind.
    cut = tf.compat.v1.graph_util.extract_sub_graph(graph.as_graph_def(), names)
    path.write_bytes(cut.SerializeToString())
    return path


def module(tf: Any, path: Path, **signatures: tuple[Callable[..., Any], list[Any]]) -> Path:
    """A SavedModel of functions, each with the specs of its inputs."""
    made = tf.Module()
    made.table = tf.Variable(np.arange(8, dtype=np.float32).reshape(4, 2))
    functions = {
        name: tf.function(function, input_signature=specs)
        for name, (function, specs) in signatures.items()
    }
    for name, one in functions.items():
        setattr(made, name, one)
    tf.saved_model.save(made, str(path), signatures=functions)
    return path


def pictures(count: int = 3) -> Any:
    return np.random.default_rng(0).random((count, 8, 8, 3), np.float32)


@pytest.mark.parametrize("kind", ["keras", "saved", "pb"])
def test_each_format_answers_as_keras_does(kinds: dict[str, Path], network: Any, kind: str) -> None:
    runner = open_runner(kinds[kind], PLAN)
    assert runner.inputs == (Tensor("images", "float32", (-1, 8, 8, 3)),)
    assert {one.name: one.shape for one in runner.outputs} == {"scores": (-1, 3), "extra": (-1, 2)}
    assert runner.platform == {
        "keras": "tensorflow_keras", "saved": "tensorflow_savedmodel", "pb": "tensorflow_graphdef",
    }[kind]  # fmt: skip
    expected = network(pictures())
    found = runner.run({"images": pictures()})
    for name, one in expected.items():
        np.testing.assert_allclose(found[name], one.numpy(), rtol=1e-5, atol=1e-6)
    runner.close()
    with pytest.raises(RuntimeError, match="closed"):
        runner.run({"images": pictures()})


@pytest.mark.parametrize("kind", ["saved", "pb"])
def test_openvino_gives_the_same_names_and_answers(kinds: dict[str, Path], kind: str) -> None:
    ours, other = (open_runner(kinds[kind], Plan(one)) for one in ("openvino", "tensorflow"))
    assert ours.inputs == other.inputs
    assert sorted(ours.outputs, key=str) == sorted(other.outputs, key=str)
    found, expected = (one.run({"images": pictures()}) for one in (ours, other))
    for name, one in expected.items():
        np.testing.assert_allclose(found[name], one, rtol=1e-5, atol=1e-6)


def test_what_openvino_converts_goes_to_openvino(kinds: dict[str, Path]) -> None:
    assert choose_engine(kinds["saved"]).engine == "openvino"
    assert choose_engine(kinds["pb"]).engine == "openvino"
    assert choose_engine(kinds["keras"]).engine == "tensorflow"
    named = choose_engine(kinds["saved"], signature="serve")
    assert named.engine == "tensorflow"
    assert "'serve'" in named.reason


def test_strings_go_to_tensorflow_and_pass(tf: Any, tmp_path: Path) -> None:
    spec = tf.TensorSpec((None,), tf.string, name="words")
    path = module(
        tf,
        tmp_path / "m",
        serving_default=(
            lambda words: {"size": tf.strings.length(words), "same": words},
            [spec],
        ),
    )
    assert choose_engine(path).engine == "tensorflow"
    runner = open_runner(path, PLAN)
    given = np.array([b"\xff\xd8\x00\x00", b""], object)
    found = runner.run({"words": given})
    assert found["size"].tolist() == [4, 0]
    assert found["same"].tolist() == given.tolist()


def test_scalars_and_several_inputs_keep_their_names(tf: Any, tmp_path: Path) -> None:
    specs = [tf.TensorSpec((None, 2), tf.float32, name="x"), tf.TensorSpec((), tf.int32, name="n")]
    path = module(
        tf,
        tmp_path / "m",
        serving_default=(
            lambda x, n: {"sum": tf.reduce_sum(x) * tf.cast(n, tf.float32), "x2": x * 2},
            specs,
        ),
    )
    for engine in ("tensorflow", "openvino"):
        runner = open_runner(path, Plan(engine))
        assert {one.name: one.shape for one in runner.inputs} == {"x": (-1, 2), "n": ()}
        found = runner.run({"n": np.array(3, np.int32), "x": np.ones((2, 2), np.float32)})
        assert (found["sum"].shape, float(found["sum"])) == ((), 12.0)
        assert found["x2"].tolist() == [[2, 2], [2, 2]]


def test_a_signature_is_chosen_by_its_name(tf: Any, tmp_path: Path) -> None:
    from heliograph.runtimes.tensorflow import TensorflowRunner

    spec = tf.TensorSpec((None,), tf.float32, name="x")
    path = module(
        tf,
        tmp_path / "m",
        twice=(lambda x: {"y": x * 2}, [spec]),
        half=(lambda x: {"y": x / 2}, [spec]),
    )
    half = TensorflowRunner(path, PLAN, signature="half")
    assert half.run({"x": np.array([2], np.float32)})["y"].tolist() == [1]
    for wanted in ("", "third"):
        with pytest.raises(HeliographError) as refused:
            TensorflowRunner(path, PLAN, signature=wanted)
        assert "'half', 'twice'" in refused.value.detail


def test_a_saved_model_that_reads_files_is_refused(tf: Any, tmp_path: Path) -> None:
    spec = tf.TensorSpec((), tf.string, name="path")
    clean = tf.TensorSpec((None,), tf.float32, name="x")
    read = (lambda path: {"content": tf.io.read_file(path)}, [spec])
    hidden = (
        lambda x: {
            "y": tf.cond(
                x[0] > 0,
                lambda: x,
                lambda: (
                    x + float(len("a")) * tf.strings.to_number(tf.io.read_file("/etc/hostname"))
                ),
            )
        },
        [clean],
    )
    for name, function in (("plain", read), ("hidden", hidden)):
        path = module(tf, tmp_path / name, serving_default=function)
        with pytest.raises(HeliographError) as refused:
            open_runner(path, PLAN)
        assert refused.value.code is Code.MODEL_OP_FORBIDDEN
        assert "'ReadFile'" in refused.value.detail


@pytest.mark.parametrize(
    ("op", "call"),
    [
        ("WriteFile", lambda tf, x: tf.io.write_file("/tmp/pwned", tf.strings.as_string(x[0]))),
        ("EagerPyFunc", lambda tf, x: tf.py_function(lambda y: y, [x], tf.float32)),
        ("PrintV2", lambda tf, x: tf.print(x, output_stream="file:///tmp/pwned")),
        ("MatchingFiles", lambda tf, _x: tf.io.matching_files("/etc/*")),
    ],
)
def test_operations_that_reach_outside_are_refused(
    tf: Any, tmp_path: Path, op: str, call: Callable[..., Any]
) -> None:
    def forward(x: Any) -> Any:
        call(tf, x)
        return {"y": x}

    spec = tf.TensorSpec((None,), tf.float32, name="x")
    path = module(tf, tmp_path / "m", serving_default=(forward, [spec]))
    with pytest.raises(HeliographError) as refused:
        open_runner(path, PLAN)
    assert refused.value.code is Code.MODEL_OP_FORBIDDEN
    # Of several the first by the alphabet is named: printing formats first.
    assert op in refused.value.detail or op == "PrintV2"


def test_a_frozen_graph_that_reads_files_is_refused(tf: Any, tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        tf.io.read_file(tf.compat.v1.placeholder(tf.string, (), name="path"), name="content")
    path = tmp_path / "m.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(HeliographError) as refused:
        open_runner(path, PLAN)
    assert refused.value.code is Code.MODEL_OP_FORBIDDEN


def test_a_lambda_is_refused_even_where_keras_was_told_to_trust(keras: Any, tmp_path: Path) -> None:
    x = keras.Input((2,), name="x")
    model = keras.Model(x, keras.layers.Lambda(lambda y: y * 2)(x))
    model.save(tmp_path / "m.keras")
    keras.config.enable_unsafe_deserialization()
    try:
        with pytest.raises(HeliographError) as refused:
            open_runner(tmp_path / "m.keras", PLAN)
    finally:
        keras.src.backend.common.global_state.set_global_attribute("safe_mode_saving", None)
    assert refused.value.code is Code.UNSAFE_FORMAT
    assert "Lambda" in refused.value.detail


@pytest.mark.parametrize(
    "layer",
    [
        {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "/x"}},
        {"module": "os", "class_name": "system", "config": {}},
        {"module": "keras_evil.layers", "class_name": "Dense", "config": {}},
        {"module": None, "class_name": "Mine", "registered_name": "mine>Mine", "config": {}},
        {"class_name": "function", "config": "system", "module": "builtins"},
    ],
)
def test_a_keras_file_that_names_what_is_not_keras_is_refused(
    kinds: dict[str, Path], tmp_path: Path, layer: dict[str, Any]
) -> None:
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(kinds["keras"]) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            if name == "config.json":
                said = json.loads(data)
                said["config"]["layers"].append(layer)
                data = json.dumps(said).encode()
            after.writestr(name, data)
    with pytest.raises(HeliographError) as refused:
        open_runner(path, PLAN)
    assert refused.value.code is Code.UNSAFE_FORMAT
    assert str(layer["class_name"]) in refused.value.detail


def test_h5_in_a_keras_coat_is_refused(tf: Any, tmp_path: Path) -> None:
    (tmp_path / "m.keras").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    with pytest.raises(HeliographError) as refused:
        open_runner(tmp_path / "m.keras", PLAN)
    assert refused.value.code is Code.MODEL_FORMAT


def test_tflite_keeps_its_integers(tf: Any, kinds: dict[str, Path], tmp_path: Path) -> None:
    """A fully quantised model takes and gives uint8; float32 in and out is another plan."""
    keras = need("keras")
    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(3, name="y")(x))
    model.export(tmp_path / "saved", verbose=False)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    rng = np.random.default_rng(0)
    sample = rng.random((64, 1, 4), np.float32)
    converter.representative_dataset = lambda: ([one] for one in sample)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    (tmp_path / "m.tflite").write_bytes(converter.convert())
    lite = tf.lite.Interpreter(str(tmp_path / "m.tflite"))
    lite.allocate_tensors()
    given, taken = lite.get_input_details()[0], lite.get_output_details()[0]
    runner = open_runner(tmp_path / "m.tflite", Plan("openvino"))
    assert runner.inputs == (Tensor(given["name"], "uint8", tuple(given["shape_signature"])),)
    assert [one.dtype for one in runner.outputs] == ["uint8"]
    pixels = rng.integers(0, 256, (1, 4), np.uint8)
    lite.set_tensor(given["index"], pixels)
    lite.invoke()
    found = runner.run({given["name"]: pixels})[runner.outputs[0].name]
    # One step of 256: rounding differs between the two.
    assert np.abs(found.astype(int) - lite.get_tensor(taken["index"]).astype(int)).max() <= 1


def test_files_that_no_engine_reads_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "m.h5").write_bytes(b"")
    for name in ("empty", "m.h5"):
        with pytest.raises(HeliographError) as refused:
            choose_engine(tmp_path / name)
        assert refused.value.code is Code.MODEL_FORMAT
    assert choose_engine(models.identity(tmp_path / "m.onnx")).engine == "onnx"
