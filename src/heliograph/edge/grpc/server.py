"""The gRPC server: one port for every gRPC protocol, in the event loop of the HTTP server.

Covered: size of a message (as sent and unpacked), size of metadata, streams of a connection, calls
in progress, pings in a row, rapid resets (gRPC's own overload protection), several workers on one
port, a stop that lets calls in flight finish, TLS (`secure.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from heliograph.edge.grpc.ports import taken

_HARD_STOP = 30.0


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """What a client may ask of the server.

    Attributes:
        message_bytes: largest message in; answers may have any size.
        metadata_bytes: of one call.
        streams: calls at once on one connection.
        calls: calls at once in this process, over all connections.
        ping_seconds: a client that pings more often than this, twice in a row, is sent away.
    """

    message_bytes: int = 64 << 20
    metadata_bytes: int = 16 << 10
    streams: int = 1024
    calls: int = 4096
    ping_seconds: float = 10.0


class GrpcServer:
    """A gRPC server of this process's event loop; make, start and stop it there.

    Args:
        handlers: of every protocol, from their `grpc.py: handlers(services)`.
        limits: what a client may ask.
        shared: other workers listen on the same port, too (`SO_REUSEPORT`).
        credentials: of TLS; None to speak in the clear.
    """

    def __init__(
        self,
        handlers: Sequence[grpc.GenericRpcHandler],
        limits: GrpcLimits | None = None,
        *,
        shared: bool = False,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self._credentials = credentials
        limits = limits or GrpcLimits()
        self._server = grpc.aio.server(
            handlers=handlers,
            options=_options(limits, shared=shared),
            maximum_concurrent_rpcs=limits.calls,
        )

    async def start(self, host: str, port: int) -> int:
        """Listen; 0 picks a free port.

        Returns:
            The port.

        Raises:
            HeliographError: `validation`; the port is taken.
        """
        try:
            bound = (
                self._server.add_insecure_port(_address(host, port))
                if self._credentials is None
                else self._server.add_secure_port(_address(host, port), self._credentials)
            )
        except RuntimeError as error:
            raise taken(host, port) from error
        await self._server.start()
        return bound

    async def stop(self, seconds: float = _HARD_STOP) -> None:
        """Take no new call; return when those in flight are answered or `seconds` have passed."""
        await self._server.stop(seconds)
        # Its last callbacks run in this loop, which is about to close.
        await asyncio.sleep(0)


def _options(limits: GrpcLimits, *, shared: bool) -> list[tuple[str, int]]:
    between_pings = round(limits.ping_seconds * 1000)
    return [
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_send_message_length", -1),
        # Between a soft and a hard limit gRPC refuses by lot; one number makes it a rule.
        ("grpc.max_metadata_size", limits.metadata_bytes),
        ("grpc.absolute_max_metadata_size", limits.metadata_bytes),
        ("grpc.max_concurrent_streams", limits.streams),
        ("grpc.http2.min_ping_interval_without_data_ms", between_pings),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", between_pings),
        ("grpc.http2.max_ping_strikes", 2),
        ("grpc.keepalive_permit_without_calls", 1),
        # A peer that vanished without a word is found out after two minutes.
        ("grpc.keepalive_time_ms", 120_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.so_reuseport", int(shared)),
    ]


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
