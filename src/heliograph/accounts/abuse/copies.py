"""Copies of what was reported, preserved under a key of their own while a hold lies on the case.

Covered: a copy is shown blurred and grey unless somebody asks for all of it; in a case of severity
S0 a second person must have let them; every look is an event and the picture says who looked. Not
covered: a copy of what is no picture can be kept but not shown here.
"""

from __future__ import annotations

import cv2
import numpy as np
from sqlalchemy import Connection

from heliograph.accounts.abuse import store
from heliograph.accounts.abuse.parts import Parts, there
from heliograph.accounts.abuse.store import COPIES
from heliograph.accounts.abuse.values import HOUR_MS, Case, Severity, same
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.core.ids import new_id
from heliograph.vision.decode import decode
from heliograph.vision.encode import encode
from heliograph.vision.stamp import stamped

PURPOSE = "holds"
MOST_BYTES = 20 << 20
_COARSE = 12
_GRANTED_MS = HOUR_MS


class Copies:
    """Preserved copies of cases.

    Args:
        parts: what the procedure needs of the house.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def preserve(self, case: str, who: str, data: bytes) -> str:
        """Keep a copy, exactly as it is; gives its id.

        Raises:
            HeliographError: `not_found`, `forbidden`, `too_large`; `conflict` without a hold.
        """
        if not 0 < len(data) <= MOST_BYTES:
            raise HeliographError(Code.TOO_LARGE, f"A copy is 1 to {MOST_BYTES} bytes.")
        ref = self._parts.vault.put(PURPOSE, data)
        try:
            return self._parts.database.write(lambda c: self._preserve(c, case, who, ref))
        except HeliographError as error:
            if error.code in {Code.NOT_FOUND, Code.FORBIDDEN, Code.CONFLICT}:
                self._parts.vault.shred(ref)
            raise

    def _preserve(self, connection: Connection, id_: str, who: str, ref: str) -> str:
        case = there(connection, id_)
        self._parts.refuse_partial(connection, case.workspace, who)
        if not case.held:
            raise HeliographError(Code.CONFLICT, "Copies are kept under a hold: begin one first.")
        copy, now = new_id("copy"), self._parts.clock()
        row = {"id": copy, "case": id_, "ref": ref, "added_by": who, "added_ms": now}
        store.add(connection, COPIES, row)
        self._parts.say(connection, Act.CASE_COPY_ADDED, who, case, copy=copy)
        return copy

    def grant(self, case: str, copy: str, viewer: str, granter: str) -> None:
        """Let somebody else see all of a copy for an hour.

        Raises:
            HeliographError: `not_found`; `forbidden` for oneself, and for the workspace's people.
        """
        self._parts.database.write(lambda c: self._grant(c, case, copy, viewer, granter))

    def _grant(
        self, connection: Connection, id_: str, copy: str, viewer: str, granter: str
    ) -> None:
        case = self._case_of(connection, id_, copy, granter)
        if same(viewer, granter):
            raise HeliographError(Code.FORBIDDEN, "Another reviewer must let you see this.")
        until = self._parts.clock() + _GRANTED_MS
        row = {"copy": copy, "viewer": viewer, "granter": granter, "until_ms": until}
        store.keep_grant(connection, row)
        facts = {"copy": copy, "viewer": viewer}
        self._parts.say(connection, Act.CASE_COPY_GRANTED, granter, case, **facts)

    def _case_of(self, connection: Connection, id_: str, copy: str, who: str) -> Case:
        case = there(connection, id_)
        self._parts.refuse_partial(connection, case.workspace, who)
        found = store.copy(connection, copy)
        if found is None or found.case != id_ or found.gone_ms:
            raise HeliographError(Code.NOT_FOUND, "The case has no such copy.")
        return case

    def see(self, case: str, copy: str, who: str, *, whole: bool = False) -> bytes:
        """A copy as a PNG: blurred and grey, or all of it, with who looks across it.

        Raises:
            HeliographError: `not_found`; `forbidden` for the workspace's people, and for all of a
                copy of an S0 case without another's leave; those of a picture.
        """
        ref = self._parts.database.write(lambda c: self._look(c, case, copy, who, whole=whole))
        data = self._parts.vault.get(ref)
        return stamped(data, who, self._parts.clock()) if whole else blurred(data)

    def _look(self, connection: Connection, id_: str, copy: str, who: str, *, whole: bool) -> str:
        case = self._case_of(connection, id_, copy, who)
        if whole and case.severity is Severity.S0:
            leave = store.grant(connection, copy, who)
            if leave is None or leave.until_ms <= self._parts.clock():
                raise HeliographError(
                    Code.FORBIDDEN, "All of an S0 copy is shown with another reviewer's leave."
                )
        self._parts.say(connection, Act.CASE_COPY_VIEWED, who, case, copy=copy, whole=whole)
        found = store.copy(connection, copy)
        assert found is not None, "a copy went within a transaction: this is a bug"
        ref: str = found.ref
        return ref

    def shred_free(self) -> int:
        """Destroy the copies of cases whose hold has ended; gives how many."""
        with self._parts.database.read() as connection:
            free = store.free_copies(connection)
        for one in free:
            self._parts.vault.shred(one.ref)
        now = self._parts.clock()

        def gone(connection: Connection) -> None:
            for one in free:
                store.change(connection, COPIES, one.id, gone_ms=now, ref="")

        if free:
            self._parts.database.write(gone)
        return len(free)


def blurred(data: bytes) -> bytes:
    """A picture, grey and so coarse that it tells a scene from a text and no more; a PNG."""
    pixels = decode(data).pixels
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    small = cv2.resize(grey, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (min(width, 480), min(height, 480)), interpolation=cv2.INTER_LINEAR)
    return encode(np.asarray(large, np.uint8), "png")
