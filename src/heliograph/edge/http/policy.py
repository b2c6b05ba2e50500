"""What holds for every connection of a server and every answer on it, beside its limits."""

from __future__ import annotations

from dataclasses import dataclass

from heliograph.core.exposure import networks
from heliograph.edge.http.headers import Cors, Header, always, read_origins, strict_seconds
from heliograph.edge.http.proxies import Proxies
from heliograph.edge.tls.peers import Peers, read_services
from heliograph.settings import Settings


@dataclass(frozen=True, slots=True)
class Policy:
    """See the attributes.

    Attributes:
        headers: of every answer.
        cors: whose pages may call; None for our own only.
        proxies: who is believed about whom a request is from; None for nobody.
        peers: which client certificates are let in as what; None where none is asked for.
    """

    headers: tuple[Header, ...] = ()
    cors: Cors | None = None
    proxies: Proxies | None = None
    peers: Peers | None = None


PLAIN = Policy()


def read_policy(settings: Settings) -> Policy:
    """What the settings make of it.

    Raises:
        HeliographError: `validation`, naming the setting.
    """
    server, tls = settings.server, settings.tls
    cors, trusted = read_origins(server.cors), networks(server.proxies)
    seconds = strict_seconds(tls.hsts, server.host, tls=tls.on)
    return Policy(
        tuple(always(cors, strict_seconds=seconds)),
        cors,
        Proxies(trusted) if trusted else None,
        Peers(read_services(tls.client_names)) if tls.client_ca else None,
    )
