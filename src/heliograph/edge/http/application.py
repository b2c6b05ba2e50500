"""The HTTP application: every route in one list, the Host check before all of them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from starlette.requests import Request
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http import docs, health, models, predict, releases
from heliograph.edge.http.booking import booked
from heliograph.edge.http.errors import answer
from heliograph.edge.services import Services
from heliograph.vision.tasks import TASKS

_HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_KEY = re.compile(rb"hgt?_[A-Za-z0-9_.-]{24,}")
_LOOPBACK = {"localhost", "localhost.localdomain"}
_HOSTS_KEPT = 64
_MODELS = "/api/v1/models/"


def build(services: Services, others: Sequence[BaseRoute] = ()) -> ASGIApp:
    """The ASGI application over these services.

    Args:
        services: the use cases.
        others: routes of other protocols on the same port.
    """
    api = "/api/v1"
    one_model = predict.by_model(services)
    calls = {f"{api}/{task.verb}": predict.by_task(services, task) for task in TASKS.values()}
    routes = [
        Route(f"{api}/models/{{name}}/predict", one_model, methods=["POST"]),
        *(Route(path, call, methods=["POST"]) for path, call in calls.items()),
        Route(f"{api}/models", models.index(services)),
        Route(f"{api}/models/{{name}}", models.card(services)),
        *releases.routes(services, f"{api}/models/{{name}}"),
        Route("/healthz", health.live),
        Route("/readyz", health.ready(services)),
        Route("/metrics", health.metrics(services)),
        Route("/openapi.json", docs.document(services)),
        Route("/docs", docs.reference(services)),
        Route("/docs/errors", docs.errors),
        Route("/assets/{name}", docs.asset),
        Route("/", docs.home),
        *others,
    ]
    # The protocol whose callers count microseconds is not looked for route after route.
    fast = next((one.app for one in others if isinstance(one, Route) and one.path == "/v2"), None)
    return Front(Router(routes, redirect_slashes=False), calls, one_model, services, fast)


class Front:
    """What every request passes: the Host check before, and the one way errors are told after.

    The addresses of predictions are called at once; the router, which asks route after route, has
    all others.

    In place of Starlette's application and its two middlewares, which do the latter at ten times
    the cost. The Host check keeps out DNS rebinding and cache tricks.
    """

    def __init__(
        self,
        router: Router,
        calls: dict[str, predict.Handler],
        one_model: predict.Handler,
        services: Services,
        tensors: ASGIApp | None = None,
    ) -> None:
        self._router = router
        self._calls = calls
        self._one_model = one_model
        self._tensors = tensors
        self._services = services
        self._known: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry point."""
        if scope["type"] != "http":
            return
        try:
            self._check_host(scope)
            self._check_address(scope)
            if scope["path"].startswith("/v2/") and self._tensors is not None:
                await self._tensors(scope, receive, send)
                return
            call = self._call(scope["path"])
            if call is not None and scope["method"] == "POST":
                services = self._services
                request = Request(scope, receive)
                reply = await booked(services.books, services.gate, request, call)
                await reply(scope, receive, send)
                return
            # The router tells a missing page by an exception if it knows of an application.
            scope["app"] = self
            await self._router(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - the last place where an error can be told
            code, reply = answer(error, scope["method"])
            self._services.meter.problem(code)
            await reply(scope, receive, send)

    def _check_address(self, scope: Scope) -> None:
        """A key of ours in an address: it stands in logs by now, whoever it belongs to is told."""
        address: bytes = scope["raw_path"] + b"?" + scope["query_string"]
        if b"hg" in address and (found := _KEY.search(unquote_to_bytes(address))):
            self._services.exposed(found[0].decode("ascii"))
            raise HeliographError(
                Code.KEY_IN_URL,
                "Keys in addresses end up in logs. Send 'Authorization: Bearer KEY', and replace "
                "this key.",
            )

    def _call(self, path: str) -> predict.Handler | None:
        if path.startswith(_MODELS) and path.endswith("/predict") and path.count("/") == 5:
            return self._one_model
        return self._calls.get(path)

    def _check_host(self, scope: Scope) -> None:
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        if host in self._known:
            return
        if not self._ours(host.decode("latin-1")):
            raise HeliographError(
                Code.BAD_HOST,
                "The Host header must be an address, localhost or a name of the setting "
                "server.hosts.",
            )
        if len(self._known) < _HOSTS_KEPT:
            self._known.add(host)

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
