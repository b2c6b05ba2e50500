"""TensorFlow: SavedModel folders, Keras `.keras` files and frozen graphs, where OpenVINO cannot.

`runtimes/choose.py` decides which of the two. A SavedModel is checked for operations that reach
outside (`runtimes/tfops.py`) before it is loaded; a `.keras` file is read in Keras's safe mode,
after a look of our own at the classes that it names.
"""

# TensorFlow ships no types, and is an extra: the types may be checked where it is not installed.
# pyright: reportMissingImports=false, reportMissingModuleSource=false
# pyright: reportAttributeAccessIssue=false, reportFunctionMemberAccess=false
# pyright: reportUnknownParameterType=false, reportUntypedFunctionDecorator=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Arrays, Plan, Tensor
from heliograph.runtimes.choose import scratch_environment
from heliograph.runtimes.elements import objects
from heliograph.runtimes.resident import resident

# Keras makes a folder in the home as it is imported, which it may not have here.
for _name, _value in scratch_environment().items():
    os.environ.setdefault(_name, _value)

try:
    tempfile.gettempdir()
except FileNotFoundError:
    # Behind the wall nothing may be written; TensorFlow asks for the folder, and does not use it.
    tempfile.tempdir = os.environ["KERAS_HOME"]

import tensorflow as tf  # noqa: E402 - it reads the environment as it is imported
from tensorflow.core.protobuf import saved_model_pb2  # noqa: E402

from heliograph.runtimes.tfops import check_graph, check_saved_model  # noqa: E402

_DTYPES = {
    *("float16", "bfloat16", "float32", "float64", "bool", "string"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
}
_KERAS_MODULE = re.compile(r"(keras|builtins)(\.[A-Za-z0-9_.]+)?")
_KERAS_CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "function"}
_SILENT = {"NoOp", "Assert", "Const", "Placeholder", "PlaceholderWithDefault"}
_Call = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class TensorflowRunner:
    """A model run by TensorFlow on the CPU.

    Args:
        path: a SavedModel folder, a `.keras` file or a frozen graph (`.pb`).
        plan: `threads` and `instances` hold for the process: TensorFlow has one pool, and takes
            its size from the first model.
        signature: of a SavedModel; empty for `serving_default`, or for the only one there is.
    """

    def __init__(self, path: Path, plan: Plan, *, signature: str = "") -> None:
        before = resident()
        _settle(plan)
        if path.is_dir():
            self.platform, loaded = "tensorflow_savedmodel", _saved_model(path, signature)
        elif path.suffix == ".keras":
            self.platform, loaded = "tensorflow_keras", _keras(path)
        else:
            self.platform, loaded = "tensorflow_graphdef", _frozen(path)
        self.inputs, self.outputs = loaded[:2]
        self._call: _Call | None = loaded[2]
        self._memory = resident() - before

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """See `Runner.run`."""
        call = self._call
        if call is None:
            raise RuntimeError("the runner is closed; this is a bug")
        found = call({one.name: _given(one, feeds[one.name]) for one in self.inputs})
        return {one.name: _array(found[one.name]) for one in self.outputs}

    def memory(self) -> int:
        """See `Runner.memory`: what the process grew by while loading."""
        return max(0, self._memory)

    def close(self) -> None:
        """See `Runner.close`."""
        self._call = None


_Loaded = tuple[tuple[Tensor, ...], tuple[Tensor, ...], _Call]


def _settle(plan: Plan) -> None:
    try:
        tf.config.threading.set_intra_op_parallelism_threads(plan.threads)
        tf.config.threading.set_inter_op_parallelism_threads(plan.instances)
    except RuntimeError:
        return  # the first model of this process has settled it


def _saved_model(path: Path, wanted: str) -> _Loaded:
    said = saved_model_pb2.SavedModel()
    said.ParseFromString((path / "saved_model.pb").read_bytes())
    for meta_graph in said.meta_graphs:
        check_saved_model(meta_graph)
    loaded = tf.saved_model.load(str(path), tags=_tags(said))
    names = sorted(loaded.signatures)
    name = wanted or ("serving_default" if "serving_default" in names else "".join(names[:1]))
    if name not in names or (not wanted and name != "serving_default" and len(names) > 1):
        raise HeliographError(
            Code.MODEL_INVALID,
            f"The SavedModel has no signature {wanted or 'serving_default'!r}; it has "
            f"{', '.join(map(repr, names)) or 'none: save it with signatures'}.",
        )
    function = loaded.signatures[name]
    inputs = [_tensor(key, spec) for key, spec in function.structured_input_signature[1].items()]
    outputs = [_tensor(key, spec) for key, spec in function.structured_outputs.items()]

    def call(given: Mapping[str, Any], _alive: Any = loaded) -> Mapping[str, Any]:
        # The loaded object owns the variables; the function alone would lose them.
        return function(**given)

    return tuple(inputs), tuple(outputs), call


def _tags(said: Any) -> list[str] | None:
    """The tags of the graph to serve; None lets TensorFlow choose where there is one only."""
    if len(said.meta_graphs) == 1:
        return None
    return ["serve"]


