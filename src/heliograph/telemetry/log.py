"""Logging: one line an event; JSON when asked for, plain for people otherwise."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any, Literal

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
        return json.dumps(said, ensure_ascii=True)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        # Control characters would let a client forge lines or colour a terminal.
        said = "".join(one if one.isprintable() else "\ufffd" for one in record.getMessage())
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{clock} {record.levelname.lower():7} {said[:_LONGEST]}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def setup(style: Literal["plain", "json"], level: str) -> None:
    """Send the log to standard error in the given style; replaces earlier handlers."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if style == "json" else _Plain())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn.access", "asyncio", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
