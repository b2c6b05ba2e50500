"""The segmentation task: every form that classes come in, the answer, its picture, its score."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import helper
from PIL import Image

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.geometry import Fit, Placement, place
from heliograph.vision.picture import Picture, Size
from heliograph.vision.prepare import InputSpec, prepare
from heliograph.vision.tasks import segmentation
from heliograph.vision.tasks.base import Pictured
from heliograph.vision.tasks.segmentation import (
    NOTHING,
    TASK,
    ClassIds,
    ClassScores,
    SegmentationOptions,
    Segments,
    agreement,
    restore,
)
from support.models import floats, model, save

LABELS = ("sky", "road", "car")
CAMVID = Path(__file__).parents[4] / "shared" / "data" / "camvid"
UNLABELLED = 11


def quarters() -> NDArray[np.uint16]:
    """8 x 8 cells: sky above, road below, a car in the road's right half."""
    ids = np.zeros((8, 8), np.uint16)
    ids[4:] = 1
    ids[4:, 4:] = 2
    return ids


def logits(ids: NDArray[Any] | None = None) -> NDArray[np.float32]:
    ids = quarters() if ids is None else ids
    return (np.eye(3, dtype=np.float32)[ids] * 6).transpose(2, 0, 1)


def square(side: int = 8, size: tuple[int, int] = (8, 8), fit: Fit = "stretch") -> Placement:
    return place(Size(*size), Size(side, side), fit)


def shares(found: Segments) -> dict[str, float]:
    return {one.label: one.share for one in found.segments}


FORMS: list[tuple[ClassScores | ClassIds, NDArray[Any]]] = [
    (ClassScores(activation="softmax"), logits()),
    (ClassScores(activation="softmax", layout="NHWC"), logits().transpose(1, 2, 0)),
    (ClassScores(), logits() / 6),
    (ClassScores(activation="sigmoid"), logits() - 3),
    (ClassIds(), quarters()),
    (ClassIds(), quarters().astype(np.int64)[None]),
    (ClassIds(), quarters().astype(np.float32)[:, :, None]),
    (ClassIds(), quarters().astype(np.uint8)),
    (ClassIds(), quarters().astype(np.int32)),
]


@pytest.mark.parametrize(("decoder", "values"), FORMS)
def test_every_form_of_output_gives_the_same_classes(
    decoder: ClassScores | ClassIds, values: NDArray[Any]
) -> None:
    found = decoder.decode({"out": values}, square(), LABELS, SegmentationOptions())
    assert shares(found) == {"sky": 0.5, "road": 0.25, "car": 0.25}
    assert np.array_equal(found.class_map(), quarters())
    scores = [one.score for one in found.segments]
    if isinstance(decoder, ClassIds):
        assert scores == [None] * 3
    else:
        assert all(score is not None and 0.9 < score <= 1 for score in scores)


def test_background_and_unlabelled_pixels_belong_to_no_class() -> None:
    ids = quarters()
    ids[0] = 255
    for decoder, values in (
        (ClassIds(first_class=1), ids),
        (ClassScores(first_class=1, ignore=5), logits()),
    ):
        found = decoder.decode({"out": values}, square(), LABELS, SegmentationOptions())
        assert sorted(shares(found)) == ["car", "road"]
        assert (found.class_map()[:4] == NOTHING).all()
    found = ClassScores(ignore=2).decode({"out": logits()}, square(), LABELS, SegmentationOptions())
    assert sorted(shares(found)) == ["road", "sky"]
    wild = np.array([[-1, 70000], [2, 300]])
    found = ClassIds(ignore=-1).decode(
        {"out": wild}, square(2, (2, 2)), LABELS, SegmentationOptions()
    )
    assert {one.label for one in found.segments} == {"car", "300"}


@pytest.mark.parametrize("shape", [(1, 8, 8), (8, 8, 1), (8, 8)])
def test_one_channel_is_a_foreground(shape: tuple[int, ...]) -> None:
    logit = np.where(quarters() == 2, 3.0, -3.0).astype(np.float32).reshape(shape)
    layout = "NHWC" if shape[2:] == (1,) else "NCHW"
    decoder = ClassScores(activation="sigmoid", threshold=0.5, layout=layout)
    (one,) = decoder.decode({"m": logit}, square(), ("car",), SegmentationOptions()).segments
    assert (one.label, one.area) == ("car", 16)
    assert one.score == pytest.approx(0.9526, abs=1e-3)
    strict = SegmentationOptions(min_score=0.99)
    assert decoder.decode({"m": logit}, square(), ("car",), strict).segments == ()


