"""The outbox: what is told leaves after the commit, at least once, and at most once at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from heliograph.client.webhooks import Receiver
from heliograph.core.errors import Code, HeliographError
from heliograph.core.notices import Hook, Mail
from heliograph.notices import store
from heliograph.notices.values import HOOK_PAUSES, KEPT_DELIVERIES
from heliograph.notices.ways import UndeliveredError
from heliograph.storage.database import Database
from support.databases import opened
from support.notices import NOON, Desk, Endpoint, RandomSeal, endpoint

TESTS = Path(__file__).parents[2]
DAY = 24 * 3_600_000
INVOICE = Hook("ws_a", "invoice.finalised", {"number": "2026-000001", "total": 1234})
RESET = Mail("person@example.org", "reset", {"link": "https://models.example.org/reset#abc"})


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


@pytest.fixture
def hook() -> Iterator[Endpoint]:
    with endpoint() as made:
        yield made


def test_what_is_undone_is_not_told(desk: Desk) -> None:
    notices = desk.notices()

    def work(connection: object) -> None:
        notices.enqueue(connection, RESET)  # type: ignore[arg-type]
        raise HeliographError(Code.CONFLICT, "No.")

    with pytest.raises(HeliographError):
        desk.database.write(work)
    assert notices.deliverer.flush() == 0
    assert desk.mailbox.letters == []


def test_a_hook_goes_to_each_webhook_that_wants_it(desk: Desk, hook: Endpoint) -> None:
    notices = desk.notices()
    notices.create("key_1", "ws_a", f"{hook.url}/all")
    notices.create("key_1", "ws_a", f"{hook.url}/some", ["invoice.finalised"])
    notices.create("key_1", "ws_a", f"{hook.url}/others", ["budget.reached"])
    notices.create("key_1", "ws_b", f"{hook.url}/foreign")
    desk.database.write(lambda c: notices.enqueue(c, INVOICE))
    assert notices.deliverer.flush() == 2
    assert len(hook.received) == 2
    told = '{"number":"2026-000001","total":1234}'
    stamp = "2026-09-21T14:13:20.000Z"
    body = f'{{"type":"invoice.finalised","timestamp":"{stamp}","data":{told}}}'
    assert {one.body for one in hook.received} == {body.encode()}
    assert len({one.headers["webhook-id"] for one in hook.received}) == 2
    assert notices.deliverer.flush() == 0


def test_of_two_processes_one_sends(desk: Desk, hook: Endpoint) -> None:
    first = desk.notices()
    others = [first, *(desk.notices() for _ in range(3))]
    for number in range(5):
        first.create("key_1", "ws_a", f"{hook.url}/{number}")
    desk.database.write(lambda c: [first.enqueue(c, INVOICE) for _ in range(4)])
    ready = threading.Barrier(4)

    def work(index: int) -> None:
        ready.wait()
        others[index].deliverer.flush()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A message may have been skipped while another of its webhook was on its way.
    first.deliverer.flush()
    ids = [one.headers["webhook-id"] for one in hook.received]
    assert len(ids) == len(set(ids)) == 20


def test_a_claim_is_exclusive_until_it_runs_out(desk: Desk) -> None:
    notices = desk.notices()
    desk.database.write(lambda c: notices.enqueue(c, RESET))
    with desk.database.read() as connection:
        ids = store.due_mail(connection, NOON, 9)

    def claim(who: str, now: int) -> int:
        return len(desk.database.write(lambda c: store.claim(c, ids, who, now, now + 60)))

    assert [claim("a", NOON), claim("b", NOON), claim("b", NOON + 59)] == [1, 0, 0]
    assert claim("b", NOON + 60) == 1


def test_who_comes_back_late_writes_nothing(desk: Desk) -> None:
    notices = desk.notices()
    desk.database.write(lambda c: notices.enqueue(c, RESET))
    with desk.database.read() as connection:
        ids = store.due_mail(connection, NOON, 9)
    (message,) = desk.database.write(lambda c: store.claim(c, ids, "a", NOON, NOON + 60))
    desk.database.write(lambda c: store.claim(c, ids, "b", NOON + 60, NOON + 120))
    settle = store.settle
    assert not desk.database.write(lambda c: settle(c, message, "a", "sent", "250", NOON))
    assert desk.database.write(lambda c: settle(c, message, "b", "sent", "250", NOON))
    assert not desk.database.write(lambda c: settle(c, message, "b", "given_up", "x", NOON))


def test_a_crash_after_sending_sends_again_under_the_same_id(desk: Desk, hook: Endpoint) -> None:
    dying = desk.notices()
    dying.create("key_1", "ws_a", hook.url)
    desk.database.write(lambda c: dying.enqueue(c, INVOICE))
    # It sends, and what it would write down never comes.
    (message,) = dying.deliverer._take("well", 1)
    assert "204" in dying.deliverer._carrier._post(dying.webhooks("ws_a")[0], message)
    living = desk.notices()
    assert living.deliverer.flush() == 0, "the claim still holds"
    desk.clock.now += 60_000
    assert living.deliverer.flush() == 1
    first, second = hook.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == message.id
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert first.body == second.body


_DIES = """
import sys
from pathlib import Path
from support.databases import opened
from support.notices import Desk, RandomSeal

