"""The outbox's entrance, and what owners do with their webhooks.

notices = Notices(database, clock, record, seal, owners, Ways(mailer, post, check))
notices.enqueue(connection, Mail(…))        the house's Notify
notices.deliverer.start()                   where a server runs
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
from sqlalchemy import Connection

from heliograph.core.clock import Clock
from heliograph.core.errors import Code, HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.ids import new_id
from heliograph.core.notices import Mail, Notice
from heliograph.notices import signing, store, templates
from heliograph.notices.carrier import Carrier
from heliograph.notices.deliverer import Deliverer
from heliograph.notices.values import (
    KINDS,
    MOST_WEBHOOKS,
    Condition,
    Jitter,
    Message,
    Webhook,
    check_kinds,
    check_url,
)
from heliograph.notices.ways import Owners, Seal, Ways
from heliograph.storage.database import Database, Record

_HOUR_MS = 3_600_000


class Notices:
    """See the module.

    Args:
        database: where the outbox is.
        clock: the time of day.
        record: the audit log's.
        seal: keeps letters and secrets unreadable in the database.
        owners: who is told when a webhook is switched off.
        ways: out of the house.
        house: what the server calls itself in mails: its address.
        jitter: spreads tries.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        record: Record,
        seal: Seal,
        owners: Owners,
        ways: Ways,
        *,
        house: str = "Heliograph",
        jitter: Jitter = random.random,
    ) -> None:
        self._database = database
        self._clock = clock
        self._record = record
        self._seal = seal
        self._ways = ways
        self._house = house
        carrier = Carrier(
            database, clock, ways, seal, record, self.enqueue, owners, jitter, new_id("proc")
        )
        self.deliverer = Deliverer(database, clock, carrier)

    # -- the entrance

    def enqueue(self, connection: Connection, notice: Notice) -> None:
        """Keep a notice until it has been sent; it leaves after the commit.

        Raises:
            HeliographError: `validation`: the mail's address cannot be one.
            LookupError: no such template, fact or kind of event. This is a bug of the sender.
        """
        if isinstance(notice, Mail):
            store.put(connection, [self._letter(notice)])
            return
        if notice.kind not in KINDS:
            raise LookupError(f"there is no event {notice.kind!r}")
        body = self._body(notice.kind, notice.body)
        told = [
            self._message(one, notice.kind, body)
            for one in store.of_workspace(connection, notice.workspace)
            if one.state != "disabled" and one.wants(notice.kind)
        ]
        store.put(connection, told)

    def forget(self, connection: Connection, address: str) -> int:
        """Delete the letters to an address that were not sent, for an erasure; how many."""
        return store.forget_address(connection, address)

    def _letter(self, mail: Mail) -> Message:
        letter = templates.write(mail.to, mail.template, mail.facts, self._house)
        made, now = new_id("msg"), self._clock()
        sealed = self._seal.encrypt(msgspec.json.encode(letter), made)
        return Message(made, "mail", "", mail.to, mail.template, sealed, now, now)

    def _body(self, kind: str, body: Mapping[str, object]) -> bytes:
        when = datetime.fromtimestamp(self._clock() / 1000, UTC)
        stamp = when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return msgspec.json.encode({"type": kind, "timestamp": stamp, "data": dict(body)})

    def _message(self, webhook: Webhook, kind: str, body: bytes) -> Message:
        now = self._clock()
        made = new_id("msg")
        return Message(made, "hook", webhook.workspace, webhook.id, kind, body, now, now)

    # -- webhooks

    def webhooks(self, workspace: str) -> list[Webhook]:
        """All of a workspace, the oldest first."""
        with self._database.read() as connection:
            return store.of_workspace(connection, workspace)

    def webhook(self, workspace: str, webhook: str) -> Webhook:
        """One of a workspace.

        Raises:
            HeliographError: `not_found`.
        """
        with self._database.read() as connection:
            return _of(workspace, store.find(connection, webhook))

    def create(
        self, actor: str, workspace: str, url: str, kinds: Sequence[str] = ()
    ) -> tuple[Webhook, str]:
        """A new webhook, and its secret, which nobody is shown again.

        Args:
            actor: who makes it.
            workspace: whose it is.
            url: where to.
            kinds: what of; none for everything.

        Raises:
            HeliographError: `validation`, `url_not_allowed`, or `conflict` if there are too many.
        """
        # The guard may ask a name server, so it stands before the transaction.
        self._ways.check(check_url(url))
        secret, made = signing.new_secret(), new_id("hook")
        sealed = self._seal.encrypt(secret.encode(), made)
        webhook = Webhook(
            made, workspace, url, check_kinds(kinds), sealed, created_ms=self._clock()
        )

        def work(connection: Connection) -> None:
            if len(store.of_workspace(connection, workspace)) >= MOST_WEBHOOKS:
                raise HeliographError(
                    Code.CONFLICT,
                    f"A workspace has at most {MOST_WEBHOOKS} webhooks. Delete one first.",
                )
            store.add(connection, webhook)
            self._record(connection, Event(Act.WEBHOOK_CREATED, actor, workspace, made))

        self._database.write(work)
        return webhook, secret

    def change(
        self,
        actor: str,
        workspace: str,
        webhook: str,
        *,
        url: str | None = None,
        kinds: Sequence[str] | None = None,
        state: Condition | None = None,
    ) -> Webhook:
        """Change a webhook; what is None stays. Made `active`, it is tried at once.

        While it is `paused` its messages wait.

        Raises:
            HeliographError: `not_found`, `validation` or `url_not_allowed`.
        """
        self.webhook(workspace, webhook)
        values: dict[str, object] = {}
        if url is not None:
            self._ways.check(check_url(url))
            values["url"] = url
        if kinds is not None:
            values["kinds"] = check_kinds(kinds)
        if state is not None:
            values["state"] = state
        if state == "active" or url is not None:
            values |= {"failures": 0, "failing_since_ms": 0, "paused_until_ms": 0}

        def work(connection: Connection) -> Webhook:
            before = _of(workspace, store.find(connection, webhook, lock=True))
            if values:
                store.change(connection, webhook, **values)
                changed = ",".join(sorted({"url", "kinds", "state"} & values.keys()))
                facts = {"changed": changed, "state": state or before.state}
                event = Event(Act.WEBHOOK_CHANGED, actor, workspace, webhook, facts)
                self._record(connection, event)
            return _of(workspace, store.find(connection, webhook))

        return self._database.write(work)

    def delete(self, actor: str, workspace: str, webhook: str) -> None:
        """Delete a webhook with all of its messages.

        Raises:
            HeliographError: `not_found`.
        """

        def work(connection: Connection) -> None:
            _of(workspace, store.find(connection, webhook, lock=True))
            store.remove(connection, webhook)
            self._record(connection, Event(Act.WEBHOOK_DELETED, actor, workspace, webhook))

        self._database.write(work)

    def rotate(
        self, actor: str, workspace: str, webhook: str, overlap_hours: int = 24
    ) -> tuple[Webhook, str]:
        """A new secret; the one before also signs for a while.

        Args:
            actor: who does it.
            workspace: whose it is.
            webhook: its id.
            overlap_hours: 0 where the old secret has leaked.

        Raises:
            HeliographError: `not_found`.
        """
        secret = signing.new_secret()
        sealed = self._seal.encrypt(secret.encode(), webhook)
        until = self._clock() + overlap_hours * _HOUR_MS if overlap_hours else 0

        def work(connection: Connection) -> Webhook:
            before = _of(workspace, store.find(connection, webhook, lock=True))
            old = before.secret if until else b""
            store.change(connection, webhook, secret=sealed, old_secret=old, old_until_ms=until)
            facts = {"overlap_hours": overlap_hours}
            event = Event(Act.WEBHOOK_ROTATED, actor, workspace, webhook, facts)
            self._record(connection, event)
            return replace(before, secret=sealed, old_secret=old, old_until_ms=until)

        return self._database.write(work), secret

    def test(self, actor: str, workspace: str, webhook: str) -> Message:
        """Send a `test.sent` to one webhook, whatever kinds it asked for.

        Raises:
            HeliographError: `not_found`, or `conflict` if it is not active.
        """

        def work(connection: Connection) -> Message:
            found = _active(_of(workspace, store.find(connection, webhook)))
            body = self._body("test.sent", {"webhook": webhook, "by": actor})
            made = self._message(found, "test.sent", body)
            store.put(connection, [made])
            return made

        return self._sent_now(self._database.write(work))

    def deliveries(
        self, workspace: str, webhook: str, after: str = "", limit: int = 50
    ) -> list[Message]:
        """What a webhook was sent or is to be sent, the newest first.

        Raises:
            HeliographError: `not_found`.
        """
        with self._database.read() as connection:
            _of(workspace, store.find(connection, webhook))
            return store.deliveries(connection, webhook, after, limit)

    def redeliver(self, workspace: str, webhook: str, message: str) -> Message:
        """Send a message again, under the id it has.

        Raises:
            HeliographError: `not_found`, or `conflict` if it still waits or the webhook is not
                active.
        """

        def work(connection: Connection) -> Message:
            _of(workspace, store.find(connection, webhook))
            found = store.delivery(connection, webhook, message)
            if found is None:
                raise HeliographError(Code.NOT_FOUND, "There is no such delivery.")
            _active(_of(workspace, store.find(connection, webhook)))
            now = self._clock()
            if not store.again(connection, webhook, message, now):
                raise HeliographError(
                    Code.CONFLICT, "It has not been settled yet; it is tried again by itself."
                )
            return replace(found, state="waiting", attempts=0, due_ms=now, settled_ms=0)

        return self._sent_now(self._database.write(work))

    def _sent_now(self, message: Message) -> Message:
        self.deliverer.nudge()
        return message


def _of(workspace: str, webhook: Webhook | None) -> Webhook:
    if webhook is None or webhook.workspace != workspace:
        raise HeliographError(Code.NOT_FOUND, "There is no such webhook.")
    return webhook


def _active(webhook: Webhook) -> Webhook:
    if webhook.state != "active":
        raise HeliographError(
            Code.CONFLICT, f"The webhook is {webhook.state}. Make it active first."
        )
    return webhook
