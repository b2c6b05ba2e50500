"""The HTTP application: every route in one list, the Host check before all of them."""

from __future__ import annotations

import ipaddress
import re

from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http import docs, health, models, predict
from heliograph.edge.http.errors import on_error, respond
from heliograph.edge.http.services import Services
from heliograph.vision.tasks import TASKS

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_LOOPBACK = {"localhost", "localhost.localdomain", "testserver"}


def build(services: Services) -> ASGIApp:
    """The ASGI application over these services."""
    api = "/api/v1"
    routes = [
        # The busiest address first: routes are tried in order.
        Route(f"{api}/models/{{name}}/predict", predict.by_model(services), methods=["POST"]),
        *(
            Route(f"{api}/{task.verb}", predict.by_task(services, task), methods=["POST"])
            for task in TASKS.values()
        ),
        Route(f"{api}/models", models.index(services)),
        Route(f"{api}/models/{{name}}", models.card(services)),
        Route("/healthz", health.live),
        Route("/readyz", health.ready(services)),
        Route("/metrics", health.metrics(services)),
        Route("/openapi.json", docs.document(services)),
        Route("/docs", docs.reference(services)),
        Route("/docs/errors", docs.errors),
        Route("/assets/{name}", docs.asset),
        Route("/", docs.home),
    ]
    app = Starlette(
        routes=routes, exception_handlers={Exception: on_error, HeliographError: on_error}
    )
    app.router.redirect_slashes = False
    for status in (404, 405, 400):
        app.add_exception_handler(status, on_error)
    return HostCheck(app, services)


class HostCheck:
    """Refuses requests whose Host is malformed or not one of ours (DNS rebinding, cache tricks)."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        if self._ours(host.decode("latin-1")):
            await self._app(scope, receive, send)
            return
        error = HeliographError(
            Code.BAD_HOST,
            "The Host header must be an address, localhost or a name from the setting server.hosts.",
        )
        await respond(error)(scope, receive, send)

    def _ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["name"].lower().rstrip(".")
        if name in _LOOPBACK or name in self._services.hosts or "*" in self._services.hosts:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True
