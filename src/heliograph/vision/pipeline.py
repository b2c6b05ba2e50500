"""Pipelines: image processing in the order the caller wrote it.

A pipeline comes as text, is read into typed steps (`vision/steps.py`) before the picture is even
received, and is checked against the picture's size before the first pixel is touched.

The language:
    pipeline  = step (("," | "|") step)*          up to 32 steps, up to 2048 characters
    step      = verb (":" argument)*              an encoder (png, jpeg, webp) only as the last
    argument  = value | key "=" value             values without a key first
    value     = number | word | rrggbb | WIDTHxHEIGHT | WIDTHx | xHEIGHT

A value without a key goes to the first parameter, after those already filled, of its kind: numbers
to numbers, words to words; `320x240` to width and height. Colours need their key. Case and blanks
around signs do not matter.

    grayscale,resize:320x240:cover,rotate:90,sharpen,png
    crop:10:20:200:100|blur:2.5|jpeg:80
    resize:width=320:fit=pad:background=ffffff
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import ops, steps
from heliograph.vision.encode import Encoding
from heliograph.vision.picture import Pixels, Size
from heliograph.vision.steps import Encode, Step
from heliograph.vision.verbs import TABLE, VERBS, Parameter, Value, Verb

MAX_TEXT, MAX_STEPS, MAX_PIXELS, MAX_SECONDS = 2048, 32, 40_000_000, 30.0
"""Characters of a pipeline, its steps, pixels of any result, and about how long it may take."""

_PAIR = re.compile(r"([0-9]*)x([0-9]*)")


def parse(text: str) -> tuple[Step, ...]:
    """Read a pipeline; nothing is allocated and no picture is needed.

    Raises:
        HeliographError: `unknown_field` for a verb or key that does not exist, `validation` for
            anything else that is wrong, saying in which step, what was expected and what came.
    """
    if len(text) > MAX_TEXT:
        raise _invalid(f"ops is {len(text)} characters long; at most {MAX_TEXT} are taken.")
    words = re.split("[,|]", text.lower())
    if len(words) > MAX_STEPS:
        raise _invalid(f"ops has {len(words)} steps; at most {MAX_STEPS} are taken.")
    read = tuple(_step(number, word) for number, word in enumerate(words, 1))
    for number, step in enumerate(read[:-1], 1):
        if isinstance(step, Encode):
            raise _invalid(
                f"Step {number}, {words[number - 1].strip()!r}, says how the answer is written and "
                "must be the last step."
            )
    return read


def _step(number: int, text: str) -> Step:
    name, *arguments = (part.strip() for part in text.split(":"))
    verb = VERBS.get(name)
    if verb is None:
        if not name:
            raise _invalid(f"Step {number} is empty; a verb was expected, e.g. {TABLE[0].name}.")
        raise HeliographError(
            Code.UNKNOWN_FIELD, f"Step {number}: {_quote(name)} is no verb. {_near(name, VERBS)}"
        )
    where = f"Step {number}, {verb.name}:"
    values: dict[str, Value] = {}
    for parameter, given in _assign(verb, arguments, where):
        if parameter.name in values:
            raise _invalid(f"{where} {parameter.name} is given twice.")
        value = parameter.read(given)
        if value is None:
            raise _invalid(
                f"{where} {parameter.name} is {parameter.expected}; {_quote(given)} came."
            )
        values[parameter.name] = value
    for parameter in verb.parameters:
        if parameter.required and parameter.name not in values:
            raise _invalid(f"{where} {parameter.name} is missing; it is {parameter.expected}.")
    return verb.step(**values)


def _assign(verb: Verb, arguments: Iterable[str], where: str) -> Iterator[tuple[Parameter, str]]:
    """Say which parameter each argument is for."""
    at, keyed = 0, False
    for argument in arguments:
        key, equals, value = (part.strip() for part in argument.partition("="))
        if equals:
            keyed = True
            yield _named(verb, key, where), value
        elif keyed:
            raise _invalid(f"{where} {_quote(key)} comes after key=value; give it its key.")
        else:
            at, given = _placed(verb, key, at, where)
            yield from given


def _named(verb: Verb, key: str, where: str) -> Parameter:
    known = {parameter.name: parameter for parameter in verb.parameters}
    if key not in known:
        raise HeliographError(
            Code.UNKNOWN_FIELD, f"{where} there is no parameter {_quote(key)}. {_near(key, known)}"
        )
    return known[key]


def _placed(verb: Verb, text: str, at: int, where: str) -> tuple[int, list[tuple[Parameter, str]]]:
    """Find which parameter, from the `at`-th on, a value without a key is for."""
    known = [parameter.name for parameter in verb.parameters]
    pair = _PAIR.fullmatch(text)
    if pair and "width" in known[at:] and any(pair.groups()):
        sides = zip(("width", "height"), pair.groups(), strict=True)
        given = [(verb.parameters[known.index(side)], value) for side, value in sides if value]
        return known.index("height") + 1, given
    for index, parameter in enumerate(verb.parameters[at:], at):
        if parameter.takes(text):
            return index + 1, [(parameter, text)]
    left = [f"{parameter.name} ({parameter.expected})" for parameter in verb.parameters[at:]]
    expected = f"expected {' or '.join(left)}" if left else "no further value is expected"
    raise _invalid(f"{where} {expected}; {_quote(text)} came.")


def unparse(pipeline: Iterable[Step]) -> str:
    """Write steps as text that `parse` reads back to equal steps; defaults are left out."""
    return ",".join(_text(step) for step in pipeline)


def _text(step: Step) -> str:
    fields: dict[str, Any] = msgspec.to_builtins(step)
    verb = VERBS[fields["verb"]]
    given = [
        f"{one.name}={_plain(fields[one.name])}"
        for one in verb.parameters
        if one.required or fields[one.name] != one.default
    ]
    return ":".join([verb.name, *given])


def _plain(value: Value) -> Value:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def plan(size: Size, pipeline: Sequence[Step], max_pixels: int = MAX_PIXELS) -> tuple[Size, ...]:
    """The size after each step, for a picture of `size`; makes none of them.

    Raises:
        HeliographError: `validation` if a step cannot be done on its picture, if a result would
            have more than `max_pixels` pixels or a side beyond `steps.LONGEST`, or if all together
            would take longer than about `MAX_SECONDS`.
    """
    sizes: list[Size] = []
    nanoseconds = 0
    for number, step in enumerate(pipeline, 1):
        after = step.size(size)
        if after.width * after.height > max_pixels or max(after) > steps.LONGEST:
            raise _invalid(
                f"Step {number}, {_text(step)}, would make {after.width} x {after.height} pixels "
                f"of {size.width} x {size.height}; at most {max_pixels} pixels and "
                f"{steps.LONGEST} on a side are made. Ask for less."
            )
        nanoseconds += step.cost * max(size.width * size.height, after.width * after.height)
        sizes.append(after)
        size = after
    if nanoseconds / 1e9 > MAX_SECONDS:
        raise _invalid(
            f"These steps would take about {nanoseconds / 1e9:.0f} s on this picture; at most "
            f"{MAX_SECONDS:.0f} s are given. Resize first, or take fewer steps."
        )
    return tuple(sizes)


def run(
    pixels: Pixels, pipeline: Sequence[Step], max_pixels: int = MAX_PIXELS
) -> tuple[Pixels, Encoding]:
    """Do the steps, one after the other, if `plan` allows them.

    Args:
        pixels: uint8 RGB [h, w, 3]; stays as it is.
        pipeline: from `parse`.
        max_pixels: of each result.

    Returns:
        The result, uint8 [h', w', 3], and how it is to be written (PNG where no step says so).

    Raises:
        HeliographError: see `plan`.
    """
    plan(ops.size_of(pixels), pipeline, max_pixels)
    encoding = Encoding()
    for step in pipeline:
        pixels = step.apply(pixels)
        if isinstance(step, Encode):
            encoding = step.encoding
    return pixels, encoding


def _invalid(detail: str) -> HeliographError:
    return HeliographError(Code.VALIDATION, detail)


def _quote(text: str) -> str:
    """What came, safe to say back: short, printable, in quotes."""
    return ascii(text if len(text) <= 40 else f"{text[:40]}...")


def _near(name: str, known: Iterable[str]) -> str:
    """A hint: the nearest known name, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(name[:40], names, 1)
    if near:
        return f"Did you mean {near[0]}?"
    return f"Known are: {', '.join(sorted(names))}." if names else "It takes none."
