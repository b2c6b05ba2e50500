"""Ports for gRPC: held by the process that starts the workers, which all listen on the same one."""

from __future__ import annotations

import socket

from heliograph.core.errors import Code, HeliographError


def reserve(host: str, port: int) -> socket.socket:
    """Hold a port that several workers will share; 0 picks a free one. Keep it open until the end.

    Raises:
        HeliographError: `validation`; somebody else listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if port:  # with SO_REUSEPORT a second server of the same user would share it silently
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        held = socket.socket(family, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))
    except OSError as error:
        raise taken(host, port) from error
    return held


def taken(host: str, port: int) -> HeliographError:
    """The error of a port that somebody else has."""
    return HeliographError(
        Code.VALIDATION, f"The port {port} of {host} is taken. Choose another one with --grpc-port."
    )
