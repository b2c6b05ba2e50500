from __future__ import annotations

import base64
import os
import secrets
from typing import Any

import pytest
import rfc8785

from heliograph.audit import grammar
from heliograph.audit.values import Head, follow
from heliograph.audit.verifier import read_body
from heliograph.core.events import Act, Event
from heliograph.core.ids import new_id

GOOD: list[dict[str, Any]] = [
    {},
    {"role": "developer", "share": "2.5", "count": 3, "forced": True},
    {"person": "usr_" + "0" * 32, "case": new_id("case")},
    {"digest": "sha256:" + "0123456789abcdef" * 4},
    {"model": "ssd_mobilenet_v2@3", "address": "203.0.113.7"},
    {"address": "2001:db8::1", "most": -(2**53) + 1},
    {"reason": "the second key within an hour, by the same person"},
]
BAD: dict[str, dict[str, Any]] = {
    "float": {"share": 2.5},
    "none": {"share": None},
    "list": {"shares": [1]},
    "too large": {"share": 2**53},
    "name": {"Share": 1},
    "name with a dash": {"a-b": 1},
    "name too long": {"a" * 41: 1},
    "long": {"text": "x " * 61},
    "not ASCII": {"text": "Grüße"},
    "line": {"text": "a\nb"},
    "too many": {"a" * (n + 1): n for n in range(17)},
    "id within": {"text": "removed usr_" + "0" * 32},
    "called password": {"password": "x"},
}
SECRETS = {
    "our key": "hg_live_0123456789",
    "the admin key": "hg_admin_" + secrets.token_urlsafe(32),
    "our key within": "key=hg_live_01",
    "bearer": "Bearer abc",
    "basic": "authorization: basic dXNlcjpwYXNz",
    "signed token": "eyJhbGciOiJFZERTQSJ9.e30.c2ln",
    "e-mail": "alice@example.com",
    "e-mail in words": "sent to <bob.b@mail.example.org> today",
    "argon2": "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$hash",
    "PEM": "-----BEGIN PRIVATE KEY-----",
    "note key": "PRIVATE+KEY+heliograph+00000000+AQ",
    "otp": "otpauth://totp/x?secret=y",
    "otp secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
    "address with a password": "postgresql://me:pass@host/db",
    "PNG": base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 20).decode(),
    "JPEG": base64.b64encode(b"\xff\xd8\xff\xe0" + b"\0" * 20).decode(),
    "WebP": base64.b64encode(b"RIFF\x10\x20\x00\x00WEBPVP8 ").decode(),
    "GIF": base64.b64encode(b"GIF89a" + b"\0" * 20).decode(),
    "data address": "data:image/png;base64,AAAA",
    "random": "Zk3xQ9" * 8,
}


def event(**facts: Any) -> Event:
    return Event(Act.KEY_CREATED, "system", facts=facts)


@pytest.mark.parametrize("facts", GOOD, ids=lambda facts: "-".join(facts) or "none")
def test_what_is_said_of_keys_and_people_passes(facts: dict[str, Any]) -> None:
    grammar.check(event(**facts))


@pytest.mark.parametrize("facts", BAD.values(), ids=BAD.keys())
def test_what_is_not_grammar_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="This is a bug"):
        grammar.check(Event(Act.KEY_CREATED, "system", facts=facts))


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
def test_secrets_are_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="looks like") as refused:
        grammar.check(event(text=secret))
    assert secret not in str(refused.value)


@pytest.mark.parametrize("field", ["actor", "workspace", "subject"])
@pytest.mark.parametrize("value", ["hg_live_0123456789", "alice@example.com", "two words", "ä", 7])
def test_who_and_what_are_ids(field: str, value: Any) -> None:
    said: dict[str, Any] = {"act": Act.KEY_CREATED, "actor": "system"} | {field: value}
    with pytest.raises(ValueError, match="This is a bug"):
        grammar.check(Event(**said))


def test_somebody_did_it() -> None:
    with pytest.raises(ValueError, match="no actor"):
        grammar.check(Event(Act.KEY_CREATED, ""))


def test_an_act_outside_the_list_is_refused() -> None:
    foreign: Any = "key:eaten"
    with pytest.raises(ValueError, match="closed list"):
        grammar.check(Event(foreign, "system"))


def test_ids_of_ours_are_never_taken_for_secrets() -> None:
    for prefix in ("usr", "ws", "key", "pred", "inv", "case"):
        for _ in range(200):
            assert not grammar.canary(new_id(prefix))
    assert not grammar.canary("person_" + os.urandom(32).hex())


def test_keys_made_of_random_bytes_are_found() -> None:
    found = [grammar.canary(secrets.token_urlsafe(32)) for _ in range(500)]
    assert sum(map(bool, found)) > 490


def test_the_list_of_acts_keeps_its_grammar_and_order() -> None:
    for act in Act:
        grammar.check(Event(act, "system"))
    assert [str(one) for one in Act] == sorted(str(one) for one in Act)


def test_every_good_event_becomes_a_canonical_body() -> None:
    for facts in GOOD:
        entry = follow(Head(), 1, event(**facts))
        body = read_body(entry.body)
        assert body is not None
        assert rfc8785.dumps(body).decode() == entry.body
        assert body["facts"] == facts
