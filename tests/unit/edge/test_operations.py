"""What OpenAPI says of a door is what the door does."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from heliograph.core.errors import Code
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import PUBLIC, Asked, Door
from heliograph.edge.http.operations import paths, shapes, tags


class Form(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How.

    Attributes:
        format: of the answer.
    """

    format: Literal["", "json", "csv", "pdf"] = ""


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """A sheet.

    Attributes:
        rows: of it.
    """

    rows: int


def use(asked: Asked) -> None:
    del asked


def said(door: Door) -> dict[str, Any]:
    return paths([door], set())[door.path][door.method.lower()]


def names(operation: dict[str, Any]) -> list[str]:
    return [one["name"] for one in operation["parameters"]]


def test_an_answer_in_several_forms_names_them_all() -> None:
    operation = said(Door("GET", "/x", Permission.USAGE_READ, use, gives=Sheet, query=Form))
    content = operation["responses"]["200"]["content"]
    assert list(content) == ["application/json", "text/csv", "application/pdf"]
    assert names(operation) == ["format", "Heliograph-Workspace"]
    plain = said(Door("GET", "/x", Permission.USAGE_READ, use, gives=Sheet))
    assert list(plain["responses"]["200"]["content"]) == ["application/json"]


def test_only_doors_that_keep_answers_offer_an_idempotency_key() -> None:
    """What is a person's own is never kept, and a public door has nobody to keep it for."""
    for needs, offered in (
        (Permission.KEYS_WRITE, True),
        (Permission.SELF_WRITE, False),
        (PUBLIC, False),
    ):
        operation = said(Door("POST", "/x", needs, use, takes=Sheet))
        assert ("Idempotency-Key" in names(operation)) is offered
        text = str(operation["responses"])
        assert (str(Code.IDEMPOTENCY_MISMATCH) in text) is offered


def test_what_a_door_needs_is_said() -> None:
    guarded = said(Door("DELETE", "/keys/{key}", Permission.KEYS_WRITE, use, status=204))
    assert guarded["x-permission"] == "keys:write"
    assert "security" not in guarded
    assert {"204", "401", "403", "404"} <= set(guarded["responses"])
    assert guarded["parameters"][0]["in"] == "path"
    public = said(Door("GET", "/open", PUBLIC, use))
    assert public["security"] == []
    assert "x-permission" not in public
    assert not {"401", "403"} & set(public["responses"])


def test_shapes_and_chapters() -> None:
    doors = [Door("PUT", "/x", PUBLIC, use, tag="keys", takes=Sheet), Door("GET", "/y", None, use)]
    assert shapes(doors)["Sheet"]["properties"]["rows"]["description"] == "of it."
    assert [one["name"] for one in tags(doors)] == ["keys", "other"]
