"""The enhancement task: pictures through models of one size, of brightness, of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import helper

from heliograph.core.errors import Code, HeliographError
from heliograph.vision import tiles
from heliograph.vision.filters import luma
from heliograph.vision.geometry import place
from heliograph.vision.picture import Pixels, Size
from heliograph.vision.prepare import InputSpec
from heliograph.vision.tasks.base import Pictured, Raw
from heliograph.vision.tasks.enhancement import (
    TASK,
    Enhanced,
    EnhancementOptions,
    PictureOutput,
    restore,
)
from heliograph.vision.tasks.process import psnr, ssim
from support.models import floats, model, save
from support.pictures import scene

UNIT = InputSpec(width=32, height=24, std=(255.0,))


def through(
    pixels: Pixels, decoder: PictureOutput, spec: InputSpec, run: tiles.Run
) -> tuple[Enhanced, int]:
    """The answer as the path will make it, and how often the model ran."""
    times = 0

    def counted(tensor: NDArray[Any]) -> Raw:
        nonlocal times
        times += 1
        return run(tensor)

    raw = decoder.piecewise(pixels, spec, counted)
    size = Size(pixels.shape[1], pixels.shape[0])
    return decoder.decode(raw, place(size, size, "stretch"), (), EnhancementOptions()), times


def same(tensor: NDArray[Any]) -> Raw:
    return {"y": tensor}


SPECS = [
    (InputSpec(std=(255.0,)), PictureOutput()),
    (InputSpec(), PictureOutput(std=(1.0,))),
    (InputSpec(dtype="uint8", layout="NHWC"), PictureOutput(std=(1.0,), layout="NHWC")),
    (InputSpec(mean=(127.5,), std=(127.5,)), PictureOutput(mean=(127.5,), std=(127.5,))),
    (InputSpec(channels="BGR"), PictureOutput(std=(1.0,), channels="BGR")),
    (InputSpec(channels="GRAY", std=(255.0,)), PictureOutput()),
    (InputSpec(std=(255.0,)), PictureOutput(multiple=16)),
    (InputSpec(std=(255.0,)), PictureOutput(tile=20, overlap=8, multiple=4)),
    (UNIT, PictureOutput(overlap=8)),
]


@pytest.mark.parametrize(("spec", "decoder"), SPECS)
def test_ranges_layouts_and_channels_come_back_as_they_went(
    spec: InputSpec, decoder: PictureOutput
) -> None:
    pixels = scene((75, 50))
    found, _ = through(pixels, decoder, spec, same)
    assert np.array_equal(found.pixels, pixels)
    assert found.scale == 1


def test_tiles_are_as_few_as_they_can_be_and_of_the_models_size() -> None:
    seen: set[tuple[int, ...]] = set()

    def run(tensor: NDArray[Any]) -> Raw:
        seen.add(tensor.shape)
        return {"y": tensor}

    _, times = through(scene((100, 60)), PictureOutput(overlap=8), UNIT, run)
    assert seen == {(3, 24, 32)}
    assert times == 4 * 4
    _, once = through(scene((20, 10)), PictureOutput(), UNIT, run)
    assert once == 1
    _, whole = through(scene((100, 60)), PictureOutput(), InputSpec(), run)
    assert whole == 1


def test_a_model_of_brightness_leaves_colours_alone() -> None:
    pixels = scene((40, 30))
    spec = InputSpec(channels="GRAY", std=(255.0,))
    brighter, _ = through(
        pixels, PictureOutput(), spec, lambda tensor: {"y": (tensor + 20 / 255).clip(0, 1)}
    )
    middle = (pixels > 0).all(axis=-1) & (pixels < 235).all(axis=-1)
    assert np.array_equal(brighter.pixels[middle].astype(int), pixels[middle].astype(int) + 20)
    large, _ = through(
        pixels, PictureOutput(), spec, lambda tensor: {"y": tensor.repeat(2, 1).repeat(2, 2)}
    )
    assert large.pixels.shape == (60, 80, 3)
    assert large.scale == 2
    grown = luma(pixels).repeat(2, axis=0).repeat(2, axis=1)
    inside = (large.pixels > 0).all(axis=-1) & (large.pixels < 255).all(axis=-1)
    assert np.abs(luma(large.pixels).astype(int) - grown)[inside].max() <= 1


def test_seams_do_not_show_where_tiles_disagree() -> None:
    """A model that darkens each tile by another amount: the steps are spread over the overlap."""
    grey = np.full((24, 200, 3), 128, np.uint8)
    times = 0

    def run(tensor: NDArray[Any]) -> Raw:
        nonlocal times
        times += 1
        return {"y": tensor + np.float32(0.1 * (times % 2))}

    decoder = PictureOutput(overlap=16)
    made = decoder.piecewise(grey, UNIT, run)["picture"]
    steps = np.abs(np.diff(made[12, :, 0].astype(int)))
    assert made.max() - made.min() > 20
    assert steps.max() <= 5


def test_a_real_upscaler_through_a_real_runtime(tmp_path: Path) -> None:
    """ESPCN's end: four channels, shuffled into a picture twice as large."""
    nodes = [
        helper.make_node("Concat", ["x", "x", "x", "x"], ["four"], axis=1),
        helper.make_node("DepthToSpace", ["four"], ["y"], blocksize=2, mode="CRD"),
    ]
    answer = floats("y", "N", 1, 32, 48)
    path = save(model(nodes, floats("x", "N", 1, 16, 24), answer), tmp_path / "m.onnx")
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(tensor: NDArray[Any]) -> Raw:
        return {"y": np.asarray(session.run(None, {"x": tensor[None]})[0])[0]}

    pixels = cv2.GaussianBlur(scene((70, 45)), (0, 0), 2)
    spec = InputSpec(width=24, height=16, channels="GRAY", std=(255.0,))
    found, _ = through(np.asarray(pixels, np.uint8), PictureOutput(overlap=4), spec, run)
    assert found.pixels.shape == (90, 140, 3)
    true = np.asarray(cv2.resize(pixels, (140, 90), interpolation=cv2.INTER_CUBIC), np.uint8)
    assert psnr(found.pixels, true) > 30
    assert ssim(found.pixels, true) > 0.9


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        ((3, 24, 31), Code.BAD_SHAPE),
        ((3, 12, 16), Code.BAD_SHAPE),
        ((2, 24, 32), Code.BAD_SHAPE),
        ((24, 32), Code.BAD_SHAPE),
        ((3, 24 * 40, 32 * 40), Code.IMAGE_TOO_LARGE),
    ],
)
def test_what_is_no_enlargement_is_refused(shape: tuple[int, ...], code: Code) -> None:
    made = {"y": np.zeros(shape, np.float32)}
    with pytest.raises(HeliographError) as caught:
        through(scene((60, 40)), PictureOutput(max_pixels=10**6), UNIT, lambda _: made)
    assert caught.value.code is code


