"""API keys and short-lived tokens: `/api/v1/keys`, `/api/v1/tokens`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import msgspec

from heliograph.accounts.keys.service import Keys, Wishes
from heliograph.accounts.keys.values import Key
from heliograph.accounts.tokens import LONGEST_SECONDS, Tokens
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import Asked, Door, Page
from heliograph.storage.database import Database, Record

_Rules = Annotated[list[Annotated[str, msgspec.Meta(max_length=200)]], msgspec.Meta(max_length=64)]
_Unset = msgspec.UnsetType


class KeyLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At most so much in a stretch of time.

    Attributes:
        meter: `calls`, `images`, `megapixels`, or `cost` in millionths of the currency's unit.
        period: `second`, `minute`, `hour`, `day` or `month`, in UTC.
        most: the bound.
    """

    meter: str
    period: str
    most: Annotated[int, msgspec.Meta(ge=0, le=10**15)]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A key to be made, or all that a key is to be from now on.

    Attributes:
        name: what you call it.
        scopes: what it may do: permissions that you hold yourself.
        models: names of models that it may call, `*` and `?` as in a shell; empty for all.
        addresses: networks that calls must come from, such as `192.0.2.0/24`; empty for any.
        origins: pages that may use it, such as `https://app.example`; empty for any caller.
        limits: what it is held to, besides the workspace's own limits.
        expires_ms: when it ends, in milliseconds since 1970; 0 for never.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    scopes: list[Permission] = msgspec.field(
        default_factory=lambda: [Permission.MODELS_CALL, Permission.MODELS_READ]
    )
    models: _Rules = []
    addresses: _Rules = []
    origins: _Rules = []
    limits: Annotated[list[KeyLimit], msgspec.Meta(max_length=32)] = []
    expires_ms: Annotated[int, msgspec.Meta(ge=0)] = 0


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A key to be replaced.

    Attributes:
        overlap_seconds: for which the old key goes on, at most thirty days.
    """

    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=30 * 24 * 3600)] = 3600


class KeyCard(msgspec.Struct, frozen=True, kw_only=True):
    """A key, without its secret: the members of `NewKey`, and what has become of it.

    Attributes:
        id: `key_…`; it also stands within the key.
        created_ms: when it was made, in milliseconds since 1970; `created_by` whom.
        revoked_ms: when it ended or will end; 0 if nobody ended it.
        exposed_ms: when it was seen in an address, where it ends up in logs; 0 if it was not.
    """

    id: str
    name: str
    scopes: list[str]
    models: list[str]
    addresses: list[str]
    origins: list[str]
    limits: list[KeyLimit]
    expires_ms: int
    created_ms: int
    created_by: str
    revoked_ms: int
    exposed_ms: int


class KeySecret(msgspec.Struct, frozen=True, kw_only=True):
    """A new key.

    Attributes:
        key: send it as `Authorization: Bearer KEY`. It is shown this once.
        card: what it is.
    """

    key: str
    card: KeyCard


class KeyList(msgspec.Struct, frozen=True, kw_only=True):
    """Keys of the workspace by id.

    Attributes:
        keys: at most `limit` of them; ask on with `after` = the last one's id.
    """

    keys: list[KeyCard]


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A token to be made, for a phone or a page.

    Attributes:
        seconds: how long it lives, at most a day.
        models: names of models that it may call; empty for the key's.
        origin: the page that may use it, such as `https://app.example`; empty for any caller.
    """

    seconds: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_SECONDS)] = 900
    models: _Rules = []
    origin: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A new token.

    Attributes:
        token: send it as `Authorization: Bearer TOKEN`.
        expires: when it ends, in seconds since 1970.
    """

    token: str
    expires: int


def doors(
    keys: Keys,
    tokens: Tokens,
    database: Database,
    record: Record,
    allow: Callable[[str], None],
) -> list[Door]:
    """The addresses.

    Args:
        keys: use cases.
        tokens: makes tokens.
        database: where the trace of a token is written; `record` writes it.
        record: takes audit events.
        allow: refuses a person whose identity does not suffice for making keys.
    """
    one = "/api/v1/keys/{key}"
    read, write = Permission.KEYS_READ, Permission.KEYS_WRITE
    wrong = (Code.FORBIDDEN, Code.NOT_FOUND)
    use = _Use(keys, tokens, database, record, allow)
    return [
        Door("GET", "/api/v1/keys", read, use.index, "The workspace's keys", "keys", gives=KeyList,
             query=Page),
        Door("POST", "/api/v1/keys", write, use.create, "Make a key", "keys", takes=NewKey,
             gives=KeySecret, codes=(Code.FORBIDDEN, Code.IDENTITY_REQUIRED, Code.QUOTA_EXCEEDED)),
        Door("GET", one, read, use.get, "One key", "keys", gives=KeyCard, codes=(Code.NOT_FOUND,)),
        Door("PUT", one, write, use.change, "Change what a key may", "keys", takes=NewKey,
             gives=KeyCard, codes=wrong),
        Door("DELETE", one, write, use.revoke, "End a key now", "keys", codes=(Code.NOT_FOUND,),
             status=204),
        Door("POST", f"{one}/rotate", write, use.rotate, "Replace a key, with an overlap", "keys",
             takes=Rotation, gives=KeySecret, codes=(Code.CONFLICT, Code.NOT_FOUND)),
        Door("POST", "/api/v1/tokens", Permission.MODELS_CALL, use.token,
             "Make a short-lived token for a phone or a page", "keys", takes=NewToken,
             gives=Token, codes=(Code.FORBIDDEN,)),
    ]  # fmt: skip


class _Use:
    """The use cases behind the addresses."""

    def __init__(
        self,
        keys: Keys,
        tokens: Tokens,
        database: Database,
        record: Record,
        allow: Callable[[str], None],
    ) -> None:
        self._keys = keys
        self._tokens = tokens
        self._database = database
        self._record = record
        self._allow = allow

    def index(self, asked: Asked) -> KeyList:
        """A page of them."""
        found = self._keys.page(asked.caller.workspace, asked.query.after, asked.query.limit)
        return KeyList(keys=[_card(each) for each in found])

    def create(self, asked: Asked) -> KeySecret:
        """Make one."""
        caller = asked.caller
        self._allow(caller.person)
        made, text = self._keys.create(
            caller.workspace, _wishes(asked.body), caller.name, caller.permissions
        )
        return KeySecret(key=text, card=_card(made))

    def get(self, asked: Asked) -> KeyCard:
        """One."""
        return _card(self._keys.get(asked.caller.workspace, asked.path["key"]))

    def change(self, asked: Asked) -> KeyCard:
        """Change one."""
        caller = asked.caller
        wishes = _wishes(asked.body)
        return _card(
            self._keys.change(
                caller.workspace, asked.path["key"], wishes, caller.name, caller.permissions
            )
        )

    def rotate(self, asked: Asked) -> KeySecret:
        """Replace one."""
        caller, overlap = asked.caller, asked.body.overlap_seconds * 1000
        made, text = self._keys.rotate(caller.workspace, asked.path["key"], overlap, caller.name)
        return KeySecret(key=text, card=_card(made))

    def revoke(self, asked: Asked) -> None:
        """End one."""
        self._keys.revoke(asked.caller.workspace, asked.path["key"], asked.caller.name)

    def token(self, asked: Asked) -> Token:
        """A token for the calling key."""
        caller, said = asked.caller, asked.body
        if not caller.key:
            raise HeliographError(Code.FORBIDDEN, "A token is made for an API key, with that key.")
        text, claims = self._tokens.make(caller.key, said.seconds, tuple(said.models), said.origin)
        facts = {"expires": claims.expires}
        event = Event(Act.TOKEN_CREATED, caller.name, caller.workspace, caller.key, facts)
        self._database.write(lambda connection: self._record(connection, event))
        return Token(token=text, expires=claims.expires)


def _wishes(said: NewKey) -> Wishes:
    return Wishes(
        said.name,
        frozenset(said.scopes),
        tuple(said.models),
        tuple(said.addresses),
        tuple(said.origins),
        tuple((one.meter, one.period, one.most) for one in said.limits),
        said.expires_ms,
    )


def _card(key: Key) -> KeyCard:
    return KeyCard(
        id=key.id,
        name=key.name,
        scopes=sorted(key.scopes),
        models=list(key.models),
        addresses=list(key.addresses),
        origins=list(key.origins),
        limits=[KeyLimit(meter=one.meter, period=one.period, most=one.most) for one in key.limits],
        expires_ms=key.expires_ms,
        created_ms=key.created_ms,
        created_by=key.created_by,
        revoked_ms=key.revoked_ms,
        exposed_ms=key.exposed_ms,
    )
