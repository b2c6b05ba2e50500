"""Ids as they come in an address: of our own shape, or of nothing that is here."""

from __future__ import annotations

import re

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.http.doors import Asked

ID = "^[a-z]{2,8}_[0-9a-f]{32}$"
_ID = re.compile(ID)


def named(asked: Asked, name: str) -> str:
    """The id that stands in the address.

    Raises:
        HeliographError: `not_found` for what no id of ours looks like: a database may choke on it.
    """
    said = asked.path[name]
    if not _ID.fullmatch(said):
        raise HeliographError(Code.NOT_FOUND, "There is no such thing here.")
    return said


def place(after: str) -> str:
    """Where a list goes on.

    Raises:
        HeliographError: `validation` if it is neither empty nor an id.
    """
    if after and not _ID.fullmatch(after):
        raise HeliographError(Code.VALIDATION, "after is the id of the last one seen, or empty.")
    return after
