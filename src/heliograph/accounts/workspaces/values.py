"""What a workspace is: the thing that is billed, limited, suspended; people are its members."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from heliograph.accounts.roles import Role

DEFAULT = "ws_default"
"""The workspace that is there from the first start: the administrator key calls as this one."""


class State(StrEnum):
    """Whether a workspace may do anything."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Workspace:
    """One workspace.

    Attributes:
        id: `ws_…`.
        name: what people call it; unique without regard to case and width.
        state: whether it may do anything.
        until_ms: end of a suspension; 0 for none.
        share: its weight when the server is full.
        region: where its data may be; empty for anywhere.
        created_ms: when it was made.
    """

    id: str
    name: str
    state: State
    until_ms: int
    share: int
    region: str
    created_ms: int

    def suspended(self, now_ms: int) -> bool:
        """Whether its calls are refused now."""
        if self.state is State.SUSPENDED:
            return not self.until_ms or now_ms < self.until_ms
        return self.state is State.TERMINATED


@dataclass(frozen=True, slots=True)
class Member:
    """A person in a workspace."""

    workspace: str
    person: str
    role: Role
    added_ms: int
