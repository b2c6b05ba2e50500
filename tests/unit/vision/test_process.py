"""The process task: its language, its limits, its answer."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import pipeline, steps
from heliograph.vision.encode import Encoding
from heliograph.vision.geometry import place
from heliograph.vision.picture import Pixels, Size
from heliograph.vision.tasks.base import Pictured
from heliograph.vision.tasks.process import (
    TASK,
    Pipeline,
    Processed,
    ProcessOptions,
    psnr,
    restore,
    ssim,
)
from heliograph.vision.verbs import TABLE


def scene(height: int = 48, width: int = 64) -> Pixels:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 4, y * 5, (x + y) * 2], axis=-1).astype(np.uint8)


def process(ops: str, pixels: Pixels | None = None) -> Processed:
    pixels = scene() if pixels is None else pixels
    size = Size(pixels.shape[1], pixels.shape[0])
    placement = place(size, size, "stretch")
    return Pipeline().decode({"picture": pixels}, placement, [], ProcessOptions(ops=ops))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("grayscale", (steps.Grayscale(),)),
        ("greyscale|GRAY , grey", (steps.Grayscale(),) * 3),
        ("resize:320x240:cover", (steps.Resize(width=320, height=240, fit="cover"),)),
        ("resize:320", (steps.Resize(width=320),)),
        ("resize:320x", (steps.Resize(width=320),)),
        ("resize:x240:contain:area", (steps.Resize(height=240, fit="pad", resample="area"),)),
        ("resize:8x8:fill", (steps.Resize(width=8, height=8, fit="stretch"),)),
        ("resize:9:8:background=FFffff", (steps.Resize(width=9, height=8, background="ffffff"),)),
        ("crop:10:20:200:100", (steps.Crop(x=10, y=20, width=200, height=100),)),
        ("crop:10:20:200x100", (steps.Crop(x=10, y=20, width=200, height=100),)),
        ("crop:200x100", (steps.Crop(width=200, height=100),)),
        ("rotate:-45.5", (steps.Rotate(angle=-45.5),)),
        ("flip:v", (steps.Flip(direction="vertical"),)),
        ("blur:2.5", (steps.Blur(sigma=2.5),)),
        ("sharpen:amount=2 : radius=.5", (steps.Sharpen(amount=2, radius=0.5),)),
        ("threshold:otsu", (steps.Threshold(method="otsu"),)),
        ("threshold:90", (steps.Threshold(value=90),)),
        ("edges:50:150", (steps.Edges(low=50, high=150),)),
        ("edges:sobel:blur=1e0", (steps.Edges(method="sobel", blur=1),)),
        ("invert,jpg:70", (steps.Invert(), steps.Jpeg(quality=70))),
    ],
)
def test_text_is_read(text: str, read: tuple[steps.Step, ...]) -> None:
    assert pipeline.parse(text) == read
    assert pipeline.parse(pipeline.unparse(read)) == read


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("", Code.VALIDATION, "Step 1 is empty"),
        ("invert,,blur", Code.VALIDATION, "Step 2 is empty"),
        ("invert,blurr:2", Code.UNKNOWN_FIELD, "Did you mean blur?"),
        ("\ud800", Code.UNKNOWN_FIELD, "Known are: blur"),
        ("blur:sgma=2", Code.UNKNOWN_FIELD, "Did you mean sigma?"),
        ("invert:x=2", Code.UNKNOWN_FIELD, "It takes none."),
        ("blur:nan", Code.VALIDATION, "sigma is a number from 0.1 to 250; 'nan' came."),
        ("blur:sigma=-inf", Code.VALIDATION, "'-inf' came"),
        ("blur:1e999", Code.VALIDATION, "'1e999' came"),
        ("blur:0", Code.VALIDATION, "'0' came"),
        ("blur:1_0", Code.VALIDATION, "'1_0' came"),
        ("blur:\u0663", Code.VALIDATION, "came."),
        ("blur:2:sigma=2", Code.VALIDATION, "sigma is given twice"),
        ("blur:sigma=2:3", Code.VALIDATION, "comes after key=value"),
        ("blur:2:3", Code.VALIDATION, "no further value is expected; '3' came"),
        ("resize", Code.VALIDATION, "neither came"),
        ("resize:0x0", Code.VALIDATION, "neither came"),
        ("resize:2147483648", Code.VALIDATION, "from 0 to 16383; '2147483648' came"),
        ("resize:-2147483648x5", Code.VALIDATION, "came"),
        ("resize:1000000000x1000000000", Code.VALIDATION, "'1000000000' came"),
        ("resize:32.5", Code.VALIDATION, "a whole number"),
        ("resize:9x9:covr", Code.VALIDATION, "one of cover, inside, pad, stretch; 'covr' came"),
        ("resize:9:background=red", Code.VALIDATION, "a colour as rrggbb"),
        ("crop:0:0:0:0", Code.VALIDATION, "width is a whole number from 1"),
        ("crop:-1:0:5:5", Code.VALIDATION, "x is a whole number from 0"),
        ("crop:5", Code.VALIDATION, "width is missing"),
        ("rotate", Code.VALIDATION, "angle is missing"),
        ("rotate:nan", Code.VALIDATION, "from -360 to 360"),
        ("rotate:-2147483648", Code.VALIDATION, "from -360 to 360"),
        ("edges:200:100", Code.VALIDATION, "low 200, high 100 came"),
        ("png,invert", Code.VALIDATION, "must be the last step"),
        ("jpeg:101", Code.VALIDATION, "from 1 to 100"),
        (",".join(["invert"] * 33), Code.VALIDATION, "33 steps; at most 32"),
        ("x" * 2049, Code.VALIDATION, "at most 2048"),
    ],
)
def test_text_that_is_wrong_is_refused_with_what_came(text: str, code: Code, says: str) -> None:
    with pytest.raises(HeliographError) as caught:
        ProcessOptions(ops=text)
    assert caught.value.code is code
    assert says in caught.value.detail
    assert caught.value.detail.isprintable()
    assert len(caught.value.detail) < 400


def test_options_are_read_and_refused_from_plain_values() -> None:
    assert msgspec.convert({"ops": "invert"}, ProcessOptions) == ProcessOptions(ops="invert")
    for wrong in ({}, {"ops": ""}, {"ops": "invert", "top_k": 3}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, ProcessOptions)
    with pytest.raises(HeliographError):
        msgspec.convert({"ops": "nope"}, ProcessOptions)


@pytest.mark.parametrize(
    ("ops", "size", "says"),
    [
        ("resize:16383x16383:stretch", (64, 48), "would make 16383 x 16383"),
        ("resize:x12000", (12_000, 1), "would make"),
        ("rotate:45", (12_000, 12_000), "would make 16971 x 16971"),
        ("invert,crop:60:0:5:5", (64, 48), "64 x 48 at this step; 5 x 5 from 60, 0 came"),
        ("crop:65x10", (64, 48), "65 x 10 from -1, 19 came"),
        ("resize:10,crop:11x1", (64, 48), "10 x 8 at this step"),
        (",".join(["denoise"] * 32), (6000, 6000), "would take about"),
    ],
)
def test_what_a_picture_cannot_give_is_refused_before_work(
    ops: str, size: tuple[int, int], says: str
) -> None:
    with pytest.raises(HeliographError) as caught:
        pipeline.plan(Size(*size), pipeline.parse(ops))
    assert caught.value.code is Code.VALIDATION
    assert says in caught.value.detail


def test_nothing_is_made_when_a_later_step_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Pixels] = []

    def note(_: steps.Invert, pixels: Pixels) -> Pixels:
        done.append(pixels)
        return pixels

    monkeypatch.setattr(steps.Invert, "apply", note)
    process("invert")
    with pytest.raises(HeliographError):
        process("invert,resize:16383x16383:stretch")
    assert len(done) == 1


def test_steps_run_in_the_order_written() -> None:
    assert process("crop:0:0:32:48,resize:16x16:stretch").pixels.shape == (16, 16, 3)
    first = process("crop:0:0:32:24,rotate:90").pixels
    assert first.shape == (32, 24, 3)
    assert np.array_equal(first, np.rot90(scene()[:24, :32], -1))
    assert not np.array_equal(
        process("threshold:100,invert").pixels, process("invert,threshold:100").pixels
    )


def test_every_verb_runs_with_its_defaults_and_leaves_the_picture_alone() -> None:
    needed = {"crop": ":20x10", "resize": ":20", "rotate": ":10", "gamma": ":2"}
    for verb in TABLE:
        pixels = scene()
        extra = needed.get(verb.name, ":0.5" if any(p.required for p in verb.parameters) else "")
        answer = process(verb.name + extra, pixels)
        assert answer.pixels.dtype == np.uint8, verb.name
        assert answer.pixels.shape[2:] == (3,), verb.name
        assert np.array_equal(pixels, scene()), verb.name
        assert verb.meaning
        assert all(parameter.meaning for parameter in verb.parameters)


@pytest.mark.parametrize(
    ("ops", "encoding"),
    [
        ("invert", Encoding("png")),
        ("invert,png", Encoding("png")),
        ("jpeg:70", Encoding("jpeg", 70)),
        ("invert,webp", Encoding("webp", 80)),
    ],
)
def test_the_answer_is_a_picture_that_a_client_reads_back(ops: str, encoding: Encoding) -> None:
    answer = process(ops)
    assert isinstance(answer, Pictured)
    assert answer.encoding == encoding
    (one,) = answer.predictions()
    assert (one["format"], one["width"], one["height"]) == (encoding.format, 64, 48)
    back = restore(msgspec.json.decode(msgspec.json.encode(answer.predictions())))
    assert back.encode() == answer.encode()
    assert psnr(back.pixels, answer.pixels) > 25
    assert np.array_equal(back.draw(scene()), back.picture())
    assert TASK.pictured


def test_a_model_that_gives_no_picture_is_named() -> None:
    place_ = place(Size(2, 2), Size(2, 2), "stretch")
    for raw in ({}, {"picture": np.zeros((2, 2, 3), np.float32)}, {"picture": scene()[:, :, 0]}):
        with pytest.raises(HeliographError) as caught:
            Pipeline().decode(raw, place_, [], ProcessOptions(ops="invert"))
        assert caught.value.code is Code.BAD_SHAPE


def test_scores() -> None:
    assert psnr(scene(), scene()) == float("inf")
    assert psnr(np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)) == 0
    assert ssim(scene(), scene()) == pytest.approx(1)
    blurred, worse = process("blur:1").pixels, process("threshold").pixels
    assert 1 > ssim(blurred, scene()) > ssim(worse, scene()) > -1
