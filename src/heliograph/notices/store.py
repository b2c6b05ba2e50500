"""The outbox and the webhooks as tables: all of this room's SQL.

A message is claimed for a while by the process that sends it. A process that dies lets its claims
run out, and another sends again; who comes back late finds its claim gone and writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    Row,
    Table,
    Text,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)

from heliograph.notices.values import Message, Webhook
from heliograph.storage.tables import METADATA

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("way", Text, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("topic", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("last_code", Text, nullable=False),
    Column("settled_ms", BigInteger, nullable=False),
    Column("claimed_by", Text, nullable=False, server_default=""),
    Column("claim_until_ms", BigInteger, nullable=False, server_default="0"),
    Index(None, "way", "state", "due_ms"),
    Index("ix_outbox_target_due", "target", "state", "due_ms", "id"),
    Index("ix_outbox_target_claim", "target", "claim_until_ms"),
    Index("ix_outbox_target_id", "target", "id"),
)
WEBHOOKS = Table(
    "webhooks",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("workspace", Text, nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("kinds", Text, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("old_secret", LargeBinary, nullable=False),
    Column("old_until_ms", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("failing_since_ms", BigInteger, nullable=False),
    Column("paused_until_ms", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)
_MESSAGE = [OUTBOX.c[name] for name in Message.__dataclass_fields__]


# -- the outbox


def put(connection: Connection, messages: Sequence[Message]) -> None:
    """New messages."""
    if messages:
        connection.execute(insert(OUTBOX), [_row(one) for one in messages])


def due_mail(connection: Connection, now_ms: int, most: int) -> list[str]:
    """Ids of the letters to be sent now, the oldest first."""
    found = (
        select(OUTBOX.c.id)
        .where(_due(now_ms), OUTBOX.c.way == "mail")
        .order_by(OUTBOX.c.due_ms, OUTBOX.c.id)
        .limit(most)
    )
    return list(connection.scalars(found))


def due_hooks(connection: Connection, now_ms: int, most: int, *, failing: bool) -> list[str]:
    """Ids of webhooks' messages to be sent now: of each webhook its oldest, and one at a time.

    Args:
        connection: to read by.
        now_ms: the time.
        most: of them.
        failing: those of webhooks whose last try failed, or only those of the others.
    """
    anything = exists().where(_due(now_ms), OUTBOX.c.way == "hook")
    if not connection.scalar(select(anything)):
        return []
    # Asked from the webhooks' side, each by its index: a long line of one costs the others nothing.
    on_its_way = exists().where(OUTBOX.c.target == WEBHOOKS.c.id, OUTBOX.c.claim_until_ms > now_ms)
    first = (
        select(OUTBOX.c.id)
        .where(OUTBOX.c.target == WEBHOOKS.c.id, _due(now_ms))
        .order_by(OUTBOX.c.due_ms, OUTBOX.c.id)
        .limit(1)
        .scalar_subquery()
    )
    found = (
        select(first.label("first"))
        .where(
            WEBHOOKS.c.state == "active",
            WEBHOOKS.c.paused_until_ms <= now_ms,
            WEBHOOKS.c.failures > 0 if failing else WEBHOOKS.c.failures == 0,
            ~on_its_way,
        )
        .subquery()
    )
    oldest = (
        select(found.c.first)
        .join(OUTBOX, OUTBOX.c.id == found.c.first)
        .order_by(OUTBOX.c.due_ms, OUTBOX.c.id)
        .limit(most)
    )
    return list(connection.scalars(oldest))


def claim(
    connection: Connection, ids: Sequence[str], who: str, now_ms: int, until_ms: int
) -> list[Message]:
    """Take messages for oneself; those that somebody else has taken are left out."""
    taken = (
        update(OUTBOX)
        .where(OUTBOX.c.id.in_(ids), _due(now_ms))
        .values(claimed_by=who, claim_until_ms=until_ms)
        .returning(*_MESSAGE)
    )
    return [_message(row) for row in connection.execute(taken)]


def settle(
    connection: Connection, message: Message, who: str, state: str, code: str, now_ms: int
) -> bool:
    """Write down how a message ended; False if it is not ours any more.

    Of a letter that was sent neither the address nor the words are kept.
    """
    values: dict[str, Any] = {
        "state": state,
        "last_code": code,
        "settled_ms": now_ms,
        "attempts": OUTBOX.c.attempts + 1,
        "claim_until_ms": 0,
    }
    if message.way == "mail":
        values["payload"] = b""
        if state == "sent":
            values["target"] = ""
    done = connection.execute(update(OUTBOX).where(_ours(message, who)).values(values))
    return done.rowcount == 1


def postpone(connection: Connection, message: Message, who: str, code: str, due_ms: int) -> bool:
    """Let a message wait for its next try; False if it is not ours any more."""
    done = connection.execute(
        update(OUTBOX)
        .where(_ours(message, who))
        .values(
            last_code=code,
            due_ms=due_ms,
            attempts=OUTBOX.c.attempts + 1,
            claim_until_ms=0,
        )
    )
    return done.rowcount == 1


def give_up_waiting(connection: Connection, webhook: str, code: str, now_ms: int) -> None:
    """End everything that waits for a webhook."""
    connection.execute(
        update(OUTBOX)
        .where(OUTBOX.c.target == webhook, OUTBOX.c.state == "waiting")
        .values(state="given_up", last_code=code, settled_ms=now_ms, claim_until_ms=0)
    )


def again(connection: Connection, webhook: str, message: str, now_ms: int) -> bool:
    """Let a settled message of a webhook wait anew, under its old id; False if none is settled."""
    done = connection.execute(
        update(OUTBOX)
        .where(
            OUTBOX.c.id == message,
            OUTBOX.c.target == webhook,
            OUTBOX.c.way == "hook",
            OUTBOX.c.state != "waiting",
        )
        .values(state="waiting", attempts=0, due_ms=now_ms, settled_ms=0, claim_until_ms=0)
    )
    return done.rowcount == 1


def deliveries(connection: Connection, webhook: str, after: str, most: int) -> list[Message]:
    """Messages of a webhook, the newest first; those before `after` if it is given."""
    asked = select(*_MESSAGE).where(OUTBOX.c.target == webhook, OUTBOX.c.way == "hook")
    if after:
        asked = asked.where(OUTBOX.c.id < after)
    rows = connection.execute(asked.order_by(OUTBOX.c.id.desc()).limit(most))
    return [_message(row) for row in rows]


def delivery(connection: Connection, webhook: str, message: str) -> Message | None:
    """One message of a webhook."""
    asked = select(*_MESSAGE).where(
        OUTBOX.c.id == message, OUTBOX.c.target == webhook, OUTBOX.c.way == "hook"
    )
    row = connection.execute(asked).first()
    return _message(row) if row else None


def forget_address(connection: Connection, address: str) -> int:
    """Delete every letter to an address that was not sent; how many."""
    gone = delete(OUTBOX).where(OUTBOX.c.way == "mail", OUTBOX.c.target == address)
    return connection.execute(gone).rowcount


def sweep(connection: Connection, before_ms: int, kept: int) -> None:
    """Delete what is older than a time, and of each webhook all settled but the newest."""
    nth = func.row_number().over(partition_by=OUTBOX.c.target, order_by=OUTBOX.c.id.desc())
    settled = (
        select(OUTBOX.c.id, nth.label("nth"))
        .where(OUTBOX.c.way == "hook", OUTBOX.c.state != "waiting")
        .subquery()
    )
    surplus = select(settled.c.id).where(settled.c.nth > kept)
    connection.execute(delete(OUTBOX).where(OUTBOX.c.id.in_(surplus)))
    connection.execute(delete(OUTBOX).where(OUTBOX.c.created_ms < before_ms))


# -- webhooks


def add(connection: Connection, webhook: Webhook) -> None:
    """A new webhook."""
    values = {name: getattr(webhook, name) for name in Webhook.__dataclass_fields__}
    values["kinds"] = _kinds(webhook.kinds)
    connection.execute(insert(WEBHOOKS).values(values))


def of_workspace(connection: Connection, workspace: str) -> list[Webhook]:
    """All webhooks of a workspace, the oldest first."""
    asked = select(WEBHOOKS).where(WEBHOOKS.c.workspace == workspace).order_by(WEBHOOKS.c.id)
    return [_webhook(row) for row in connection.execute(asked)]


def find(connection: Connection, webhook: str, *, lock: bool = False) -> Webhook | None:
    """A webhook by its id."""
    asked = select(WEBHOOKS).where(WEBHOOKS.c.id == webhook)
    row = connection.execute(asked.with_for_update() if lock else asked).first()
    return _webhook(row) if row else None


def change(connection: Connection, webhook: str, **values: Any) -> None:
    """Change columns of a webhook."""
    if "kinds" in values:
        values["kinds"] = _kinds(values["kinds"])
    connection.execute(update(WEBHOOKS).where(WEBHOOKS.c.id == webhook).values(values))


def remove(connection: Connection, webhook: str) -> None:
    """Delete a webhook and all of its messages."""
    connection.execute(delete(OUTBOX).where(OUTBOX.c.target == webhook, OUTBOX.c.way == "hook"))
    connection.execute(delete(WEBHOOKS).where(WEBHOOKS.c.id == webhook))


def went_well(connection: Connection, webhook: str) -> None:
    """Close a webhook's circuit: it answers."""
    connection.execute(
        update(WEBHOOKS)
        .where(WEBHOOKS.c.id == webhook, WEBHOOKS.c.failures > 0)
        .values(failures=0, failing_since_ms=0, paused_until_ms=0)
    )


