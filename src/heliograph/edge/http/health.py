"""`/healthz` (the process answers), `/readyz` (every model is loaded, not stopping), `/metrics`."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.http.predict import Handler
from heliograph.edge.http.query import credentials
from heliograph.edge.services import Services
from heliograph.telemetry.metrics import MEDIA_TYPE


async def live(request: Request) -> Response:
    """`GET /healthz`."""
    del request
    return _json({"status": "live"})


def ready(services: Services) -> Handler:
    """`GET /readyz`: 200 only while a call to any served model would be taken."""

    async def answer(request: Request) -> Response:
        del request
        if services.draining:
            raise HeliographError(Code.DRAINING, "The server is stopping; calls in flight finish.")
        why = services.catalog.why_not_ready()
        if why:
            raise HeliographError(Code.MODEL_UNAVAILABLE, f"Not ready: {why}.", retry_after=1.0)
        return _json({"status": "ready"})

    return answer


def metrics(services: Services) -> Handler:
    """`GET /metrics`: Prometheus text."""

    async def render(request: Request) -> Response:
        services.gate.check(credentials(request), Permission.METRICS_READ)
        return Response(services.meter.render(), headers={"content-type": MEDIA_TYPE})

    return render


def _json(body: dict[str, str]) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")
