"""JSON without the holes of lenient parsers.

Refused, each with its code: nesting beyond 100, duplicate keys, NaN and infinities, numbers beyond
float64 or 400 digits, invalid UTF-8, a byte-order mark, lone surrogates.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from heliograph.core.errors import Code, HeliographError

DEEPEST = 100
_LONGEST_NUMBER = 400
# Strings are skipped as one token each, so that a base64 picture costs one step.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)


def parse(body: bytes) -> Any:
    """Parse a JSON document.

    Raises:
        HeliographError: `malformed_json`, `json_too_deep`, `json_duplicate_key` or
            `json_bad_number`.
    """
    _check_depth(body)
    try:
        text = body.decode("utf-8")
        found = json.loads(
            text,
            object_pairs_hook=_pairs,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except (ValueError, RecursionError) as error:
        raise HeliographError(Code.MALFORMED_JSON, "The body is not valid UTF-8 JSON.") from error
    if "\\ud" in text.lower() and _has_lone_surrogate(found):
        raise HeliographError(Code.MALFORMED_JSON, "A string holds a lone surrogate.")
    return found


def _check_depth(body: bytes) -> None:
    depth = 0
    for token in _TOKEN.finditer(body):
        first = body[token.start()]
        if first in b"[{":
            depth += 1
            if depth > DEEPEST:
                raise HeliographError(
                    Code.JSON_TOO_DEEP, f"JSON may be nested {DEEPEST} levels deep."
                )
        elif first in b"]}":
            depth -= 1


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
