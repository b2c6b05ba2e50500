"""The log: one line an event, whatever a client put into it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from heliograph.telemetry import log


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in ("uvicorn.access", "uvicorn.error", "asyncio", "PIL"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (one,) = capsys.readouterr().err.splitlines()
    return json.loads(one)


def test_json_has_the_fields_beside_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("json", "info")
    logging.getLogger("heliograph.x").info("%d done", 3, extra={"fields": {"call": {"id": "p"}}})
    said = line(capsys)
    assert said["call"] == {"id": "p"}
    assert (said["message"], said["level"], said["logger"]) == ("3 done", "info", "heliograph.x")


def test_json_keeps_a_trace_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("json", "info")
    try:
        int("deep\ninside")
    except ValueError:
        logging.getLogger("heliograph").exception("oops")
    assert "deep" in line(capsys)["trace"]


NASTY = "a\r\n12:00:00 info forged\x1b[31m\u202e\u2028 b"


@pytest.mark.parametrize("style", ["plain", "json"])
def test_no_client_forges_a_line_or_colours_a_terminal(
    style: Literal["plain", "json"], capsys: pytest.CaptureFixture[str]
) -> None:
    log.setup(style, "info")
    logging.getLogger("heliograph").info("refused %s", NASTY)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not {"\r", "\x1b", "\u202e", "\u2028"} & set(said)


@pytest.mark.parametrize("style", ["plain", "json"])
def test_a_line_is_bounded(
    style: Literal["plain", "json"], capsys: pytest.CaptureFixture[str]
) -> None:
    log.setup(style, "info")
    logging.getLogger("heliograph").info("x" * 1_000_000)
    assert len(capsys.readouterr().err) < 4000


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("plain", "warning")
    logging.getLogger("heliograph").info("quiet")
    logging.getLogger("heliograph").warning("loud")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "warning loud" in said


def test_setting_up_again_replaces_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("plain", "info")
    log.setup("json", "info")
    logging.getLogger("heliograph").info("once")
    assert line(capsys)["message"] == "once"
