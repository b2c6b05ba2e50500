"""The one authoriser: who is calling, and may they? Deny by default, for every protocol.

Every route asks it, with the permission that it needs. It knows four kinds of callers: the
administrator key, an API key, a token made for a key, and a person's session. Whatever is wrong
with a key is answered with the same words: whoever tries keys learns nothing.
"""

from __future__ import annotations

import fnmatch
import hmac
import ipaddress
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from heliograph.accounts.directory import Directory, Known, narrowest
from heliograph.accounts.keys.values import Key, digest, read
from heliograph.accounts.roles import PERMISSIONS, SELF
from heliograph.accounts.tokens import PREFIX, Claims, Tokens
from heliograph.accounts.workspaces.values import DEFAULT, Workspace
from heliograph.core.call import Caller, Credentials
from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import EVERY, Permission

_NO_KEY = bytes(32)
_WHILE_SUSPENDED = SELF | {
    *(Permission.BILLING_READ, Permission.DATA_EXPORT, Permission.USAGE_READ),
    Permission.WORKSPACES_READ,
}
"""What stays possible while a workspace is suspended: looking at the bill and taking one's data."""


class Person(NamedTuple):
    """Who a session belongs to: id, and whether they run this server."""

    id: str
    operator: bool


Sessions = Callable[[str], Person | None]
"""Whose session a cookie's value is; None if it is nobody's now."""
Refused = Callable[[Code, str, str, str], None]
"""Told of every refusal: code, who it was if that is known, the address, the workspace."""


def nobody_listens(code: Code, name: str, address: str, workspace: str) -> None:
    """A `Refused` that forgets."""
    del code, name, address, workspace


Consents = Callable[[Caller, str], None]
"""Raises `consent_required` unless a caller has agreed to a purpose."""


def nobody_asks(caller: Caller, purpose: str) -> None:
    """A `Consents` that agrees to everything."""
    del caller, purpose


