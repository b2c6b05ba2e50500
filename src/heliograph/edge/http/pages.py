"""Pages that need nothing from outside: plain HTML made from our own tables."""

from __future__ import annotations

from html import escape
from typing import Any

from starlette.responses import HTMLResponse

from heliograph.core.errors import TABLE

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'self' 'unsafe-inline'; "
        "img-src 'self' blob: data:; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1c2530;background:#fff}
h1{font-size:1.6rem}h2{margin-top:2.2rem;font-size:1.1rem}code,pre{font:14px ui-monospace,monospace}
pre{background:#f2f5f8;padding:.8rem;overflow:auto;border-radius:6px}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.3rem .6rem;
border-bottom:1px solid #dde3ea;vertical-align:top}
.verb{background:#e6532a;color:#fff;border-radius:4px;padding:.1rem .5rem;font-size:.8rem}
.get{background:#2b6cb0}a{color:#b23c17}
@media(prefers-color-scheme:dark){body{background:#12171d;color:#dbe3ec}pre{background:#1b232c}
td,th{border-color:#2c3742}a{color:#ff9a73}}
"""


def reply(body: str) -> HTMLResponse:
    """A page with the security headers."""
    return HTMLResponse(body, headers=HEADERS)


def _shell(title: str, body: str) -> str:
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width,initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>{body}</html>"
    )


def errors() -> str:
    """The table of error codes."""
    rows = "".join(
        f"<tr id='{code}'><td><code>{code}</code><td>{row.status}<td>{row.grpc}<td>{escape(row.title)}"
        for code, row in sorted(TABLE.items())
    )
    return _shell(
        "Heliograph: errors",
        "<p>Every refusal is problem JSON (RFC 9457) with one of these codes."
        f"<table><tr><th>code<th>HTTP<th>gRPC<th>meaning{rows}</table><p><a href=/docs>All addresses</a>",
    )


def reference(document: dict[str, Any]) -> str:
    """Every address of the OpenAPI document, with its parameters and a `curl` to copy."""
    parts: list[str] = [
        "<p>An image in, an answer out. The same in a form for programs: "
        "<a href=/openapi.json>openapi.json</a> · <a href=/docs/errors>error codes</a> · "
        "<a href=/>try it with a photo</a></p>"
    ]
    for path, verbs in document["paths"].items():
        for verb, about in verbs.items():
            parts.append(_operation(path, verb, about))
    return _shell("Heliograph: the API", "".join(parts))


def _operation(path: str, verb: str, about: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code><td>{escape(_kind(one['schema']))}"
        f"<td>{escape(one.get('description') or one['schema'].get('description', ''))}"
        for one in about.get("parameters", ())
    )
    table = f"<table><tr><th>parameter<th>takes<th>meaning{rows}</table>" if rows else ""
    return (
        f"<h2><span class='verb {verb}'>{verb.upper()}</span> <code>{escape(path)}</code></h2>"
        f"<p>{escape(about['summary'])}.</p>{table}<pre>{escape(_curl(path, verb, about))}</pre>"
    )


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    said = str(schema.get("type", "value"))
    if "minimum" in schema or "maximum" in schema:
        said += f" {schema.get('minimum', '')}..{schema.get('maximum', '')}"
    if "default" in schema:
        said += f" (default {schema['default']})"
    return said


def _curl(path: str, verb: str, about: dict[str, Any]) -> str:
    address = "http://127.0.0.1:8000" + path.replace("{name}", "ssd-mobilenet-v2-coco")
    key = "" if about.get("security") == [] else ' -H "Authorization: Bearer $KEY"'
    if verb == "get":
        return f"curl{key} {address}"
    needed = [one["name"] for one in about.get("parameters", ()) if one.get("required")]
    query = "?ops=grayscale,resize:320" if "ops" in needed else ""
    return f"curl{key} --data-binary @photo.jpg '{address}{query}'"
