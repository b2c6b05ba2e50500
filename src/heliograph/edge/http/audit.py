"""The audit log over HTTP: looking at events, and taking away what proves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from heliograph.audit.service import Audit
from heliograph.audit.values import Filter, Told
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import Asked, Door

_TAG = "Audit"
_Ms = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
_Id = Annotated[str, msgspec.Meta(max_length=120)]


class AuditQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which events to list.

    Attributes:
        act: only this act.
        actor: only what this one did, by id.
        subject: only what was done to this one, by id.
        since: from this time on, in ms since 1970.
        until: before this time, in ms since 1970.
        after: the last number of the page before; the next page goes on below it.
        limit: at most so many.
    """

    act: Act | None = None
    actor: _Id = ""
    subject: _Id = ""
    since: _Ms = 0
    until: _Ms = 0
    after: _Ms = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 100


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event.

    Attributes:
        seq: its number; numbers have no gaps.
        at_ms: when it was written, in ms since 1970; the order is that of `seq`.
        act: what happened.
        actor: who did it; a pseudonym if that one has been forgotten.
        workspace: whose it is; empty for the whole server's.
        subject: what it was done to.
        facts: further ids, numbers and words.
    """

    seq: int
    at_ms: int
    act: str
    actor: str
    workspace: str
    subject: str
    facts: Mapping[str, str | int | bool]


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events, the newest first.

    Attributes:
        events: at most as many as were asked for.
        after: the number to go on after; 0 if there are no more.
    """

    events: list[AuditEvent]
    after: int


class AuditCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The newest signed checkpoint.

    Attributes:
        number: checkpoints count up from 1.
        note: the signed note: the log's name, its size, its root, the signature.
        key: the public key; compare it with one that came another way.
    """

    number: int
    note: str
    key: str


class AuditProof(msgspec.Struct, frozen=True, kw_only=True):
    """That an event belongs to what the newest checkpoint was signed over.

    Attributes:
        seq: the event's number.
        body: what was written, byte by byte, pseudonyms included.
        prev: the hash of the event before it, in hex.
        hash: SHA-256 of `prev`'s bytes and the body's, in hex; the tree's leaf is over its bytes.
        path: the hashes of neighbours up to the root, in hex (RFC 9162, 2.1.3).
        checkpoint: the signed note.
    """

    seq: int
    body: str
    prev: str
    hash: str
    path: list[str]
    checkpoint: str


def doors(audit: Audit) -> list[Door]:
    """The audit log's doors."""

    def events(asked: Asked) -> AuditPage:
        query: AuditQuery = asked.query
        wanted = Filter(
            workspace=_scope(asked),
            act=query.act,
            actor=query.actor,
            subject=query.subject,
            since_ms=query.since,
            until_ms=query.until,
            before=query.after,
            limit=query.limit,
        )
        found = [_event(one) for one in audit.find(wanted)]
        return AuditPage(events=found, after=found[-1].seq if len(found) == query.limit else 0)

    def checkpoint(asked: Asked) -> AuditCheckpoint:
        del asked
        number, note = audit.seals.newest()
        return AuditCheckpoint(number=number, note=note, key=audit.seals.key)

    def proof(asked: Asked) -> AuditProof:
        seq = asked.path["seq"]
        if not (seq.isascii() and seq.isdigit() and len(seq) <= 15):
            raise HeliographError(Code.NOT_FOUND, "There is no such event.")
        found = audit.proof(int(seq), _scope(asked))
        return AuditProof(
            seq=found.seq,
            body=found.body,
            prev=found.prev,
            hash=found.hash,
            path=list(found.path),
            checkpoint=found.checkpoint,
        )

    needs, at = Permission.AUDIT_READ, "/api/v1/audit"
    missing = (Code.NOT_FOUND,)
    return [
        Door(
            *("GET", at, needs, events),
            summary="Events, the newest first",
            tag=_TAG,
            gives=AuditPage,
            query=AuditQuery,
            codes=(Code.UNKNOWN_FILTER, Code.VALIDATION),
        ),
        Door(
            *("GET", f"{at}/checkpoint", needs, checkpoint),
            summary="The newest signed checkpoint",
            tag=_TAG,
            gives=AuditCheckpoint,
            codes=missing,
        ),
        Door(
            *("GET", f"{at}/{{seq}}/proof", needs, proof),
            summary="Proof that an event is in the log",
            tag=_TAG,
            gives=AuditProof,
            codes=(*missing, Code.CONFLICT),
        ),
    ]


def _scope(asked: Asked) -> str | None:
    """Whose events a caller sees; None for everybody's: the operator's, who names no workspace.

    Raises:
        HeliographError: `not_found`: it belongs to no workspace, so nothing is its own.
    """
    if asked.caller.operator and not asked.credentials.workspace:
        return None
    if not asked.caller.workspace:
        raise HeliographError(Code.NOT_FOUND, "Name a workspace of yours: its events are shown.")
    return asked.caller.workspace


def _event(one: Told) -> AuditEvent:
    return AuditEvent(
        seq=one.seq,
        at_ms=one.at_ms,
        act=one.act,
        actor=one.actor,
        workspace=one.workspace,
        subject=one.subject,
        facts=one.facts,
    )
