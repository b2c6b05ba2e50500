"""Whoever tells something in this house names a mail or an event that there is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from heliograph.notices.templates import TEMPLATES
from heliograph.notices.values import KINDS

SOURCE = Path(__file__).parents[3] / "src" / "heliograph"
# Which argument of which call is a template or a kind, where it is written out.
_MAILS = {"Mail": 1, "write_to": 2, "tell": 2}
_HOOKS = {"Hook": 1}


def said(places: dict[str, int]) -> Iterator[tuple[str, str]]:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            at = places.get(name, 99)
            if at < len(node.args):
                given = node.args[at]
                if isinstance(given, ast.Constant) and isinstance(given.value, str) and given.value:
                    yield given.value, f"{path.name}:{node.lineno}"


def test_every_mail_that_is_sent_has_a_template() -> None:
    found = list(said(_MAILS))
    assert found
    assert [one for one in found if one[0] not in TEMPLATES] == []


def test_every_event_that_is_told_is_in_the_list() -> None:
    assert [one for one in said(_HOOKS) if one[0] not in KINDS] == []
