"""Sequences of a stateful model, as tritonclient speaks them."""

from __future__ import annotations

from itertools import accumulate

import pytest

from heliograph.registry.values import ModelPackage
from support.clients import run_client
from support.oip import serving

VALUES = [11, 7, 5, 3, 2, 0, 1]


@pytest.mark.skipif(
    "states" not in ModelPackage.__struct_fields__, reason="model.toml has no [states] yet"
)
def test_sequences_keep_their_state_and_do_not_mix(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with serving(tmp_path_factory.mktemp("sequences"), "--open", states=True) as oip:
        seen = run_client("triton_sequences", oip.http, oip.grpc)
    sums = list(accumulate(VALUES))
    assert seen["http"] == {"1000": sums, "named": [-one for one in sums]}
    assert seen["grpc"] == {"1": sums, "two": [-one for one in sums]}
    assert [one["name"] for one in seen["metadata"]["inputs"]] == ["INPUT"]
    assert [one["name"] for one in seen["metadata"]["outputs"]] == ["OUTPUT"]
    state = seen["config"]["sequence_batching"]["state"][0]
    assert (state["input_name"], state["output_name"]) == ("STATE_IN", "STATE_OUT")
    assert "must specify a non-zero or non-empty correlation ID" in seen["none"]
    assert "must specify the START flag" in seen["ended"]
