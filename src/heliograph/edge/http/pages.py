"""The frame of every page, its security headers, and the page of errors.

Covered: nothing from outside, no inline script or style, no frame, no markup made by scripts
(trusted types); all text is escaped on its way in.
Not covered: what every answer carries, see `headers.py`.
"""

from __future__ import annotations

import json
import re
from html import escape

from heliograph.core.errors import TABLE, Row
from heliograph.edge.http.examples import EXAMPLES

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
}
_LINKS = (
    ("/", "Try it"),
    ("/docs", "API"),
    ("/docs/errors", "Errors"),
    ("/openapi.json", "OpenAPI"),
)


def frame(title: str, here: str, body: str, aside: str = "") -> str:
    """A whole page.

    Args:
        title: of the page, plain text.
        here: the page's own address, marked in the links on top.
        body: HTML.
        aside: HTML of the side column.
    """
    links = "".join(
        f'<a href="{to}"{" aria-current=page" if to == here else ""}>{name}</a>'
        for to, name in _LINKS
    )
    side = f'<nav class="side" aria-label="On this page">{aside}</nav>' if aside else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)} · Heliograph</title>"
        '<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">'
        '<link rel="stylesheet" href="/assets/base.css"><link rel="stylesheet" '
        'href="/assets/docs.css"><script type="module" src="/assets/docs.js"></script></head>'
        '<body><a class="skip" href="#content">Skip to the content</a><header class="top">'
        '<a class="brand" href="/"><img src="/assets/icon.svg" alt="" width="28" height="28">'
        f'Heliograph</a><nav aria-label="Pages">{links}</nav></header>'
        f'<div class="page">{side}<main id="content"><h1>{escape(title)}</h1>{body}</main></div>'
        "</body></html>"
    )


def prose(text: str) -> str:
    """Plain text as HTML: `code` in backticks, an empty line between paragraphs."""
    parts = [_CODE.sub(r"<code>\1</code>", escape(part)) for part in text.split("\n\n") if part]
    return "".join(f"<p>{part}</p>" for part in parts)


def words(text: str) -> str:
    """One sentence or two as HTML, without a paragraph around; the first letter made large."""
    return _CODE.sub(r"<code>\1</code>", escape(text[:1].upper() + text[1:]))


def block(text: str, label: str) -> str:
    """A block of code with a name; `docs.js` adds the button that copies it."""
    return (
        f'<figure class="code"><figcaption>{escape(label)}</figcaption>'
        f'<pre tabindex="0"><code>{escape(text)}</code></pre></figure>'
    )


_CODE = re.compile("`([^`]+)`")


def errors() -> str:
    """The page of error codes."""
    rows = "".join(
        f'<tr id="{code}"><td><a class="plain" href="#{code}"><code>{code}</code></a><td>'
        f"{row.status}<td><code>{row.grpc}</code><td>{escape(row.title)}<td>{_again(row)}"
        for code, row in sorted(TABLE.items(), key=lambda one: (one[1].status, one[0]))
    )
    example = json.dumps(EXAMPLES["Problem"], indent=2)
    return frame(
        "Errors",
        "/docs/errors",
        "<p>Every refusal is problem JSON (RFC 9457). Programs look at <code>code</code>, from "
        "the closed list below; people read <code>title</code> and <code>detail</code>, which says "
        "what was expected, what came and what to do. Quote <code>request_id</code> when asking "
        "for help. Codes are added over time and never renamed.</p>"
        f"{block(example, 'application/problem+json')}"
        '<div class="wide"><table><thead><tr><th>Code<th>HTTP<th>gRPC<th>Meaning<th>Try again?'
        f"</thead><tbody>{rows}</tbody></table></div>",
    )


def _again(row: Row) -> str:
    if row.status in {429, 503}:
        return "after <code>Retry-After</code>"
    if row.status in {408, 504}:
        return "once, with more time"
    if row.status >= 500:
        return "no; it is in the server's log"
    return "after mending the request"
