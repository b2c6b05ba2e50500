"""`heliograph serve`: start the server."""

from __future__ import annotations

import sys
from typing import Any

import click

from heliograph.accounts.key import admin_key
from heliograph.settings import Settings, home_folder, read_settings

_OPTIONS: dict[str, tuple[str, str]] = {
    "host": ("server", "host"),
    "port": ("server", "port"),
    "workers": ("server", "workers"),
    "open_": ("server", "open"),
    "models": ("serving", "models"),
    "exact": ("serving", "exact"),
    "log_style": ("log", "style"),
    "log_level": ("log", "level"),
}


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port; 0 picks a free one.  [default: 8000]")
@click.option("--grpc-port", type=int, hidden=True, help="gRPC comes with the next protocols.")
@click.option("--home", help="Data folder.  [default: $HELIOGRAPH_HOME or ~/.heliograph]")
@click.option("--workers", type=int, help="Processes that share the port.  [default: 1]")
@click.option("--open", "open_", is_flag=True, default=None, help="No key needed; loopback only.")
@click.option("--models", help="Serve only these models (names with commas).")
@click.option("--exact", is_flag=True, default=None, help="Decode every JPEG at full size.")
@click.option("--log-style", type=click.Choice(["plain", "json"]), help="[default: plain]")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]))
def serve(home: str | None, grpc_port: int | None, **given: Any) -> None:
    """Serve models over HTTP until SIGTERM or Ctrl-C; calls in flight are answered first."""
    from heliograph.edge.http.server import listen, supervise
    from heliograph.worker import serve as serve_worker

    if grpc_port is not None:
        raise click.UsageError("--grpc-port: gRPC is not offered yet.")
    tree: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        if value is not None:
            branch, field = _OPTIONS[name]
            tree.setdefault(branch, {})[field] = value
    settings = read_settings(home_folder(home), tree)
    sock = listen(settings.server.host, settings.server.port)
    _welcome(settings, sock.getsockname()[1])
    if settings.server.workers == 1:
        serve_worker(settings, sock)
    else:
        sys.exit(supervise(serve_worker, (settings, sock), settings.server.workers))


def _welcome(settings: Settings, port: int) -> None:
    """Say where the server is, and what to type first."""
    host = settings.server.host
    shown = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - a comparison
    address = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
    lines = [f"Heliograph on {click.style(address, bold=True)}   documentation: {address}/docs"]
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
