"""A workspace and its webhook, from its first address to the event that arrives and is believed.

Over real sockets: our API by HTTP, a receiver that uses the client library, both databases.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response

from heliograph.client.webhooks import Receiver, WebhookError, verify
from heliograph.core.call import Caller, Credentials
from heliograph.core.errors import Code, HeliographError
from heliograph.core.notices import Hook
from heliograph.core.permissions import Permission
from heliograph.edge.books import NullBooks
from heliograph.edge.http.doors import routes
from heliograph.edge.http.errors import answer
from heliograph.edge.http.webhooks import doors
from heliograph.notices.service import Notices
from heliograph.notices.values import KINDS, MOST_WEBHOOKS
from heliograph.outbound.fetch import Courier as OutboundCourier
from heliograph.outbound.targets import PUBLIC
from heliograph.storage.database import Database
from support.notices import Desk, check_not_inner, endpoint

MANY = "/api/v1/webhooks"
_READ = frozenset({Permission.WEBHOOKS_READ})
_WRITE = _READ | {Permission.WEBHOOKS_WRITE}
_CALLERS = {
    "a": Caller("key_a", "ws_a", permissions=_WRITE),
    "b": Caller("key_b", "ws_b", permissions=_WRITE),
    "viewer": Caller("key_v", "ws_a", permissions=_READ),
    "homeless": Caller("usr_h", permissions=_WRITE),
    "admin": Caller("admin", operator=True, permissions=frozenset(Permission)),
}


class Keys:
    """A gate that knows five callers."""

    def agreed(self, caller: Caller, purpose: str) -> None:
        raise AssertionError(f"{caller.name} asks no model here: {purpose}")

    def check(self, credentials: Credentials, needs: Permission, model: str = "") -> Caller:
        del model
        caller = _CALLERS.get(credentials.key)
        if caller is None:
            raise HeliographError(Code.UNAUTHENTICATED, "No such key.")
        if needs not in caller.permissions:
            raise HeliographError(Code.FORBIDDEN, "Not with this key.")
        return caller


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


@pytest.fixture
def notices(desk: Desk) -> Notices:
    return desk.notices()


@pytest.fixture
def api(notices: Notices) -> Iterator[httpx.Client]:
    async def told(request: Request, error: Exception) -> Response:
        return answer(error, request.method)[1]

    app = Starlette(
        routes=routes(Keys(), NullBooks(), doors(notices)),
        exception_handlers={HeliographError: told},
    )
    config = uvicorn.Config(app, port=0, log_level="error", ws="none", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def key(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


def made(api: httpx.Client, url: str, name: str = "a", **more: object) -> tuple[str, str]:
    reply = api.post(MANY, json={"url": url, **more}, headers=key(name))
    assert reply.status_code == 201, reply.text
    return reply.json()["webhook"]["id"], reply.json()["secret"]


def test_an_event_arrives_and_is_believed(api: httpx.Client, notices: Notices, desk: Desk) -> None:
    with endpoint() as hook:
        webhook, secret = made(api, hook.url, kinds=["invoice.finalised"])
        notices.deliverer.start()
        try:
            tell = Hook("ws_a", "invoice.finalised", {"number": "2026-000001"})
            desk.database.write(lambda c: notices.enqueue(c, tell))
            notices.deliverer.nudge()
            (got,) = hook.wait(1)
        finally:
            notices.deliverer.stop()
    now = desk.clock.now / 1000
    receiver = Receiver(secret)
    event = receiver.receive(got.headers, got.body, now)
    assert (event.kind, event.data) == ("invoice.finalised", {"number": "2026-000001"})
    for headers, body, moment in (
        (got.headers, got.body, now),  # recorded, and sent again
        (got.headers, got.body.replace(b"000001", b"000002"), now),
        ({**got.headers, "webhook-timestamp": str(int(now) + 60)}, got.body, now + 60),
        (got.headers, got.body, now + 3600),
    ):
        with pytest.raises(WebhookError):
            receiver.receive(headers, body, moment)
    (delivery,) = api.get(f"{MANY}/{webhook}/deliveries", headers=key("viewer")).json()[
        "deliveries"
    ]
    assert delivery["id"] == event.id == got.headers["webhook-id"]
    assert (delivery["state"], delivery["last_code"], delivery["attempts"]) == ("sent", "204", 1)
    assert delivery["body"]["data"] == {"number": "2026-000001"}


def test_the_life_of_a_webhook(api: httpx.Client, notices: Notices, desk: Desk) -> None:
    with endpoint() as hook:
        webhook, first = made(api, hook.url)
        one = f"{MANY}/{webhook}"
        test = api.post(f"{one}/test", headers=key("a"))
        assert test.status_code == 202
        assert notices.deliverer.flush() == 1
        now = desk.clock.now / 1000
        assert verify(first, hook.received[0].headers, hook.received[0].body, now).kind == (
            "test.sent"
        )

        rotated = api.post(f"{one}/rotate", json={"overlap_hours": 1}, headers=key("a")).json()
        second = rotated["secret"]
        assert rotated["webhook"]["old_secret_until_ms"] == desk.clock.now + 3_600_000
        again = api.post(f"{one}/deliveries/{test.json()['id']}/redeliver", headers=key("a"))
        assert again.status_code == 202
        assert notices.deliverer.flush() == 1
        for secret in (first, second):
            got = hook.received[1]
            assert verify(secret, got.headers, got.body, now).id == test.json()["id"]
        desk.clock.now += 3_600_000
        api.post(f"{one}/test", headers=key("a"))
        notices.deliverer.flush()
        late = hook.received[2]
        verify(second, late.headers, late.body, desk.clock.now / 1000)
        with pytest.raises(WebhookError):
            verify(first, late.headers, late.body, desk.clock.now / 1000)

        changed = api.patch(one, json={"state": "paused"}, headers=key("a")).json()
        assert changed["state"] == "paused"
        assert api.post(f"{one}/test", headers=key("a")).json()["code"] == "conflict"
        assert api.delete(one, headers=key("a")).status_code == 204
        assert api.get(one, headers=key("a")).json()["code"] == "not_found"
    acts = [(str(event.act), event.actor, event.workspace) for event in desk.events]
    assert acts == [
        (act, "key_a", "ws_a")
        for act in ("webhook:created", "webhook:rotated", "webhook:changed", "webhook:deleted")
    ]
    assert {event.subject for event in desk.events} == {webhook}
    told = "".join(str(event) for event in desk.events)
    assert first[6:] not in told
    assert hook.url not in told


def test_a_secret_is_shown_once_and_never_stored_in_the_clear(
    api: httpx.Client, desk: Desk
) -> None:
    webhook, secret = made(api, "https://example.org/hook")
    for reply in (
        api.get(MANY, headers=key("a")),
        api.get(f"{MANY}/{webhook}", headers=key("a")),
        api.patch(f"{MANY}/{webhook}", json={}, headers=key("a")),
    ):
        assert reply.status_code == 200
        assert "whsec_" not in reply.text
    with desk.database.read() as connection:
        rows = str(connection.exec_driver_sql("SELECT * FROM webhooks").all())
    assert secret[6:] not in rows


def test_another_workspace_sees_nothing(api: httpx.Client, notices: Notices, desk: Desk) -> None:
    webhook, _ = made(api, "https://example.org/hook")
    other, _ = made(api, "https://example.org/hook", "b")
    desk.database.write(lambda c: notices.enqueue(c, Hook("ws_a", "key.exposed")))
    delivery = notices.deliveries("ws_a", webhook)[0].id
    one = f"{MANY}/{webhook}"
    asked = [
        ("GET", one, None),
        ("PATCH", one, {"state": "paused"}),
        ("DELETE", one, None),
        ("POST", f"{one}/rotate", {}),
        ("POST", f"{one}/test", None),
        ("GET", f"{one}/deliveries", None),
        ("POST", f"{one}/deliveries/{delivery}/redeliver", None),
        ("POST", f"{MANY}/{other}/deliveries/{delivery}/redeliver", None),
    ]
    for method, path, body in asked:
        for caller in ("b", "admin"):
            if caller == "admin" and other in path:
                continue
            reply = api.request(method, path, json=body, headers=key(caller))
            assert (reply.status_code, reply.json()["code"]) == (404, "not_found"), path
    assert [one["id"] for one in api.get(MANY, headers=key("b")).json()["webhooks"]] == [other]
    # Nothing of it has happened.
    assert notices.webhook("ws_a", webhook).state == "active"


def test_who_may(api: httpx.Client) -> None:
    url = {"url": "https://example.org/hook"}
    assert api.get(MANY).status_code == 401
    assert api.get(MANY, headers=key("viewer")).status_code == 200
    assert api.post(MANY, json=url, headers=key("viewer")).status_code == 403
    # Somebody without a workspace is not let to the server's own webhooks; the operator is.
    made(api, url["url"], "admin")
    assert api.get(MANY, headers=key("homeless")).status_code == 403
    assert len(api.get(MANY, headers=key("admin")).json()["webhooks"]) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"url": "https://inner.example/hook"}, "url_not_allowed"),
        ({"url": "ftp://example.org/hook"}, "validation"),
        ({"url": "https://me:pw@example.org/hook"}, "validation"),
        ({"url": "https://example.org/hook", "kinds": ["everything"]}, "validation"),
        ({"url": "https://example.org/hook", "secret": "whsec_mine"}, "unknown_field"),
        ({"url": "https://example.org/hook", "workspace": "ws_b"}, "unknown_field"),
        ({"kinds": []}, "validation"),
        ({"url": 5}, "validation"),
    ],
)
def test_what_is_no_webhook(api: httpx.Client, body: dict[str, object], code: str) -> None:
    reply = api.post(MANY, json=body, headers=key("a"))
    assert (reply.status_code, reply.json()["code"]) == (422, code)
    assert api.get(MANY, headers=key("a")).json()["webhooks"] == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/hook",
        "http://localhost/hook",
        "http://10.0.0.7/hook",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/hook",
        "http://[::ffff:10.0.0.7]/hook",
        "http://2130706433/hook",
        "https://example.org:22/hook",
    ],
)
def test_the_guard_keeps_webhooks_outside(url: str, desk: Desk, database: Database) -> None:
    """B121: refused when it is made, and again when something is delivered."""
    outside = OutboundCourier()

    def post(url: str, body: bytes, headers: dict[str, str], seconds: float) -> int:
        return outside.post(url, body, headers, PUBLIC, seconds)

    def check(url: str) -> None:
        outside.check(url, PUBLIC)

    desk.post = post
    desk.check = check
    notices = desk.notices()
    with pytest.raises(HeliographError) as seen:
        notices.create("key_a", "ws_a", url)
    assert seen.value.code is Code.URL_NOT_ALLOWED
    # It looked right when it was made, and leads inside now.
    desk.check = check_not_inner
    made = desk.notices().create("key_a", "ws_a", url)[0]
    database.write(lambda c: notices.enqueue(c, Hook("ws_a", "key.exposed")))
    assert notices.deliverer.flush() == 1
    assert notices.deliveries("ws_a", made.id)[0].last_code == "url_not_allowed"


def test_an_inner_address_is_refused_at_a_change_too(api: httpx.Client) -> None:
    webhook, _ = made(api, "https://example.org/hook")
    reply = api.patch(
        f"{MANY}/{webhook}", json={"url": "https://inner.example/hook"}, headers=key("a")
    )
    assert reply.json()["code"] == "url_not_allowed"
    kept = api.get(f"{MANY}/{webhook}", headers=key("a")).json()["url"]
    assert kept == "https://example.org/hook"


def test_there_are_so_many_and_no_more(api: httpx.Client) -> None:
    for number in range(MOST_WEBHOOKS):
        made(api, f"https://example.org/{number}")
    reply = api.post(MANY, json={"url": "https://example.org/one"}, headers=key("a"))
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")
    listed = api.get(MANY, headers=key("a")).json()
    assert len(listed["webhooks"]) == listed["most"] == MOST_WEBHOOKS
    assert listed["kinds"] == KINDS


def test_deliveries_are_paged(api: httpx.Client, notices: Notices, desk: Desk) -> None:
    webhook, _ = made(api, "https://example.org/hook")
    for _ in range(5):
        desk.database.write(lambda c: notices.enqueue(c, Hook("ws_a", "key.exposed")))
    path, seen, after = f"{MANY}/{webhook}/deliveries", list[str](), ""
    while True:
        page = api.get(path, params={"limit": 2, "after": after}, headers=key("a")).json()
        seen += [one["id"] for one in page["deliveries"]]
        after = page["next"]
        if not after:
            break
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)
    for bad in ({"limit": "201"}, {"limit": "0"}, {"order": "x"}):
        assert api.get(path, params=bad, headers=key("a")).status_code in {400, 422}


def test_waiting_is_not_sent_again_by_hand(api: httpx.Client, notices: Notices, desk: Desk) -> None:
    webhook, _ = made(api, "https://example.org/hook")
    desk.database.write(lambda c: notices.enqueue(c, Hook("ws_a", "key.exposed")))
    delivery = notices.deliveries("ws_a", webhook)[0].id
    path = f"{MANY}/{webhook}/deliveries/{delivery}/redeliver"
    assert api.post(path, headers=key("a")).json()["code"] == "conflict"


def test_the_page_names_every_kind() -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "webhooks.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", page, re.MULTILINE)) == set(KINDS)