@pytest.mark.parametrize(
    ("size", "fit"),
    [((80, 80), "stretch"), ((160, 80), "contain"), ((60, 120), "contain"), ((96, 64), "stretch")],
)
@pytest.mark.parametrize("stride", [1, 4])
def test_classes_come_back_to_the_pictures_own_pixels(
    size: tuple[int, int], fit: Fit, stride: int
) -> None:
    """A picture half of one colour and half of another, through the input and back."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :] = 255
    spec = InputSpec(width=64, height=64, fit=fit, std=(255.0,), resample="area", pad=128)
    tensor, placement = prepare(Picture(pixels, Size(*size), ""), spec)
    light = tensor[0, ::1, ::1].reshape(64 // stride, stride, 64 // stride, stride).mean((1, 3))
    found = ClassScores().decode(
        {"out": np.stack([1 - light, light])}, placement, LABELS, SegmentationOptions()
    )
    classes = found.class_map()
    assert classes.shape == (height, width)
    border = 2 * stride * max(width, height) // 64
    assert (classes[:, : width // 2 - border] == 0).all()
    assert (classes[:, width // 2 + border :] == 1).all()


def test_what_a_crop_leaves_out_has_no_class() -> None:
    placement = place(Size(100, 60), Size(30, 30), "crop")
    found = ClassIds().decode(
        {"o": np.zeros((10, 10), np.int64)}, placement, LABELS, SegmentationOptions()
    )
    classes = found.class_map()
    assert classes.shape == (60, 100)
    assert (classes[:, 20:80] == 0).all()
    assert (classes[:, :20] == NOTHING).all()
    assert (classes[:, 80:] == NOTHING).all()


def test_numbers_that_are_none_never_reach_the_answer() -> None:
    values = logits()
    values[0, 0, 0], values[1, 7, 0], values[2, 7, 7] = np.nan, np.inf, -np.inf
    for activation in ("none", "softmax", "sigmoid"):
        found = ClassScores(activation=activation).decode(
            {"o": values}, square(), LABELS, SegmentationOptions()
        )
        told = msgspec.json.encode(found.predictions())
        assert b"null" not in told
        assert all(0 <= (one.score or 0) <= 1 for one in found.segments)
    found = ClassIds().decode(
        {"o": np.array([[np.nan, 1.0]])}, square(2, (2, 1)), LABELS, SegmentationOptions()
    )
    assert [one.area for one in found.segments] == [1]


def test_options_choose_classes() -> None:
    def ask(**options: Any) -> list[str]:
        found = ClassIds().decode(
            {"o": quarters()}, square(), LABELS, SegmentationOptions(**options)
        )
        return [one.label for one in found.segments]

    assert ask() == ["sky", "road", "car"]
    assert ask(top_k=1) == ["sky"]
    assert ask(min_share=0.3) == ["sky"]
    assert ask(classes="car, 0") == ["sky", "car"]
    with pytest.raises(HeliographError) as caught:
        ask(classes="boat")
    assert caught.value.code is Code.VALIDATION
    assert "boat" in caught.value.detail


@pytest.mark.parametrize(
    ("decoder", "raw"),
    [
        (ClassScores(), {"a": np.zeros((3, 4, 4, 1), np.float32)}),
        (ClassScores(), {"a": np.zeros((3, 0, 4), np.float32)}),
        (ClassScores(), {"a": np.zeros(3, np.float32)}),
        (ClassScores(output="b"), {"a": np.zeros((3, 4, 4), np.float32)}),
        (ClassScores(), {"a": np.zeros((3, 4, 4)), "b": np.zeros((3, 4, 4))}),
        (ClassIds(), {"a": np.zeros((3, 4, 4), np.int64)}),
        (ClassIds(), {"a": np.zeros((0, 4), np.int64)}),
    ],
)
def test_outputs_of_another_shape_are_refused(
    decoder: ClassScores | ClassIds, raw: dict[str, NDArray[Any]]
) -> None:
    with pytest.raises(HeliographError) as caught:
        decoder.decode(raw, square(), LABELS, SegmentationOptions())
    assert caught.value.code is Code.BAD_SHAPE


def test_the_answer_survives_json() -> None:
    found = ClassScores(activation="softmax").decode(
        {"o": logits()}, square(4, (50, 40)), LABELS, SegmentationOptions()
    )
    told = msgspec.json.decode(msgspec.json.encode(found.predictions()))
    back = restore(told)
    assert back.predictions() == found.predictions()
    assert np.array_equal(back.class_map(), found.class_map())
    assert set(told[0]) == {"label", "class_id", "score", "area", "share", "mask"}
    assert restore([]).class_map().shape == (0, 0)


def test_it_is_drawn_in_the_colours_of_its_classes_with_a_legend() -> None:
    pixels = np.full((200, 300, 3), 90, np.uint8)
    ids = np.full((200, 300), 255, np.uint8)
    ids[120:, 100:] = 2
    placement = place(Size(300, 200), Size(300, 200), "stretch")
    found = ClassIds().decode({"o": ids}, placement, LABELS, SegmentationOptions())
    drawn = found.draw(pixels)
    assert not isinstance(found, Pictured)
    assert not TASK.pictured
    assert (drawn[60:110, 200:] == 90).all()
    assert (drawn[140:, 140:] != 90).any(axis=-1).all()
    assert (drawn[:40, :60] != 90).any()
    assert (pixels == 90).all()
    assert (restore([]).draw(pixels) == 90).all()


def test_the_class_map_is_a_png_of_class_ids() -> None:
    options = SegmentationOptions(draw="map")
    found = ClassIds(first_class=1).decode({"o": quarters()}, square(), LABELS, options)
    assert isinstance(found, Pictured)
    image = Image.open(io.BytesIO(found.encode().data))
    assert image.mode == "P"
    kept = np.asarray(image)
    assert np.array_equal(kept, np.where(quarters() == 0, 255, quarters()))
    assert np.array_equal(np.asarray(image.convert("RGB")), found.picture())
    assert (found.picture()[:4] == 0).all()
    many = np.array([[300, 7]])
    wide = ClassIds(ignore=7).decode({"o": many}, square(2, (2, 1)), LABELS, options)
    assert isinstance(wide, Pictured)
    assert np.asarray(Image.open(io.BytesIO(wide.encode().data))).tolist() == [[300, 65535]]


def test_a_real_model_through_a_real_runtime(tmp_path: Path) -> None:
    """Red, green and blue as three classes: a convolution of one cell at stride 2."""
    node = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    given = floats("x", "N", 3, 16, 16)
    path = save(model([node], given, floats("y", "N", 3, 8, 8)), tmp_path / "m.onnx")
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:24, :, 0], pixels[24:, :32, 1], pixels[24:, 32:, 2] = 255, 255, 255
    spec = InputSpec(width=16, height=16, fit="contain", std=(255.0,), resample="area")
    tensor, placement = prepare(Picture(pixels, Size(64, 48), ""), spec)
    (out,) = session.run(None, {"x": tensor[None]})
    raw = {"y": np.asarray(out)[0]}
    found = ClassScores().decode(raw, placement, ("red", "green", "blue"), SegmentationOptions())
    assert shares(found) == pytest.approx({"red": 0.5, "green": 0.25, "blue": 0.25}, abs=0.04)
    assert found.class_map()[30, 10] == 1
    assert found.class_map()[30, 50] == 2


def test_agreement_counts_as_pascal_does() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 0, 1, NOTHING]], np.uint16)
    answer = np.array([[0, 1, 1, 1], [0, 0, NOTHING, 0]], np.uint16)
    told = agreement([answer], [truth], 3)
    assert told.confusion.tolist() == [[3, 1, 0, 0], [0, 2, 0, 1], [0, 0, 0, 0]]
    assert told.iou[:2].tolist() == [3 / 4, 2 / 4]
    assert np.isnan(told.iou[2])
    assert told.mean_iou == pytest.approx(5 / 8)
    assert told.mean_dice == pytest.approx((6 / 7 + 4 / 6) / 2)
    assert told.pixel_accuracy == pytest.approx(5 / 7)
    assert agreement([], [], 3).mean_iou == 0


@pytest.mark.skipif(not CAMVID.is_dir(), reason="../shared/data/camvid is not here")
def test_real_streets_agree_with_themselves_and_less_with_a_shifted_view() -> None:
    files = sorted((CAMVID / "valannot").glob("*.png"))[:6]
    truth = [np.asarray(Image.open(file)).astype(np.uint16) for file in files]
    size = Size(truth[0].shape[1], truth[0].shape[0])
    placement, options = place(size, size, "stretch"), SegmentationOptions()

    def ask(decoder: ClassScores | ClassIds, maps: list[NDArray[Any]]) -> segmentation.Agreement:
        found = [decoder.decode({"o": one}, placement, (), options).class_map() for one in maps]
        return agreement(found, truth, 11, ignore=UNLABELLED)

    themselves = ask(ClassIds(ignore=UNLABELLED), list(truth))
    assert themselves.mean_iou == themselves.pixel_accuracy == 1
    shifted = ask(ClassIds(), [np.roll(one, 8, axis=1) for one in truth])
    assert 0.3 < shifted.mean_iou < 0.9
    assert shifted.mean_iou < shifted.mean_dice < shifted.pixel_accuracy < 1
    coarse = [
        (np.eye(12, dtype=np.float32)[one[2::4, 2::4]] * 8).transpose(2, 0, 1) for one in truth
    ]
    assert ask(ClassScores(activation="softmax"), coarse).pixel_accuracy > 0.95