def _frozen(path: Path) -> _Loaded:
    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(path.read_bytes())
    check_graph(graph)
    function = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    used = {one.removeprefix("^").partition(":")[0] for node in graph.node for one in node.input}
    feeds = [node.name for node in graph.node if node.op == "Placeholder" and node.name in used]
    ends = [one.name for one in graph.node if one.name not in used and one.op not in _SILENT]
    tensor = function.graph.get_tensor_by_name
    answers = {
        (name if one.value_index == 0 else one.name): tensor(one.name)
        for name in ends
        for one in function.graph.get_operation_by_name(name).outputs
    }
    pruned = function.prune([tensor(f"{one}:0") for one in feeds], answers)

    def call(given: Mapping[str, Any]) -> Mapping[str, Any]:
        return pruned(*(given[name] for name in feeds))

    return (
        tuple(_tensor(name, tensor(f"{name}:0")) for name in feeds),
        tuple(_tensor(name, one) for name, one in answers.items()),
        call,
    )


def _keras(path: Path) -> _Loaded:
    _check_keras(path)
    import keras

    # safe_mode is said, never left out: unset must not mean unsafe.
    model: Any = keras.saving.load_model(path, compile=False, safe_mode=True)
    specs = {one.name: tf.TensorSpec(one.shape, one.dtype, name=one.name) for one in model.inputs}
    names = list(specs)
    # A Sequential has no `input` of its own once it is loaded.
    wanted = model.inputs[0] if isinstance(model, keras.Sequential) else model.input

    @tf.function(autograph=False)
    def answer(given: Mapping[str, Any]) -> Mapping[str, Any]:
        # The model wants its inputs as it was built: one, a list or a dict of them.
        packed = keras.tree.pack_sequence_as(wanted, [given[name] for name in names])
        found = model(packed, training=False)
        return _named(found, model.output_names)

    function = answer.get_concrete_function(specs)
    outputs = [_tensor(key, one) for key, one in function.structured_outputs.items()]

    def call(given: Mapping[str, Any]) -> Mapping[str, Any]:
        return answer(dict(given))

    return tuple(_tensor(name, specs[name]) for name in names), tuple(outputs), call


def _named(found: Any, names: Sequence[str]) -> dict[str, Any]:
    if isinstance(found, Mapping):
        return {str(key): one for key, one in cast("Mapping[Any, Any]", found).items()}
    several = cast("Sequence[Any]", found if isinstance(found, list | tuple) else [found])
    return dict(zip(names, several, strict=True))


def _check_keras(path: Path) -> None:
    """Refuse a `.keras` file that names anything but Keras's own classes.

    Raises:
        HeliographError: `unsafe_format` naming the class, `model_format` for another format.
    """
    if not zipfile.is_zipfile(path):
        raise HeliographError(
            Code.MODEL_FORMAT, "A .keras file is a zip archive; .h5 is refused: save it as .keras."
        )
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    for table in _tables(config):
        kind, module = table.get("class_name"), table.get("module")
        if "class_name" not in table:
            continue
        foreign = module is not None and not _KERAS_MODULE.fullmatch(str(module))
        if kind in _KERAS_CODE or foreign or _is_custom(table):
            raise HeliographError(
                Code.UNSAFE_FORMAT,
                f"The .keras file names {str(module)[:60]}.{str(kind)[:60]}, which can run "
                "anything; only Keras's own layers are served, without Lambda and custom classes.",
            )


def _is_custom(table: Mapping[str, Any]) -> bool:
    """Whether a class comes from the one who saved it: it has no module and a package's name."""
    return table.get("module") is None and table.get("registered_name") is not None


def _tables(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every object within JSON."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield cast("dict[str, Any]", one)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _tensor(name: str, spec: Any) -> Tensor:
    kind = spec.dtype.name
    if kind not in _DTYPES:
        raise HeliographError(Code.MODEL_INVALID, f"{name!r} has elements of {kind}, not served.")
    if spec.shape.rank is None:
        raise HeliographError(
            Code.MODEL_INVALID,
            f"{name!r} may have any number of axes; export the model with their number fixed.",
        )
    shape = tuple(-1 if size is None else int(size) for size in spec.shape.as_list())
    return Tensor(name, "object" if kind == "string" else kind, shape)


def _given(tensor: Tensor, array: NDArray[Any]) -> Any:
    if tensor.dtype == "bfloat16":
        return tf.cast(tf.convert_to_tensor(array), tf.bfloat16)
    return tf.convert_to_tensor(array, tf.string if tensor.dtype == "object" else tensor.dtype)


def _array(tensor: Any) -> NDArray[Any]:
    if tensor.dtype == tf.string:
        found = tensor.numpy()
        return found if isinstance(found, np.ndarray) else objects([found], ())
    if tensor.dtype == tf.bfloat16:
        tensor = tf.cast(tensor, tf.float32)
    # A copy: TensorFlow's own memory may be an input's, or a variable's.
    return np.array(tensor.numpy(), order="C")
