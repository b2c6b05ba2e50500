"""Everybody who may log in, for those who run this server: `/api/v1/users`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from heliograph.accounts.people.joining import Applicant
from heliograph.accounts.people.service import People
from heliograph.accounts.people.values import Person
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import Asked, Door, Page, Reply
from heliograph.edge.http.people import Locale, Name
from heliograph.edge.http.sessions import Mail

_TAG = "users"
_State = Literal["pending", "active", "suspended", "erased"]


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Somebody who is asked in; a mail lets them choose a password.

    Attributes:
        mail: address.
        name: to be shown.
        locale: of mails and pages.
        operator: they shall run this server too.
    """

    mail: Mail
    name: Name = ""
    locale: Locale = "en"
    operator: bool = False


class UserChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be changed of somebody; what is left out stays.

    Attributes:
        state: `suspended` ends their sessions; `active` lets them in, once their address is proved.
        operator: whether they run this server.
    """

    state: Literal["active", "suspended"] | None = None
    operator: bool | None = None


class UserCard(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may log in.

    Attributes:
        id: `usr_…`.
        mail: address; empty once erased.
        name: as shown.
        locale: of mails and pages.
        state: `pending`, `active`, `suspended` or `erased`.
        approved: whether nothing but the proof of the address is missing.
        operator: whether they run this server.
        verified_ms: when the address was proved, in milliseconds since 1970; 0 if it was not.
        created_ms: when they came.
        changed_ms: when any of this last changed.
        factors: what their log-in takes besides the password.
    """

    id: str
    mail: str
    name: str
    locale: str
    state: str
    approved: bool
    operator: bool
    verified_ms: int
    created_ms: int
    changed_ms: int
    factors: list[str]


class UserList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of people.

    Attributes:
        users: in the order of their ids, which is that of their coming.
    """

    users: list[UserCard]


class UserQuery(Page, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which people.

    Attributes:
        after: id of the last one seen; empty to begin.
        limit: most to be told.
        state: only those in it.
        mail: only the one with this address.
    """

    state: _State | None = None
    mail: Annotated[str, msgspec.Meta(max_length=254)] = ""


def doors(people: People) -> list[Door]:
    """The addresses."""
    every, one = "/api/v1/users", "/api/v1/users/{user}"
    read, write = Permission.USERS_READ, Permission.USERS_WRITE
    away = (Code.NOT_FOUND, Code.CONFLICT)
    use = _Use(people)
    return [
        Door("GET", every, read, use.index, "Everybody who may log in", _TAG, gives=UserList,
             query=UserQuery),
        Door("POST", every, write, use.invite, "Ask somebody in", _TAG, takes=NewUser,
             gives=UserCard, codes=(Code.NAME_TAKEN,), status=201),
        Door("GET", one, read, use.get, "One of them", _TAG, gives=UserCard,
             codes=(Code.NOT_FOUND,)),
        Door("PATCH", one, write, use.amend, "Suspend, let in, make an operator", _TAG,
             takes=UserChange, gives=UserCard, codes=away),
        Door("DELETE", one, write, use.remove, "Erase somebody", _TAG, codes=away, status=204),
    ]  # fmt: skip


class _Use:
    """The use cases behind the addresses."""

    def __init__(self, people: People) -> None:
        self._people = people

    def index(self, asked: Asked) -> UserList:
        """A page of them."""
        _operator(asked)
        said = asked.query
        found = self._people.listed(
            state=said.state or "", mail=said.mail, after=said.after, limit=said.limit
        )
        return UserList(users=[self._card(one) for one in found])

    def invite(self, asked: Asked) -> Reply:
        """A new one."""
        _operator(asked)
        said = asked.body
        who = Applicant(said.mail, said.name, said.locale)
        made = self._people.joining.invite(who, asked.caller.name, operator=said.operator)
        return Reply(self._card(made.person), 201)

    def get(self, asked: Asked) -> UserCard:
        """One."""
        _operator(asked)
        return self._card(self._people.get(asked.path["user"]))

    def amend(self, asked: Asked) -> UserCard:
        """Change one."""
        _operator(asked)
        user, actor, said = asked.path["user"], asked.caller.name, asked.body
        if said.operator is not None:
            self._people.set_operator(user, actor, operator=said.operator)
        if said.state == "suspended":
            self._people.suspend(user, actor)
        elif said.state == "active":
            self._people.restore(user, actor)
        return self._card(self._people.get(user))

    def remove(self, asked: Asked) -> None:
        """Erase one."""
        _operator(asked)
        self._people.remove(asked.path["user"], asked.caller.name)

    def _card(self, person: Person) -> UserCard:
        return UserCard(
            id=person.id,
            mail=person.mail,
            name=person.name,
            locale=person.locale,
            state=person.state,
            approved=person.approved,
            operator=person.operator,
            verified_ms=person.verified_ms,
            created_ms=person.created_ms,
            changed_ms=person.changed_ms,
            factors=list(self._people.factors(person.id)),
        )


def _operator(asked: Asked) -> None:
    """People are the whole server's: no role in a workspace reaches them."""
    if not asked.caller.operator:
        raise HeliographError(Code.FORBIDDEN, "Only those who run this server see its people.")
