"""Whether a page of this server sent a request: what stands between a session and other sites.

Covered: other origins, other ports, the same host in the clear, a missing `Origin`, `Origin: null`,
browsers that say themselves that the request comes from elsewhere; a cookie that a neighbouring
host or a page in the clear has planted.
"""

from __future__ import annotations

from urllib.parse import urlsplit

_OVER_TLS, _IN_THE_CLEAR = "__Host-heliograph", "heliograph"
_OURS = {"", "same-origin"}


def from_our_page(scheme: str, host: str, origin: str, fetched: str) -> bool:
    """Whether a change with a session's cookie comes from a page of this server.

    Args:
        scheme: `http` or `https`, as the client spoke it.
        host: of the request, with its port.
        origin: the header `Origin`; browsers send it with every change.
        fetched: the header `Sec-Fetch-Site`; empty from browsers that do not know it.
    """
    parts = urlsplit(origin)
    return (
        bool(host)
        and fetched in _OURS
        and parts.scheme == scheme
        and parts.netloc.lower() == host.lower()
    )


def session_name(*, secure: bool) -> str:
    """What the session's cookie is called; over TLS the name binds it to this very host."""
    return _OVER_TLS if secure else _IN_THE_CLEAR


def session_in(cookies: str, scheme: str) -> str:
    """The session's id in a Cookie header; empty where there is none.

    Over TLS only the name counts that browsers bind to this very host, since any neighbour can set
    a cookie of the other name; one that stands twice counts as none.
    """
    wanted = session_name(secure=scheme == "https")
    pairs = (one.strip().partition("=") for one in cookies.split(";"))
    found = [value for name, _, value in pairs if name == wanted]
    return found[0] if len(found) == 1 else ""
