"""Logging in and out: `/api/v1/sessions`, and what the browser keeps of it.

The session's token goes into a cookie that no script can read, `__Host-heliograph` over TLS. A
second cookie marks the browser as one that its person has logged in with: guesses made elsewhere
never shut that one out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from heliograph.accounts.people.service import People
from heliograph.accounts.people.values import ABSOLUTE_MS, DEVICE_MS, Half, Opened, Session, Visit
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import PUBLIC, Asked, Door, Reply
from heliograph.edge.http.origin import session_name

_TAG = "sessions"
_MOST = 8 << 10
_MOST_PASSKEY = 32 << 10
_FLOW_SECONDS = 600
_AGENT = 100
Mail = Annotated[str, msgspec.Meta(min_length=3, max_length=254)]
Password = Annotated[str, msgspec.Meta(max_length=128)]
Secret = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class LogInForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A log-in with a password.

    Attributes:
        mail: the address.
        password: as typed.
    """

    mail: Mail
    password: Password


class CodeForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What completes a log-in.

    Attributes:
        ticket: of the first half.
        code: six digits, or a recovery code.
    """

    ticket: Secret
    code: Annotated[str, msgspec.Meta(min_length=6, max_length=40)]


class PasskeyForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An authenticator's answer.

    Attributes:
        ceremony: that it answers.
        credential: what `navigator.credentials` gave, in WebAuthn's JSON.
    """

    ceremony: Secret
    credential: dict[str, Any]


class SessionCard(msgspec.Struct, frozen=True, kw_only=True):
    """A session of yours.

    Attributes:
        id: `ses_…`.
        created_ms: when it was opened, in milliseconds since 1970.
        seen_ms: when it was last used, to a minute.
        expires_ms: when it ends, however much it is used.
        address: from where it was opened.
        agent: with which program.
        strength: `password`, `totp`, `passkey` or `oidc`.
        current: whether it is the one that asks.
    """

    id: str
    created_ms: int
    seen_ms: int
    expires_ms: int
    address: str
    agent: str
    strength: str
    current: bool


class SessionList(msgspec.Struct, frozen=True, kw_only=True):
    """Your sessions.

    Attributes:
        sessions: oldest first.
    """

    sessions: list[SessionCard]


class LogInAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How far a log-in has come.

    Attributes:
        needs: what is still needed, one of them: `totp`, `recovery`, `passkey`; empty once the
            session is open.
        ticket: to be sent with the code to `/api/v1/sessions/code`; empty once it is open.
        session: the session; null while something is needed.
    """

    needs: list[str]
    ticket: str
    session: SessionCard | None


class Ceremony(msgspec.Struct, frozen=True, kw_only=True):
    """What the browser asks an authenticator with.

    Attributes:
        ceremony: to be sent with its answer.
        options: for `navigator.credentials`, in WebAuthn's JSON.
    """

    ceremony: str
    options: dict[str, Any]


class Providers(msgspec.Struct, frozen=True, kw_only=True):
    """By whom one can log in.

    Attributes:
        providers: names.
    """

    providers: list[str]


class Elsewhere(msgspec.Struct, frozen=True, kw_only=True):
    """Where the browser goes to log in.

    Attributes:
        url: the provider's page.
    """

    url: str


class Callback(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a provider sends the browser back with; only the first three are looked at.

    Attributes:
        state: of the log-in.
        code: for the tokens.
        iss: who answers.
        error: why there is no code.
        error_description: in words.
        error_uri: where there is more of them.
        session_state: the provider's own.
        scope: what was granted.
        authuser: the provider's own.
        prompt: the provider's own.
        hd: the provider's own.
    """

    state: str = ""
    code: str = ""
    iss: str = ""
    error: str = ""
    error_description: str = ""
    error_uri: str = ""
    session_state: str = ""
    scope: str = ""
    authuser: str = ""
    prompt: str = ""
    hd: str = ""


