"""The stubs of `tensorflow-serving-api`, unmodified, against a server: what each call got, as JSON.

Run by `tests/stories/test_tfserving_grpc.py` in the clients' own environment:

    python tfserving_calls.py TARGET PICTURE HOME
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import grpc
import numpy as np
import tensorflow as tf
from seen import tell
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

SEEN: dict[str, Any] = {}


def floats(values: Any) -> Any:
    return np.array(values, np.float32)


def whole(values: Any) -> Any:
    return np.array(values, np.int32)


def story(call: Callable[..., Any]) -> Callable[..., Any]:
    """Keep what a call returned, or the status and details of its error, under its name."""

    def run(*given: Any) -> None:
        try:
            SEEN[call.__name__] = call(*given)
        except grpc.RpcError as error:
            SEEN[call.__name__] = {"code": error.code().name, "details": error.details()}

    return run


def request(name: str, inputs: dict[str, Any], **spec: Any) -> Any:
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = name
    if "version" in spec:
        asked.model_spec.version.value = spec["version"]
    if "label" in spec:
        asked.model_spec.version_label = spec["label"]
    asked.model_spec.signature_name = spec.get("signature", "serving_default")
    for key, value in inputs.items():
        asked.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return asked


def told(answer: Any) -> dict[str, Any]:
    spec = answer.model_spec
    return {
        "spec": [spec.name, spec.version.value, spec.signature_name],
        "outputs": {name: _list(one) for name, one in sorted(answer.outputs.items())},
    }


def _list(proto: Any) -> Any:
    array = tf.make_ndarray(proto)
    if array.dtype == object:
        return [one.decode("latin-1") for one in array.reshape(-1).tolist()]
    return array.tolist()


def example(**features: Any) -> Any:
    kinds = {bytes: "bytes_list", float: "float_list", int: "int64_list"}
    made = tf.train.Example()
    for name, values in features.items():
        getattr(made.features.feature[name], kinds[type(values[0])]).value.extend(values)
    return made


@story
def predict(stub: Any) -> Any:
    return told(stub.Predict(request("half", {"x": floats([[1, 2], [3, 4]])}), 10))


@story
def predict_typed_fields(stub: Any) -> Any:
    asked = request("half", {"x": floats([[0]])})
    asked.inputs["x"].ClearField("tensor_content")
    del asked.inputs["x"].float_val[:]
    asked.inputs["x"].float_val.extend([1.0, 2.0])
    asked.inputs["x"].tensor_shape.dim[1].size = 2
    return told(stub.Predict(asked, 10))


@story
def predict_answers_in_typed_fields(stub: Any) -> Any:
    answer = stub.Predict(request("half", {"x": floats([[1, 2]])}), 10)
    proto = answer.outputs["y"]
    return [list(proto.float_val), len(proto.tensor_content)]


@story
def predict_one_value_for_all(stub: Any) -> Any:
    asked = request("half", {"x": floats([[0]])})
    asked.inputs["x"].CopyFrom(tf.make_tensor_proto(4.0, tf.float32, shape=[2, 3]))
    assert len(asked.inputs["x"].float_val) == 1
    return told(stub.Predict(asked, 10))


@story
def predict_version(stub: Any) -> Any:
    return told(stub.Predict(request("half", {"x": floats([[1, 2]])}, version=2), 10))


@story
def predict_two_inputs(stub: Any) -> Any:
    pair = {"a": whole([[1, 2]]), "b": whole([[3, 5]])}
    return told(stub.Predict(request("pair", pair), 10))


@story
def predict_filtered(stub: Any) -> Any:
    asked = request("pair", {"a": whole([[1, 2]]), "b": whole([[3, 5]])})
    asked.output_filter.append("difference")
    return told(stub.Predict(asked, 10))


@story
def predict_newer_fields(stub: Any) -> Any:
    asked = request("half", {"x": floats([[1, 2]])})
    asked.client_id = b"me"
    asked.request_options.client_id = b"me"
    asked.predict_streamed_options.request_state = 1
    return told(stub.Predict(asked, 10))


@story
def predict_strings(stub: Any) -> Any:
    return told(stub.Predict(request("words", {"word": np.array([b"a", b"\xc3\xa9"])}), 10))


@story
def predict_picture(stub: Any, picture: bytes) -> Any:
    return told(stub.Predict(request("colour", {"images": [picture, picture]}), 10))


@story
def predict_gzip(stub: Any) -> Any:
    asked = request("half", {"x": floats([[1, 2]])})
    return told(stub.Predict(asked, 10, compression=grpc.Compression.Gzip))


@story
def predict_future(stub: Any) -> Any:
    futures = [stub.Predict.future(request("half", {"x": floats([[one]])}), 10) for one in range(8)]
    return [told(one.result())["outputs"]["y"] for one in futures]


@story
def predict_large(stub: Any) -> Any:
    tensor = np.random.default_rng(0).standard_normal((3, 50_176)).astype(np.float32)
    answer = stub.Predict(request("half", {"x": tensor}), 10)
    return bool(np.array_equal(tf.make_ndarray(answer.outputs["y"]), tensor / 2 + 3))


@story
def unknown_model(stub: Any) -> Any:
    return told(stub.Predict(request("nosuch", {"x": floats([1])}), 10))


@story
def unknown_version(stub: Any) -> Any:
    return told(stub.Predict(request("half", {"x": floats([1])}, version=77), 10))


@story
def unknown_label(stub: Any) -> Any:
    return told(stub.Predict(request("half", {"x": floats([1])}, label="nosuch"), 10))


@story
def unknown_signature(stub: Any) -> Any:
    return told(stub.Predict(request("half", {"x": floats([[1]])}, signature="nosuch"), 10))


@story
def unknown_input(stub: Any) -> Any:
    return told(stub.Predict(request("half", {"z": floats([[1]])}), 10))


@story
def missing_input(stub: Any) -> Any:
    return told(stub.Predict(request("pair", {"a": whole([[1, 2]])}), 10))


@story
def unknown_output(stub: Any) -> Any:
    asked = request("half", {"x": floats([[1]])})
    asked.output_filter.append("nosuch")
    return told(stub.Predict(asked, 10))


@story
def wrong_type(stub: Any) -> Any:
    return told(stub.Predict(request("half", {"x": np.array([[1]], np.float64)}), 10))


@story
def wrong_shape(stub: Any) -> Any:
    return told(stub.Predict(request("half", {"x": floats([1, 2, 3])}), 10))


@story
def classify(stub: Any, picture: bytes) -> Any:
    asked = classification_pb2.ClassificationRequest()
    asked.model_spec.name = "colour"
    asked.input.example_list.examples.append(example(**{"image/encoded": [picture]}))
    answer = stub.Classify(asked, 10)
    rows = answer.result.classifications
    return {
        "version": answer.model_spec.version.value,
        "classes": [[[one.label, round(one.score, 4)] for one in row.classes] for row in rows],
    }


@story
def classify_other_model(stub: Any) -> Any:
    asked = classification_pb2.ClassificationRequest()
    asked.model_spec.name = "half"
    asked.input.example_list.examples.append(example(x=[1.0]))
    stub.Classify(asked, 10)


@story
def regress(stub: Any) -> Any:
    asked = regression_pb2.RegressionRequest()
    asked.model_spec.name = "line"
    shared = asked.input.example_list_with_context
    shared.context.CopyFrom(example(x=[10.0]))
    shared.examples.extend([example(x=[1.0]), example(), example(x=[3])])
    return [one.value for one in stub.Regress(asked, 10).result.regressions]


@story
def multi_inference(stub: Any) -> Any:
    asked = inference_pb2.MultiInferenceRequest()
    task = asked.tasks.add(method_name="tensorflow/serving/regress")
    task.model_spec.name = "line"
    asked.input.example_list.examples.append(example(x=[1.0]))
    results = stub.MultiInference(asked, 10).results
    return [[one.model_spec.name, one.regression_result.regressions[0].value] for one in results]


@story
def multi_inference_twice(stub: Any) -> Any:
    asked = inference_pb2.MultiInferenceRequest()
    for _ in range(2):
        task = asked.tasks.add(method_name="tensorflow/serving/regress")
        task.model_spec.name = "line"
    asked.input.example_list.examples.append(example(x=[1.0]))
    stub.MultiInference(asked, 10)


@story
def metadata(stub: Any) -> Any:
    asked = get_model_metadata_pb2.GetModelMetadataRequest()
    asked.model_spec.name = "half"
    asked.metadata_field.append("signature_def")
    answer = stub.GetModelMetadata(asked, 10)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(found)
    said = found.signature_def["serving_default"]
    info = said.inputs["x"]
    return {
        "version": answer.model_spec.version.value,
        "method": said.method_name,
        "inputs": sorted(said.inputs),
        "outputs": sorted(said.outputs),
        "dtype": info.dtype,
        "shape": [one.size for one in info.tensor_shape.dim],
        "name": info.name,
    }


@story
def metadata_of_nothing(stub: Any) -> Any:
    asked = get_model_metadata_pb2.GetModelMetadataRequest()
    asked.model_spec.name = "half"
    stub.GetModelMetadata(asked, 10)


def _status(stub: Any, name: str, **spec: Any) -> Any:
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = name
    if "version" in spec:
        asked.model_spec.version.value = spec["version"]
    states = get_model_status_pb2.ModelVersionStatus.State
    return [
        [one.version, states.Name(one.state), one.status.error_code]
        for one in stub.GetModelStatus(asked, 10).model_version_status
    ]


@story
def status(stub: Any) -> Any:
    return _status(stub, "half")


@story
def status_of_one(stub: Any) -> Any:
    return _status(stub, "half", version=2)


@story
def status_of_nothing(stub: Any) -> Any:
    return _status(stub, "nosuch")


@story
def cancel(stub: Any, picture: bytes) -> Any:
    future = stub.Predict.future(request("slow", {"images": [picture] * 8}), 30)
    time.sleep(0.2)
    future.cancel()
    try:
        future.result()
    except grpc.FutureCancelledError:
        return "cancelled"
    return "answered"


def _config(*models: Any) -> Any:
    asked = model_management_pb2.ReloadConfigRequest()
    for name, base, policy, labels in models:
        one = asked.config.model_config_list.config.add(name=name, base_path=base)
        one.model_platform = "tensorflow"
        if policy == "all":
            one.model_version_policy.all.SetInParent()
        elif policy:
            one.model_version_policy.specific.versions.extend(policy)
        for label, version in labels.items():
            one.version_labels[label] = version
    return asked


@story
def reload_outside(stub: Any, home: str) -> Any:
    del home
    stub.HandleReloadConfigRequest(_config(("half", "/etc", "", {})), 30)


@story
def reload_all(models: Any, home: str, stub: Any) -> Any:
    """Both versions, with labels; everything else leaves."""
    labels = {"stable": 1, "canary": 2}
    asked = _config(("half", f"{home}/models/half", "all", labels))
    answer = models.HandleReloadConfigRequest(asked, 30)
    one = {"x": floats([[1]])}
    gone: dict[str, Any] = {}
    try:
        stub.Predict(request("line", {"x": floats([[1]])}), 10)
    except grpc.RpcError as error:
        gone = {"code": error.code().name, "details": error.details()}
    return {
        "error_code": answer.status.error_code,
        "status": _status(models, "half"),
        "stable": told(stub.Predict(request("half", one, label="stable"), 10)),
        "canary": told(stub.Predict(request("half", one, label="canary"), 10)),
        "none": told(stub.Predict(request("half", one), 10)),
        "gone": gone,
        "status of gone": _status(models, "line"),
    }


@story
def reload_back(models: Any, home: str, stub: Any) -> Any:
    """Only version 1 of one model, and another model again."""
    asked = _config(
        ("half", f"{home}/models/half", [1], {}), ("line", f"{home}/models/line", "", {})
    )
    models.HandleReloadConfigRequest(asked, 30)
    return {
        "none": told(stub.Predict(request("half", {"x": floats([[1]])}), 10)),
        "line": told(stub.Predict(request("line", {"x": floats([[1]])}), 10)),
        "status": _status(models, "half"),
    }


def differences(path: str) -> list[str]:
    """Where our messages are not those of the real package; what we leave out is no difference."""
    from google.protobuf import descriptor_pb2, descriptor_pool

    pool = descriptor_pool.DescriptorPool()
    held = descriptor_pb2.FileDescriptorSet.FromString(Path(path).read_bytes())
    for file in held.file:
        pool.Add(file)
    real = descriptor_pool.Default()
    found: list[str] = []
    names = [
        f"{file.package}.{one.name}"
        for file in held.file
        if file.package.startswith("tensorflow")
        for one in file.message_type
    ]
    for name in names:
        ours = pool.FindMessageTypeByName(name)
        try:
            theirs = real.FindMessageTypeByName(name)
        except KeyError:
            found.append(f"{name} is not there")
            continue
        found += _compare(ours, theirs)
    return found


def _compare(ours: Any, theirs: Any) -> list[str]:
    found: list[str] = []
    for field in ours.fields:
        other = theirs.fields_by_number.get(field.number)
        mine = (field.name, field.type, field.is_repeated, field.json_name, _of(field))
        if other is None:
            found.append(f"{ours.full_name}.{field.name} is not there")
        elif mine != (
            yours := (other.name, other.type, other.is_repeated, other.json_name, _of(other))
        ):
            found.append(f"{ours.full_name}: {mine} is {yours}")
    for nested in ours.nested_types:
        found += _compare(nested, theirs.nested_types_by_name[nested.name])
    return found


def _of(field: Any) -> Any:
    """The oneof a field stands in, and what it holds."""
    values = None
    if field.enum_type is not None:
        # Our enums may be shorter than theirs: what we have must be what they have.
        values = field.enum_type.full_name
    message = field.message_type.full_name if field.message_type is not None else None
    oneof = field.containing_oneof.name if field.containing_oneof is not None else None
    return message, values, oneof


def main() -> None:
    target, file, home, descriptors = sys.argv[1:]
    picture = Path(file).read_bytes()
    channel = grpc.insecure_channel(target)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    SEEN["differences"] = differences(descriptors)
    for run in (
        predict,
        predict_typed_fields,
        predict_answers_in_typed_fields,
        predict_one_value_for_all,
        predict_version,
        predict_two_inputs,
        predict_filtered,
        predict_newer_fields,
        predict_strings,
        predict_gzip,
        predict_future,
        predict_large,
        unknown_model,
        unknown_version,
        unknown_label,
        unknown_signature,
        unknown_input,
        missing_input,
        unknown_output,
        wrong_type,
        wrong_shape,
        classify_other_model,
        regress,
        multi_inference,
        multi_inference_twice,
        metadata,
        metadata_of_nothing,
    ):
        run(stub)
    predict_picture(stub, picture)
    classify(stub, picture)
    cancel(stub, picture)
    for run in (status, status_of_one, status_of_nothing):
        run(models)
    reload_outside(models, home)
    reload_all(models, home, stub)
    reload_back(models, home, stub)
    tell(SEEN)


if __name__ == "__main__":
    main()
