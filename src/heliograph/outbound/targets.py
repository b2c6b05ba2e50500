"""What may be asked, and what a URL asks for: parsed once, refused where two parsers could differ.

Policy   the operator's: nobody, listed hosts, or any public one; ports and schemes
Target   a URL's parts; what is sent is rebuilt from them
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from urllib.parse import quote

from heliograph.core.errors import Code, HeliographError
from heliograph.outbound.addresses import Address

DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST = 2048
_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,30})://(?P<authority>[^/?#]*)"
    r"(?:(?P<path>/[^?#]*)(?:\?(?P<query>[^#]*))?(?:#.*)?)?",
    re.IGNORECASE,
)
_AUTHORITY = re.compile(r"(?:\[(?P<six>[^\[\]]*)\]|(?P<name>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# What may be misread: controls, blanks, and the stroke that some take for a slash.
_STRANGE = re.compile(r"[\x00-\x20\x7f\\]|%00")
_PATH_SAFE = "!$%&'()*+,-./:;=?@_~"


@dataclass(frozen=True, slots=True)
class Policy:
    """Which addresses may be asked; nobody's by default.

    Attributes:
        any_host: every public host.
        domains: otherwise these names only; `*.example.org` for all below example.org.
        ports: to which ports.
        schemes: `http` and `https`, or one of them.
    """

    any_host: bool = False
    domains: frozenset[str] = frozenset()
    ports: frozenset[int] = frozenset({80, 443})
    schemes: frozenset[str] = frozenset({"http", "https"})

    @classmethod
    def read(cls, allow: str, ports: str = "80,443") -> Policy:
        """A policy from settings.

        Args:
            allow: empty for nobody, `*` for every public host, or names with commas.
            ports: numbers with commas.

        Raises:
            HeliographError: `validation`, naming what cannot be read.
        """
        names = [one.strip() for one in allow.split(",") if one.strip()]
        numbers = [one.strip() for one in ports.split(",")]
        for one in numbers:
            if not re.fullmatch("[0-9]{1,5}", one) or not 0 < int(one) < 1 << 16:
                raise HeliographError(Code.VALIDATION, f"{one[:20]!r} is no port.")
        return cls(
            "*" in names,
            frozenset(_domain(one) for one in names if one != "*"),
            frozenset(map(int, numbers)),
        )

    @property
    def off(self) -> bool:
        """Whether nobody at all may be asked."""
        return not (self.any_host or self.domains)

    def admits(self, host: str) -> bool:
        """Whether a host may be asked, if its addresses are public."""
        if self.any_host or host in self.domains:
            return True
        parts = host.split(".")
        return any(f"*.{'.'.join(parts[at:])}" in self.domains for at in range(1, len(parts)))


OFF = Policy()
PUBLIC = Policy(any_host=True)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL, taken apart once; only these parts are ever used.

    Attributes:
        scheme: `http` or `https`.
        host: an ASCII name without a closing dot, or an address without brackets.
        port: of TCP.
        path: with the query, percent-encoded.
        literal: the address, if the host is one.
    """

    scheme: str
    host: str
    port: int
    path: str
    literal: Address | None = None

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if isinstance(self.literal, IPv6Address) else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: what credentials belong to."""
        return f"{self.scheme}://{self.authority}"

    @property
    def url(self) -> str:
        """The URL, rebuilt."""
        return self.origin + self.path


def parse(url: str, policy: Policy) -> Target:
    """Take a URL apart.

    Raises:
        HeliographError: `url_not_allowed`: not a URL of the policy's schemes and ports, or one that
            another parser could read in another way.
    """
    if len(url) > _LONGEST:
        raise refused(f"it is longer than {_LONGEST} characters")
    if _STRANGE.search(url):
        raise refused("it holds a blank, a control character or a backslash")
    whole = _URL.fullmatch(url)
    if whole is None:
        raise refused("it is not of the form https://host/path")
    scheme = whole["scheme"].lower()
    if scheme not in policy.schemes or scheme not in DEFAULT_PORTS:
        raise refused(f"only {' and '.join(sorted(policy.schemes))} addresses are")
    if "@" in whole["authority"]:
        raise refused("it carries a user name")
    parts = _AUTHORITY.fullmatch(whole["authority"])
    if parts is None:
        raise refused("its host cannot be read")
    port = int(parts["port"] or DEFAULT_PORTS[scheme])
    if port not in policy.ports:
        raise refused(f"its port is none of {', '.join(map(str, sorted(policy.ports)))}")
    host, literal = _six(parts["six"]) if parts["six"] is not None else _host(parts["name"])
    path = whole["path"] or "/"
    if whole["query"] is not None:
        path += "?" + whole["query"]
    return Target(scheme, host, port, quote(path, safe=_PATH_SAFE, errors="replace"), literal)


def _six(text: str) -> tuple[str, Address]:
    try:
        found = IPv6Address(text)
    except AddressValueError as error:
        raise refused("its host is no address") from error
    if found.scope_id:
        raise refused("its host is an address of one network")
    return str(found), found


def _host(text: str) -> tuple[str, Address | None]:
    """A name in ASCII, or an address in the one form that all programs read alike."""
    name = text.lower()
    if not name.isascii():
        # Its tables take a while to load, and few ever need them.
        import idna

        try:
            name = idna.encode(name, uts46=True, std3_rules=True).decode("ascii").lower()
        except (idna.IDNAError, UnicodeError) as error:
            raise refused("its host is no valid name") from error
    name = name.removesuffix(".")
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            found = IPv4Address(text)
        except AddressValueError as error:
            # 2130706433, 0x7f.1, 0177.0.0.1 and 127.1 are addresses to some programs only.
            raise refused("its host is no plain address like 198.51.100.7") from error
        return str(found), found
    # A name of one label means something in our own network only.
    if len(labels) < 2 or len(name) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise refused("its host is no public name")
    return name, None


def _domain(said: str) -> str:
    """A host of the operator's list."""
    prefix = "*." if said.startswith("*.") else ""
    try:
        literal = ip_address(said)
    except ValueError:
        pass
    else:
        return str(literal)
    try:
        return prefix + _host(said.removeprefix(prefix))[0]
    except HeliographError as error:
        raise HeliographError(Code.VALIDATION, f"{said[:60]!r} is no host name.") from error


def refused(why: str) -> HeliographError:
    """The error of an address that may not be asked."""
    return HeliographError(Code.URL_NOT_ALLOWED, f"The address is not fetched: {why}.")
