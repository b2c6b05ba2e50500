"""TensorFlow Serving's metric names over the statistics of calls: `/monitoring/prometheus/metrics`.

The same numbers as in `/metrics`, for dashboards that were made for TensorFlow Serving. Latencies
are sums and counts in microseconds, without buckets: averages work, quantiles need `/metrics`.
Not told, since nothing here is like it: graph runs, the request log, warm-up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

from starlette.requests import Request
from starlette.responses import Response

from heliograph.core.permissions import Permission
from heliograph.edge.http.query import credentials
from heliograph.edge.services import Services
from heliograph.telemetry.metrics import MEDIA_TYPE
from heliograph.telemetry.statistics import Duration, ModelStatistics

_PREFIX = ":tensorflow:serving:"


def page(services: Services) -> Callable[[Request], Awaitable[Response]]:
    """`GET /monitoring/prometheus/metrics`."""

    async def metrics(request: Request) -> Response:
        services.gate.check(credentials(request), Permission.METRICS_READ)
        text = render(services.meter.statistics().values())
        return Response(text, headers={"content-type": MEDIA_TYPE})

    return metrics


def render(statistics: Iterable[ModelStatistics]) -> bytes:
    """The metrics of some model versions as Prometheus text; versions of a model are summed up."""
    models: dict[str, list[ModelStatistics]] = {}
    for one in statistics:
        models.setdefault(one.name, []).append(one)
    lines: list[str] = []
    for family in (_requests, _latency, _runtime, _examples, _queue):
        lines += family(dict(sorted(models.items())))
    return ("\n".join(lines) + "\n").encode()


_Models = dict[str, list[ModelStatistics]]


def _requests(models: _Models) -> Iterator[str]:
    name = f"{_PREFIX}request_count"
    yield from _head(name, "counter", "Calls by model and outcome.")
    for model, versions in models.items():
        failed = sum(one.fail.count for one in versions)
        gone = sum(one.cancel.count for one in versions)
        ok = sum(one.success.count for one in versions)
        for status, count in (("OK", ok), ("CANCELLED", gone), ("UNKNOWN", failed - gone)):
            if count:
                yield f'{name}{{model_name="{model}",status="{status}"}} {count}'


def _latency(models: _Models) -> Iterator[str]:
    text = "Microseconds of calls."
    return _durations(models, f"{_PREFIX}request_latency", text, lambda one: one.success)


def _runtime(models: _Models) -> Iterator[str]:
    text = "Microseconds of running the model."
    return _durations(models, f"{_PREFIX}runtime_latency", text, lambda one: one.compute_infer)


def _queue(models: _Models) -> Iterator[str]:
    name = f"{_PREFIX}batching_session:queuing_latency"
    return _durations(models, name, "Microseconds of waiting.", lambda one: one.queue)


def _examples(models: _Models) -> Iterator[str]:
    name = f"{_PREFIX}request_example_counts"
    yield from _head(name, "summary", "Rows of calls.")
    for model, versions in models.items():
        yield f'{name}_sum{{model="{model}"}} {sum(one.inference_count for one in versions)}'
        yield f'{name}_count{{model="{model}"}} {sum(one.success.count for one in versions)}'


def _durations(
    models: _Models, name: str, text: str, pick: Callable[[ModelStatistics], Duration]
) -> Iterator[str]:
    yield from _head(name, "summary", text)
    for model, versions in models.items():
        of = [pick(one) for one in versions]
        yield f'{name}_sum{{model_name="{model}"}} {sum(one.ns for one in of) / 1000:.3f}'
        yield f'{name}_count{{model_name="{model}"}} {sum(one.count for one in of)}'


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