class AccountsGate:
    """See `serving.values.Gate`.

    Args:
        admin: the administrator key.
        directory: what opens doors.
        tokens: reads tokens.
        sessions: finds sessions.
        clock: tells the time.
        refused: told of every refusal.
        consents: whether a purpose has been agreed to.
    """

    def __init__(
        self,
        admin: str,
        directory: Directory,
        tokens: Tokens,
        sessions: Sessions,
        clock: Clock,
        refused: Refused = nobody_listens,
        *,
        consents: Consents = nobody_asks,
    ) -> None:
        self._admin = admin.encode()
        self._directory = directory
        self._tokens = tokens
        self._sessions = sessions
        self._clock = clock
        self._refused = refused
        self._consents = consents
        self._callers: dict[str, Caller] = {}
        self._epoch = -1

    def check(self, credentials: Credentials, needs: Permission, model: str = "") -> Caller:
        """See `serving.values.Gate`; the caller's workspace is the one it acts for."""
        caller: Caller | None = None
        try:
            caller = self._find(credentials)
            self._allow(caller, needs, model)
        except HeliographError as error:
            name, workspace = (caller.name, caller.workspace) if caller else ("", "")
            self._refused(error.code, name, credentials.address, workspace)
            raise
        return caller

    def agreed(self, caller: Caller, purpose: str) -> None:
        """See `serving.values.Gate`."""
        try:
            self._consents(caller, purpose)
        except HeliographError as error:
            self._refused(error.code, caller.name, "", caller.workspace)
            raise

    def _find(self, said: Credentials) -> Caller:
        if said.key:
            if said.key.startswith(PREFIX):
                return self._by_token(said)
            if hmac.compare_digest(said.key.encode(errors="replace"), self._admin):
                return self._operator("admin", "", said.workspace)
            return self._by_key(said)
        person = self._sessions(said.session) if said.session else None
        if person is None:
            raise unauthenticated()
        return self._by_person(person, said.workspace)

    # --- keys and tokens ---------------------------------------------------------------------

    def _by_key(self, said: Credentials) -> Caller:
        found = read(said.key)
        if found is None:
            raise unauthenticated()
        name, secret = found
        key = self._directory.key(name)
        # Compared whether or not there is such a key: how long it takes tells nothing.
        right = hmac.compare_digest(digest(secret), key.digest if key else _NO_KEY)
        if key is None or not right or not key.valid(self._clock()):
            if key is not None:
                # The look that a key costs which nobody knows: else its absence could be timed.
                self._directory.key("")
            raise unauthenticated()
        return self._holder(key, said)

    def _by_token(self, said: Credentials) -> Caller:
        claims = self._tokens.read(said.key)
        key = self._directory.key(claims.key) if claims else None
        if claims is None or key is None or not key.valid(self._clock()):
            raise unauthenticated()
        if claims.origin and said.origin != claims.origin:
            raise unauthenticated()
        caller = self._caller(key)
        scopes = caller.permissions & {Permission.MODELS_CALL, Permission.MODELS_READ}
        return replace(caller, permissions=scopes, models=_narrower(caller, claims))

    def _holder(self, key: Key, said: Credentials) -> Caller:
        if key.addresses and not _within(said.address, key.addresses):
            raise unauthenticated()
        if key.origins and said.origin not in key.origins:
            raise unauthenticated()
        if said.workspace and said.workspace != key.workspace:
            raise _no_workspace()
        return self._caller(key)

    def _caller(self, key: Key) -> Caller:
        """The caller of a key; made once for each state of the directory."""
        known = self._directory.known
        if known.epoch != self._epoch:
            self._callers, self._epoch = {}, known.epoch
        found = self._callers.get(key.id)
        if found is None:
            workspace = known.workspaces.get(key.workspace)
            found = self._callers[key.id] = Caller(
                key.id,
                key.workspace,
                key=key.id,
                permissions=key.scopes,
                models=key.models,
                limits=(
                    *narrowest(key.limits, known.limits.get(key.id, ())),
                    *known.limits.get(key.workspace, ()),
                ),
                share=float(workspace.share) if workspace else 1.0,
            )
        return found

    # --- people ------------------------------------------------------------------------------

    def _by_person(self, person: Person, wanted: str) -> Caller:
        if person.operator:
            return self._operator(person.id, person.id, wanted)
        known = self._directory.known
        roles = known.roles.get(person.id, {})
        if wanted and wanted not in roles:
            raise _no_workspace()
        chosen = wanted or (next(iter(roles)) if len(roles) == 1 else "")
        held = PERMISSIONS[roles[chosen]] if chosen else frozenset[Permission]()
        workspace = known.workspaces.get(chosen)
        return Caller(
            person.id,
            chosen,
            person=person.id,
            permissions=held | SELF,
            limits=known.limits.get(chosen, ()),
            share=float(workspace.share) if workspace else 1.0,
        )

    def _operator(self, name: str, person: str, wanted: str) -> Caller:
        known = self._directory.known
        chosen = self._workspace(known, wanted or DEFAULT) if wanted else None
        limits = known.limits.get(wanted or DEFAULT, ())
        return Caller(
            name,
            chosen.id if chosen else DEFAULT,
            person=person,
            operator=True,
            permissions=EVERY,
            limits=limits,
            share=float(chosen.share) if chosen else 1.0,
        )

    def _workspace(self, known: Known, wanted: str) -> Workspace:
        found = known.workspaces.get(wanted) or self._directory.refresh().workspaces.get(wanted)
        if found is None:
            raise _no_workspace()
        return found

    # --- may they ----------------------------------------------------------------------------

    def _allow(self, caller: Caller, needs: Permission, model: str) -> None:
        workspace = self._directory.known.workspaces.get(caller.workspace)
        stopped = workspace is not None and workspace.suspended(self._clock())
        if stopped and not caller.operator and needs not in _WHILE_SUSPENDED:
            raise HeliographError(
                Code.SUSPENDED,
                "This workspace is suspended. Its data is kept; what happened and how to appeal "
                "was sent to its owners.",
            )
        if needs not in caller.permissions:
            raise HeliographError(Code.FORBIDDEN, _why(caller, needs))
        if model and caller.models and not _matches(model, caller.models):
            raise HeliographError(Code.FORBIDDEN, "This key may not call this model.")


def _why(caller: Caller, needs: Permission) -> str:
    if caller.person and not caller.workspace:
        return "Say which workspace you mean with the header Heliograph-Workspace."
    return f"This needs the permission {needs}, which this caller has not."


def _narrower(caller: Caller, claims: Claims) -> tuple[str, ...]:
    """The models of a token within those of its key; what is in neither list is in none."""
    if not claims.models or not caller.models:
        return claims.models or caller.models
    return tuple(one for one in claims.models if _matches(one, caller.models)) or ("-",)


def _matches(model: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(model, pattern) for pattern in patterns)


def _within(address: str, networks: tuple[str, ...]) -> bool:
    try:
        one = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(one, "ipv4_mapped", None)
    one = mapped or one
    return any(one in ipaddress.ip_network(network) for network in networks)


def unauthenticated() -> HeliographError:
    """The one answer to whatever is wrong with a key."""
    return HeliographError(
        Code.UNAUTHENTICATED,
        "Send the key as 'Authorization: Bearer KEY'. The first administrator key lies in "
        "admin.key in the server's data folder.",
    )


def _no_workspace() -> HeliographError:
    return HeliographError(Code.NOT_FOUND, "There is no such workspace.")
