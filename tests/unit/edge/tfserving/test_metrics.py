"""TensorFlow Serving's metric names over our statistics."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from heliograph.edge.tfserving.metrics import render
from heliograph.telemetry.statistics import Duration, ModelStatistics

ONE = ModelStatistics(
    "m",
    "1",
    inference_count=5,
    success=Duration(3, 6_000_000),
    fail=Duration(2, 1_000),
    cancel=Duration(1, 500),
    queue=Duration(3, 9_000),
    compute_infer=Duration(3, 3_000_000),
)
TWO = ModelStatistics("m", "2", inference_count=1, success=Duration(1, 1_000_000))


def test_versions_of_a_model_are_summed_up_under_its_names() -> None:
    text = render([ONE, TWO]).decode()
    # The parser gives a counter the ending `_total` that its name does not have.
    assert '\n:tensorflow:serving:request_count{model_name="m",status="OK"} 4\n' in text
    families = text_string_to_metric_families(text)
    found = {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in families
        for one in family.samples
    }
    name, model = ":tensorflow:serving:", ("model_name", "m")
    assert found[f"{name}request_count_total", (model, ("status", "OK"))] == 4
    assert found[f"{name}request_count_total", (model, ("status", "CANCELLED"))] == 1
    assert found[f"{name}request_count_total", (model, ("status", "UNKNOWN"))] == 1
    assert found[f"{name}request_latency_sum", (model,)] == 7_000
    assert found[f"{name}request_latency_count", (model,)] == 4
    assert found[f"{name}runtime_latency_sum", (model,)] == 3_000
    assert found[f"{name}batching_session:queuing_latency_sum", (model,)] == 9
    assert found[f"{name}request_example_counts_sum", (("model", "m"),)] == 6
    assert found[f"{name}request_example_counts_count", (("model", "m"),)] == 4


def test_nothing_yet_is_a_page_without_samples() -> None:
    assert all(line.startswith("#") for line in render([]).decode().splitlines())
