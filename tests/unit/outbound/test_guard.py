"""What the guard reads in a URL, and which names and addresses it lets pass."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heliograph.core.errors import Code, HeliographError
from heliograph.outbound.addresses import Address
from heliograph.outbound.fetch import Courier
from heliograph.outbound.guard import Guard, Pinned
from heliograph.outbound.targets import OFF, PUBLIC, Policy, parse

EXAMPLE = "93.184.215.14"


class Names:
    """A resolver that knows some names and counts what it is asked."""

    def __init__(self, **known: Sequence[str]) -> None:
        self.known = known
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Sequence[Address]:
        self.asked.append(name)
        return [ip_address(one) for one in self.known.get(name.replace(".", "_"), ())]


def pin(url: str, names: Names, policy: Policy = PUBLIC, ours: str = "") -> Pinned:
    guard = Guard(frozenset(filter(None, [ours])), resolver=names)
    return asyncio.run(guard.pin(url, policy))


def refused(url: str, names: Names, policy: Policy = PUBLIC, ours: str = "") -> HeliographError:
    with pytest.raises(HeliographError) as caught:
        pin(url, names, policy, ours)
    assert caught.value.code is Code.URL_NOT_ALLOWED
    return caught.value


@pytest.mark.parametrize(
    ("url", "authority", "path"),
    [
        ("https://a.example", "a.example", "/"),
        ("HTTPS://A.Example./x?y=1#z", "a.example", "/x?y=1"),
        ("http://a.example:80/", "a.example", "/"),
        ("http://a.example:443/", "a.example:443", "/"),
        ("https://my_bucket.s3.example/k?a=b&c=%2F", "my_bucket.s3.example", "/k?a=b&c=%2F"),
        ("https://b\u00fccher.example/\u96ea .png".replace(" ", ""), "xn--bcher-kva.example", None),
        ("https://93.184.215.14/", EXAMPLE, "/"),
        ("https://[2606:4700:0:0::1111]/", "[2606:4700::1111]", "/"),
        ("https://a.example/x@y/http://b", "a.example", "/x@y/http://b"),
        ('https://a.example/"<x>|^', "a.example", "/%22%3Cx%3E%7C%5E"),
        ("https://a.example/?\u96ea", "a.example", "/?%E9%9B%AA"),
    ],
)
def test_urls_are_rebuilt_from_their_parts(url: str, authority: str, path: str | None) -> None:
    target = parse(url, PUBLIC)
    assert target.authority == authority
    assert target.path == (path or "/%E9%9B%AA.png")
    assert parse(target.url, PUBLIC) == target


@pytest.mark.parametrize(
    "url",
    [
        *("", "a.example", "//a.example/", "https:a.example", "https:/a.example", "https:///x"),
        *("https://", "https://?x", "https://a.example?x", "https://a.example#x", "https://a:/"),
        *("https://a.example:0/", "https://a.example:99999/", "https://a.example:8o/"),
        *("https://a.example:\u0664\u0664\u0663/", "https://.a.example/", "https://a..example/"),
        *("https://-a.example/", "https://a-.example/", "https://a.example../", "https://*.a.b/"),
        *("https://[::1/", "https://::1/", "https://[::1]x/", "https://[2606:4700::1%25eth0]/"),
        *("https://[v1.a]/", "https://[]/", "https://a.example%00/", "https://a.example/%00"),
        *("https://a%2eexample/", "https://" + "a" * 64 + ".example/", "https://\ud800.example/"),
        *("https://" + "a." * 127 + "example/", "https://a.example/" + "x" * 2048),
        *(f"https://{EXAMPLE}./", "https://\uff11.1.1.1/", "https://1.1.1.1\u3002/"),
        *("https://\u200b.example/", "https://a.\u3002example/", "ht\ntps://a.example/"),
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(HeliographError) as caught:
        parse(url, PUBLIC)
    assert caught.value.code is Code.URL_NOT_ALLOWED


@given(st.text(max_size=60), st.sampled_from(["", "http://", "https://", "https://a.example"]))
@example("\ud800", "https://a.example/")
def test_any_text_is_a_target_or_refused(text: str, before: str) -> None:
    with contextlib.suppress(HeliographError):
        target = parse(before + text, PUBLIC)
        assert parse(target.url, PUBLIC) == target
        assert target.url.isascii()
        assert not set(target.url) & set(' \\"<>\r\n\t\x00')


def test_each_name_is_asked_for_once_and_literals_never() -> None:
    names = Names(a_example=[EXAMPLE, "2606:4700::1111", EXAMPLE])
    assert pin("https://A.example./x", names).addresses == (
        ip_address(EXAMPLE),
        IPv6Address("2606:4700::1111"),
    )
    assert names.asked == ["a.example"]
    assert pin(f"https://{EXAMPLE}/", names).addresses == (ip_address(EXAMPLE),)
    assert names.asked == ["a.example"]


def test_one_bad_address_is_enough() -> None:
    for records in (
        [EXAMPLE, "10.0.0.1"],
        ["2606:4700::1111", "::1"],
        [EXAMPLE, "64:ff9b::7f00:1"],
        [f"93.184.{n // 250}.{n % 250 + 1}" for n in range(300)],
        [],
    ):
        refused("https://a.example/", Names(a_example=records))


def test_inner_and_unknown_names_cannot_be_told_apart() -> None:
    names = Names(inner_example=["10.0.0.1"], mixed_example=["10.0.0.1", EXAMPLE])
    words = {
        refused(f"https://{one}.example/", names).detail for one in ("inner", "mixed", "nosuch")
    }
    assert len(words) == 1


def test_a_resolver_that_fails_or_sleeps() -> None:
    async def broken(name: str) -> Sequence[Address]:
        raise OSError(-3, "library words")

    with pytest.raises(HeliographError) as caught:
        asyncio.run(Guard(resolver=broken).pin("https://a.example/", PUBLIC))
    assert caught.value.code is Code.UPSTREAM_FETCH_FAILED
    assert "library" not in caught.value.detail

    async def asleep(name: str) -> Sequence[Address]:
        raise TimeoutError

    with pytest.raises(HeliographError) as caught:
        asyncio.run(Guard(resolver=asleep).pin("https://a.example/", PUBLIC))
    assert caught.value.code is Code.FETCH_TIMEOUT


def test_policies() -> None:
    names = Names(a_example=[EXAMPLE], b_a_example=[EXAMPLE], xa_example=[EXAMPLE])
    for allow, admitted in (
        ("", ()),
        ("*", ("a.example", "b.a.example", "xa.example")),
        ("a.example", ("a.example",)),
        ("A.Example. , other.example", ("a.example",)),
        ("*.a.example", ("b.a.example",)),
        (EXAMPLE, ()),
    ):
        policy = Policy.read(allow)
        for host in ("a.example", "b.a.example", "xa.example"):
            if host in admitted:
                pin(f"https://{host}/", names, policy)
            else:
                refused(f"https://{host}/", names, policy)
    assert Policy.read("") == OFF
    assert Policy().off
    assert not PUBLIC.off
    pin(f"https://{EXAMPLE}/", names, Policy.read(EXAMPLE))
    # What is not listed is not even looked up: no name tells anybody anything.
    names.asked.clear()
    refused("https://secret.elsewhere.example/", names, Policy.read("a.example"))
    assert not names.asked


def test_a_listed_host_must_be_public_all_the_same() -> None:
    refused("https://a.example/", Names(a_example=["10.0.0.1"]), Policy.read("a.example"))
    refused("https://10.0.0.1/", Names(), Policy.read("10.0.0.1"))


def test_schemes_and_ports_of_a_policy() -> None:
    names = Names(a_example=[EXAMPLE])
    secure = Policy(any_host=True, schemes=frozenset({"https"}))
    refused("http://a.example/", names, secure)
    pin("https://a.example/", names, secure)
    pin("https://a.example:8443/", names, Policy.read("*", "443, 8443"))
    refused("http://a.example/", names, Policy.read("*", "443, 8443"))


@pytest.mark.parametrize(
    ("allow", "ports"),
    [
        *(("a b", "80"), ("localhost", "80"), ("https://a.example", "80"), ("*.*", "80")),
        *(("2130", "1"), ("*", ""), ("*", "x"), ("*", "0"), ("*", "65536"), ("*", "80,")),
    ],
)
def test_settings_that_cannot_be_read(allow: str, ports: str) -> None:
    with pytest.raises(HeliographError) as caught:
        Policy.read(allow, ports)
    assert caught.value.code is Code.VALIDATION


def test_our_own_names_are_never_asked() -> None:
    names = Names(we_example=[EXAMPLE])
    for url in ("https://we.example/", "http://WE.example.:443/x"):
        refused(url, names, ours="We.example")
    assert not names.asked


def test_check_without_a_loop() -> None:
    names = Names(a_example=[EXAMPLE], b_example=["127.0.0.1"])
    courier = Courier(Guard(resolver=names))
    courier.check("https://a.example/x", PUBLIC)
    with pytest.raises(HeliographError):
        courier.check("https://b.example/", PUBLIC)
    assert names.asked == ["a.example", "b.example"]
    # Behind a proxy nobody here may know the name.
    Courier(Guard(resolver=names), proxy="http://127.0.0.1:1").check("https://x.example/", PUBLIC)
    assert len(names.asked) == 2
