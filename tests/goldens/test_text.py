"""Reading with the real models: drawn pages at every angle, strips, Chinese, and a photo."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from heliograph.core.errors import HeliographError
from heliograph.registry import sources
from heliograph.registry.catalog import BUILTIN
from heliograph.registry.values import ModelPackage, read_package
from heliograph.vision import quads
from heliograph.vision.decode import Limits, decode
from heliograph.vision.picture import Picture, Pixels, Size
from heliograph.vision.quads import Quads
from heliograph.vision.tasks.base import Decoder
from heliograph.vision.tasks.chain import Run, Stage
from heliograph.vision.tasks.classification import Scores
from heliograph.vision.tasks.reading import Reader
from heliograph.vision.tasks.text import (
    Ctc,
    TextBoxes,
    TextLines,
    TextOptions,
    character_error_rate,
    edits,
    found,
)

D = TypeVar("D", bound=Decoder)

ENGLISH = (
    *("Invoice No. 20417", "Total due 1,284.50 EUR", "Ship to: 14 Harbour Street"),
    *("Fragile, handle with care", "Open 9:00-17:30", "Net weight 250 g", "Exit only"),
    *("Heliograph signal station", "Caution: wet floor", "Gate closes at 18:45"),
)
CHINESE = ("今天天气很好", "请勿吸烟", "北京欢迎您", "出口在左边", "小心地滑", "图像识别服务")
INK, PAPER = (15, 15, 20), (240, 244, 250)


def package(name: str) -> ModelPackage:
    return read_package(BUILTIN / name)


def runs(path: Path) -> Run:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names, (given,) = [one.name for one in session.get_outputs()], session.get_inputs()

    def run(tensors: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        arrays = session.run(names, {given.name: tensors})
        return dict(zip(names, map(np.asarray, arrays), strict=True))

    return run


def stage(name: str, kind: type[D], cache: Path) -> Stage[D]:
    one = package(name)
    try:
        path = sources.locate(one, cache)
    except HeliographError as error:
        pytest.skip(error.detail)
    assert isinstance(one.output, kind)
    assert one.input is not None
    return Stage(one.input, one.output, runs(path), one.read_labels(), batch=4)


@pytest.fixture(scope="session")
def reader(home: Path) -> Reader:
    cache = home / "cache"
    return Reader(
        stage("pp-ocr-v4-det", TextBoxes, cache),
        stage("pp-ocr-v4-rec", Ctc, cache),
        stage("pp-ocr-v4-cls", Scores, cache),
    )


def read(reader: Reader, pixels: Pixels, **options: Any) -> TextLines:
    size = Size(pixels.shape[1], pixels.shape[0])
    return reader.read(Picture(pixels, size, ""), TextOptions(**options))


def strip(text: str, height: int) -> Pixels:
    """A line of text and nothing around it but two pixels of paper."""
    face = cv2.FontFace("uni")
    width = cv2.getTextSize((0, 0), text, (0, 0), face, height, 400)[2]
    canvas = np.full((2 * height, width + 8, 3), PAPER, np.uint8)
    cv2.putText(canvas, text, (4, round(1.3 * height)), INK, face, height, 400)
    rows, columns = np.nonzero((canvas != np.array(PAPER, np.uint8)).any(axis=2))
    return canvas[rows.min() - 2 : rows.max() + 3, columns.min() - 2 : columns.max() + 3]


def page(texts: Sequence[str], degrees: float, seed: int = 0) -> tuple[Pixels, Quads]:
    """Lines one below the other, turned clockwise and grainy, and where they are."""
    chance = random.Random(seed)
    canvas, corners, y = np.full((900, 1100, 3), PAPER, np.uint8), list[Any](), 50
    for text in texts:
        line = strip(text, chance.choice((20, 28, 40)))
        (high, wide), x = line.shape[:2], chance.randint(40, 240)
        canvas[y : y + high, x : x + wide] = line
        corners.append([[x, y], [x + wide, y], [x + wide, y + high], [x, y + high]])
        y += high + chance.randint(18, 36)
    height, width = canvas.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = round(width * cos + height * sin), round(width * sin + height * cos)
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    turned = cv2.warpAffine(canvas, matrix, size, flags=cv2.INTER_CUBIC, borderValue=PAPER)
    grain = np.random.default_rng(seed).normal(0, 6, turned.shape)
    pixels = np.clip(turned + grain, 0, 255).astype(np.uint8)
    places = np.concatenate([np.array(corners), np.ones((len(corners), 4, 1))], axis=2) @ matrix.T
    return pixels, places.astype(np.float32)


def unspaced(texts: Sequence[str]) -> list[str]:
    """Without blanks: this reader, made for Chinese, is careless about them."""
    return ["".join(one.split()) for one in texts]


@pytest.mark.parametrize("texts", [ENGLISH, CHINESE], ids=["english", "chinese"])
@pytest.mark.parametrize("degrees", [0, 7, -25, 90, 180, -90])
def test_a_drawn_page_is_read_in_order_at_any_angle(
    reader: Reader, degrees: float, texts: Sequence[str]
) -> None:
    pixels, truth = page(texts, degrees)
    answer = read(reader, pixels)
    assert found(answer.quads, truth).hmean == 1
    assert character_error_rate(unspaced(answer.texts), unspaced(texts)) <= 0.01
    # The quads begin where the text does, so that an upside-down line is known to be one.
    starts = np.hypot(*(answer.quads[:, 0] - truth[:, 0]).T)
    assert starts.max() < 25
    if texts is ENGLISH:
        assert character_error_rate(answer.texts, texts) < 0.05


@pytest.mark.parametrize("height", [16, 28, 60])
def test_a_strip_that_is_all_text_is_read(reader: Reader, height: int) -> None:
    read_as = ["".join(read(reader, strip(text, height)).texts) for text in ENGLISH]
    assert character_error_rate(unspaced(read_as), unspaced(ENGLISH)) < 0.02


def test_a_blank_page_says_nothing(reader: Reader) -> None:
    for size in ((300, 400, 3), (1, 1, 3), (2, 900, 3)):
        assert read(reader, np.full(size, 240, np.uint8)).text == ""


def test_a_line_says_the_same_alone_and_among_others(reader: Reader) -> None:
    pixels, truth = page(ENGLISH, 0)
    together = reader.recognise(pixels, truth)
    for at in range(len(truth)):
        (alone,) = reader.recognise(pixels, truth[at : at + 1])
        assert alone.text == together[at].text
        assert alone.score == pytest.approx(together[at].score, abs=1e-4)


def test_options_choose_among_the_lines(reader: Reader) -> None:
    pixels, _ = page(ENGLISH, 0)
    every = read(reader, pixels)
    three = read(reader, pixels, top_k=3)
    assert sorted(three.scores) == sorted(np.sort(every.scores)[-3:])
    assert [text for text in every.texts if text in three.texts] == list(three.texts)
    sure = read(reader, pixels, min_score=float(np.median(every.scores)))
    assert 0 < len(sure.texts) < len(every.texts)


def test_a_picture_of_fewer_pixels_is_answered_in_its_own_size(reader: Reader) -> None:
    pixels, truth = page(ENGLISH, 0)
    half = cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    size = Size(pixels.shape[1], pixels.shape[0])
    answer = reader.read(Picture(np.asarray(half, np.uint8), size, "", 2), TextOptions())
    assert found(answer.quads, truth).hmean == 1


LABEL = (
    *("Nutrition Facts", "Amount Per Serving", "Serving size: 1 bar (40g)"),
    *("Serving Per Package: 4", "Total Fat 13g", "Saturated Fat 1.5g", "Amount Per Serving"),
    *("Trans Fat 0g", "Calories 190", "Cholesterol 0mg", "lories from Fat 110", "Sodium 20mg"),
    *("nt Daily Values are based on", "Vitamin A 50%", "calorie diet."),
)
"""What a person reads on the photo, as far as it is sharp."""


def test_a_photo_of_a_label_is_read(reader: Reader, photos: Path) -> None:
    picture = decode((photos / "printed_text.jpg").read_bytes(), Limits())
    answer = reader.read(picture, TextOptions())
    nearest = [
        min(unspaced(answer.texts), key=lambda one: edits(one, true), default="")
        for true in unspaced(LABEL)
    ]
    # rapidocr-onnxruntime 1.4.4 itself reaches 0.014 on this photo, with the same models.
    assert character_error_rate(nearest, unspaced(LABEL)) <= 0.025
    assert answer.texts.index("Sodium20mg") > answer.texts.index("TotalFat13g")
    tilt = answer.quads[:, 1] - answer.quads[:, 0]
    assert np.median(np.degrees(np.arctan2(tilt[:, 1], tilt[:, 0]))) == pytest.approx(14, abs=2)


def test_the_characters_are_those_that_the_model_carries(reader: Reader, home: Path) -> None:
    path = sources.locate(package("pp-ocr-v4-rec"), home / "cache")
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    carried = session.get_modelmeta().custom_metadata_map["character"].split("\n")
    assert list(reader.recogniser.labels) == ["", *carried, " "]


@pytest.mark.parametrize("turn", [np.array, quads.half_turn], ids=["0", "180"])
def test_the_direction_of_a_line_is_told(reader: Reader, turn: Callable[[Quads], Quads]) -> None:
    pixels, truth = page(ENGLISH, 0)
    assert np.array_equal(reader.turn(pixels, turn(truth)), truth)
