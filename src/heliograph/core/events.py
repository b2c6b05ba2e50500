"""What the audit log can say: the closed list of acts, and the event that tells of one.

The grammar of an act is `noun:verb` or `noun:noun:verb`, the verb in the past. An event holds ids,
numbers and words of ours: never a key, a password, a picture, an e-mail address or a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Act(StrEnum):
    """The closed list of acts (a public contract: added to, never renamed); alphabetical."""

    APPEAL_DECIDED = "appeal:decided"
    APPEAL_TAKEN = "appeal:taken"
    AUDIT_EXPORTED = "audit:exported"
    AUDIT_FORGOTTEN = "audit:forgotten"
    BACKUP_CREATED = "backup:created"
    BACKUP_RESTORED = "backup:restored"
    BUDGET_CHANGED = "budget:changed"
    BUYER_CHANGED = "buyer:changed"
    CALL_REFUSED = "call:refused"
    CASE_APPEALED = "case:appealed"
    CASE_ASSIGNED = "case:assigned"
    CASE_COPY_ADDED = "case:copy:added"
    CASE_COPY_GRANTED = "case:copy:granted"
    CASE_COPY_VIEWED = "case:copy:viewed"
    CASE_DECIDED = "case:decided"
    CASE_DECLINED = "case:declined"
    CASE_MERGED = "case:merged"
    CASE_OVERDUE = "case:overdue"
    CASE_PROPOSED = "case:proposed"
    CASE_TRIAGED = "case:triaged"
    CASE_VIEWED = "case:viewed"
    CONSENT_GIVEN = "consent:given"
    CONSENT_WITHDRAWN = "consent:withdrawn"
    CREDIT_GRANTED = "credit:granted"
    ERASURE_APPROVED = "erasure:approved"
    ERASURE_BEGUN = "erasure:begun"
    ERASURE_CANCELLED = "erasure:cancelled"
    ERASURE_DONE = "erasure:done"
    ERASURE_OVERDUE = "erasure:overdue"
    ERASURE_REQUESTED = "erasure:requested"
    EXPORT_MADE = "export:made"
    EXPORT_REQUESTED = "export:requested"
    EXPORT_TAKEN = "export:taken"
    FACTOR_ADDED = "factor:added"
    FACTOR_REMOVED = "factor:removed"
    HOLD_BEGUN = "hold:begun"
    HOLD_ENDED = "hold:ended"
    IDENTITY_APPEALED = "identity:appealed"
    IDENTITY_APPROVED = "identity:approved"
    IDENTITY_DECIDED = "identity:decided"
    IDENTITY_EVIDENCE_ADDED = "identity:evidence:added"
    IDENTITY_EVIDENCE_SHREDDED = "identity:evidence:shredded"
    IDENTITY_EXPIRED = "identity:expired"
    IDENTITY_REOPENED = "identity:reopened"
    IDENTITY_SUBMITTED = "identity:submitted"
    IDENTITY_TAKEN = "identity:taken"
    IDENTITY_VIEW_REFUSED = "identity:view:refused"
    IDENTITY_VIEWED = "identity:viewed"
    INVOICE_FINALISED = "invoice:finalised"
    KEY_CHANGED = "key:changed"
    KEY_CREATED = "key:created"
    KEY_EXPOSED = "key:exposed"
    KEY_REVOKED = "key:revoked"
    KEY_ROTATED = "key:rotated"
    LIMIT_CHANGED = "limit:changed"
    LINE_ADDED = "line:added"
    MAIL_CHANGED = "mail:changed"
    MEASURE_ENDED = "measure:ended"
    MEMBER_ADDED = "member:added"
    MEMBER_CHANGED = "member:changed"
    MEMBER_REMOVED = "member:removed"
    MONTH_SEALED = "month:sealed"
    NOTE_ISSUED = "note:issued"
    PASSWORD_CHANGED = "password:changed"  # noqa: S105 - an act, not a secret
    PLAN_CHANGED = "plan:changed"
    PRICE_PUBLISHED = "price:published"
    REPORT_RECEIVED = "report:received"
    RETENTION_SWEPT = "retention:swept"
    RING_LOCKED = "ring:locked"
    RING_RETIRED = "ring:retired"
    RING_ROTATED = "ring:rotated"
    RING_SHREDDED = "ring:shredded"
    SERVER_STARTED = "server:started"
    SESSION_CLOSED = "session:closed"
    SESSION_OPENED = "session:opened"
    SESSION_REFUSED = "session:refused"
    STRIKE_ADDED = "strike:added"
    STRIKE_REVERSED = "strike:reversed"
    TOKEN_CREATED = "token:created"  # noqa: S105 - an act, not a secret
    USER_CHANGED = "user:changed"
    USER_ERASED = "user:erased"
    USER_INVITED = "user:invited"
    USER_REGISTERED = "user:registered"
    USER_RENAMED = "user:renamed"
    USER_RESTORED = "user:restored"
    USER_SUSPENDED = "user:suspended"
    USER_VERIFIED = "user:verified"
    WEBHOOK_CHANGED = "webhook:changed"
    WEBHOOK_CREATED = "webhook:created"
    WEBHOOK_DELETED = "webhook:deleted"
    WEBHOOK_ROTATED = "webhook:rotated"
    WORKSPACE_CHANGED = "workspace:changed"
    WORKSPACE_CREATED = "workspace:created"
    WORKSPACE_RESTORED = "workspace:restored"
    WORKSPACE_SUSPENDED = "workspace:suspended"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        act: what.
        actor: who did it: a person's or key's id, `admin` for the administrator key, `system` for
            the server itself, `command` for the command line on the machine.
        workspace: whose it is; empty for the whole server's.
        subject: what it was done to, by id; empty if the act says it all.
        facts: further ids, numbers and words of ours.
    """

    act: Act
    actor: str
    workspace: str = ""
    subject: str = ""
    facts: Mapping[str, str | int | bool] = field(default_factory=dict[str, "str | int | bool"])
