"""Detection: the result, its JSON form, its options and its score."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.tasks.detection import (
    TASK,
    DetectionOptions,
    Detections,
    Truth,
    average_precision,
    restore,
)

Corners = tuple[float, float, float, float]
A, B = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)


def found(*objects: tuple[Corners, float, int]) -> Detections:
    return Detections(
        np.array([corners for corners, _, _ in objects], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in objects], np.float32),
        np.array([class_id for _, _, class_id in objects], np.int64),
        tuple(f"class {class_id}" for _, _, class_id in objects),
    )


def true(*objects: tuple[Corners, int]) -> Truth:
    boxes = np.array([corners for corners, _ in objects], np.float32).reshape(-1, 4)
    return Truth(boxes, np.array([class_id for _, class_id in objects], np.int64))


def test_predictions_are_plain_rounded_numbers() -> None:
    answer = found(((1.234, 2.345, 99.999, 50.0), 0.123456789, 7))
    assert answer.predictions() == [
        {
            "label": "class 7",
            "score": 0.123457,
            "class_id": 7,
            "box": {"x": 1.23, "y": 2.35, "width": 98.77, "height": 47.65},
        }
    ]
    msgspec.json.encode(answer.predictions())


def test_a_client_reads_back_what_was_said() -> None:
    answer = found((A, 0.9, 1), ((1.5, 2.25, 30.75, 40.0), 0.5, 3))
    again = TASK.restore(answer.predictions())
    assert again.predictions() == answer.predictions()
    assert restore([]).boxes.shape == (0, 4)


def test_drawing_leaves_the_picture_alone() -> None:
    pixels = np.full((120, 160, 3), 200, np.uint8)
    drawn = found(((20, 40, 100, 100), 0.9, 1)).draw(pixels)
    assert drawn.shape == pixels.shape
    assert (pixels == 200).all()
    assert (drawn != 200).any()


@pytest.mark.parametrize(
    ("part", "array"),
    [
        ("boxes", np.zeros((2, 4), np.float32)),
        ("boxes", np.zeros((1, 5), np.float32)),
        ("boxes", np.zeros((1, 4), np.float64)),
        ("scores", np.zeros((1, 1), np.float32)),
        ("class_ids", np.zeros(1, np.int32)),
    ],
)
def test_parts_that_do_not_fit_are_refused(part: str, array: NDArray[Any]) -> None:
    parts: dict[str, NDArray[Any]] = {
        "boxes": np.zeros((1, 4), np.float32),
        "scores": np.zeros(1, np.float32),
        "class_ids": np.zeros(1, np.int64),
    }
    parts[part] = array
    with pytest.raises(HeliographError, match=rf"Detections\.{part}: expected .*, got ") as caught:
        Detections(**parts, labels=("one",))
    assert caught.value.code == Code.BAD_SHAPE


@pytest.mark.parametrize(
    ("name", "value"),
    [("top_k", 0), ("top_k", 1001), ("min_score", -0.1), ("min_score", 1.1), ("iou", 0), ("x", 1)],
)
def test_options_have_bounds(name: str, value: float) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({name: value}, DetectionOptions)


def test_options_are_read_from_a_query() -> None:
    given = msgspec.convert(
        {"top_k": "3", "min_score": "0.25", "iou": "0.5"}, DetectionOptions, strict=False
    )
    assert given == DetectionOptions(top_k=3, min_score=0.25, iou=0.5)
    assert DetectionOptions().iou is None


def test_a_perfect_answer_scores_one() -> None:
    score = average_precision([found((A, 0.9, 1), (B, 0.8, 2))], [true((A, 1), (B, 2))])
    assert score == pytest.approx((1.0, 1.0))


def test_nothing_found_or_nothing_there() -> None:
    assert average_precision([found()], [true((A, 1))]) == (0.0, 0.0)
    assert average_precision([found((A, 0.9, 1))], [true()]) == (0.0, 0.0)
    assert average_precision([], []) == (0.0, 0.0)


def test_a_missed_half_leaves_the_recalls_up_to_one_half() -> None:
    # Recall 0.5 at precision 1: 51 of the 101 recalls (0.00 to 0.50) have precision 1.
    score = average_precision([found((A, 0.9, 1))], [true((A, 1), (B, 1))])
    assert score == pytest.approx((51 / 101, 51 / 101))


def test_a_better_scored_mistake_lowers_the_precision() -> None:
    # The first answer is wrong, the second right: precision 1/2 at every recall.
    answer = found(((80, 80, 90, 90), 0.9, 1), (A, 0.8, 1))
    assert average_precision([answer], [true((A, 1))]) == pytest.approx((0.5, 0.5))


def test_a_worse_scored_mistake_costs_nothing() -> None:
    answer = found((A, 0.9, 1), ((80, 80, 90, 90), 0.8, 1))
    assert average_precision([answer], [true((A, 1))]) == pytest.approx((1.0, 1.0))


def test_a_second_box_on_the_same_object_is_a_mistake() -> None:
    answer = found((A, 0.9, 1), (A, 0.8, 1), (B, 0.7, 1))
    # Precision 1 up to recall 0.5 (51 recalls), 2/3 beyond (50 recalls).
    wanted = (51 + 50 * 2 / 3) / 101
    assert average_precision([answer], [true((A, 1), (B, 1))]) == pytest.approx((wanted, wanted))


def test_a_loose_box_counts_up_to_its_iou() -> None:
    # IoU 0.8: right at the seven thresholds 0.50 to 0.80, wrong at the three beyond.
    answer = found(((0, 0, 8, 10), 0.9, 1))
    assert average_precision([answer], [true((A, 1))]) == pytest.approx((0.7, 1.0))


def test_scores_are_ranked_across_pictures_and_classes_averaged() -> None:
    answers = [found((B, 0.9, 1)), found((A, 0.8, 1), (B, 0.7, 2))]
    truth = [true((A, 1)), true((A, 1), (B, 2))]
    # Class 1: a mistake ranks first, so precision 1/2 up to recall 1/2. Class 2: perfect.
    wanted = (0.5 * 51 / 101 + 1) / 2
    assert average_precision(answers, truth) == pytest.approx((wanted, wanted))


def test_one_answer_for_each_picture() -> None:
    with pytest.raises(ValueError, match="shorter"):
        average_precision([found()], [])
