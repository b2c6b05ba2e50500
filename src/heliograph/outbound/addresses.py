"""Which addresses are the public internet: a table of our own, and our own interfaces.

Python's `is_global` will not do: in 3.11 it takes 127.0.0.1 in its NAT64, 6to4 and "compatible"
forms, multicast and clouds' inner addresses for global.

Covered: everything that IANA's special-purpose registries keep for other uses, every form of IPv6
that carries an IPv4 address within it, clouds' metadata services, this machine's own addresses.
Not covered: public addresses by which this machine is known only to a router in front of it, and
inner machines that were given public addresses. `Policy.domains` is for those who have such.
"""

from __future__ import annotations

import ipaddress
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

DENIED_4 = tuple(
    IPv4Network(one)
    for one in (
        "0.0.0.0/8",  # "this network"; 0.0.0.0 reaches this machine
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carriers' NAT; a cloud's metadata at 100.100.100.200
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's inner endpoint at a public address
        "169.254.0.0/16",  # link-local; most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; a cloud's metadata at 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112 sinks
        "192.52.193.0/24",  # multicast tunnels
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112 sinks
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the broadcast address
    )
)
GLOBAL_6 = IPv6Network("2000::/3")
"""All that is assigned to the public internet; whatever lies outside is denied as well."""
DENIED_6 = tuple(
    IPv6Network(one)
    for one in (
        "::/96",  # unspecified, loopback, IPv4-compatible
        "::ffff:0:0/96",  # IPv4-mapped
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64 of a site
        "100::/64",  # discarded
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112 sinks
        "3ffe::/16",  # the old test network
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fc00::/7",  # private
        "fe80::/10",  # link-local
        "fec0::/10",  # site-local
        "ff00::/8",  # multicast
    )
)
_ISATAP = {0x0000_5EFE, 0x0200_5EFE}


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet and not of this machine."""
    return in_table(address) and not is_ours(address)


def in_table(address: Address) -> bool:
    """Whether the table lets an address pass."""
    if isinstance(address, IPv4Address):
        return not any(address in one for one in DENIED_4)
    if address.scope_id or address not in GLOBAL_6:
        return False
    # ISATAP carries an IPv4 address behind this mark, under any prefix.
    if int(address) >> 32 & 0xFFFF_FFFF in _ISATAP:
        return False
    return not any(address in one for one in DENIED_6)


def is_ours(address: Address) -> bool:
    """Whether an address is one of this machine's interfaces, as the system sees it now.

    Whoever speaks to itself has the same address on both sides. Nothing is sent: a datagram socket
    that connects only asks the table of routes.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect((str(address), 9))
            return ipaddress.ip_address(asking.getsockname()[0]) == address
    except OSError:  # no route, or no such family: it cannot be reached at all
        return False
