"""What time does to identity: terms run out, evidence goes, people are forgotten.

Evidence is destroyed in the vault first and then written off: a process that ends between the two
destroys once more, which does nothing. A legal hold on a person keeps their evidence.
"""

from __future__ import annotations

from sqlalchemy import Connection

from heliograph.accounts.identity import store
from heliograph.accounts.identity.parts import Parts
from heliograph.accounts.identity.values import Check, Evidence, after
from heliograph.core.events import Act

_AT_ONCE = 500


class Sweeper:
    """Ends what is past its term.

    Args:
        parts: what identity needs of the house.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def sweep(self) -> dict[str, int]:
        """End checks and destroy evidence; call it every hour or so, on any number of nodes.

        Returns:
            How many checks `expired` and how many pieces were `shredded`.
        """
        expired = self._parts.database.write(self._expire)
        before = self._parts.clock() - self._parts.terms.dispute
        with self._parts.database.read() as connection:
            due = [
                one
                for one in store.spent(connection, before, _AT_ONCE)
                if not self._held(connection, one)
            ]
        return {"expired": expired, "shredded": sum(map(self._shred, due))}

    def _expire(self, connection: Connection) -> int:
        now = self._parts.clock()
        due = store.run_out(connection, now, self._parts.terms.pending, _AT_ONCE)
        for check in due:
            self._end(connection, check, now)
        return len(due)

    def _end(self, connection: Connection, check: Check, now: int) -> None:
        state = after(check.state, "lapse")
        idle = {"open_key": None, "reviewer": "", "taken_ms": 0}
        # What was decided long ago keeps its date: its evidence has gone by it.
        decided = check.decided_ms if check.state == "verified" else now
        store.change(connection, check.id, state=state, decided_ms=decided, **idle)
        self._parts.say(
            connection, Act.IDENTITY_EXPIRED, "system", check.id, level=check.level.value
        )
        self._parts.tell(connection, check.person, "identity_expired", level=check.level.value)

    def _held(self, connection: Connection, one: Evidence) -> bool:
        check = store.check(connection, one.check)
        return check is not None and self._parts.held(connection, check.person)

    def _shred(self, one: Evidence) -> bool:
        self._parts.vault.shred(one.ref)
        return self._parts.database.write(lambda c: self._written_off(c, one))

    def _written_off(self, connection: Connection, one: Evidence) -> bool:
        mine = store.gone(connection, one.id, self._parts.clock())
        if mine:
            self._parts.say(
                connection, Act.IDENTITY_EVIDENCE_SHREDDED, "system", one.check, evidence=one.id
            )
        return mine

    def forget(self, person: str) -> bool:
        """Destroy everything about a person; False if a legal hold forbids it.

        What stays is that there were checks and how they ended: without name, number, hash or
        reason, under the person's id, which says nothing once the person is erased.
        """
        with self._parts.database.read() as connection:
            if self._parts.held(connection, person):
                return False
            checks = store.checks_of(connection, person)
            pieces = [one for check in checks for one in store.evidence(connection, check.id)]
        for one in pieces:
            if not one.gone_ms:
                self._shred(one)
        self._parts.database.write(lambda c: self._blank(c, person))
        return True

    def _blank(self, connection: Connection, person: str) -> None:
        for check in store.checks_of(connection, person, lock=True):
            blank = {"fingerprint": "", "reason": "", "reference": "", "open_key": None}
            state = "expired" if check.state == "pending" else check.state.value
            store.change(connection, check.id, state=state, **blank)
            store.blank_opinions(connection, check.id)
        store.drop_codes(connection, person)
