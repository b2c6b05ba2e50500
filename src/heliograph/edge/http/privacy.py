"""Privacy: consents, exports and erasures; for oneself under `/me`, else under `/workspace`.

Another one's export or erasure is not found, as if there were none.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from heliograph.accounts.privacy.consents import Asked as AskedFor
from heliograph.accounts.privacy.service import Privacy
from heliograph.accounts.privacy.values import (
    Erasure,
    ErasureState,
    Export,
    ExportState,
    Purpose,
    Tick,
)
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import Asked, Door, Page, Reply
from heliograph.edge.http.paths import named, place

_TAG = "privacy"


class ConsentLanguage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which language.

    Attributes:
        locale: in which the texts are read, such as `de-CH`.
    """

    locale: Annotated[str, msgspec.Meta(max_length=35)] = "en"


class ConsentSaid(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is agreed to or taken back, one purpose at a time.

    Attributes:
        purpose: what for.
        given: agree; false takes it back, for which nothing else is needed.
        version: of the text that was read.
        locale: the language that it was read in.
        channel: how it is said.
    """

    purpose: Purpose
    given: bool
    version: Annotated[str, msgspec.Meta(max_length=64)] = ""
    locale: Annotated[str, msgspec.Meta(max_length=35)] = "en"
    channel: Literal["api", "console"] = "api"


class ConsentCard(msgspec.Struct, frozen=True, kw_only=True):
    """One purpose.

    Attributes:
        purpose: what for.
        given: whether you agree now.
        version: of the text in force; say it back to agree.
        locale: the text's language; `text` its words.
        agreed: the version that you agreed to.
        at_ms: when you last said something, in milliseconds since 1970; 0 for never.
    """

    purpose: Purpose
    given: bool
    version: str
    locale: str
    text: str
    agreed: str
    at_ms: int


class ConsentList(msgspec.Struct, frozen=True, kw_only=True):
    """Every purpose there is."""

    consents: list[ConsentCard]


class ExportCard(msgspec.Struct, frozen=True, kw_only=True):
    """An export.

    Attributes:
        id: `exp_…`.
        subject: whose data.
        state: where it stands; `ready` can be fetched at `…/file`.
        asked_ms: when it was asked for; `made_ms` when it was ready.
        until_ms: when it goes.
        size: bytes; `digest` the file's SHA-256 in hex.
    """

    id: str
    subject: str
    state: ExportState
    asked_ms: int
    made_ms: int
    until_ms: int
    size: int
    digest: str


class ExportList(msgspec.Struct, frozen=True, kw_only=True):
    """Exports, the oldest first."""

    exports: list[ExportCard]


class TickCard(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the checklist.

    Attributes:
        place: where the data lies.
        state: `waiting`, `erased` or `kept`.
        items: how many rows or files.
        reason: why it is kept, and `law` which law says so.
        at_ms: when it was done; 0 for not yet.
    """

    place: str
    state: str
    items: int
    reason: str
    law: str
    at_ms: int


class ErasureCard(msgspec.Struct, frozen=True, kw_only=True):
    """An erasure.

    Attributes:
        id: `era_…`.
        kind: of whom: `person` or `workspace`.
        state: where it stands.
        waits: what it waits for; empty if nothing is in its way.
        asked_ms: when it was asked for, in milliseconds since 1970.
        begins_ms: until then it can be called off.
        due_ms: by then it must be done.
        done_ms: when it was done; 0 for not yet.
        places: the checklist.
    """

    id: str
    kind: str
    state: ErasureState
    waits: str
    asked_ms: int
    begins_ms: int
    due_ms: int
    done_ms: int
    places: list[TickCard]


class ErasureList(msgspec.Struct, frozen=True, kw_only=True):
    """Erasures, the oldest first, without their checklists."""

    erasures: list[ErasureCard]


def doors(privacy: Privacy) -> list[Door]:
    """The addresses."""
    return [*_consents(privacy), *_exports(privacy), *_erasures(privacy)]


def _consents(privacy: Privacy) -> list[Door]:
    read, write = Permission.SELF_READ, Permission.SELF_WRITE
    look, change = Permission.WORKSPACES_READ, Permission.WORKSPACES_WRITE
    codes = (Code.CONFLICT, Code.NOT_FOUND)
    mine, ours = "/api/v1/me/consents", "/api/v1/workspace/consents"
    use = _Consents(privacy)
    return [
        Door("GET", mine, read, use.mine, "What you agreed to", _TAG, gives=ConsentList,
             query=ConsentLanguage),
        Door("POST", mine, write, use.say, "Agree, or take it back", _TAG, takes=ConsentSaid,
             gives=ConsentCard, codes=codes),
        Door("GET", ours, look, use.ours, "What the workspace agreed to", _TAG, gives=ConsentList,
             query=ConsentLanguage),
        Door("POST", ours, change, use.say_ours, "Agree for the workspace, or take it back", _TAG,
             takes=ConsentSaid, gives=ConsentCard, codes=codes),
    ]  # fmt: skip


def _exports(privacy: Privacy) -> list[Door]:
    read, write, data = Permission.SELF_READ, Permission.SELF_WRITE, Permission.DATA_EXPORT
    lost, early = (Code.NOT_FOUND,), (Code.CONFLICT, Code.NOT_FOUND)
    ours, use = "/api/v1/workspace/exports", _Exports(privacy)
    return [
        Door("POST", "/api/v1/me/export", write, use.ask, "Ask for all your data", _TAG,
             gives=ExportCard, codes=lost, status=202),
        Door("GET", "/api/v1/me/exports", read, use.mine, "Your exports", _TAG, gives=ExportList,
             query=Page),
        Door("GET", "/api/v1/exports/{export}", read, use.get, "One export", _TAG,
             gives=ExportCard, codes=lost),
        Door("GET", "/api/v1/exports/{export}/file", read, use.file, "Fetch an export", _TAG,
             gives=bytes, codes=early),
        Door("POST", "/api/v1/workspace/export", data, use.ask_ours,
             "Ask for all data of the workspace", _TAG, gives=ExportCard, codes=lost, status=202),
        Door("GET", ours, data, use.ours, "Exports of the workspace", _TAG, gives=ExportList,
             query=Page),
        Door("GET", f"{ours}/{{export}}", data, use.get_ours, "One export of the workspace", _TAG,
             gives=ExportCard, codes=lost),
        Door("GET", f"{ours}/{{export}}/file", data, use.file_ours,
             "Fetch an export of the workspace", _TAG, gives=bytes, codes=early),
    ]  # fmt: skip


def _erasures(privacy: Privacy) -> list[Door]:
    read, write, data = Permission.SELF_READ, Permission.SELF_WRITE, Permission.DATA_ERASE
    operate = Permission.SERVER_OPERATE
    mine, ours, every = "/api/v1/me/erasure", "/api/v1/workspace/erasure", "/api/v1/erasures"
    lost, wrong = (Code.NOT_FOUND,), (Code.CONFLICT, Code.NOT_FOUND)
    use = _Erasures(privacy)
    return [
        Door("POST", mine, write, use.ask, "Have your account erased", _TAG, gives=ErasureCard,
             codes=wrong, status=202),
        Door("GET", mine, read, use.mine, "How far it is", _TAG, gives=ErasureCard, codes=lost),
        Door("DELETE", mine, write, use.cancel, "Call it off", _TAG, gives=ErasureCard,
             codes=wrong),
        Door("POST", ours, data, use.ask_ours, "Have the workspace erased", _TAG,
             gives=ErasureCard, codes=wrong, status=202),
        Door("GET", ours, data, use.ours, "How far it is", _TAG, gives=ErasureCard, codes=lost),
        Door("DELETE", ours, data, use.cancel_ours, "Call it off", _TAG, gives=ErasureCard,
             codes=wrong),
        Door("GET", every, operate, use.index, "All erasures", _TAG, gives=ErasureList,
             query=Page),
        Door("GET", f"{every}/{{erasure}}", read, use.get, "One erasure", _TAG, gives=ErasureCard,
             codes=lost),
        Door("POST", f"{every}/{{erasure}}/approve", operate, use.approve,
             "Agree as the second person", _TAG, gives=ErasureCard,
             codes=(*wrong, Code.FORBIDDEN)),
    ]  # fmt: skip


class _Consents:
    """What people and workspaces agree to."""

    def __init__(self, privacy: Privacy) -> None:
        self._consents = privacy.consents

    def mine(self, asked: Asked) -> ConsentList:
        """One's own."""
        return self._list(_person(asked), asked)

    def ours(self, asked: Asked) -> ConsentList:
        """The workspace's."""
        return self._list(_workspace(asked), asked)

    def _list(self, subject: str, asked: Asked) -> ConsentList:
        found = self._consents.asked(subject, asked.query.locale)
        return ConsentList(consents=[_consent(one) for one in found])

    def say(self, asked: Asked) -> ConsentCard:
        """For oneself."""
        return self._say(_person(asked), asked)

    def say_ours(self, asked: Asked) -> ConsentCard:
        """For the workspace."""
        return self._say(_workspace(asked), asked)

    def _say(self, subject: str, asked: Asked) -> ConsentCard:
        said: ConsentSaid = asked.body
        actor = asked.caller.name
        if said.given:
            self._consents.give(
                subject, said.purpose, said.version, actor, locale=said.locale, channel=said.channel
            )
        else:
            self._consents.withdraw(subject, said.purpose, actor, channel=said.channel)
        found = self._consents.asked(subject, said.locale)
        return _consent(next(one for one in found if one.purpose is said.purpose))


class _Exports:
    """All data about somebody as a file."""

    def __init__(self, privacy: Privacy) -> None:
        self._exports = privacy.exports

    def ask(self, asked: Asked) -> ExportCard:
        """For oneself."""
        return _export(self._exports.ask(_person(asked), asked.caller.name))

    def mine(self, asked: Asked) -> ExportList:
        """One's own."""
        return self._page(_person(asked), asked.query)

    def get(self, asked: Asked) -> ExportCard:
        """One that the caller may see."""
        return _export(self._seen(asked))

    def file(self, asked: Asked) -> Reply:
        """The file."""
        return self._taken(self._seen(asked), asked)

    def ask_ours(self, asked: Asked) -> ExportCard:
        """For the workspace."""
        return _export(self._exports.ask(_workspace(asked), asked.caller.name))

    def ours(self, asked: Asked) -> ExportList:
        """The workspace's."""
        return self._page(_workspace(asked), asked.query)

    def get_ours(self, asked: Asked) -> ExportCard:
        """One of the workspace's."""
        return _export(self._exports.get(named(asked, "export"), _workspace(asked)))

    def file_ours(self, asked: Asked) -> Reply:
        """Its file."""
        return self._taken(self._exports.get(named(asked, "export"), _workspace(asked)), asked)

    def _page(self, subject: str, query: Page) -> ExportList:
        found = self._exports.page(subject, place(query.after), query.limit)
        return ExportList(exports=[_export(one) for one in found])

    def _seen(self, asked: Asked) -> Export:
        found = self._exports.get(named(asked, "export"))
        _seen(asked, found.subject, Permission.DATA_EXPORT)
        return found

    def _taken(self, export: Export, asked: Asked) -> Reply:
        body = self._exports.take(export.id, asked.caller.name, export.subject)
        name = f'attachment; filename="{export.id}.zip"'
        return Reply(body, media="application/zip", headers={"content-disposition": name})


class _Erasures:
    """The end of somebody's data."""

    def __init__(self, privacy: Privacy) -> None:
        self._erasures = privacy.erasures

    def ask(self, asked: Asked) -> ErasureCard:
        """For oneself."""
        return self._card(self._erasures.ask(_person(asked), asked.caller.name))

    def mine(self, asked: Asked) -> ErasureCard:
        """One's own."""
        return self._card(self._erasures.of(_person(asked)))

    def cancel(self, asked: Asked) -> ErasureCard:
        """Call one's own off."""
        return self._off(_person(asked), asked)

    def ask_ours(self, asked: Asked) -> ErasureCard:
        """For the workspace; by the operator it takes two."""
        caller = asked.caller
        made = self._erasures.ask(_workspace(asked), caller.name, operator=caller.operator)
        return self._card(made)

    def ours(self, asked: Asked) -> ErasureCard:
        """The workspace's."""
        return self._card(self._erasures.of(_workspace(asked)))

    def cancel_ours(self, asked: Asked) -> ErasureCard:
        """Call the workspace's off."""
        return self._off(_workspace(asked), asked)

    def index(self, asked: Asked) -> ErasureList:
        """All."""
        query: Page = asked.query
        found = self._erasures.page(place(query.after), query.limit)
        return ErasureList(erasures=[_erasure(one, []) for one in found])

    def get(self, asked: Asked) -> ErasureCard:
        """One that the caller may see."""
        found, _ = self._erasures.get(named(asked, "erasure"))
        _seen(asked, found.subject, Permission.DATA_ERASE)
        return self._card(found)

    def approve(self, asked: Asked) -> ErasureCard:
        """Agree."""
        return self._card(self._erasures.approve(named(asked, "erasure"), asked.caller.name))

    def _off(self, subject: str, asked: Asked) -> ErasureCard:
        found = self._erasures.of(subject)
        return self._card(self._erasures.cancel(found.id, asked.caller.name))

    def _card(self, one: Erasure) -> ErasureCard:
        found, ticks = self._erasures.get(one.id)
        done = {tick.place: tick for tick in ticks}
        off = found.state in (ErasureState.DONE, ErasureState.CANCELLED)
        names = list(done) if off else self._erasures.names()
        waiting = Tick("", "waiting", 0, "", "", 0)
        lines = [done.get(name, waiting)._replace(place=name) for name in names]
        return _erasure(found, lines)


def _person(asked: Asked) -> str:
    if not asked.caller.person:
        raise HeliographError(Code.FORBIDDEN, "This is about a person: log in as one, not by key.")
    return asked.caller.person


def _workspace(asked: Asked) -> str:
    if not asked.caller.workspace:
        raise HeliographError(
            Code.FORBIDDEN, "Say which workspace you mean with the header Heliograph-Workspace."
        )
    return asked.caller.workspace


def _seen(asked: Asked, subject: str, needs: Permission) -> None:
    """Let through who it is about, who may do that in the workspace, and the operator."""
    caller = asked.caller
    mine = bool(subject) and subject == caller.person
    ours = bool(subject) and subject == caller.workspace and needs in caller.permissions
    if not (mine or ours or caller.operator):
        # In the words of an id that nobody has: which there are is nobody else's business.
        kind = next(iter(asked.path), "thing")
        raise HeliographError(Code.NOT_FOUND, f"There is no such {kind}.")


def _consent(one: AskedFor) -> ConsentCard:
    return ConsentCard(**{name: getattr(one, name) for name in ConsentCard.__struct_fields__})


def _export(one: Export) -> ExportCard:
    return ExportCard(**{name: getattr(one, name) for name in ExportCard.__struct_fields__})


def _erasure(one: Erasure, ticks: list[Tick]) -> ErasureCard:
    said = {name: getattr(one, name) for name in ErasureCard.__struct_fields__ if name != "places"}
    return ErasureCard(**said, places=[TickCard(**tick._asdict()) for tick in ticks])
