"""Carries one message out of the house, and writes down how it went.

    claimed ──► sent ──► written down        a crash in between: sent again under the same id

A webhook that fails is left alone for longer and longer (its circuit), whichever of its messages
it was; one that has failed for days, or says 410 Gone, is switched off and its owners are told.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection

from heliograph.core.clock import Clock
from heliograph.core.errors import HeliographError
from heliograph.core.events import Act, Event
from heliograph.core.faults import reach
from heliograph.core.notices import Mail
from heliograph.notices import signing, store
from heliograph.notices.values import (
    CIRCUIT_MS,
    DISABLE_MS,
    HOOK_PAUSES,
    MAIL_PAUSES,
    Jitter,
    Message,
    Webhook,
    pause_ms,
)
from heliograph.notices.ways import Letter, Owners, Seal, UndeliveredError, Ways
from heliograph.storage.database import Database, Notify, Record

log = logging.getLogger("heliograph.notices")
HOOK_SECONDS = 15.0
_GONE = 410
_AGENT = "heliograph-webhooks/1"


@dataclass(frozen=True, slots=True)
class Carrier:
    """See the module.

    Attributes:
        database: where the outbox is.
        clock: the time of day.
        ways: out of the house.
        seal: opens letters and secrets.
        record: the audit log's.
        notify: the outbox's own entrance, to tell owners of a webhook that was switched off.
        owners: whom to tell.
        jitter: spreads tries.
        name: of this process, in claims.
    """

    database: Database
    clock: Clock
    ways: Ways
    seal: Seal
    record: Record
    notify: Notify
    owners: Owners
    jitter: Jitter
    name: str

    def carry(self, message: Message) -> bool:
        """Try a message once.

        Returns:
            Whether the way is open: False if no letter can be sent now, whichever.

        Raises:
            HeliographError: the database cannot be reached; the claim runs out by itself.
        """
        if message.way == "mail":
            return self._mail(message)
        self._hook(message)
        return True

    # -- letters

    def _mail(self, message: Message) -> bool:
        code, final, down = "", False, False
        try:
            plain = self.seal.decrypt(message.payload, message.id)
            letter = msgspec.json.decode(plain, type=Letter)
            self.ways.mailer.send(letter, message.id, self.clock())
        except UndeliveredError as error:
            code, final, down = error.code, error.final, error.down
        except Exception as error:
            log.exception("mail %s (%s) failed", message.id, message.topic)
            code = _code(error)
        reach("notices.sent")
        if not code:
            self._settle(message, "sent", "250")
            return True
        pause = None if final else pause_ms(MAIL_PAUSES, message.attempts + 1, self.jitter)
        log.warning("mail %s (%s) was not taken: %s", message.id, message.topic, code)
        if pause is None:
            self._settle(message, "given_up", code)
        else:
            due = self.clock() + pause
            self.database.write(lambda c: store.postpone(c, message, self.name, code, due))
        return not down

    def _settle(self, message: Message, state: str, code: str) -> None:
        now = self.clock()
        self.database.write(lambda c: store.settle(c, message, self.name, state, code, now))

    # -- webhooks

    def _hook(self, message: Message) -> None:
        with self.database.read() as connection:
            webhook = store.find(connection, message.target)
        if webhook is None or webhook.state != "active":
            # Changed since it was claimed; whoever changed it has settled what waits.
            return
        code = self._post(webhook, message)
        reach("notices.sent")
        if code.isdigit() and 200 <= int(code) < 300:
            self.database.write(lambda c: self._arrived(c, message, code))
        else:
            log.warning("webhook %s did not take %s: %s", webhook.id, message.id, code)
            self.database.write(lambda c: self._failed(c, message, code))

    def _post(self, webhook: Webhook, message: Message) -> str:
        """The status, or the code of what kept us from getting one."""
        now = self.clock()
        try:
            secrets = [self._secret(webhook, webhook.secret)]
            if webhook.old_until_ms > now:
                secrets.append(self._secret(webhook, webhook.old_secret))
            headers = signing.signed(secrets, message.id, now, message.payload)
            headers["user-agent"] = _AGENT
            return str(self.ways.post(webhook.url, message.payload, headers, HOOK_SECONDS))
        except HeliographError as error:
            return str(error.code)
        except Exception as error:
            log.exception("webhook %s: sending %s failed", webhook.id, message.id)
            return _code(error)

    def _secret(self, webhook: Webhook, sealed: bytes) -> str:
        return self.seal.decrypt(sealed, webhook.id).decode()

    def _arrived(self, connection: Connection, message: Message, code: str) -> None:
        if store.settle(connection, message, self.name, "sent", code, self.clock()):
            store.went_well(connection, message.target)

    def _failed(self, connection: Connection, message: Message, code: str) -> None:
        now = self.clock()
        webhook = store.find(connection, message.target, lock=True)
        pause = pause_ms(HOOK_PAUSES, message.attempts + 1, self.jitter)
        if pause is None:
            ours = store.settle(connection, message, self.name, "given_up", code, now)
        else:
            ours = store.postpone(connection, message, self.name, code, now + pause)
        if webhook is None or not ours:
            return
        rest = pause_ms(HOOK_PAUSES, min(webhook.failures + 1, len(HOOK_PAUSES)), self.jitter)
        store.failed(connection, webhook.id, now, now + min(rest or CIRCUIT_MS, CIRCUIT_MS))
        since = webhook.failing_since_ms or now
        if code == str(_GONE):
            self._disable(connection, webhook, "it answered 410 Gone", code)
        elif now - since >= DISABLE_MS:
            self._disable(connection, webhook, "it has failed for days", code)

    def _disable(self, connection: Connection, webhook: Webhook, reason: str, code: str) -> None:
        if webhook.state != "active":
            return
        store.change(connection, webhook.id, state="disabled")
        store.give_up_waiting(connection, webhook.id, code, self.clock())
        facts = {"state": "disabled", "code": code}
        self.record(
            connection,
            Event(Act.WEBHOOK_CHANGED, "system", webhook.workspace, webhook.id, facts),
        )
        told = {"webhook": webhook.id, "url": webhook.url, "why": reason}
        for address in self.owners(connection, webhook.workspace):
            self.notify(connection, Mail(address, "webhook_disabled", told))


def _code(error: Exception) -> str:
    return str(error.code) if isinstance(error, HeliographError) else "internal"
