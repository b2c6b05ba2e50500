"""Use cases of keys: make, list, change, rotate with an overlap, revoke."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import Connection

from heliograph.accounts.keys import store
from heliograph.accounts.keys.values import Key, make
from heliograph.accounts.roles import KEY_SCOPES
from heliograph.core.call import Limit
from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.permissions import Permission
from heliograph.storage.database import Database, Record

_MOST_KEYS = 1000
_MOST_RULES = 64
_LONGEST = 80
_PATTERN = re.compile(r"[a-z0-9*?][a-z0-9*?._-]{0,62}")
METERS = ("calls", "images", "megapixels", "cost")
PERIODS = ("second", "minute", "hour", "day", "month")
_DEFAULT = frozenset({Permission.MODELS_CALL, Permission.MODELS_READ})


@dataclass(frozen=True, slots=True)
class Wishes:
    """What somebody wants of a key; the attributes are those of `Key`."""

    name: str
    scopes: frozenset[Permission] = _DEFAULT
    models: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    limits: tuple[tuple[str, str, int], ...] = ()
    expires_ms: int = 0


class Keys:
    """Keys over a database.

    Args:
        database: where they are kept.
        clock: tells the time.
        record: takes audit events.
        touch: tells every process that what the gate knows has changed.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        record: Record,
        touch: Callable[[Connection], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._record = record
        self._touch = touch

    def create(
        self, workspace: str, wishes: Wishes, actor: str, held: frozenset[Permission]
    ) -> tuple[Key, str]:
        """Make a key.

        Args:
            workspace: whose.
            wishes: what it is to be.
            actor: who makes it.
            held: what the maker may do: a key never may more.

        Returns:
            The key, and its text, which nobody can read again.

        Raises:
            HeliographError: `validation`, `forbidden`, `quota_exceeded`.
        """
        self._check(wishes, held)
        id_, text, digest = make()
        key = Key(
            id=id_,
            workspace=workspace,
            name=wishes.name.strip(),
            digest=digest,
            scopes=wishes.scopes,
            models=wishes.models,
            addresses=wishes.addresses,
            origins=wishes.origins,
            limits=tuple(Limit(id_, *one) for one in wishes.limits),
            created_ms=self._clock(),
            created_by=actor,
            expires_ms=wishes.expires_ms,
        )

        def work(connection: Connection) -> None:
            if len(store.page(connection, workspace, "", _MOST_KEYS)) >= _MOST_KEYS:
                raise HeliographError(
                    Code.QUOTA_EXCEEDED, f"A workspace has at most {_MOST_KEYS} keys."
                )
            store.add(connection, key)
            self._told(connection, Act.KEY_CREATED, key, actor)

        self._database.write(work)
        return key, text

    def rotate(self, workspace: str, key: str, overlap_ms: int, actor: str) -> tuple[Key, str]:
        """Make a key like this one, which goes on for `overlap_ms` and then ends.

        Raises:
            HeliographError: `not_found`, `conflict` if it has ended.
        """
        id_, text, digest = make()

        def work(connection: Connection) -> Key:
            now = self._clock()
            old = _there(store.get(connection, workspace, key, lock=True))
            if not old.valid(now):
                raise HeliographError(Code.CONFLICT, "This key has ended; make a new one.")
            limits = tuple(Limit(id_, one.meter, one.period, one.most) for one in old.limits)
            new = dataclasses.replace(
                old, id=id_, digest=digest, limits=limits, created_ms=now, created_by=actor
            )
            store.add(connection, new)
            store.replace(connection, dataclasses.replace(old, revoked_ms=now + max(0, overlap_ms)))
            self._told(connection, Act.KEY_ROTATED, old, actor, {"new": new.id})
            return new

        return self._database.write(work), text

    def revoke(self, workspace: str, key: str, actor: str) -> None:
        """End a key now; a second time changes nothing.

        Raises:
            HeliographError: `not_found`.
        """

        def work(connection: Connection) -> None:
            now = self._clock()
            old = _there(store.get(connection, workspace, key, lock=True))
            if old.valid(now) or old.revoked_ms > now:
                store.replace(connection, dataclasses.replace(old, revoked_ms=now))
                self._told(connection, Act.KEY_REVOKED, old, actor)

        self._database.write(work)

    def change(
        self, workspace: str, key: str, wishes: Wishes, actor: str, held: frozenset[Permission]
    ) -> Key:
        """Change what a key may; raises as `create` and `revoke` do."""
        self._check(wishes, held)

        def work(connection: Connection) -> Key:
            old = _there(store.get(connection, workspace, key, lock=True))
            new = dataclasses.replace(
                old,
                name=wishes.name.strip(),
                scopes=wishes.scopes,
                models=wishes.models,
                addresses=wishes.addresses,
                origins=wishes.origins,
                limits=tuple(Limit(key, *one) for one in wishes.limits),
                expires_ms=wishes.expires_ms,
            )
            store.replace(connection, new)
            self._told(connection, Act.KEY_CHANGED, new, actor)
            return new

        return self._database.write(work)

    def expose(self, key: str) -> None:
        """Remember that a key was seen where keys must not be; once, and without waiting."""

        def work(connection: Connection) -> None:
            old = store.get(connection, "", key, lock=True)
            if old and not old.exposed_ms:
                store.replace(connection, dataclasses.replace(old, exposed_ms=self._clock()))
                self._told(connection, Act.KEY_EXPOSED, old, "system")

        self._database.submit(work)

    def get(self, workspace: str, key: str) -> Key:
        """One key.

        Raises:
            HeliographError: `not_found`, also for another workspace's.
        """
        with self._database.read() as connection:
            return _there(store.get(connection, workspace, key))

    def page(self, workspace: str, after: str = "", limit: int = 100) -> list[Key]:
        """Keys of a workspace by id."""
        with self._database.read() as connection:
            return store.page(connection, workspace, after, limit)

    def _told(
        self,
        connection: Connection,
        act: Act,
        key: Key,
        actor: str,
        facts: dict[str, str | int | bool] | None = None,
    ) -> None:
        self._touch(connection)
        self._record(connection, Event(act, actor, key.workspace, key.id, facts or {}))

    def _check(self, wishes: Wishes, held: Iterable[Permission]) -> None:
        if not 1 <= len(wishes.name.strip()) <= _LONGEST or not wishes.name.isprintable():
            raise _wrong(f"a name is 1 to {_LONGEST} characters that can be printed")
        beyond = sorted(wishes.scopes - KEY_SCOPES)
        if beyond or not wishes.scopes:
            raise _wrong(f"its scopes are some of {', '.join(sorted(KEY_SCOPES))}")
        missing = sorted(wishes.scopes - set(held))
        if missing:
            raise HeliographError(
                Code.FORBIDDEN, f"A key may not do what its maker may not: {', '.join(missing)}."
            )
        if wishes.expires_ms and wishes.expires_ms <= self._clock():
            raise _wrong("it would have expired already")
        _check_rules(wishes)


def _check_rules(wishes: Wishes) -> None:
    rules = (*wishes.models, *wishes.addresses, *wishes.origins, *wishes.limits)
    if len(rules) > _MOST_RULES:
        raise _wrong(f"it has more than {_MOST_RULES} rules")
    for pattern in wishes.models:
        if not _PATTERN.fullmatch(pattern):
            raise _wrong("models are names, with * and ? as in a shell")
    for network in wishes.addresses:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise _wrong("addresses are networks such as 192.0.2.0/24 or 2001:db8::/32") from error
    for origin in wishes.origins:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or f"{parts.scheme}://{parts.netloc}" != origin:
            raise _wrong("origins are like https://app.example")
    for meter, period, most in wishes.limits:
        check_limit(meter, period, most)


def check_limit(meter: str, period: str, most: int) -> None:
    """Refuse a limit that means nothing.

    Raises:
        HeliographError: `validation`.
    """
    if meter not in METERS or period not in PERIODS or not 0 <= most <= 10**15:
        raise _wrong(f"a limit is one of {', '.join(METERS)} per {', '.join(PERIODS)}, 0 to 10^15")


def _there(key: Key | None) -> Key:
    if key is None:
        raise HeliographError(Code.NOT_FOUND, "There is no such key.")
    return key


def _wrong(why: str) -> HeliographError:
    return HeliographError(Code.VALIDATION, f"This key cannot be made: {why}.")
