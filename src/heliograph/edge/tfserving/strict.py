"""JSON as TensorFlow Serving reads it, without the holes of lenient parsers.

Bare `NaN`, `Infinity` and `-Infinity` are numbers. Refused, each with its code: nesting beyond what
the parser bears (a tensor's own limit is lower), more than half a million lists and objects, a key
that stands twice, numbers beyond float64, invalid UTF-8, a byte-order mark, lone surrogates.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from heliograph.core.errors import Code, HeliographError

_MOST_LISTS = 500_000
_LONGEST_NUMBER = 400
_HUGE = re.compile(rb"[eE]\+?[0-9]{3}|[0-9]{300}")
_WORDS = (
    ("Expecting value", "Invalid value."),
    ("Expecting property name", "Missing a name for object member."),
    ("Illegal trailing comma", "Invalid value."),
    ("Expecting ':'", "Missing a colon after a name of object member."),
    ("Expecting ','", "Missing a comma or ] or } after an element."),
    ("Extra data", "The document root must not be followed by other values."),
    ("Unterminated string", "Missing a closing quotation mark in string."),
    ("Invalid \\", "Invalid escape character in string."),
    ("Invalid control", "Invalid encoding in string."),
)


def check_bounds(body: bytes) -> None:
    """Refuse a body that would become too many lists before it is parsed.

    Raises:
        HeliographError: `malformed_json` if there is nothing, `too_large`.
    """
    if not body:
        raise HeliographError(
            Code.MALFORMED_JSON, "JSON Parse error: The document is empty at offset: 0"
        )
    if body.count(b"[") + body.count(b"{") > _MOST_LISTS:
        raise HeliographError(
            Code.TOO_LARGE, f"JSON may hold {_MOST_LISTS} lists and objects; send tensors by gRPC."
        )


def parse(body: bytes) -> Any:
    """Parse a JSON document whose bounds were checked.

    Raises:
        HeliographError: `malformed_json`, `json_too_deep`, `json_duplicate_key` or
            `json_bad_number`.
    """
    hook = _float if _HUGE.search(body) else None
    try:
        found = json.loads(body.decode("utf-8"), object_pairs_hook=_pairs, parse_float=hook)
    except json.JSONDecodeError as error:
        words = next((ours for theirs, ours in _WORDS if error.msg.startswith(theirs)), "")
        raise HeliographError(
            Code.MALFORMED_JSON,
            f"JSON Parse error: {words or 'Invalid value.'} at offset: {error.pos}",
        ) from error
    except UnicodeDecodeError as error:
        raise HeliographError(
            Code.MALFORMED_JSON,
            f"JSON Parse error: Invalid encoding in string. at offset: {error.start}",
        ) from error
    except RecursionError as error:
        raise too_deep() from error
    except ValueError as error:  # an integer of more digits than Python converts
        raise _bad_number() from error
    if b"\\u" in body and _has_lone_surrogate(found):
        raise HeliographError(
            Code.MALFORMED_JSON,
            "JSON Parse error: The surrogate pair in string is invalid. at offset: 0",
        )
    return found


def too_deep() -> HeliographError:
    """The error of a document that is nested beyond the limit."""
    return HeliographError(Code.JSON_TOO_DEEP, "The JSON is nested too deeply for a tensor.")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise HeliographError(Code.JSON_DUPLICATE_KEY, "A key stands twice in one object.")
    return found


def _float(text: str) -> float:
    value = float(text) if len(text) <= _LONGEST_NUMBER else math.inf
    if not math.isfinite(value):
        raise _bad_number()
    return value


def _bad_number() -> HeliographError:
    return HeliographError(
        Code.JSON_BAD_NUMBER,
        "JSON Parse error: Number too big to be stored in double. at offset: 0",
    )


def _has_lone_surrogate(found: Any) -> bool:
    try:
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return True
    except RecursionError as error:
        raise too_deep() from error
    return False
