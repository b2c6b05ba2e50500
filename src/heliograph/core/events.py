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

    CALL_REFUSED = "call:refused"
    KEY_CREATED = "key:created"
    KEY_REVOKED = "key:revoked"
    KEY_ROTATED = "key:rotated"
    SERVER_STARTED = "server:started"
    WORKSPACE_CREATED = "workspace:created"


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
