"""`heliograph serve`: start the server."""

from __future__ import annotations

import socket
import sys
from typing import Any

import click

from heliograph.accounts.key import admin_key
from heliograph.core.errors import Code, HeliographError
from heliograph.edge.grpc.ports import reserve
from heliograph.settings import ServerSettings, Settings, home_folder, read_settings

_OPTIONS: dict[str, tuple[str, str]] = {
    "host": ("server", "host"),
    "port": ("server", "port"),
    "grpc_port": ("server", "grpc_port"),
    "workers": ("server", "workers"),
    "open_": ("server", "open"),
    "models": ("serving", "models"),
    "exact": ("serving", "exact"),
    "model_config_file": ("tfserving", "model_config_file"),
    "batching_parameters_file": ("tfserving", "batching_parameters_file"),
    "log_style": ("log", "style"),
    "log_level": ("log", "level"),
}


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port; 0 picks a free one.  [default: 8000]")
@click.option("--grpc-port", type=int, help="Of gRPC; 0: a free one, -1: none.  [default: 8001]")
@click.option("--home", help="Data folder.  [default: $HELIOGRAPH_HOME or ~/.heliograph]")
@click.option("--workers", type=int, help="Processes that share the port.  [default: 1]")
@click.option("--open", "open_", is_flag=True, default=None, help="No key needed; loopback only.")
@click.option("--models", help="Serve only these models (names with commas).")
@click.option("--exact", is_flag=True, default=None, help="Decode every JPEG at full size.")
@click.option("--model-config-file", help="What is served, in TensorFlow Serving's words.")
@click.option("--batching-parameters-file", help="How calls are batched, likewise.")
@click.option("--log-style", type=click.Choice(["plain", "json"]), help="[default: plain]")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
def serve(home: str | None, **given: Any) -> None:
    """Serve models over HTTP and gRPC until SIGTERM or Ctrl-C; calls in flight finish first."""
    from heliograph.cli.trial import try_package
    from heliograph.edge.http.policy import read_policy
    from heliograph.edge.http.server import listen, supervise
    from heliograph.worker import serve as serve_worker

    tree: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        if value is not None:
            branch, field = _OPTIONS[name]
            tree.setdefault(branch, {})[field] = value
    settings = read_settings(home_folder(home), tree)
    read_policy(settings)
    if settings.tls.on:
        from heliograph.edge.tls.opening import check

        check(settings)
    sock = listen(settings.server.host, settings.server.port)
    plain = _plain(settings)
    held = _reserve(settings, chosen=given["grpc_port"] is not None)
    grpc_port = held.getsockname()[1] if held else 0
    _welcome(settings, sock.getsockname()[1], grpc_port)
    if settings.server.workers == 1:
        serve_worker(settings, sock, grpc_port, try_package)
    else:
        args = (settings, sock, grpc_port, try_package)
        sys.exit(supervise(serve_worker, args, settings.server.workers))
    if plain:
        plain.close()


def _reserve(settings: Settings, *, chosen: bool) -> socket.socket | None:
    """Hold gRPC's port for all workers; where nobody chose it and it is taken, any free one."""
    server = settings.server
    if server.grpc_port == -1:
        return None
    by_default = not chosen and server.grpc_port == ServerSettings().grpc_port
    try:
        return reserve(server.host, server.grpc_port)
    except HeliographError:
        if not by_default:
            raise
        return reserve(server.host, 0)


def _plain(settings: Settings) -> socket.socket | None:
    """Hold the port that ACME's proofs are answered on, in the clear, for all workers."""
    if not settings.tls.acme:
        return None
    port = settings.tls.acme_http_port
    try:
        return reserve(settings.server.host, port)
    except HeliographError as error:
        raise HeliographError(
            Code.VALIDATION,
            f"The port {port} of tls.acme_http_port is taken, or needs more rights than this "
            "server has.",
        ) from error


def _welcome(settings: Settings, port: int, grpc_port: int) -> None:
    """Say where the server is, and what to type first."""
    host = settings.server.host
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - a comparison
    scheme = "https" if settings.tls.on else "http"
    address = f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{port}"
    lines = [f"Heliograph on {click.style(address, bold=True)}   documentation: {address}/docs"]
    if grpc_port:
        lines.append(f"gRPC on {shown}:{grpc_port}")
    header = ""
    if not settings.server.open:
        settings.home.mkdir(parents=True, exist_ok=True)
        key, fresh = admin_key(settings.home)
        place = settings.home / "admin.key"
        header = f'-H "Authorization: Bearer $(cat {place})" '
        if fresh:
            lines.append(f"Administrator key, shown this once: {key}")
        lines.append(f"The key lies in {place}")
    lines.append(f"Try:  curl {header}--data-binary @photo.jpg {address}/api/v1/detect")
    click.echo("\n".join(lines), err=True)
