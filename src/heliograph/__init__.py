"""Heliograph: image models as a service; an image in, an answer out.

`heliograph.Client` and `heliograph.AsyncClient` are the public Python interface.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heliograph.client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> Any:
    # On first use only: the server and the command line start without the client's imports.
    if name in __all__:
        from heliograph import client

        return getattr(client, name)
    raise AttributeError(name)