def failed(connection: Connection, webhook: str, now_ms: int, paused_until_ms: int) -> None:
    """Count a failed try and leave the webhook alone for a while."""
    since = WEBHOOKS.c.failing_since_ms
    connection.execute(
        update(WEBHOOKS)
        .where(WEBHOOKS.c.id == webhook)
        .values(
            failures=WEBHOOKS.c.failures + 1,
            failing_since_ms=case((since == 0, now_ms), else_=since),
            paused_until_ms=paused_until_ms,
        )
    )


# -- rows and values


def _due(now_ms: int) -> Any:
    return (
        (OUTBOX.c.state == "waiting")
        & (OUTBOX.c.due_ms <= now_ms)
        & (OUTBOX.c.claim_until_ms <= now_ms)
    )


def _ours(message: Message, who: str) -> Any:
    return (
        (OUTBOX.c.id == message.id)
        & (OUTBOX.c.claimed_by == who)
        & (OUTBOX.c.state == "waiting")
        & (OUTBOX.c.claim_until_ms > 0)
    )


def _row(message: Message) -> dict[str, Any]:
    return {name: getattr(message, name) for name in Message.__dataclass_fields__}


def _message(row: Row[Any]) -> Message:
    said: dict[str, Any] = {**row._mapping}  # noqa: SLF001 - SQLAlchemy's public name for it
    return Message(**said)


def _webhook(row: Row[Any]) -> Webhook:
    said: dict[str, Any] = {**row._mapping}  # noqa: SLF001 - as above
    said["kinds"] = msgspec.json.decode(said["kinds"], type=tuple[str, ...])
    return Webhook(**said)


def _kinds(kinds: Sequence[str]) -> str:
    return msgspec.json.encode(kinds).decode()
