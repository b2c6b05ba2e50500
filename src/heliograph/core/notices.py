"""What the house tells people and their programs, before anybody has sent it.

A feature says what is to be told within the transaction of what happened; `notices` keeps it in an
outbox and sends it after the commit, again and again until it has arrived or is given up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Mail:
    """A message to a person.

    Attributes:
        to: the address, as the person gave it and we checked it.
        template: which text, from the closed list in `notices/templates.py`.
        facts: what the text's blanks are filled with; plain text, never markup.
    """

    to: str
    template: str
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Hook:
    """A message to the programs of a workspace that asked for this kind.

    Attributes:
        workspace: whose programs.
        kind: what happened, `noun.verb` in the past, e.g. `invoice.finalised`, `budget.reached`.
        body: what is told of it, as JSON values.
    """

    workspace: str
    kind: str
    body: Mapping[str, object] = field(default_factory=dict[str, object])


Notice = Mail | Hook