def doors(people: People) -> list[Door]:
    """The addresses."""
    base, mine = "/api/v1/sessions", Permission.SELF_WRITE
    back = f"{base}/oidc/{{provider}}/callback"
    wrong = (Code.UNAUTHENTICATED, Code.SUSPENDED, Code.RATE_LIMITED, Code.OVERLOADED)
    far = (Code.NOT_FOUND, Code.UPSTREAM_FETCH_FAILED, Code.RATE_LIMITED)
    use = _Use(people)
    return [
        Door("POST", base, PUBLIC, use.password, "Log in with a password", _TAG, takes=LogInForm,
             gives=LogInAnswer, codes=wrong, status=201, most=_MOST),
        Door("POST", f"{base}/code", PUBLIC, use.code, "Complete a log-in with a code", _TAG,
             takes=CodeForm, gives=LogInAnswer, codes=wrong, status=201, most=_MOST),
        Door("POST", f"{base}/passkey/begin", PUBLIC, use.begin_passkey,
             "Begin a log-in with a passkey", _TAG, gives=Ceremony, codes=(Code.RATE_LIMITED,)),
        Door("POST", f"{base}/passkey", PUBLIC, use.passkey, "Log in with a passkey", _TAG,
             takes=PasskeyForm, gives=LogInAnswer, codes=wrong, status=201, most=_MOST_PASSKEY),
        Door("GET", f"{base}/oidc", PUBLIC, use.providers, "By whom one can log in", _TAG,
             gives=Providers),
        Door("POST", f"{base}/oidc/{{provider}}", PUBLIC, use.begin_oidc,
             "Begin a log-in at a provider", _TAG, gives=Elsewhere, codes=far),
        Door("GET", back, PUBLIC, use.oidc, "Where a provider sends the browser back", _TAG,
             query=Callback, codes=(*far, *wrong, Code.CONFLICT), status=303),
        Door("GET", base, Permission.SELF_READ, use.listed, "Your sessions", _TAG,
             gives=SessionList),
        Door("DELETE", base, mine, use.close_others, "End all your other sessions", _TAG,
             status=204),
        Door("DELETE", f"{base}/current", mine, use.leave, "Log out", _TAG, status=204),
        Door("DELETE", f"{base}/{{session}}", mine, use.close, "End a session of yours", _TAG,
             codes=(Code.NOT_FOUND,), status=204),
    ]  # fmt: skip


