"""Signatures: those of the specification, and what a receiver does not believe (B157)."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliograph.client.webhooks import Receiver, WebhookError, verify
from heliograph.core.errors import HeliographError
from heliograph.notices.signing import new_secret, signed
from heliograph.notices.values import (
    HOOK_PAUSES,
    KINDS,
    check_kinds,
    check_url,
    pause_ms,
)
from support.notices import NOON

NOW = NOON / 1000
SECRET = new_secret()
BODY = b'{"type":"key.exposed","timestamp":"2026-09-21T14:13:20.000Z","data":{"key":"key_1"}}'
HEADERS = signed([SECRET], "msg_1", NOON, BODY)


def test_the_vector_of_the_specification() -> None:
    made = signed(
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330_000,
        b'{"test": 2432232314}',
    )
    assert made["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert made["webhook-timestamp"] == "1614265330"


def test_a_secret_has_the_specified_form() -> None:
    assert SECRET.startswith("whsec_")
    assert 24 <= len(base64.b64decode(SECRET[6:], validate=True)) <= 64
    assert new_secret() != SECRET


@given(st.binary(max_size=300), st.integers(1, 2**40), st.text(min_size=1, max_size=40))
def test_what_is_signed_is_believed(data: bytes, now_ms: int, message: str) -> None:
    body = b'{"type":"t","data":{"x":"' + base64.b64encode(data) + b'"}}'
    made = signed([SECRET], message, now_ms, body)
    event = verify(SECRET, made, body, now_ms // 1000)
    assert (event.id, event.kind, event.sent) == (message, "t", now_ms // 1000)


def test_an_event_is_read() -> None:
    event = verify(SECRET, {name.title(): value for name, value in HEADERS.items()}, BODY, NOW)
    assert event.kind == "key.exposed"
    assert event.data == {"key": "key_1"}
    assert event.timestamp == "2026-09-21T14:13:20.000Z"


@pytest.mark.parametrize(
    ("change", "body"),
    [
        ({}, BODY + b" "),
        ({}, b""),
        ({"webhook-id": "msg_2"}, BODY),
        ({"webhook-id": ""}, BODY),
        ({"webhook-timestamp": str(int(NOW) + 1)}, BODY),
        ({"webhook-timestamp": f"{int(NOW)}.0"}, BODY),
        ({"webhook-timestamp": "-1"}, BODY),
        ({"webhook-timestamp": "٣"}, BODY),
        ({"webhook-timestamp": "9" * 400}, BODY),
        ({"webhook-signature": ""}, BODY),
        ({"webhook-signature": HEADERS["webhook-signature"].replace("v1,", "v1a,")}, BODY),
        ({"webhook-signature": HEADERS["webhook-signature"][3:]}, BODY),
        ({"webhook-signature": "v1,"}, BODY),
        ({"webhook-signature": "v1,\udcff"}, BODY),
        (signed([new_secret()], "msg_1", NOON, BODY), BODY),
    ],
)
def test_what_is_not_signed_is_not_believed(change: Mapping[str, str], body: bytes) -> None:
    with pytest.raises(WebhookError):
        verify(SECRET, {**HEADERS, **change}, body, NOW)


@pytest.mark.parametrize("off", [-301.0, 301.0, 3600.0])
def test_another_time_is_not_believed(off: float) -> None:
    verify(SECRET, HEADERS, BODY, NOW + (299 if off > 0 else -299))
    with pytest.raises(WebhookError):
        verify(SECRET, HEADERS, BODY, NOW + off)


def test_two_secrets_are_valid_while_they_are_changed() -> None:
    old, new = new_secret(), new_secret()
    made = signed([new, old], "msg_1", NOON, BODY)
    for secrets in (old, new, [old, new]):
        assert verify(secrets, made, BODY, NOW).id == "msg_1"
    with pytest.raises(WebhookError):
        verify(new_secret(), made, BODY, NOW)


def test_a_recorded_message_is_refused_and_a_second_try_is_not() -> None:
    receiver = Receiver(SECRET)
    receiver.receive(HEADERS, BODY, NOW)
    with pytest.raises(WebhookError, match="before"):
        receiver.receive(HEADERS, BODY, NOW + 5)
    again = signed([SECRET], "msg_1", NOON + 30_000, BODY)
    assert receiver.receive(again, BODY, NOW + 30).id == "msg_1"
    # Forgotten only when its time is too old to be believed anyway.
    with pytest.raises(WebhookError):
        receiver.receive(HEADERS, BODY, NOW + 100_000)
    assert len(receiver._seen) <= 2


@pytest.mark.parametrize("body", [b"[]", b"1", b"nonsense", b"\xff"])
def test_a_signed_body_that_is_no_event(body: bytes) -> None:
    with pytest.raises(WebhookError):
        verify(SECRET, signed([SECRET], "m", NOON, body), body, NOW)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_ä", "whsec_!!!"])
def test_a_secret_that_is_none_is_told(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        verify(secret, HEADERS, BODY, NOW)


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 12))
def test_a_pause_is_within_a_fifth_of_the_plan(jitter: float, attempts: int) -> None:
    pause = pause_ms(HOOK_PAUSES, attempts, lambda: jitter)
    if attempts > len(HOOK_PAUSES):
        assert pause is None
    else:
        assert pause is not None
        plan = HOOK_PAUSES[attempts - 1]
        assert plan * 0.79 <= pause <= plan * 1.21


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "https://",
        "https://user:secret@example.org/",
        "https://example.org/#part",
        "https://example.org/a b",
        "https://example.org/\r\nHost: other",
        "https://exämple.org/",
        "https://[::1/",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://example.org/" + "a" * 2048,
        "",
    ],
)
def test_an_address_that_no_webhook_has(url: str) -> None:
    with pytest.raises(HeliographError):
        check_url(url)


def test_kinds_are_a_closed_list() -> None:
    assert check_kinds(["key.exposed", "budget.reached", "key.exposed"]) == (
        "budget.reached",
        "key.exposed",
    )
    with pytest.raises(HeliographError, match="no event"):
        check_kinds(["key.eaten"])
    assert list(KINDS) == sorted(KINDS)
    assert all(text.endswith(".") for text in KINDS.values())
