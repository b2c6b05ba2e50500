"""Who can reach the server: loopback, TLS, or a proxy in front; and which proxies are believed.

A host that others can reach is served in the clear only behind a proxy that ends TLS, and somebody
has to say that there is one.
"""

from __future__ import annotations

import ipaddress

from heliograph.core.errors import Code, HeliographError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def loopback(host: str) -> bool:
    """Whether nobody but this machine reaches an address to listen on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, *, tls: bool, proxied: bool) -> None:
    """Refuse to send keys and pictures over a network in the clear.

    Args:
        host: to listen on.
        tls: whether the server itself speaks TLS.
        proxied: whether somebody has said that a proxy with TLS is in front.

    Raises:
        HeliographError: `validation`.
    """
    if tls or proxied or loopback(host):
        return
    raise HeliographError(
        Code.VALIDATION,
        f"Others can reach host {host!r}, and keys would be sent there in the clear. Set "
        "tls.certificate or tls.acme; or, if a proxy in front speaks TLS, server.proxied.",
    )


def networks(named: str) -> tuple[Network, ...]:
    """Addresses and networks with commas, such as `10.0.0.7, 10.1.0.0/16`.

    Raises:
        HeliographError: `validation`, naming the one that is none.
    """
    found: list[Network] = []
    for one in filter(None, (part.strip() for part in named.split(","))):
        try:
            found.append(ipaddress.ip_network(one))
        except ValueError as error:
            raise HeliographError(
                Code.VALIDATION,
                f"server.proxies: {one[:60]!r} is neither an address nor a network; write "
                "10.0.0.7 or 10.1.0.0/16.",
            ) from error
    return tuple(found)
