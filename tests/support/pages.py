"""Pages of the documentation, run: their files are written, their commands typed on a terminal.

A page is read from top to bottom. A block of `python`, `toml` or `proto` whose first line is a
comment with a file's name is saved under it; a block of `sh` is run; a block of `text` or `json`
right after that is what it said. What differs each time, or from machine to machine, counts as
equal: times, ids, digests, the port.
"""

from __future__ import annotations

import json
import math
import os
import pty
import re
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"(?:#|//) (\S+\.\w+)\n")
_PROMPT = re.compile(r"^(.*(?:\)|\[Y/n\]): )(.*)$", re.MULTILINE)
_SECONDS = 120.0
_TERMINAL = re.compile(r"\x1b\[[0-9;]*m|\r")
_CHANGES = (
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
    (re.compile(r"\b\d+\.\d ms\b"), "N ms"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "DIGEST"),
    # Engines agree from processor to processor, not to the last digit.
    (re.compile(r"(\b\d+\.\d{3})\d+\b"), r"\1"),
)
_ASKS = ("curl ", "for ")
_UNLIKE = {"id", "timings_ms", "digest", "memory"}


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a page.

    Attributes:
        kind: its language.
        body: its text.
        said: of a command: the block right after it with its output; None if there is none.
    """

    kind: str
    body: str
    said: Block | None = None

    @property
    def file(self) -> str:
        """The name that it is saved under; empty if it is no file."""
        named = _FILE.match(self.body)
        return named[1] if named and self.kind not in {"sh", "text", "json"} else ""


def read(page: str) -> list[Block]:
    """The blocks of a page, outputs with their commands."""
    found: list[Block] = []
    end = 0
    text = (ROOT / page).read_text("utf-8")
    for match in _BLOCK.finditer(text):
        block = Block(match[1], match[2])
        # Only what follows at once is the output; what stands after a sentence is an illustration.
        near = not text[end : match.start()].strip()
        if block.kind in {"text", "json"} and near and found and found[-1].kind == "sh":
            found[-1] = Block("sh", found[-1].body, block)
        else:
            found.append(block)
        end = match.end()
    return found


def alike(shown: Block, said: str) -> bool:
    """Whether a command said what the page shows."""
    if shown.kind == "json":
        try:
            return _same(json.loads(shown.body), json.loads(said))
        except ValueError:
            return False
    return plain(shown.body) == plain(said)


def plain(text: str) -> str:
    """Text without what differs from run to run."""
    for pattern, instead in _CHANGES:
        text = pattern.sub(instead, text)
    return text.strip("\n")


def _same(shown: Any, said: Any) -> bool:
    if isinstance(shown, dict) and isinstance(said, dict):
        pairs: dict[str, Any] = shown
        return list(pairs) == list(said) and all(
            name in _UNLIKE or _same(one, said[name]) for name, one in pairs.items()
        )
    if isinstance(shown, list) and isinstance(said, list):
        return len(shown) == len(said) and all(map(_same, shown, said))
    if isinstance(shown, float) and isinstance(said, float):
        return math.isclose(shown, said, rel_tol=2e-3, abs_tol=2e-3)
    return shown == said


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody at a terminal of a hundred columns.

    Attributes:
        folder: where they are; their home, too.
        environ: further environment variables.
        before: typed before every command.
    """

    folder: Path
    environ: dict[str, str]
    before: str = ""

    def run(self, block: Block) -> str:
        """Type a block of commands, and at its prompts what the page shows as typed.

        What only asks is asked again until the answer is as shown, for a while: the page's reader
        is slower than the server that follows its data folder, the test is not.

        Returns:
            What it said, where nothing is shown or what is shown was said.

        Raises:
            AssertionError: it said something else, or failed and the page does not show that.
        """
        until = time.monotonic() + 20
        while True:
            code, said = self._typed(block)
            if block.said is None and not code:
                return said
            if block.said is not None and alike(block.said, said):
                return said
            if not block.body.startswith(_ASKS) or time.monotonic() > until:
                shown = plain(block.said.body) if block.said else "(success)"
                raise AssertionError(
                    f"{block.body}\n--- the page shows\n{shown}\n--- it said ({code})\n"
                    f"{plain(said)}"
                )
            time.sleep(0.2)

    def _typed(self, block: Block) -> tuple[int, str]:
        mine, theirs = pty.openpty()
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder)}
        environ |= {"COLUMNS": "100", "TERM": "xterm", "LANG": "C.UTF-8"} | self.environ
        # What is shown may be a failure; where nothing is, each command must do its work.
        strict = "" if block.said else "set -e"
        process = subprocess.Popen(
            ["bash", "-c", f"{self.before}\n{strict}\n{block.body}"],
            cwd=self.folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environ,
        )  # fmt: skip
        os.close(theirs)
        answers = _PROMPT.findall(block.said.body) if block.said else []
        said, until = "", time.monotonic() + _SECONDS
        raw = b""
        while time.monotonic() < until:
            if not select.select([mine], [], [], 1.0)[0]:
                continue
            try:
                raw += os.read(mine, 65536)
            except OSError:
                break
            said = _TERMINAL.sub("", raw.decode("utf-8", "replace"))
            if answers and said.endswith(answers[0][0]):
                os.write(mine, answers.pop(0)[1].encode() + b"\n")
        os.close(mine)
        return process.wait(10), said
