"""What proves to a certificate authority that a name is ours: small files that any worker answers.

    GET /.well-known/acme-challenge/TOKEN  ->  the token and our account's fingerprint

They are answered on a port of their own, in the clear as the protocol wants it; every other request
there is sent on to https, if it is for a name that the certificate is for.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http.errors import answer
from heliograph.edge.http.limits import WireLimits
from heliograph.edge.http.wire import protocol
from heliograph.edge.tls.files import write_secret

PREFIX = "/.well-known/acme-challenge/"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,256}")
_NO_BODIES = WireLimits(body_bytes=0, tensor_bytes=0, connections=256)


class Challenges:
    """The tokens that lie there now.

    Args:
        folder: of all workers.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lay(self, token: str, said: str) -> None:
        """Answer a token from now on.

        Raises:
            OSError: it cannot be written.
            ValueError: it is none: it would be the name of a file.
        """
        if not _TOKEN.fullmatch(token):
            raise ValueError("the authority's token is none")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(self._folder / token, said.encode())

    def take_away(self, token: str) -> None:
        """Answer it no longer."""
        (self._folder / token).unlink(missing_ok=True)

    def read(self, token: str) -> str | None:
        """What to answer; None for a token that nobody has laid there."""
        if not _TOKEN.fullmatch(token):
            return None
        try:
            return (self._folder / token).read_text("ascii")
        except OSError:
            return None


def application(challenges: Challenges, names: Collection[str], port: int) -> ASGIApp:
    """What answers on the port in the clear.

    Args:
        challenges: the tokens.
        names: whose requests are sent on to https.
        port: of https.
    """
    known = frozenset(names)

    def respond(request: Request) -> Response:
        path = request.url.path
        if request.method not in {"GET", "HEAD"}:
            raise HeliographError(
                Code.METHOD_NOT_ALLOWED, "Here nothing is taken in the clear. Use https."
            )
        if path.startswith(PREFIX):
            said = challenges.read(path.removeprefix(PREFIX))
            if said is None:
                raise HeliographError(Code.NOT_FOUND, "There is no such challenge.")
            return PlainTextResponse(said, media_type="application/octet-stream")
        host = request.headers.get("host", "").rpartition(":")[0] or request.headers["host"]
        if host.lower() not in known:
            raise HeliographError(Code.BAD_HOST, "This host is not one of ours.")
        query = f"?{request.url.query}" if request.url.query else ""
        shown = "" if port == 443 else f":{port}"
        return RedirectResponse(f"https://{host.lower()}{shown}{request.url.path}{query}", 308)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            reply = respond(Request(scope))
        except Exception as error:  # noqa: BLE001 - the last place where an error can be told
            reply = answer(error, scope["method"])[1]
        await reply(scope, receive, send)

    return app


class Plain:
    """The port in the clear, in the event loop of the HTTP server (see `edge.http.server.Beside`).

    Args:
        app: see `application`.
        host: to listen on.
        port: reserved by whoever started the workers, which all listen on it.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._app = app
        self._address = host, port
        self._state = ServerState()
        self._server: Any = None

    async def start(self) -> None:
        """Begin to listen."""
        import asyncio

        host, port = self._address
        config = uvicorn.Config(
            self._app, http=protocol(_NO_BODIES), ws="none", lifespan="off", log_config=None
        )
        config.load()
        self._server = await asyncio.get_running_loop().create_server(
            lambda: config.http_protocol_class(config, self._state, {}),  # type: ignore[arg-type]
            sock=_shared(host, port),
        )

    async def stop(self) -> None:
        """Close; what is answered here takes no time."""
        self._server.close()
        for one in list(self._state.connections):
            one.shutdown()


def _shared(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    # The address, too: else the last connections of a server that has stopped keep others away.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind((host, port))
    return sock
