"""Rows B110 and B111: no address that is not a public one of somebody else passes the table."""

from __future__ import annotations

import ipaddress
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.outbound.addresses import GLOBAL_6, in_table, is_ours, is_public

# Written down from the registries and the facts once more, not taken from the module.
INNER_4 = [
    IPv4Network(one)
    for one in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32"),
        *("169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32"),
    )
]
INNER_6 = [
    IPv6Network(one)
    for one in (
        *("::/96", "::/128", "::1/128", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"),
        *("100::/64", "2001::/32", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
        *("5f00::/16", "fc00::/7", "fd00:ec2::254/128", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
]
inner_4 = st.sampled_from(INNER_4).flatmap(lambda net: st.ip_addresses(network=net))
any_4 = st.one_of(inner_4, st.ip_addresses(v=4))


@given(inner_4)
def test_no_inner_ipv4_passes(address: IPv4Address) -> None:
    assert not in_table(address)
    assert not is_public(address)


@given(st.sampled_from(INNER_6).flatmap(lambda net: st.ip_addresses(network=net)))
def test_no_inner_ipv6_passes(address: IPv6Address) -> None:
    assert not in_table(address)
    assert not is_public(address)


@given(any_4, st.integers(0, (1 << 16) - 1), st.integers(0, (1 << 32) - 1))
def test_no_ipv4_hides_in_an_ipv6(address: IPv4Address, few: int, some: int) -> None:
    inner = int(address)
    forms = {
        "compatible": inner,
        "mapped": 0xFFFF << 32 | inner,
        "translated": 0xFFFF << 48 | inner,
        "NAT64": 0x64_FF9B << 96 | inner,
        "NAT64 of a site": 0x64_FF9B_0001 << 80 | few << 48 | inner,
        "6to4": 0x2002 << 112 | inner << 80 | some,
        "Teredo": 0x2001_0000 << 96 | some << 64 | few << 32 | inner ^ 0xFFFF_FFFF,
        "Teredo's server": 0x2001_0000 << 96 | inner << 64 | some,
        "ISATAP": 0x2A00_1450 << 96 | few << 64 | 0x5EFE << 32 | inner,
        "ISATAP, universal": 0x2A00_1450 << 96 | few << 64 | 0x0200_5EFE << 32 | inner,
    }
    for name, form in forms.items():
        assert not in_table(IPv6Address(form)), name


@given(st.ip_addresses(v=6))
def test_only_what_is_assigned_to_the_internet_passes(address: IPv6Address) -> None:
    if in_table(address):
        assert address in GLOBAL_6
        # Where Python knows better than a table it agrees.
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=4))
def test_what_passes_is_global_to_python_too(address: IPv4Address) -> None:
    if in_table(address):
        assert address.is_global
        assert not address.is_multicast


@pytest.mark.parametrize(
    "text",
    [
        *("1.1.1.1", "8.8.8.8", "93.184.215.14", "168.63.129.15", "172.32.0.1", "192.0.1.1"),
        *("223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001:829::200e"),
    ],
)
def test_the_public_internet_passes(text: str) -> None:
    assert in_table(ipaddress.ip_address(text))
    assert is_public(ipaddress.ip_address(text))


def test_an_address_of_one_network_does_not_pass() -> None:
    assert not in_table(IPv6Address("2606:4700::1%eth0"))


def test_our_own_interfaces_are_ours() -> None:
    assert is_ours(IPv4Address("127.0.0.1"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("8.8.8.8", 9))
        except OSError:
            pytest.skip("this machine has no interface but loopback")
        mine = IPv4Address(asking.getsockname()[0])
    assert is_ours(mine)
    assert not is_ours(IPv4Address("8.8.8.8"))
