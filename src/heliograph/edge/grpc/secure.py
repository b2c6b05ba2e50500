"""TLS for gRPC: the same certificates as HTTP's, followed; clients' asked for and judged.

gRPC's own library sees to versions and ciphers: TLS 1.2 with authenticated ciphers, and 1.3.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc

from heliograph.core.errors import HeliographError
from heliograph.edge.grpc.calls import abort
from heliograph.edge.tls.certificates import Certificates
from heliograph.edge.tls.peers import Peers, names_by
from heliograph.edge.tls.values import Pair

Handler = Any
"""A `grpc.RpcMethodHandler`, which is typed nowhere."""


def server_credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """What gRPC shows from connection to connection: it asks before each handshake."""
    ca = certificates.client_ca.read_bytes() if certificates.client_ca else None
    shown = certificates.current

    def configure(pair: Pair) -> Any:
        return grpc.ssl_server_certificate_configuration([(pair.key, pair.chain)], ca)

    def fetch() -> Any:
        nonlocal shown
        if certificates.current is shown:
            return None
        shown = certificates.current
        return configure(shown)

    return grpc.dynamic_ssl_server_credentials(
        configure(shown), fetch, require_client_authentication=ca is not None
    )


def service_of(context: Any, peers: Peers | None) -> str:
    """The service whose certificate the caller has shown; empty where none is asked for.

    Raises:
        HeliographError: `forbidden`.
    """
    return "" if peers is None else peers.service(names_by(context.auth_context()))


class Judged(grpc.GenericRpcHandler):
    """A protocol's methods, for services that are let in only.

    Args:
        inner: the methods.
        peers: who is let in.
    """

    def __init__(self, inner: grpc.GenericRpcHandler, peers: Peers) -> None:
        self._inner = inner
        self._peers = peers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """The method of that name, behind the check; None if there is none."""
        found: Handler = self._inner.service(handler_call_details)
        if found is None:
            return None
        if found.response_streaming:
            make = (
                grpc.stream_stream_rpc_method_handler
                if found.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            behave = self._stream(found.stream_stream or found.unary_stream)
        else:
            make = grpc.unary_unary_rpc_method_handler
            behave = self._one(found.unary_unary)
        return make(behave, found.request_deserializer, found.response_serializer)

    def _one(self, behave: Callable[..., Any]) -> Callable[..., Any]:
        async def call(question: Any, context: Any) -> Any:
            await self._judge(context)
            return await behave(question, context)

        return call

    def _stream(self, behave: Callable[..., Any]) -> Callable[..., Any]:
        async def call(question: Any, context: Any) -> AsyncIterator[Any]:
            await self._judge(context)
            async for one in behave(question, context):
                yield one

        return call

    async def _judge(self, context: Any) -> None:
        try:
            service_of(context, self._peers)
        except HeliographError as error:
            await abort(context, error)


def judged(
    handlers: Sequence[grpc.GenericRpcHandler], peers: Peers | None
) -> Sequence[grpc.GenericRpcHandler]:
    """The handlers, behind a check where not every certificate is let in."""
    if peers is None or peers.everybody:
        return handlers
    return [Judged(one, peers) for one in handlers]
