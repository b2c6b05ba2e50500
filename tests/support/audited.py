"""Who appears in the tests of the audit log, and a clock that a test can turn."""

from __future__ import annotations

ALICE = "usr_" + "a1" * 16
BOB = "usr_" + "b2" * 16
SPACE = "ws_" + "c3" * 16
KEY = "key_" + "d4" * 16


class Turned:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.ms = 1_790_000_000_000

    def __call__(self) -> int:
        return self.ms
