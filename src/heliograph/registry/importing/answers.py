"""What an operator types as options, read into `Answers`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.companions import read_labels
from heliograph.registry.importing.draft import SCALINGS, Answers
from heliograph.registry.importing.tables import decoders

_SIZE = re.compile(r"(\d{1,4})(?:\s*[xX]\s*(\d{1,4}))?")


def parse_answers(
    given: Mapping[str, Any], labels: Path | None, before: Answers | None = None
) -> Answers:
    """Read the options that were given; what was said before stays.

    Args:
        given: options by name, without the dashes; empty ones count as not given.
        labels: the labels file.
        before: earlier answers.

    Raises:
        HeliographError: `validation`, naming the option.
    """
    said: dict[str, Any] = {}
    for name in ("task", "decoder", "layout", "channels", "scaling"):
        if given.get(name):
            said[name] = given[name]
    if said.get("scaling", "imagenet") not in SCALINGS:
        raise _wrong("--scaling", said["scaling"], f"one of {', '.join(SCALINGS)}")
    if said.get("decoder") and said["decoder"] not in decoders():
        raise _wrong("--decoder", said["decoder"], f"one of {', '.join(sorted(decoders()))}")
    if given.get("size"):
        said["width"], said["height"] = _size(str(given["size"]))
    for name in ("mean", "std"):
        if given.get(name):
            said[name] = _numbers(f"--{name}", str(given[name]))
    if labels:
        said["labels"] = read_labels(labels)
    fields = _fields(given.get("fields") or ())
    if fields:
        said["set"] = fields
    return msgspec.structs.replace(before or Answers(), **said)


def _size(text: str) -> tuple[int, int]:
    match = _SIZE.fullmatch(text.strip())
    if not match or not int(match[1]):
        raise _wrong("--size", text, "WIDTHxHEIGHT such as 224x224")
    return int(match[1]), int(match[2] or match[1])


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(one) for one in text.strip("[]() ").split(","))
    except ValueError as error:
        raise _wrong(option, text, "a number, or three with commas between") from error
    if len(numbers) not in {1, 3}:
        raise _wrong(option, text, "a number, or three with commas between")
    return numbers


def _fields(given: Iterable[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.strip():
            raise _wrong("--set", one, "FIELD=VALUE such as input.fit=crop")
        try:
            fields[name.strip()] = json.loads(value)
        except ValueError:
            fields[name.strip()] = value.strip()
    return fields


def _wrong(option: str, value: object, expected: str) -> HeliographError:
    return HeliographError(
        Code.VALIDATION, f"{option} {str(value)[:60]!r} is not understood: expected {expected}."
    )
