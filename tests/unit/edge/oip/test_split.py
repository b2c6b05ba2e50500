from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.oip.protos import MESSAGES
from heliograph.edge.oip.split import encode_varint, join_response, split_request

REQUEST = MESSAGES["inference.ModelInferRequest"]
RESPONSE = MESSAGES["inference.ModelInferResponse"]


@given(
    st.text(max_size=20),
    st.lists(st.binary(max_size=300), max_size=4),
    st.lists(st.integers(-1, 1 << 40), max_size=4),
)
def test_requests_are_split_without_loss(name: str, raws: list[bytes], shape: list[int]) -> None:
    whole = REQUEST(model_name=name, id="7", raw_input_contents=raws)
    whole.inputs.add(name="x", datatype="FP32", shape=shape)
    whole.parameters["a"].uint64_param = (1 << 64) - 1
    head, found = split_request(whole.SerializeToString())
    assert [bytes(one) for one in found] == raws
    rest = REQUEST.FromString(head)
    del whole.raw_input_contents[:]
    assert rest == whole


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_responses_are_joined_without_loss(raws: list[bytes]) -> None:
    head = RESPONSE(model_name="m", id="7")
    joined = RESPONSE.FromString(join_response(head.SerializeToString(), raws))
    assert list(joined.raw_output_contents) == raws
    assert (joined.model_name, joined.id) == ("m", "7")


@given(st.binary(max_size=100))
def test_any_bytes_are_split_or_refused(data: bytes) -> None:
    try:
        head, raws = split_request(data)
    except HeliographError as error:
        assert error.code is Code.BAD_REQUEST  # noqa: PT017 - both outcomes are lawful
    else:
        assert len(head) + sum(map(len, raws)) <= len(data)


@pytest.mark.parametrize(
    "data", [b"\x3a\x05abc", b"\x3a", b"\xff" * 11, b"\x3a" + b"\xff" * 9 + b"\x01", b"\x07"]
)
def test_what_is_cut_short_is_refused(data: bytes) -> None:
    with pytest.raises(HeliographError):
        split_request(data)


@given(st.integers(0, 1 << 40))
def test_varints_are_protobufs(number: int) -> None:
    one = MESSAGES["inference.StatisticDuration"](count=number)
    assert one.SerializeToString() == (b"\x08" + encode_varint(number) if number else b"")