def test_a_model_that_grows_unevenly_is_refused() -> None:
    times = 0

    def run(tensor: NDArray[Any]) -> Raw:
        nonlocal times
        times += 1
        return {"y": tensor.repeat(times, 1).repeat(times, 2)}

    with pytest.raises(HeliographError) as caught:
        through(scene((60, 40)), PictureOutput(), UNIT, run)
    assert caught.value.code is Code.BAD_SHAPE


def test_numbers_that_are_none_become_black_or_white() -> None:
    values = np.full((3, 4, 4), np.nan, np.float32)
    values[0], values[1] = np.inf, -np.inf
    found, _ = through(scene((4, 4)), PictureOutput(), InputSpec(), lambda _: {"y": values})
    assert (found.pixels == (255, 0, 0)).all()


def test_one_run_over_a_whole_picture_needs_no_tiles_but_the_whole_picture() -> None:
    pixels = scene((12, 8))
    raw = {"y": (pixels.transpose(2, 0, 1) / np.float32(255)).repeat(2, 1).repeat(2, 2)}
    placement = place(Size(12, 8), Size(12, 8), "stretch")
    found = PictureOutput().decode(raw, placement, (), EnhancementOptions())
    assert np.array_equal(found.pixels, pixels.repeat(2, 0).repeat(2, 1))
    assert found.scale == 2
    other = place(Size(12, 8), Size(8, 8), "stretch")
    for placed, given in ((other, raw), (placement, {"y": np.zeros((1, 8, 12), np.float32)})):
        with pytest.raises(HeliographError) as caught:
            PictureOutput().decode(given, placed, (), EnhancementOptions())
        assert caught.value.code is Code.BAD_SHAPE


def test_the_answer_is_a_picture_that_a_client_reads_back() -> None:
    found = Enhanced(scene((20, 10)), 2.0)
    assert isinstance(found, Pictured)
    assert TASK.pictured
    assert isinstance(PictureOutput(), tiles.Tiled)
    (one,) = found.predictions()
    assert {key: one[key] for key in ("format", "width", "height", "scale")} == {
        "format": "png",
        "width": 20,
        "height": 10,
        "scale": 2.0,
    }
    back = restore(msgspec.json.decode(msgspec.json.encode(found.predictions())))
    assert np.array_equal(back.pixels, found.pixels)
    assert back.predictions() == found.predictions()
    assert np.array_equal(found.draw(scene((5, 5))), found.picture())
