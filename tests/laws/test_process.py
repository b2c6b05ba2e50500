"""Laws of pipelines: whatever is written, it stays within limits or is refused in our words."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import ops, pipeline
from heliograph.vision.picture import Pixels, Size
from heliograph.vision.verbs import TABLE, Parameter, Verb

LIMIT = 20_000
RUDE = [
    "",
    "nan",
    "-inf",
    "0",
    "-1",
    "2147483648",
    "-2147483648",
    "1e9",
    "1e-9",
    "x",
    "0x0",
    "=",
    "a=b",
]


def refused(text: str, size: Size, limit: int = pipeline.MAX_PIXELS) -> HeliographError | None:
    """How a pipeline is refused for a picture; None if it is not."""
    try:
        pipeline.plan(size, pipeline.parse(text), limit)
    except HeliographError as error:
        return error
    return None


def values(parameter: Parameter) -> st.SearchStrategy[str]:
    if parameter.kind == "word":
        return st.sampled_from(parameter.choices)
    if parameter.kind == "colour":
        return st.sampled_from(["000000", "ffffff", "12ab9f"])
    if parameter.kind == "integer":
        top = int(min(parameter.high, 300))
        return st.integers(int(parameter.low), top).map(str)
    return st.floats(parameter.low, parameter.high).map(repr)


@st.composite
def good_step(draw: st.DrawFn, verb: Verb) -> str:
    given_ = [
        f"{one.name}={draw(values(one))}"
        for one in verb.parameters
        if one.required or draw(st.booleans())
    ]
    return ":".join([verb.name, *given_])


FILTERS = [verb for verb in TABLE if verb.name not in {"png", "jpeg", "webp"}]
GOOD = st.sampled_from(FILTERS).flatmap(good_step)
NAMES = st.sampled_from([verb.name for verb in TABLE])
MANGLED = st.tuples(NAMES, st.lists(st.sampled_from(RUDE) | st.text(max_size=4), max_size=4)).map(
    lambda parts: ":".join([parts[0], *parts[1]])
)


def noise(width: int, height: int, seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


PICTURES = st.builds(noise, st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))


@given(PICTURES, st.lists(GOOD, min_size=1, max_size=4).map(",".join))
@settings(max_examples=150, deadline=None)
def test_a_pipeline_makes_what_it_planned_within_the_limit(pixels: Pixels, text: str) -> None:
    before = pixels.copy()
    error = refused(text, ops.size_of(pixels), LIMIT)
    if error:
        assert error.code is Code.VALIDATION
        return
    steps = pipeline.parse(text)
    sizes = pipeline.plan(ops.size_of(pixels), steps, LIMIT)
    assert all(size.width * size.height <= LIMIT for size in sizes)
    for step, size in zip(steps, sizes, strict=True):
        after = step.apply(pixels)
        assert after.dtype == np.uint8
        assert after.shape == (size.height, size.width, 3)
        assert after.flags.c_contiguous
        pixels = after
    assert np.array_equal(pipeline.run(before, steps, LIMIT)[0], pixels)


@given(st.lists(GOOD, min_size=1, max_size=6).map("|".join))
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back(text: str) -> None:
    try:
        steps = pipeline.parse(text)
    except HeliographError:
        # Two verbs have a bound that joins parameters: a side for resize, low up to high for edges.
        assume(condition=False)
        raise
    assert pipeline.parse(pipeline.unparse(steps)) == steps


@given(st.lists(MANGLED | GOOD, min_size=1, max_size=4).map(",".join) | st.text(max_size=60))
@settings(max_examples=400, deadline=None)
def test_anything_else_is_refused_in_our_words(text: str) -> None:
    error = refused(text, Size(640, 480))
    if error:
        assert error.code in {Code.VALIDATION, Code.UNKNOWN_FIELD}
        assert error.detail.isascii()
        assert len(error.detail) < 1000


@given(PICTURES)
@settings(max_examples=50, deadline=None)
def test_turning_and_mirroring_come_back(pixels: Pixels) -> None:
    for text in ("rotate:90," * 4, "flip:h," * 2, "flip:v," * 2, "flip:both," * 2, "invert," * 2):
        assert np.array_equal(pipeline.run(pixels, pipeline.parse(text[:-1]))[0], pixels)
    turned = pipeline.run(pixels, pipeline.parse("flip:h,flip:v"))[0]
    assert np.array_equal(turned, pipeline.run(pixels, pipeline.parse("rotate:180"))[0])
