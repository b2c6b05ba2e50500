"""The gRPC server as one that lives beside the HTTP server, in its event loop.

gRPC's library takes a tenth of a second to load, so it is loaded only when HTTP answers already.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from heliograph.edge.tls.peers import Peers

if TYPE_CHECKING:
    import grpc

    from heliograph.edge.grpc.server import GrpcServer
    from heliograph.edge.tls.certificates import Certificates


class Grpc:
    """Starts and stops the gRPC server.

    Args:
        handlers: makes those of every protocol.
        host: to listen on.
        port: reserved by whoever started the workers.
        most_bytes: of a message.
        longest: seconds that a stop waits for calls in flight.
        certificates: what to show; None to speak in the clear.
        peers: which client certificates are let in; None where none is asked for.
    """

    def __init__(
        self,
        handlers: Callable[[], Sequence[grpc.GenericRpcHandler]],
        host: str,
        port: int,
        most_bytes: int,
        longest: float = 30.0,
        *,
        certificates: Certificates | None = None,
        peers: Peers | None = None,
    ) -> None:
        self._handlers = handlers
        self._address = host, port
        self._most_bytes = most_bytes
        self._longest = longest
        self._certificates = certificates
        self._peers = peers
        self._server: GrpcServer | None = None

    async def start(self) -> None:
        """See `edge.http.server.Beside`."""
        # Model workers are started by fork and exec: gRPC's own guard against forks only complains.
        os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
        from heliograph.edge.grpc.secure import judged, server_credentials
        from heliograph.edge.grpc.server import GrpcLimits, GrpcServer

        self._server = GrpcServer(
            judged(self._handlers(), self._peers),
            GrpcLimits(message_bytes=self._most_bytes),
            shared=True,
            credentials=server_credentials(self._certificates) if self._certificates else None,
        )
        await self._server.start(*self._address)

    async def stop(self) -> None:
        """See `edge.http.server.Beside`."""
        if self._server is not None:
            await self._server.stop(self._longest)