class _Use:
    """The use cases behind the addresses."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._cookies = Cookies(secure=people.secure)

    def password(self, asked: Asked) -> Reply:
        """The first half, or all of it."""
        visit = self._cookies.visit(asked)
        made = self._people.login.password(asked.body.mail, asked.body.password, visit)
        if isinstance(made, Half):
            answer = LogInAnswer(needs=list(made.needs), ticket=made.ticket, session=None)
            return Reply(answer, 202)
        return self._open(made)

    def code(self, asked: Asked) -> Reply:
        """The second half."""
        visit = self._cookies.visit(asked)
        return self._open(self._people.login.code(asked.body.ticket, asked.body.code, visit))

    def begin_passkey(self, asked: Asked) -> Ceremony:
        """A challenge."""
        begun = self._people.passkeys.begin_using(self._cookies.visit(asked))
        return Ceremony(ceremony=begun.ceremony, options=begun.options)

    def passkey(self, asked: Asked) -> Reply:
        """Its answer."""
        said, visit = asked.body, self._cookies.visit(asked)
        return self._open(self._people.passkeys.use(said.ceremony, said.credential, visit))

    def providers(self, asked: Asked) -> Providers:
        """Names."""
        del asked
        return Providers(providers=list(self._people.oidc.names))

    def begin_oidc(self, asked: Asked) -> Reply:
        """Off to the provider."""
        visit = self._cookies.visit(asked)
        sent = self._people.oidc.begin(asked.path["provider"], visit)
        return Reply(Elsewhere(url=sent.url), headers=self._cookies.flow(sent.ticket))

    def oidc(self, asked: Asked) -> Reply:
        """And back."""
        said, ticket = asked.query, self._cookies.ticket(asked)
        if not said.code or not said.state or not ticket:
            raise HeliographError(
                Code.UNAUTHENTICATED, "The provider did not let you in, or this is not the browser."
            )
        opened = self._people.oidc.finish(
            asked.path["provider"],
            ticket,
            said.state,
            said.code,
            self._cookies.visit(asked),
            said.iss,
        )
        return Reply(None, 303, headers={**self._cookies.opened(opened), "location": "/"})

    def listed(self, asked: Asked) -> SessionList:
        """All of them."""
        signed = self._people.sessions.signed(asked.credentials.session)
        found = self._people.sessions.mine(signed.person)
        return SessionList(
            sessions=[card(one, current=one.id == signed.session.id) for one in found]
        )

    def close_others(self, asked: Asked) -> None:
        """All but this one."""
        signed = self._people.sessions.signed(asked.credentials.session)
        self._people.sessions.close_others(signed)

    def leave(self, asked: Asked) -> Reply:
        """This one."""
        signed = self._people.sessions.signed(asked.credentials.session)
        self._people.sessions.close(signed.person, signed.session.id)
        return Reply(None, headers=self._cookies.gone())

    def close(self, asked: Asked) -> None:
        """Any of them."""
        signed = self._people.sessions.signed(asked.credentials.session)
        self._people.sessions.close(signed.person, asked.path["session"])

    def _open(self, opened: Opened) -> Reply:
        shown = card(opened.session, current=True)
        answer = LogInAnswer(needs=[], ticket="", session=shown)
        return Reply(answer, 201, headers=self._cookies.opened(opened))


def card(one: Session, *, current: bool) -> SessionCard:
    """A session as it is told."""
    return SessionCard(
        id=one.id,
        created_ms=one.created_ms,
        seen_ms=one.seen_ms,
        expires_ms=one.expires_ms,
        address=one.address,
        agent=one.agent,
        strength=one.strength,
        current=current,
    )


class Cookies:
    """What browsers keep for us.

    Args:
        secure: browsers come by TLS; the names bind the cookies to this host then.
    """

    def __init__(self, *, secure: bool) -> None:
        self._session = session_name(secure=secure)
        self._device = f"{self._session}-device"
        self._flow = f"{self._session}-oidc"
        self._secure = "; Secure" if secure else ""

    def visit(self, asked: Asked) -> Visit:
        """Where a request comes from."""
        agent = "".join(one for one in asked.headers.get("user-agent", "") if one.isprintable())
        device = self._read(asked, self._device)
        return Visit(asked.credentials.address, agent[:_AGENT], device)

    def ticket(self, asked: Asked) -> str:
        """What was kept of a log-in that is under way at a provider."""
        return self._read(asked, self._flow)

    def opened(self, opened: Opened) -> Mapping[str, str]:
        """Headers that make the browser keep a session."""
        headers = self.known(opened.device)
        return {"set-cookie": self._keep(self._session, opened.token, ABSOLUTE_MS), **headers}

    def known(self, device: str) -> dict[str, str]:
        """Headers that mark the browser as known, if it was not."""
        # A mapping has one value a name, and names are the same in any case: two cookies, two ways
        # to write it.
        return {"Set-Cookie": self._keep(self._device, device, DEVICE_MS)} if device else {}

    def flow(self, ticket: str) -> Mapping[str, str]:
        """Headers that tie a log-in at a provider to this browser."""
        return {"set-cookie": self._keep(self._flow, ticket, _FLOW_SECONDS * 1000)}

    def gone(self) -> Mapping[str, str]:
        """Headers that make the browser forget the session."""
        return {"set-cookie": self._keep(self._session, "", 0), "clear-site-data": '"cache"'}

    def _keep(self, name: str, value: str, ms: int) -> str:
        rest = f"Path=/; Max-Age={ms // 1000}; HttpOnly; SameSite=Lax{self._secure}"
        return f"{name}={value}; {rest}"

    def _read(self, asked: Asked, name: str) -> str:
        for one in asked.headers.get("cookie", "").split(";"):
            found, _, value = one.strip().partition("=")
            if found == name:
                return value
        return ""
