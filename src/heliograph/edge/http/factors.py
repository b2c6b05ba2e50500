"""What your log-in rests on besides a password: `/api/v1/me/totp`, `/passkeys`, `/oidc`.

Each change takes a log-in of the last ten minutes and gives the session a new token.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from heliograph.accounts.people.passkeys import Passkey
from heliograph.accounts.people.service import People
from heliograph.accounts.people.totp import Confirmed
from heliograph.accounts.people.values import Opened, Person
from heliograph.core.errors import Code
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import Asked, Door, Reply
from heliograph.edge.http.sessions import Ceremony, Cookies, Elsewhere, PasskeyForm

_TAG = "people"
_MOST = 32 << 10


class Enrolment(msgspec.Struct, frozen=True, kw_only=True):
    """What a code generator needs; told once.

    Attributes:
        secret: in base32, for typing.
        uri: `otpauth://…`, for a QR code.
    """

    secret: str
    uri: str


class FirstCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """That the generator has the secret.

    Attributes:
        code: six digits.
    """

    code: Annotated[str, msgspec.Meta(pattern="^[0-9]{6}$")]


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """For the day when the device is lost; told once.

    Attributes:
        recovery_codes: each good once; empty if you have some already.
    """

    recovery_codes: list[str]


class NewPasskey(PasskeyForm, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A passkey that was made.

    Attributes:
        ceremony: that it answers.
        credential: what `navigator.credentials.create` gave, in WebAuthn's JSON.
        name: by which you know it again.
    """

    name: Annotated[str, msgspec.Meta(max_length=80)] = ""


class PasskeyCard(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey of yours.

    Attributes:
        id: `pk_…`.
        name: by which you know it again.
        created_ms: when it was made, in milliseconds since 1970.
        used_ms: when it last logged you in; 0 for never.
    """

    id: str
    name: str
    created_ms: int
    used_ms: int


class PasskeyList(msgspec.Struct, frozen=True, kw_only=True):
    """Your passkeys.

    Attributes:
        passkeys: oldest first.
    """

    passkeys: list[PasskeyCard]


def doors(people: People) -> list[Door]:
    """The addresses."""
    me, mine = "/api/v1/me", Permission.SELF_WRITE
    stale, away = (Code.FORBIDDEN,), (Code.FORBIDDEN, Code.NOT_FOUND)
    full = (Code.FORBIDDEN, Code.CONFLICT)
    use = _Use(people)
    return [
        Door("POST", f"{me}/totp", mine, use.enrol, "Begin with a code generator", _TAG,
             gives=Enrolment, codes=full, status=201),
        Door("POST", f"{me}/totp/confirm", mine, use.confirm, "Make the code generator count",
             _TAG, takes=FirstCode, gives=Recovery, codes=(*full, Code.RATE_LIMITED)),
        Door("DELETE", f"{me}/totp", mine, use.drop_totp, "Remove the code generator", _TAG,
             codes=away, status=204),
        Door("POST", f"{me}/recovery-codes", mine, use.recovery, "Make new recovery codes", _TAG,
             gives=Recovery, codes=full, status=201),
        Door("GET", f"{me}/passkeys", Permission.SELF_READ, use.passkeys, "Your passkeys", _TAG,
             gives=PasskeyList),
        Door("POST", f"{me}/passkeys/begin", mine, use.begin_passkey, "Begin to add a passkey",
             _TAG, gives=Ceremony, codes=full),
        Door("POST", f"{me}/passkeys", mine, use.add_passkey, "Add a passkey", _TAG,
             takes=NewPasskey, gives=Recovery, codes=full, status=201, most=_MOST),
        Door("DELETE", f"{me}/passkeys/{{passkey}}", mine, use.drop_passkey, "Remove a passkey",
             _TAG, codes=away, status=204),
        Door("POST", f"{me}/oidc/{{provider}}", mine, use.link, "Begin to link an account",
             _TAG, gives=Elsewhere, codes=(*away, Code.UPSTREAM_FETCH_FAILED, Code.RATE_LIMITED)),
        Door("DELETE", f"{me}/oidc/{{provider}}", mine, use.unlink, "Unlink an account", _TAG,
             codes=(*stale, Code.NOT_FOUND), status=204),
    ]  # fmt: skip


class _Use:
    """The use cases behind the addresses."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._cookies = Cookies(secure=people.secure)

    def enrol(self, asked: Asked) -> Reply:
        """A secret."""
        token = asked.credentials.session
        made = self._people.totp.enrol(token, self._person(asked).mail)
        return Reply(Enrolment(secret=made.secret, uri=made.uri), 201)

    def confirm(self, asked: Asked) -> Reply:
        """Its first code."""
        made = self._people.totp.confirm(asked.credentials.session, asked.body.code)
        return self._confirmed(made, 200)

    def drop_totp(self, asked: Asked) -> Reply:
        """No more codes."""
        token = asked.credentials.session
        return self._rotated(self._people.totp.remove(token, self._person(asked)))

    def recovery(self, asked: Asked) -> Reply:
        """Codes on paper."""
        return self._confirmed(self._people.totp.renew_recovery(asked.credentials.session), 201)

    def passkeys(self, asked: Asked) -> PasskeyList:
        """All of them."""
        found = self._people.passkeys.listed(self._person(asked).id)
        return PasskeyList(passkeys=[_card(one) for one in found])

    def begin_passkey(self, asked: Asked) -> Ceremony:
        """A challenge."""
        token = asked.credentials.session
        begun = self._people.passkeys.begin_adding(token, self._person(asked))
        return Ceremony(ceremony=begun.ceremony, options=begun.options)

    def add_passkey(self, asked: Asked) -> Reply:
        """Its answer."""
        said, token = asked.body, asked.credentials.session
        made = self._people.passkeys.add(token, said.ceremony, said.name, said.credential)
        return self._confirmed(made, 201)

    def drop_passkey(self, asked: Asked) -> Reply:
        """One fewer."""
        token, person = asked.credentials.session, self._person(asked)
        return self._rotated(self._people.passkeys.remove(token, person, asked.path["passkey"]))

    def link(self, asked: Asked) -> Reply:
        """Off to the provider."""
        token, visit = asked.credentials.session, self._cookies.visit(asked)
        # Without a session it would be a log-in instead.
        self._people.sessions.signed(token)
        sent = self._people.oidc.begin(asked.path["provider"], visit, token)
        return Reply(Elsewhere(url=sent.url), headers=self._cookies.flow(sent.ticket))

    def unlink(self, asked: Asked) -> Reply:
        """Not by them any more."""
        token = asked.credentials.session
        return self._rotated(self._people.oidc.unlink(token, asked.path["provider"]))

    def _person(self, asked: Asked) -> Person:
        signed = self._people.sessions.signed(asked.credentials.session)
        return self._people.get(signed.person)

    def _confirmed(self, made: Confirmed, status: int) -> Reply:
        headers = self._cookies.opened(made.opened)
        return Reply(Recovery(recovery_codes=list(made.recovery)), status, headers=headers)

    def _rotated(self, opened: Opened) -> Reply:
        return Reply(None, headers=self._cookies.opened(opened))


def _card(one: Passkey) -> PasskeyCard:
    return PasskeyCard(id=one.id, name=one.name, created_ms=one.created_ms, used_ms=one.used_ms)
