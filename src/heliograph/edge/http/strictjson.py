"""JSON without the holes of lenient parsers.

Refused, each with its code: nesting beyond 100, more than 10,000 strings, brackets and commas,
duplicate keys, NaN and infinities, numbers beyond float64 or 400 digits, invalid UTF-8, a
byte-order mark, lone surrogates. A body is looked through once before it is parsed, so that it
costs nothing that it is not worth.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from heliograph.core.errors import Code, HeliographError

DEEPEST = 100
_LONGEST_NUMBER = 400
_MOST_TOKENS = 10_000
# A string is one token, so that a base64 picture costs one step. Possessive, and with a closing
# quote that may be absent, so that no text is read twice.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{},]', re.DOTALL)


def parse(body: bytes) -> Any:
    """Parse a JSON document.

    Raises:
        HeliographError: `malformed_json`, `json_too_deep`, `too_large`, `json_duplicate_key` or
            `json_bad_number`.
    """
    _look_through(body)
    try:
        found = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_pairs,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except (ValueError, RecursionError) as error:
        raise HeliographError(Code.MALFORMED_JSON, "The body is not valid UTF-8 JSON.") from error
    if (b"\\ud" in body or b"\\uD" in body) and _has_lone_surrogate(found):
        raise HeliographError(Code.MALFORMED_JSON, "A string holds a lone surrogate.")
    return found


def _look_through(body: bytes) -> None:
    depth = 0
    for count, token in enumerate(_TOKEN.finditer(body)):
        first = body[token.start()]
        depth += (first in b"[{") - (first in b"]}")
        if depth > DEEPEST:
            raise HeliographError(Code.JSON_TOO_DEEP, f"JSON may be nested {DEEPEST} levels deep.")
        if count > _MOST_TOKENS:
            raise HeliographError(
                Code.TOO_LARGE, f"JSON may hold {_MOST_TOKENS} strings, brackets and commas."
            )


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise HeliographError(Code.JSON_DUPLICATE_KEY, "A key stands twice in one object.")
    return found


def _constant(name: str) -> float:
    raise HeliographError(Code.JSON_BAD_NUMBER, f"{name} is not a JSON number.")


def _float(text: str) -> float:
    value = float(text) if len(text) <= _LONGEST_NUMBER else math.inf
    if not math.isfinite(value):
        raise HeliographError(Code.JSON_BAD_NUMBER, "A number is too large or too long.")
    return value


def _int(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise HeliographError(Code.JSON_BAD_NUMBER, "A number has too many digits.")
    return int(text)


def _has_lone_surrogate(found: Any) -> bool:
    try:
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False
