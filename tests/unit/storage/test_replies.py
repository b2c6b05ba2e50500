from __future__ import annotations

import os
import subprocess
import sys

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.core.replay import Claim, Kept
from heliograph.storage.database import Database
from heliograph.storage.replies import KEPT_MS, Replies
from support.clock import Turned

ANSWER = Kept(200, (("content-type", "application/json"),), b'{"a":1}')


def flip(data: bytes, name: str) -> bytes:
    return bytes(one ^ (len(name) + 1) for one in data)


@pytest.fixture
def clock() -> Turned:
    return Turned()


@pytest.fixture
def replies(database: Database, clock: Turned) -> Replies:
    return Replies(database, clock, flip, flip)


def code_of(replies: Replies, scope: str, key: str, print_: bytes) -> Code:
    with pytest.raises(HeliographError) as failed:
        replies.claim(scope, key, print_)
    return failed.value.code


def done(database: Database, replies: Replies, key: str = "k") -> None:
    claim = replies.claim("ws_1", key, b"same")
    assert isinstance(claim, Claim)
    database.write(lambda connection: replies.finish(connection, claim, ANSWER))


def test_a_second_request_gets_the_same_answer(database: Database, replies: Replies) -> None:
    done(database, replies)
    assert replies.claim("ws_1", "k", b"same") == ANSWER


def test_a_different_request_is_refused(database: Database, replies: Replies) -> None:
    done(database, replies)
    assert code_of(replies, "ws_1", "k", b"other") is Code.IDEMPOTENCY_MISMATCH


def test_one_that_is_being_answered(replies: Replies) -> None:
    replies.claim("ws_1", "k", b"same")
    assert code_of(replies, "ws_1", "k", b"same") is Code.IDEMPOTENCY_IN_PROGRESS
    assert code_of(replies, "ws_1", "k", b"other") is Code.IDEMPOTENCY_MISMATCH


def test_workspaces_do_not_meet(database: Database, replies: Replies) -> None:
    done(database, replies)
    assert isinstance(replies.claim("ws_2", "k", b"other"), Claim)


def test_a_failure_frees_the_key(database: Database, replies: Replies) -> None:
    claim = replies.claim("ws_1", "k", b"same")
    assert isinstance(claim, Claim)
    replies.release(claim)
    database.write(lambda _: None)
    assert isinstance(replies.claim("ws_1", "k", b"other"), Claim)


def test_a_week_later_the_key_is_free(database: Database, replies: Replies, clock: Turned) -> None:
    done(database, replies)
    clock.now_ms += KEPT_MS
    assert isinstance(replies.claim("ws_1", "k", b"other"), Claim)
    done(database, replies, "l")
    clock.now_ms += KEPT_MS
    assert replies.sweep() == 2


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "\x00"])
def test_keys_that_are_none(replies: Replies, key: str) -> None:
    assert code_of(replies, "ws_1", key, b"same") is Code.BAD_REQUEST


def test_the_longest_key(replies: Replies) -> None:
    assert isinstance(replies.claim("ws_1", "x" * 255, b"same"), Claim)


CLAIMING = """
import sys
from pathlib import Path
from heliograph.storage.database import open_database
from heliograph.storage.replies import Replies
same = lambda data, name: data
replies = Replies(open_database("", Path(sys.argv[1])), lambda: int(sys.argv[2]), same, same)
replies.claim("ws_1", "dead", b"same")
"""


def test_the_claim_of_a_dead_process_is_taken_over(
    database: Database, replies: Replies, clock: Turned, request: pytest.FixtureRequest
) -> None:
    if database.kind != "sqlite":
        pytest.skip("which process is dead does not depend on the database")
    folder = request.getfixturevalue("tmp_path") / "database"
    subprocess.run(
        [sys.executable, "-c", CLAIMING, str(folder), str(clock.now_ms)], check=True, timeout=60
    )
    assert isinstance(replies.claim("ws_1", "dead", b"same"), Claim)


def test_bodies_are_not_kept_in_the_clear(database: Database, replies: Replies) -> None:
    done(database, replies)
    with database.read() as connection:
        body = connection.exec_driver_sql("SELECT body FROM replies").scalar()
    assert body is not None
    assert b'"a"' not in bytes(body)


def test_letting_go_of_what_was_answered_leaves_the_answer(
    database: Database, replies: Replies
) -> None:
    done(database, replies)
    replies.release(Claim("ws_1", "k"))
    database.write(lambda _: None)
    assert replies.claim("ws_1", "k", b"same") == ANSWER


def test_a_dead_process_that_nobody_buries_is_dead(
    database: Database, replies: Replies, clock: Turned, request: pytest.FixtureRequest
) -> None:
    if database.kind != "sqlite":
        pytest.skip("which process is dead does not depend on the database")
    folder = request.getfixturevalue("tmp_path") / "database"
    words = [sys.executable, "-c", CLAIMING, str(folder), str(clock.now_ms)]
    with subprocess.Popen(words) as process:
        # Waits for its end without asking for it: until then it stays in the table.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert isinstance(replies.claim("ws_1", "dead", b"same"), Claim)