with opened("", Path(sys.argv[1])) as database:
    Desk(database, seal=RandomSeal(bytes(32))).notices().deliverer.flush()
"""


def test_a_process_killed_after_sending(tmp_path: Path, hook: Endpoint) -> None:
    with opened("", tmp_path) as database:
        desk = Desk(database, seal=RandomSeal(bytes(32)))
        notices = desk.notices()
        made, secret = notices.create("key_1", "ws_a", hook.url)
        database.write(lambda c: notices.enqueue(c, INVOICE))
        died = subprocess.run(
            [sys.executable, "-c", _DIES, str(tmp_path)],
            env={**os.environ, "HELIOGRAPH_FAULTS": "notices.sent", "PYTHONPATH": str(TESTS)},
            check=False,
        )
        assert died.returncode == -signal.SIGKILL
        assert len(hook.received) == 1
        assert notices.deliveries("ws_a", made.id)[0].state == "waiting"
        desk.clock.now += 60_000
        assert notices.deliverer.flush() == 1
    first, second = hook.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    receiver = Receiver(secret)
    for got, now in ((first, NOON), (second, desk.clock.now)):
        receiver.receive(got.headers, got.body, now / 1000)


def test_tries_grow_apart_and_end(desk: Desk, hook: Endpoint) -> None:
    hook.status = 500
    notices = desk.notices()
    made, _ = notices.create("key_1", "ws_a", hook.url)
    desk.database.write(lambda c: notices.enqueue(c, INVOICE))
    waits: list[int] = []
    while notices.deliverer.flush():
        (one,) = notices.deliveries("ws_a", made.id)
        if one.state == "waiting":
            waits.append(one.due_ms - desk.clock.now)
            desk.clock.now = one.due_ms - 1
            assert notices.deliverer.flush() == 0
            desk.clock.now = one.due_ms
    assert tuple(waits) == HOOK_PAUSES
    (one,) = notices.deliveries("ws_a", made.id)
    assert (one.state, one.attempts, one.last_code) == ("given_up", len(HOOK_PAUSES) + 1, "500")
    assert len({got.headers["webhook-id"] for got in hook.received}) == 1


def test_a_failing_webhook_is_left_alone_whatever_waits(desk: Desk, hook: Endpoint) -> None:
    hook.status = 503
    notices = desk.notices()
    made, _ = notices.create("key_1", "ws_a", hook.url)
    desk.database.write(lambda c: [notices.enqueue(c, INVOICE) for _ in range(10)])
    assert notices.deliverer.flush() == 1
    assert notices.webhook("ws_a", made.id).paused_until_ms == NOON + HOOK_PAUSES[0]
    desk.clock.now += HOOK_PAUSES[0]
    hook.status = 200
    # It answers again: the circuit closes and the rest follows at once.
    assert notices.deliverer.flush() == 10
    assert notices.webhook("ws_a", made.id).failures == 0


def test_days_of_failure_switch_a_webhook_off_and_tell_its_owners(
    desk: Desk, hook: Endpoint
) -> None:
    hook.status = 500
    notices = desk.notices()
    made, _ = notices.create("key_1", "ws_a", hook.url)
    end = desk.clock.now + 4 * DAY
    while desk.clock.now < end and notices.webhook("ws_a", made.id).state == "active":
        desk.database.write(lambda c: notices.enqueue(c, INVOICE))
        notices.deliverer.flush()
        desk.clock.now += 6 * 3_600_000
    assert notices.webhook("ws_a", made.id).state == "disabled"
    assert 3 * DAY <= desk.clock.now - NOON < 4 * DAY
    notices.deliverer.flush()
    ((_, letter),) = desk.mailbox.letters
    assert letter.to == "owner@example.org"
    assert made.id in letter.text
    assert [(e.act, e.actor) for e in desk.events][-1] == ("webhook:changed", "system")
    # Nothing is sent to it any more, and nothing is kept for it.
    tries = len(hook.received)
    desk.database.write(lambda c: notices.enqueue(c, INVOICE))
    desk.clock.now += 30 * DAY
    assert notices.deliverer.flush() == 0
    assert len(hook.received) == tries
    assert {one.state for one in notices.deliveries("ws_a", made.id)} == {"given_up"}


def test_gone_is_gone(desk: Desk, hook: Endpoint) -> None:
    hook.status = 410
    notices = desk.notices()
    made, _ = notices.create("key_1", "ws_a", hook.url)
    desk.database.write(lambda c: notices.enqueue(c, INVOICE))
    assert notices.deliverer.flush() == 2  # the message, and the mail about it
    assert notices.webhook("ws_a", made.id).state == "disabled"
    assert "410 Gone" in desk.mailbox.letters[0][1].text


def test_a_paused_webhook_gets_its_messages_later(desk: Desk, hook: Endpoint) -> None:
    notices = desk.notices()
    made, _ = notices.create("key_1", "ws_a", hook.url)
    notices.change("key_1", "ws_a", made.id, state="paused")
    desk.database.write(lambda c: notices.enqueue(c, INVOICE))
    assert notices.deliverer.flush() == 0
    notices.change("key_1", "ws_a", made.id, state="active")
    assert notices.deliverer.flush() == 1


def test_an_unreachable_or_refused_address_is_tried_again(desk: Desk) -> None:
    with endpoint() as closed:
        url = closed.url
    notices = desk.notices()
    made, _ = notices.create("key_1", "ws_a", url)
    desk.database.write(lambda c: notices.enqueue(c, INVOICE))
    assert notices.deliverer.flush() == 1
    assert notices.deliveries("ws_a", made.id)[0].last_code == "upstream_fetch_failed"


def test_an_address_that_has_turned_inward_is_refused_at_delivery(desk: Desk) -> None:
    def guarded(url: str, body: bytes, headers: dict[str, str], seconds: float) -> int:
        del url, body, headers, seconds
        raise HeliographError(Code.URL_NOT_ALLOWED, "The address is on the inside.")

    desk.post = guarded
    notices = desk.notices()
    made, _ = notices.create("key_1", "ws_a", "https://turning.example/hook")
    desk.database.write(lambda c: notices.enqueue(c, INVOICE))
    assert notices.deliverer.flush() == 1
    one = notices.deliveries("ws_a", made.id)[0]
    assert (one.state, one.last_code) == ("waiting", "url_not_allowed")


def test_a_bug_in_sending_does_not_stop_the_rest(desk: Desk, hook: Endpoint) -> None:
    real = desk.post

    def broken(url: str, body: bytes, headers: dict[str, str], seconds: float) -> int:
        if url.endswith("/bug"):
            raise ZeroDivisionError
        return real(url, body, headers, seconds)

    desk.post = broken
    notices = desk.notices()
    bad, _ = notices.create("key_1", "ws_a", f"{hook.url}/bug")
    notices.create("key_1", "ws_a", hook.url)
    desk.database.write(lambda c: notices.enqueue(c, INVOICE))
    assert notices.deliverer.flush() == 2
    assert len(hook.received) == 1
    assert notices.deliveries("ws_a", bad.id)[0].last_code == "internal"


def test_mail_waits_for_its_server(desk: Desk) -> None:
    notices = desk.notices()
    desk.mailbox.trouble = UndeliveredError("unreachable", down=True)
    desk.database.write(lambda c: [notices.enqueue(c, RESET) for _ in range(5)])
    # The server is away: one letter has asked, the others need not.
    assert notices.deliverer.flush() == 1
    desk.clock.now += 5_000
    assert notices.deliverer.flush() == 1
    desk.mailbox.trouble = None
    desk.clock.now += 30_000
    assert notices.deliverer.flush() == 5
    assert len({message for message, _ in desk.mailbox.letters}) == 5


def test_a_refused_letter_is_not_sent_again(desk: Desk) -> None:
    notices = desk.notices()
    desk.mailbox.trouble = UndeliveredError("550", final=True)
    desk.database.write(lambda c: notices.enqueue(c, RESET))
    assert notices.deliverer.flush() == 1
    desk.clock.now += 3 * DAY
    assert notices.deliverer.flush() == 0


def test_a_letter_is_sealed_while_it_waits_and_gone_when_it_was_sent(desk: Desk) -> None:
    notices = desk.notices()
    desk.database.write(lambda c: notices.enqueue(c, RESET))
    with desk.database.read() as connection:
        (before,) = connection.execute(store.OUTBOX.select()).all()
    assert b"reset#abc" not in before.payload
    notices.deliverer.flush()
    with desk.database.read() as connection:
        (after,) = connection.execute(store.OUTBOX.select()).all()
    assert (after.payload, after.target, after.state) == (b"", "", "sent")


def test_letters_to_an_erased_person_are_forgotten(desk: Desk) -> None:
    notices = desk.notices()
    desk.database.write(lambda c: notices.enqueue(c, RESET))
    assert desk.database.write(lambda c: notices.forget(c, "person@example.org")) == 1
    assert notices.deliverer.flush() == 0


def test_what_is_old_or_too_much_is_swept(desk: Desk) -> None:
    notices = desk.notices()
    made, _ = notices.create("key_1", "ws_a", "https://example.org/hook")
    desk.database.write(lambda c: [notices.enqueue(c, INVOICE) for _ in range(KEPT_DELIVERIES + 5)])
    desk.database.write(lambda c: store.give_up_waiting(c, made.id, "500", NOON))
    desk.database.write(lambda c: notices.enqueue(c, INVOICE))
    desk.database.write(lambda c: store.sweep(c, NOON - DAY, KEPT_DELIVERIES))
    kept = notices.deliveries("ws_a", made.id, limit=200)
    assert len(kept) == KEPT_DELIVERIES + 1
    assert [one.state for one in kept[:2]] == ["waiting", "given_up"]
    desk.database.write(lambda c: store.sweep(c, NOON + 1, KEPT_DELIVERIES))
    assert notices.deliveries("ws_a", made.id) == []


def test_a_bug_of_the_sender_is_loud(desk: Desk) -> None:
    notices = desk.notices()
    for notice in (
        Mail("a@example.org", "no_such_template"),
        Mail("a@example.org", "reset"),
        Hook("ws_a", "no.such"),
    ):
        with pytest.raises(LookupError):
            desk.database.write(lambda c, told=notice: notices.enqueue(c, told))


def test_the_threads_deliver_and_a_slow_webhook_delays_nobody(desk: Desk) -> None:
    with endpoint() as slow, endpoint() as quick:
        slow.delay = 30.0
        notices = desk.notices()
        notices.create("key_1", "ws_slow", slow.url)
        notices.create("key_1", "ws_quick", quick.url)
        notices.deliverer.start()
        try:
            for _ in range(20):
                desk.database.write(lambda c: notices.enqueue(c, Hook("ws_slow", "budget.reached")))
            slow.wait(1)
            for _ in range(10):
                desk.database.write(
                    lambda c: notices.enqueue(c, Hook("ws_quick", "budget.reached"))
                )
            desk.database.write(lambda c: notices.enqueue(c, RESET))
            notices.deliverer.nudge()
            quick.wait(10, seconds=5.0)
            assert len(slow.received) == 1, "one at a time to a webhook"
        finally:
            notices.deliverer.stop(0.5)
    assert len(desk.mailbox.letters) == 1


def test_stopping_lets_arrive_what_is_on_its_way(desk: Desk, hook: Endpoint) -> None:
    hook.delay = 0.3
    notices = desk.notices()
    made, _ = notices.create("key_1", "ws_a", hook.url)
    notices.deliverer.start()
    desk.database.write(lambda c: notices.enqueue(c, INVOICE))
    notices.deliverer.nudge()
    hook.wait(1)
    notices.deliverer.stop()
    assert notices.deliveries("ws_a", made.id)[0].state == "sent"


def test_a_database_that_comes_back_is_found_again(tmp_path: Path) -> None:
    with opened("", tmp_path) as database:
        desk = Desk(database)
        notices = desk.notices()
        notices.deliverer._swept_ms = NOON  # so that it only reads
        desk.database.write(store.OUTBOX.drop)
        notices.deliverer.start()
        desk.database.write(store.OUTBOX.create)
        desk.database.write(lambda c: notices.enqueue(c, RESET))
        for _ in range(300):
            if desk.mailbox.letters:
                break
            threading.Event().wait(0.02)
        notices.deliverer.stop()
    assert len(desk.mailbox.letters) == 1
