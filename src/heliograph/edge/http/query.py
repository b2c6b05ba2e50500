"""The query string, strictly: no name twice, no keys in addresses, nothing ignored."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

from heliograph.core.call import Credentials
from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http.origin import from_our_page, session_in
from heliograph.edge.http.wire import EXTENSION
from heliograph.serving.values import Form, Head, always

_KEYS = {"key", "api_key", "apikey", "access_token", "token", "authorization"}
_SAFE = {"GET", "HEAD", "OPTIONS"}
_FORMS: dict[str, Form] = {
    "json": "json",
    "png": "png",
    "jpeg": "jpeg",
    "jpg": "jpeg",
    "webp": "webp",
}
_ACCEPTS: dict[str, Form] = {
    "application/json": "json",
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/webp": "webp",
}


def read_query(request: Request) -> dict[str, str]:
    """The query as a dict.

    Raises:
        HeliographError: `bad_request` for a name that stands twice, `key_in_url`.
    """
    raw = request.scope["query_string"].decode("latin-1")
    if not raw:
        return {}
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=64)
    except ValueError as error:
        raise HeliographError(
            Code.BAD_REQUEST, "The query is not valid UTF-8 or has more than 64 parameters."
        ) from error
    found = dict(pairs)
    if len(found) != len(pairs):
        raise HeliographError(Code.BAD_REQUEST, "A query parameter stands twice; once is enough.")
    if _KEYS & {name.lower() for name in found}:
        raise HeliographError(
            Code.KEY_IN_URL,
            "Keys in addresses end up in logs. Send 'Authorization: Bearer KEY', replace this key.",
        )
    return found


def no_query(request: Request) -> None:
    """Refuse any query parameter, by name."""
    for name in read_query(request):
        raise HeliographError(
            Code.UNKNOWN_FIELD, f"This address takes no parameter; {name[:60]!r} came."
        )


def read_head(request: Request, *, model: str = "", task: str = "") -> Head:
    """Everything that is known of a call before its body.

    Raises:
        HeliographError: those of `read_query`, `unsupported_encoding`, `range`, `validation`.
    """
    headers = request.headers
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise HeliographError(
            Code.UNSUPPORTED_ENCODING, "Send the body as it is, without Content-Encoding."
        )
    if headers.get("range", "").count(","):
        raise HeliographError(Code.RANGE, "At most one range is taken.")
    query = read_query(request)
    version = query.pop("version", "")
    connection = request.scope.get("extensions", {}).get(EXTENSION)
    form = _form(query.pop("format", None), headers.get("accept", ""))
    alive = connection.alive if connection is not None else always
    sticky = headers.get("x-sticky-key", "")
    return Head(model, task, version, credentials(request), query, form, alive, sticky)


def credentials(request: Request) -> Credentials:
    """What a request says of its sender.

    Raises:
        HeliographError: `csrf`: it changes something by a session's cookie, and is not certainly
            from a page of ours.
    """
    headers = request.headers
    scheme, _, key = headers.get("authorization", "").partition(" ")
    scheme_spoken, origin = request.scope["scheme"], headers.get("origin", "")
    session = "" if key else session_in(headers.get("cookie", ""), scheme_spoken)
    if session and request.method not in _SAFE:
        host, fetched = headers.get("host", ""), headers.get("sec-fetch-site", "")
        if not from_our_page(scheme_spoken, host, origin, fetched):
            raise HeliographError(
                Code.CSRF, "A change with a session's cookie must come from a page of this server."
            )
    client = request.scope.get("client")
    return Credentials(
        key.strip() if scheme.lower() == "bearer" else "",
        session,
        headers.get("heliograph-workspace", ""),
        client[0] if client else "",
        origin,
    )


def _form(asked: str | None, accept: str) -> Form:
    if asked is not None:
        if asked not in _FORMS:
            raise HeliographError(
                Code.VALIDATION, f"format is json, png, jpeg or webp; {asked[:20]!r} came."
            )
        return _FORMS[asked]
    for one in accept.split(","):
        found = _ACCEPTS.get(one.partition(";")[0].strip().lower())
        if found:
            return found
    return ""
