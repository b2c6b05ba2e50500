"""Logging: one line an event; JSON when asked for, plain for people otherwise."""

from __future__ import annotations

import functools
import json
import logging
import sys
import time
from typing import Any, Literal

import msgspec

from heliograph.core.call import Usage

_LONGEST = 2048


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:_LONGEST],
        }
        fields = getattr(record, "fields", None)
        if fields:
            said |= fields
        if record.exc_info:
            said["trace"] = self.formatException(record.exc_info)[-4 * _LONGEST :]
        # ASCII only: no sign of a client can turn the direction of a line or break it.
        return json.dumps(said, ensure_ascii=True, default=_told)


def _told(value: object) -> object:
    """A value of ours as JSON; of a caller no more than who it is."""
    if isinstance(value, Usage):
        said = {name: getattr(value, name) for name in value.__slots__}
        who = value.caller
        return said | {"caller": who.name, "workspace": who.workspace}
    return msgspec.to_builtins(value)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # Control characters would let a client forge lines or colour a terminal.
        said = record.getMessage()
        if not said.isprintable():
            said = "".join([one if one.isprintable() else "\ufffd" for one in said])
        line = f"{_clock(int(record.created))} {record.levelname.lower():7} {said[:_LONGEST]}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


@functools.lru_cache(maxsize=2)
def _clock(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))


def setup(style: Literal["plain", "json"], level: str) -> None:
    """Send the log to standard error in the given style; replaces earlier handlers."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if style == "json" else _Plain())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # No line shows the caller's file, thread or process; finding them costs more than the line.
    logging._srcfile = None  # type: ignore[assignment]  # noqa: SLF001 - as logging's own manual says
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root.setLevel(level.upper())
    for noisy in ("uvicorn.access", "asyncio", "PIL", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
