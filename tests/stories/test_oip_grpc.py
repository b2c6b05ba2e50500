"""The Open Inference Protocol over gRPC, as its real clients speak it; and rude ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

from heliograph.edge.grpc import health, messages
from heliograph.edge.oip.protos import MESSAGES, SERVICE
from support.clients import run_client
from support.oip import Oip, serving

REQUEST = MESSAGES["inference.ModelInferRequest"]
SUM = [[3 * at for at in range(16)]]


@pytest.fixture(scope="module")
def oip(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oip]:
    environ = {"HELIOGRAPH_OIP_SHARED_MEMORY": "true", "HELIOGRAPH_SERVING_SEATS": "4"}
    with serving(tmp_path_factory.mktemp("oip"), "--open", environ=environ) as started:
        yield started


@pytest.fixture(scope="module")
def seen(oip: Oip) -> dict[str, Any]:
    """What `tritonclient.grpc` saw."""
    return run_client("triton_grpc", oip.grpc, oip.red)


@pytest.fixture
def channel(oip: Oip) -> Iterator[grpc.Channel]:
    options = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(oip.grpc, options=options) as made:
        yield made


def method(channel: grpc.Channel, name: str = "ModelInfer") -> Any:
    """A method that takes and gives bytes."""
    return channel.unary_unary(f"/{SERVICE}/{name}")


def status(call: Any, *args: Any, **kwargs: Any) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, timeout=30, **kwargs)
    error: Any = caught.value
    return error.code(), error.details(), dict(error.trailing_metadata())


def slow() -> bytes:
    """A request that takes some tens of milliseconds."""
    asked = REQUEST(model_name="slow", raw_input_contents=[bytes(3 * 8 * 8 * 4)])
    asked.inputs.add(name="images", datatype="FP32", shape=[1, 3, 8, 8])
    return asked.SerializeToString()


def taken(oip: Oip) -> float:
    """How many seats are taken now."""
    text = httpx.get(f"{oip.server.address}/metrics", trust_env=False).text
    line = next(one for one in text.splitlines() if one.startswith("heliograph_seats_taken"))
    return float(line.rpartition(" ")[2])


# --- tritonclient ----------------------------------------------------------------------------


def test_health_and_metadata(seen: dict[str, Any]) -> None:
    assert seen["live"]
    assert seen["ready"]
    assert seen["model_ready"] == [True, True]
    assert "[StatusCode.NOT_FOUND] Request for unknown model: 'none'" in seen["no_model_ready"]
    assert seen["server"]["name"] == "heliograph"
    assert seen["metadata"]["inputs"][0] == {
        "name": "INPUT0",
        "datatype": "INT32",
        "shape": ["-1", "16"],
    }
    assert "Request for unknown model: 'none' is not found" in seen["metadata_unknown"]
    assert seen["config"]["config"]["input"][0]["data_type"] == "TYPE_INT32"


def test_inference(seen: dict[str, Any]) -> None:
    assert seen["sum"] == seen["gzip"] == seen["deflate"] == SUM
    assert seen["difference"] == [[-at for at in range(16)]]
    assert seen["id"] == "7"
    assert seen["parameters"] == 3
    assert seen["bytes"] == ["größer", ""]
    assert seen["large"] is True
    assert [one.split(":")[2] for one in seen["classes"]] == ["red", "green"]
    assert seen["async"] == [3, "None"]
    assert seen["explicit"]["sum"] == 6
    assert "contents field must not be specified when using raw_input" in seen["explicit"]["mixed"]
    assert "unexpected explicit tensor data" in seen["explicit"]["wrong"]


def test_a_stream_answers_in_order_and_outlives_its_errors(seen: dict[str, Any]) -> None:
    stream = seen["stream"]
    assert len(stream["errors"]) == 1, stream["errors"]
    assert stream["order"] == [at for at in range(20) if at != 7]
    assert stream["final"] is True
    assert stream["errors"] == ["Request for unknown model: 'none' is not found"]
    assert stream["ended"].startswith("StatusCode.NOT_FOUND Request for unknown model")


def test_cancelling_and_deadlines(seen: dict[str, Any]) -> None:
    assert seen["cancelled"] == "StatusCode.CANCELLED"
    assert "DEADLINE_EXCEEDED" in seen["refused"]["deadline"]


def test_refusals(seen: dict[str, Any]) -> None:
    said = seen["refused"]
    assert "[StatusCode.NOT_FOUND] Request for unknown model: 'none'" in said["model"]
    for name, words in {
        "missing": "expected 2 inputs but got 1 inputs",
        "dtype": "data-type is 'FP32', but model 'simple' expects 'INT32'",
        "shape": "unexpected shape for input 'INPUT0'",
        "output": "unexpected inference output 'NONE'",
    }.items():
        assert "[StatusCode.INVALID_ARGUMENT]" in said[name]
        assert words in said[name]


def test_repository_statistics_and_settings(seen: dict[str, Any]) -> None:
    assert {one["state"] for one in seen["index"]} == {"READY"}
    assert seen["unloaded_ready"] is False
    assert "[StatusCode.UNAVAILABLE]" in seen["unloaded"]
    assert (seen["limited"], seen["loaded"]) == (16, True)
    assert all("failed to" in one for one in seen["load_refused"])
    assert int(seen["stats"]["inference_stats"]["success"]["count"]) >= 1
    assert seen["all_stats"] == 6
    assert seen["trace_set"]["trace_level"]["value"] == ["TIMESTAMPS"]
    assert seen["trace_cleared"] == seen["trace"]
    assert seen["log_set"]["log_verbose_level"]["uint32_param"] == 1
    assert "can not be updated" in seen["log_refused"]


def test_shared_memory(seen: dict[str, Any]) -> None:
    said = seen["shm"]
    assert said["sum"] == [[at + 1 for at in range(16)]]
    assert said["difference"] == [[at - 1 for at in range(16)]]
    assert said["status"] == ["in", "out"]
    assert "ALREADY_EXISTS" in said["twice"]
    assert "UNIMPLEMENTED" in said["cuda"]


# --- rude clients ----------------------------------------------------------------------------


def test_what_is_no_message_is_refused(channel: grpc.Channel) -> None:
    call = method(channel)
    for data in (b"\xff\xff", b"\x3a\x05abc", b"\x2a\x02\x0a\x05"):
        code, words, trailers = status(call, data)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert words == "The bytes are not a valid inference.ModelInferRequest."
        assert trailers["code"] == "bad_request"
    assert status(method(channel, "Nothing"), b"")[0] is grpc.StatusCode.UNIMPLEMENTED


def test_a_message_nested_too_deeply_is_refused(channel: grpc.Channel) -> None:
    group = b"\x0b" * 5000  # groups within groups: unknown fields that only recursion reads
    code, *_ = status(method(channel, "ModelMetadata"), group)
    assert code is grpc.StatusCode.INVALID_ARGUMENT


def test_messages_and_metadata_have_limits(channel: grpc.Channel, oip: Oip) -> None:
    call = method(channel)
    assert status(call, bytes(65 << 20))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    told = status(call, b"", metadata=(("x", "y" * 17_408),))
    assert told[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    bomb = status(call, bytes(200 << 20), compression=grpc.Compression.Gzip)
    assert bomb[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert method(channel, "ServerLive")(b"", timeout=10)
    assert oip.server.process.poll() is None


def test_a_full_house_says_so(oip: Oip, channel: grpc.Channel) -> None:
    call = method(channel)
    with ThreadPoolExecutor(16) as pool:
        waiting = [pool.submit(call.future(slow(), timeout=60).exception) for _ in range(16)]
        errors: list[Any] = [one.result() for one in waiting]
    refused = [one for one in errors if one is not None]
    assert 0 < len(refused) < 16
    for one in refused:
        assert one.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailers = dict(one.trailing_metadata())
        assert trailers["code"] == "overloaded"
        assert trailers["retry-after"] == "1"
    assert taken(oip) == 0


def test_cancelling_frees_the_seat(oip: Oip, channel: grpc.Channel) -> None:
    call = method(channel)
    for _ in range(10):
        waiting = [call.future(slow()) for _ in range(4)]
        time.sleep(0.01)
        for one in waiting:
            one.cancel()
    ends = time.monotonic() + 10
    while taken(oip) and time.monotonic() < ends:
        time.sleep(0.05)
    assert taken(oip) == 0
    assert call(slow(), timeout=30)


def test_a_thousand_calls_at_once_are_answered(channel: grpc.Channel) -> None:
    live = method(channel, "ServerLive")
    waiting = [live.future(b"", timeout=60) for _ in range(1000)]
    assert all(one.result() for one in waiting)


def test_rapid_resets_hurt_nobody_else(oip: Oip, channel: grpc.Channel) -> None:
    with grpc.insecure_channel(oip.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as rude:
        call = method(rude)
        for _ in range(2000):
            call.future(slow()).cancel()
        assert method(channel, "ServerLive")(b"", timeout=10)
    assert method(channel)(slow(), timeout=60)
    assert oip.server.process.poll() is None


def test_a_stream_that_is_left_frees_its_seats(oip: Oip, channel: grpc.Channel) -> None:
    stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")

    def questions() -> Iterator[bytes]:
        for _ in range(4):
            yield slow()
        time.sleep(30)

    answers = stream(questions())
    assert next(answers)
    answers.cancel()
    ends = time.monotonic() + 10
    while taken(oip) and time.monotonic() < ends:
        time.sleep(0.05)
    assert taken(oip) == 0


def test_tensors_come_back_to_the_bit(channel: grpc.Channel) -> None:
    array = np.random.default_rng(7).integers(0, 256, 600_000, np.uint8)
    asked = REQUEST(model_name="identity", raw_input_contents=[array.tobytes()])
    asked.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 150_000])
    told = MESSAGES["inference.ModelInferResponse"].FromString(
        method(channel)(asked.SerializeToString(), timeout=30)
    )
    assert told.raw_output_contents[0] == array.tobytes()


# --- health and keys -------------------------------------------------------------------------


def test_grpc_health(channel: grpc.Channel) -> None:
    made = messages.load(health.SET)
    question, answer = made.methods(health.NAME)["Check"]
    check = channel.unary_unary(
        f"/{health.NAME}/Check", question.SerializeToString, answer.FromString
    )
    for name in ("", SERVICE):
        assert check(question(service=name), timeout=10).status == 1
    assert status(check, question(service="nobody"))[0] is grpc.StatusCode.NOT_FOUND
    watch = channel.unary_stream(
        f"/{health.NAME}/Watch", question.SerializeToString, answer.FromString
    )
    changes = watch(question(service="nobody"), timeout=10)
    assert next(changes).status == 3
    changes.cancel()


def test_keys_are_asked_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        serving(tmp_path_factory.mktemp("keyed")) as oip,
        grpc.insecure_channel(oip.grpc) as channel,
    ):
        key = (("authorization", f"Bearer {oip.server.key}"),)
        for name, (question, _) in MESSAGES.methods(SERVICE).items():
            if name == "ModelStreamInfer":
                continue
            call = method(channel, name)
            if name in {"ServerLive", "ServerReady"}:
                assert call(b"", timeout=10)
                continue
            data = slow() if name == "ModelInfer" else question().SerializeToString()
            for wrong in ((), (("authorization", "Bearer hg_admin_wrong"),)):
                assert status(call, data, metadata=wrong)[0] is grpc.StatusCode.UNAUTHENTICATED, (
                    name
                )
        assert method(channel)(slow(), metadata=key, timeout=30)
        assert method(channel, "ServerMetadata")(b"", metadata=key, timeout=30)
        stream = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer")
        told = MESSAGES["inference.ModelStreamInferResponse"].FromString(
            next(stream(iter([slow()])))
        )
        assert "key" in told.error_message.lower()


def test_a_stop_answers_what_is_in_flight(tmp_path_factory: pytest.TempPathFactory) -> None:
    with (
        serving(tmp_path_factory.mktemp("stop"), "--open") as oip,
        grpc.insecure_channel(oip.grpc) as channel,
    ):
        waiting = [method(channel).future(slow(), timeout=60) for _ in range(4)]
        time.sleep(0.01)
        assert oip.server.stop() == 0
        assert [one.exception() for one in waiting] == [None] * 4
