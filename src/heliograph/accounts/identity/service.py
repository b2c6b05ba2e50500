"""What a person does about their identity: ask, show, appeal; and what others may ask about it.

    submit ─► the provider is asked ─► verified, or reviewers look (`reviews.py`) ─► told

`require` is what a feature calls before it serves; it costs one read by index. Codes by e-mail and
phone are in `codes.py`, the end of terms and of evidence in `sweeping.py`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from heliograph.accounts.identity import store
from heliograph.accounts.identity.codes import Codes
from heliograph.accounts.identity.evidence import PURPOSE, cleaned
from heliograph.accounts.identity.parts import Parts
from heliograph.accounts.identity.providers import ManualReview, Provider, Texter, Verdict
from heliograph.accounts.identity.reviews import Reviews
from heliograph.accounts.identity.sweeping import Sweeper
from heliograph.accounts.identity.values import (
    Check,
    Claims,
    Evidence,
    Feature,
    Level,
    Standing,
    State,
    after,
    checked_text,
    fingerprint,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.core.ids import new_id

log = logging.getLogger("heliograph.identity")
_MOST_PICTURES = 4
_MOST_CHECKS = 20
_UNSURE = (Code.DB_UNAVAILABLE, Code.STORAGE_FULL, Code.INTERNAL)


class Identity:
    """Identity verification.

    Args:
        parts: what it needs of the house.
        providers: who examines; the reviewers of this house are always there.
        texter: sends codes to phones; without one, nobody can reach the level `phone`.

    Attributes:
        reviews: the reviewers' side.
        codes: codes by e-mail and phone.
    """

    def __init__(
        self, parts: Parts, providers: Sequence[Provider] = (), texter: Texter | None = None
    ) -> None:
        self._parts = parts
        manual: Provider = ManualReview()
        self._providers = {one.name: one for one in (manual, *providers)}
        self.reviews = Reviews(parts)
        self.codes = Codes(parts, texter)
        self._sweeper = Sweeper(parts)

    @property
    def providers(self) -> tuple[str, ...]:
        """The names that `submit` takes."""
        return tuple(self._providers)

    def standing(self, person: str) -> Standing:
        """How well a person is known now."""
        with self._parts.database.read() as connection:
            reached = self._level(connection, person)
            checks = store.checks_of(connection, person)
        return Standing(reached, checks[0].state if checks else State.NONE, checks)

    def require(self, person: str, feature: Feature, role: str = "") -> None:
        """Let a person pass to a feature, or say what is missing.

        Raises:
            HeliographError: `identity_required`.
        """
        self._require(person, self._parts.policy.required(feature, role), feature)

    def require_quota(self, person: str, meter: str, most: int) -> None:
        """As `require`, for a quota of `most` units of `meter`."""
        self._require(person, self._parts.policy.required_for(meter, most), f"a quota of {most}")

    def _require(self, person: str, needed: Level, what: str) -> None:
        if needed is Level.OFF:
            return
        with self._parts.database.read() as connection:
            reached = self._level(connection, person) if person else Level.OFF
        if reached.rank < needed.rank:
            raise HeliographError(
                Code.IDENTITY_REQUIRED,
                f"{what} needs the identity level {needed}; yours is {reached}. See "
                "GET /api/v1/identity for what to do.",
            )

    def _level(self, connection: Connection, person: str) -> Level:
        found = store.verified(connection, person, self._parts.clock())
        return max(found, key=lambda level: level.rank, default=Level.OFF)

    def submit(self, person: str, provider: str, claims: Claims) -> Check:
        """Ask to be examined, or say anew who one is after a change of name.

        Args:
            person: the applicant.
            provider: one of `providers`.
            claims: kept in the vault until the decision can no longer be disputed.

        Returns:
            The check; pending, or verified if a provider outside said so. What it says does not
            tell whether somebody else has the same name and number.

        Raises:
            HeliographError: `validation`, or `conflict` while another check is pending.
        """
        chosen = self._provider(provider)
        claims = Claims(
            checked_text(claims.name, "The name", 200),
            checked_text(claims.number, "The number", 64),
        )
        ref = self._parts.vault.put(PURPOSE, _json(claims))
        try:
            check = self._parts.database.write(lambda c: self._open(c, person, chosen, claims, ref))
        except IntegrityError as error:
            self._parts.vault.shred(ref)
            raise _pending() from error
        except HeliographError as error:
            if error.code not in _UNSURE:
                self._parts.vault.shred(ref)
            raise
        verdict = _asked(chosen, check, claims)
        if verdict is None:
            return check
        return self._parts.database.write(lambda c: self._heard(c, check, verdict))

    def _provider(self, name: str) -> Provider:
        if name not in self._providers:
            raise HeliographError(
                Code.VALIDATION, f"There is no provider of that name; there are {self.providers}."
            )
        return self._providers[name]

    def _open(
        self, connection: Connection, person: str, chosen: Provider, claims: Claims, ref: str
    ) -> Check:
        now, level = self._parts.clock(), chosen.level
        before = [
            one for one in store.checks_of(connection, person, lock=True) if one.level is level
        ]
        pending = next((one for one in before if one.state is State.PENDING), None)
        if len(before) >= _MOST_CHECKS or (pending and pending.claimed):
            raise _pending()
        mark = fingerprint(self._parts.secret, claims)
        duplicate = bool(store.twins(connection, person, mark))
        id_ = pending.id if pending else new_id("idc")
        said = {"fingerprint": mark, "duplicate": duplicate, "claimed": True}
        if pending:
            store.change(connection, id_, provider=chosen.name, **said)
        else:
            after(State.NONE, "submit")
            opened = {"open_key": _open_key(person, level), "created_ms": now, "turned_ms": now}
            whose = {"id": id_, "person": person, "level": level, "provider": chosen.name}
            store.add_check(connection, {**whose, **opened, **said, "state": State.PENDING})
        turn = pending.turn if pending else 1
        store.add_evidence(connection, Evidence(new_id("idev"), id_, turn, "claims", ref, now, 0))
        self._parts.say(
            connection, Act.IDENTITY_SUBMITTED, person, id_, level=level, provider=chosen.name
        )
        return _found(connection, id_)

    def _heard(self, connection: Connection, asked: Check, verdict: Verdict) -> Check:
        """Write down what a provider outside said; its Yes is enough, its No is looked at."""
        check = _found(connection, asked.id)
        if check.state is not State.PENDING or check.turn != asked.turn:
            return check
        said = "passed" if verdict.passed else "failed"
        store.change(connection, check.id, verdict=said, reference=verdict.reference[:200])
        # Twins that came at the same moment see each other here, after both have been written.
        twin = bool(store.twins_of(connection, check.id))
        if verdict.passed and not (twin or check.duplicate or check.appealed):
            self.reviews.settle(connection, check, "approve", "system", check.provider)
        elif twin:
            store.change(connection, check.id, duplicate=True)
        return _found(connection, check.id)

    def add_picture(self, person: str, check: str, data: bytes) -> str:
        """Show a picture of a document; gives its id.

        Raises:
            HeliographError: those of a picture; `not_found` if the check is not theirs; `conflict`
                if it is not pending or has four pictures.
        """
        with self._parts.database.read() as connection:
            self._own(connection, person, check)
        ref = self._parts.vault.put(PURPOSE, cleaned(data))
        try:
            return self._parts.database.write(lambda c: self._add(c, person, check, ref))
        except HeliographError as error:
            if error.code not in _UNSURE:
                self._parts.vault.shred(ref)
            raise

    def _add(self, connection: Connection, person: str, id_: str, ref: str) -> str:
        check = self._own(connection, person, id_, lock=True)
        there = store.evidence(connection, id_)
        shown = [one for one in there if one.turn == check.turn and one.kind == "picture"]
        if check.state is not State.PENDING or len(shown) >= _MOST_PICTURES:
            raise HeliographError(
                Code.CONFLICT,
                f"While a check is pending, {_MOST_PICTURES} pictures are taken for it.",
            )
        now = self._parts.clock()
        piece = Evidence(new_id("idev"), id_, check.turn, "picture", ref, now, 0)
        store.add_evidence(connection, piece)
        self._parts.say(connection, Act.IDENTITY_EVIDENCE_ADDED, person, id_, evidence=piece.id)
        return piece.id

    def _own(self, connection: Connection, person: str, id_: str, *, lock: bool = False) -> Check:
        check = store.check(connection, id_, lock=lock)
        if check is None or check.person != person:
            raise HeliographError(Code.NOT_FOUND, "You have no such check.")
        return check

    def appeal(self, person: str, check: str, text: str) -> Check:
        """Ask for another reviewer's eye on a rejection, once, while the evidence is still there.

        Raises:
            HeliographError: `not_found`, `conflict`, `validation`.
        """
        said = checked_text(text, "The reason")
        try:
            return self._parts.database.write(lambda c: self._appeal(c, person, check, said))
        except IntegrityError as error:
            raise _pending() from error

    def _appeal(self, connection: Connection, person: str, id_: str, said: str) -> Check:
        check, now = self._own(connection, person, id_, lock=True), self._parts.clock()
        late = now > check.decided_ms + self._parts.terms.dispute
        state = after(check.state, "appeal")
        if check.appealed or late:
            raise HeliographError(
                Code.CONFLICT, "A rejection can be appealed once, within the term for disputes."
            )
        turned = {"state": state, "turn": check.turn + 1, "turned_ms": now, "appealed": True}
        idle = {"reviewer": "", "taken_ms": 0, "open_key": _open_key(person, check.level)}
        store.change(connection, id_, reason=said, **turned, **idle)
        store.carry(connection, id_, check.turn + 1)
        self._parts.say(connection, Act.IDENTITY_APPEALED, person, id_, turn=check.turn + 1)
        return _found(connection, id_)

    def attest(self, connection: Connection, person: str, level: Level, method: str) -> None:
        """Another feature has proven a level, e.g. e-mail by its link: noted in its transaction."""
        self.codes.attest(connection, person, level, method, "")

    def renamed(self, connection: Connection, person: str) -> None:
        """A person has changed their name: what was verified under the old one is pending again.

        Called within the transaction that changes the name.
        """
        checks = store.checks_of(connection, person, lock=True)
        theirs = [one for one in checks if one.level is Level.REAL_NAME]
        pending = next((one for one in theirs if one.state is State.PENDING), None)
        for check in theirs:
            if check.state is State.VERIFIED and pending is None:
                self._afresh(connection, check, after(check.state, "change"))
            elif check.state is State.VERIFIED:
                store.change(connection, check.id, state=after(check.state, "lapse"))
            elif check is pending:
                self._afresh(connection, check, State.PENDING)

    def _afresh(self, connection: Connection, check: Check, state: State) -> None:
        now, key = self._parts.clock(), _open_key(check.person, check.level)
        turned = {"turn": check.turn + 1, "turned_ms": now, "appealed": False, "verdict": ""}
        idle = {"reviewer": "", "taken_ms": 0, "claimed": False, "until_ms": 0}
        said = {"reason": "The name has changed.", "fingerprint": "", "duplicate": False}
        store.change(connection, check.id, state=state, open_key=key, **turned, **idle, **said)
        self._parts.say(
            connection, Act.IDENTITY_REOPENED, check.person, check.id, turn=check.turn + 1
        )
        self._parts.tell(connection, check.person, "identity_reopened")

    def sweep(self) -> dict[str, int]:
        """Let terms run out and destroy evidence that is past its own; see `sweeping.py`."""
        return self._sweeper.sweep()

    def forget(self, person: str) -> bool:
        """Destroy everything about a person, for their erasure; see `sweeping.py`."""
        return self._sweeper.forget(person)


def _asked(provider: Provider, check: Check, claims: Claims) -> Verdict | None:
    try:
        return provider.ask(check.id, claims)
    except HeliographError as error:
        log.warning("%s could not be asked: %s; people will look", provider.name, error.code)
        return None


def _found(connection: Connection, id_: str) -> Check:
    check = store.check(connection, id_, lock=True)
    assert check is not None, "a check was written in this transaction and is gone: this is a bug"
    return check


def _open_key(person: str, level: Level) -> str:
    return f"{person}:{level}"


def _json(claims: Claims) -> bytes:
    return json.dumps({"name": claims.name, "number": claims.number}).encode()


def _pending() -> HeliographError:
    return HeliographError(
        Code.CONFLICT,
        "A check is pending already, or there were too many. See GET /api/v1/identity.",
    )
