"""Who was erased, outside the database and every backup: a restore forgets them again.

    HOME/erased.jsonl   {"at_ms":1767225600000,"tenant":"usr_0199…"}

A line is written before the erasure is: a restored backup never knows more than this list.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from heliograph.core.errors import Code, HeliographError
from heliograph.storage.root import sync_folder

FILE = "erased.jsonl"


def note_erasure(home: Path, tenant: str, at_ms: int) -> None:
    """Put a tenant on the list, on disk; call it before the transaction that erases.

    Args:
        home: the data folder.
        tenant: the id of the person or workspace whose keys are destroyed.
        at_ms: when.

    Raises:
        HeliographError: `storage_full`.
    """
    line = json.dumps({"at_ms": at_ms, "tenant": tenant}) + "\n"
    try:
        home.mkdir(parents=True, exist_ok=True)
        handle = os.open(home / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            _mend(home / FILE)
            os.write(handle, line.encode("ascii"))
            os.fsync(handle)
        finally:
            os.close(handle)
        sync_folder(home)
    except OSError as error:
        raise HeliographError(
            Code.STORAGE_FULL, "erased.jsonl cannot be written; nothing was erased."
        ) from error


def erased(file: Path) -> list[str]:
    """Every tenant on a list, in order, none twice.

    Args:
        file: `HOME/erased.jsonl`, or a copy of another machine's; none is an empty list.

    Raises:
        HeliographError: `validation` if a line cannot be read: a tenant would come back unnoticed.
    """
    found: dict[str, None] = {}
    try:
        lines = file.read_text("utf-8").split("\n")
    except FileNotFoundError:
        return []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            said: Any = json.loads(line)
            tenant: Any = said["tenant"]
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                # Half written at a power cut: that erasure had not begun.
                continue
            raise _unreadable(number) from error
        if not isinstance(tenant, str) or not tenant:
            raise _unreadable(number)
        found[tenant] = None
    return list(found)


def _mend(file: Path) -> None:
    """Cut off a last line that was half written."""
    data = file.read_bytes()
    if data and not data.endswith(b"\n"):
        os.truncate(file, data.rfind(b"\n") + 1)


def _unreadable(number: int) -> HeliographError:
    return HeliographError(Code.VALIDATION, f"Line {number} of the list of the erased is no JSON.")
