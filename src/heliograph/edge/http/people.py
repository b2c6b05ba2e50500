"""Becoming a person here, and one's own account: `/api/v1/register` … `/api/v1/me`.

Registering and asking for a link are answered with the same words whether or not the address is
known. What one may change of oneself is a name and a language; the rest has addresses of its own,
which ask for a log-in of the last ten minutes.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from heliograph.accounts.people.joining import Applicant
from heliograph.accounts.people.service import People
from heliograph.accounts.people.values import Person
from heliograph.core.errors import Code
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import PUBLIC, Asked, Door, Reply
from heliograph.edge.http.sessions import Cookies, Mail, Password, Secret

_TAG = "people"
_MOST = 8 << 10
_SENT = "If this address can be used, a mail is on its way to it."
Name = Annotated[str, msgspec.Meta(max_length=80)]
Locale = Annotated[str, msgspec.Meta(max_length=35)]


class Registration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Somebody who wants to be let in.

    Attributes:
        mail: address; a link is sent there.
        password: 8 to 128 characters, as typed.
        name: to be shown.
        locale: of mails and pages, e.g. `en`.
    """

    mail: Mail
    password: Password
    name: Name = ""
    locale: Locale = "en"


class Proof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """That an address is one's own.

    Attributes:
        link: what stands behind `#` in the mail's link.
        password: the one it was registered with; not needed for a changed address.
    """

    link: Secret
    password: Password = ""


class Forgotten(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Somebody who lost the password.

    Attributes:
        mail: address; a link is sent there.
    """

    mail: Mail


class NewStart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A password, chosen by a link.

    Attributes:
        link: what stands behind `#` in the mail's link.
        password: 8 to 128 characters, as typed.
    """

    link: Secret
    password: Password


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is the same for everybody.

    Attributes:
        told: what happens now.
    """

    told: str


class Proved(msgspec.Struct, frozen=True, kw_only=True):
    """An address that is one's own.

    Attributes:
        state: `active`, or `pending` until the operator lets one in.
    """

    state: str


class MeCard(msgspec.Struct, frozen=True, kw_only=True):
    """You.

    Attributes:
        id: `usr_…`.
        mail: address.
        name: as shown.
        locale: of mails and pages.
        operator: whether you run this server.
        verified_ms: when the address was proved, in milliseconds since 1970.
        created_ms: when you came.
        factors: what your log-in takes besides the password: `totp`, `passkey`, `recovery`.
        providers: by whom you can log in.
    """

    id: str
    mail: str
    name: str
    locale: str
    operator: bool
    verified_ms: int
    created_ms: int
    factors: list[str]
    providers: list[str]


class MeChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be changed of yourself; what is left out stays.

    Attributes:
        name: as shown.
        locale: of mails and pages.
    """

    name: Name | None = None
    locale: Locale | None = None


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The next password.

    Attributes:
        present: the one you have; empty if you have none.
        password: 8 to 128 characters, as typed.
    """

    present: Password = ""
    password: Password


class NewMail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The next address.

    Attributes:
        mail: it counts once a link that is sent there was followed.
    """

    mail: Mail


def doors(people: People) -> list[Door]:
    """The addresses."""
    mine = Permission.SELF_WRITE
    often, stale = (Code.RATE_LIMITED, Code.OVERLOADED), (Code.FORBIDDEN, Code.RATE_LIMITED)
    use = _Use(people)
    return [
        Door("POST", "/api/v1/register", PUBLIC, use.register, "Ask to be let in", _TAG,
             takes=Registration, gives=Told, codes=(Code.FORBIDDEN, *often), status=202,
             most=_MOST),
        Door("POST", "/api/v1/verify", PUBLIC, use.verify, "Prove an address", _TAG, takes=Proof,
             gives=Proved, codes=often, most=_MOST),
        Door("POST", "/api/v1/forgot", PUBLIC, use.forgot, "Ask for a link to a new password",
             _TAG, takes=Forgotten, gives=Told, codes=often, status=202, most=_MOST),
        Door("POST", "/api/v1/reset", PUBLIC, use.reset, "Choose a password by a link", _TAG,
             takes=NewStart, codes=often, status=204, most=_MOST),
        Door("GET", "/api/v1/me", Permission.SELF_READ, use.me, "You", _TAG, gives=MeCard),
        Door("PATCH", "/api/v1/me", mine, use.amend, "Change your name or language", _TAG,
             takes=MeChange, gives=MeCard),
        Door("POST", "/api/v1/me/password", mine, use.password, "Change your password", _TAG,
             takes=NewPassword, codes=stale, status=204, most=_MOST),
        Door("POST", "/api/v1/me/mail", mine, use.mail, "Change your address", _TAG, takes=NewMail,
             gives=Told, codes=stale, status=202, most=_MOST),
    ]  # fmt: skip


class _Use:
    """The use cases behind the addresses."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._cookies = Cookies(secure=people.secure)

    def register(self, asked: Asked) -> Reply:
        """By mail and password."""
        said = asked.body
        who = Applicant(said.mail, said.name, said.locale)
        self._people.joining.register(who, said.password, self._cookies.visit(asked))
        return Reply(Told(told=_SENT), 202)

    def verify(self, asked: Asked) -> Proved:
        """A link that was followed."""
        person = self._people.joining.verify(asked.body.link, asked.body.password)
        return Proved(state=person.state)

    def forgot(self, asked: Asked) -> Reply:
        """Another link."""
        self._people.joining.forgot(asked.body.mail, self._cookies.visit(asked))
        return Reply(Told(told=_SENT), 202)

    def reset(self, asked: Asked) -> Reply:
        """The link's other end; one logs in afterwards."""
        said, visit = asked.body, self._cookies.visit(asked)
        device = self._people.joining.reset(said.link, said.password, visit)
        return Reply(None, headers=self._cookies.known(device))

    def me(self, asked: Asked) -> MeCard:
        """Who asks."""
        signed = self._people.sessions.signed(asked.credentials.session)
        return self._card(self._people.get(signed.person))

    def amend(self, asked: Asked) -> MeCard:
        """Name and language."""
        signed = self._people.sessions.signed(asked.credentials.session)
        said = asked.body
        return self._card(self._people.amend(signed.person, name=said.name, locale=said.locale))

    def password(self, asked: Asked) -> Reply:
        """The next one; every other session ends."""
        said, token = asked.body, asked.credentials.session
        visit = self._cookies.visit(asked)
        opened = self._people.change_password(token, said.present, said.password, visit)
        return Reply(None, headers=self._cookies.opened(opened))

    def mail(self, asked: Asked) -> Reply:
        """The next one, once it is proved."""
        self._people.joining.change_mail(asked.credentials.session, asked.body.mail)
        return Reply(Told(told=_SENT), 202)

    def _card(self, person: Person) -> MeCard:
        return MeCard(
            id=person.id,
            mail=person.mail,
            name=person.name,
            locale=person.locale,
            operator=person.operator,
            verified_ms=person.verified_ms,
            created_ms=person.created_ms,
            factors=list(self._people.factors(person.id)),
            providers=self._people.oidc.linked(person.id),
        )
