"""Keypoints: the result, its JSON form, its decoders and its score."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.vision.geometry import Placement, place
from heliograph.vision.picture import Size
from heliograph.vision.tasks import AnyDecoder
from heliograph.vision.tasks.keypoints import (
    COCO_EDGES,
    COCO_POINTS,
    COCO_SIGMAS,
    TASK,
    Heatmaps,
    KeypointsOptions,
    MoveNet,
    Person,
    Poses,
    mean_similarity,
    similarity,
)

SIZE = Size(640, 480)
PLACEMENTS = {
    "stretch": place(SIZE, Size(192, 192), "stretch"),
    "letterbox": place(SIZE, Size(192, 192), "contain"),
    "crop": place(SIZE, Size(192, 192), "crop"),
}
POINTS = np.stack([np.linspace(150, 470, 17), np.linspace(60, 420, 17)], axis=1).astype(np.float32)
SURE = np.linspace(0.3, 0.9, 17).astype(np.float32)


def forward(placement: Placement) -> NDArray[np.float32]:
    """The known points in pixels of the model's input."""
    source, target = placement.source, placement.target
    scale = np.array([target.width / source.width, target.height / source.height])
    shift = np.array([target.x, target.y]) - np.array([source.x, source.y]) * scale
    return (POINTS * scale + shift).astype(np.float32)


def as_movenet(placement: Placement) -> NDArray[np.float32]:
    fractions = forward(placement) / 192
    return np.column_stack([fractions[:, ::-1], SURE]).astype(np.float32)[None]


def poses(points: NDArray[np.float32] = POINTS, sure: NDArray[np.float32] = SURE) -> Poses:
    return Poses(points[None], sure[None], np.array([sure.mean()], np.float32))


@pytest.mark.parametrize("fit", PLACEMENTS)
def test_movenet_points_come_back(fit: str) -> None:
    raw = {"out": as_movenet(PLACEMENTS[fit])}
    answer = MoveNet().decode(raw, PLACEMENTS[fit], (), KeypointsOptions())
    np.testing.assert_allclose(answer.points[0], POINTS, atol=0.01)
    np.testing.assert_allclose(answer.scores[0], SURE)
    assert answer.person_scores[0] == pytest.approx(0.6)
    np.testing.assert_allclose(answer.boxes, [[150, 60, 470, 420]], atol=0.01)


@pytest.mark.parametrize("fit", PLACEMENTS)
def test_heatmap_points_come_back_to_a_quarter_cell(fit: str) -> None:
    placement = PLACEMENTS[fit]
    at = forward(placement) / 4
    y, x = np.mgrid[:48, :48]
    maps = [np.exp(-((x - px) ** 2 + (y - py) ** 2) / 8) for px, py in at]
    raw = {"out": np.stack(maps).astype(np.float32)}
    answer = Heatmaps().decode(raw, placement, (), KeypointsOptions())
    cell = 4 * np.array([placement.source.width, placement.source.height]) / 192
    if fit == "letterbox":
        cell = cell * [1, 192 / placement.target.height]
    assert (np.abs(answer.points[0] - POINTS) <= cell * 0.26).all()
    assert (answer.scores > 0.9).all()


def test_a_heatmap_maximum_on_the_edge_stays() -> None:
    maps = np.zeros((17, 48, 48), np.float32)
    maps[:, 0, 47] = 0.8
    answer = Heatmaps().decode({"out": maps}, PLACEMENTS["stretch"], (), KeypointsOptions())
    np.testing.assert_allclose(answer.points[0], np.tile([640 * 47 / 48, 0], (17, 1)), rtol=1e-5)


def test_weak_points_are_left_out() -> None:
    raw = {"out": as_movenet(PLACEMENTS["stretch"])}
    some = MoveNet().decode(raw, PLACEMENTS["stretch"], (), KeypointsOptions(min_score=0.55))
    names = [one["name"] for one in some.predictions()[0]["keypoints"]]
    assert names == list(COCO_POINTS[7:])
    np.testing.assert_allclose(some.boxes[0], [*POINTS[7], *POINTS[16]], atol=0.01)


def test_weak_people_are_left_out_even_with_a_strong_point() -> None:
    raw = {"out": as_movenet(PLACEMENTS["stretch"])}
    none = MoveNet().decode(raw, PLACEMENTS["stretch"], (), KeypointsOptions(min_score=0.65))
    assert none.predictions() == []


def test_people_come_best_first() -> None:
    one = as_movenet(PLACEMENTS["stretch"])
    weaker = one * np.array([1, 1, 0.9], np.float32)
    raw = {"out": np.concatenate([weaker, one])}
    answer = MoveNet().decode(raw, PLACEMENTS["stretch"], (), KeypointsOptions())
    assert answer.person_scores.tolist() == pytest.approx([0.6, 0.54])
    single = MoveNet().decode(raw, PLACEMENTS["stretch"], (), KeypointsOptions(top_k=1))
    assert single.person_scores.tolist() == pytest.approx([0.6])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("share", [0.2, 1.0])
@pytest.mark.parametrize("least", [0.0, 0.2])
def test_numbers_that_are_none_never_reach_the_answer(
    bad: float, share: float, least: float
) -> None:
    random = np.random.default_rng(5)
    options = KeypointsOptions(min_score=least)
    rows = as_movenet(PLACEMENTS["letterbox"])
    maps = random.random((17, 12, 12))
    cases = [(MoveNet(), rows), (Heatmaps(), maps)]
    for decoder, clean in cases:
        raw = {"out": np.where(random.random(clean.shape) < share, bad, clean)}
        answer = decoder.decode(raw, PLACEMENTS["letterbox"], (), options)
        assert np.isfinite(answer.points).all()
        assert ((answer.scores >= 0) & (answer.scores <= 1)).all()
        assert ((answer.points >= 0) & (answer.points <= np.array(SIZE))).all()
        msgspec.json.encode(answer.predictions())


@pytest.mark.parametrize(
    ("decoder", "shape"),
    [
        (MoveNet(), (17, 3)),
        (MoveNet(), (1, 17, 4)),
        (MoveNet(), (1, 16, 3)),
        (Heatmaps(), (17, 48)),
        (Heatmaps(), (5, 48, 48)),
        (Heatmaps(), (17, 0, 48)),
    ],
)
def test_outputs_of_another_shape_are_refused(
    decoder: MoveNet | Heatmaps, shape: tuple[int, ...]
) -> None:
    with pytest.raises(HeliographError) as caught:
        decoder.decode({"out": np.zeros(shape)}, PLACEMENTS["stretch"], (), KeypointsOptions())
    assert caught.value.code == Code.BAD_SHAPE


@pytest.mark.parametrize(
    "parts",
    [
        (np.zeros((1, 17, 3)), np.zeros((1, 17)), np.zeros(1)),
        (np.zeros((1, 17, 2)), np.zeros((1, 16)), np.zeros(1)),
        (np.zeros((1, 17, 2)), np.zeros((1, 17)), np.zeros(2)),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: tuple[NDArray[Any], ...]) -> None:
    points, scores, people = (part.astype(np.float32) for part in parts)
    with pytest.raises(HeliographError, match=r"expected float32 .*, got "):
        Poses(points, scores, people)


def test_predictions_are_plain_rounded_numbers() -> None:
    first = poses().predictions()[0]
    assert first["label"] == "person"
    assert first["score"] == pytest.approx(0.6)
    assert first["box"] == {"x": 150.0, "y": 60.0, "width": 320.0, "height": 360.0}
    assert first["keypoints"][0] == {"name": "nose", "x": 150.0, "y": 60.0, "score": 0.3}
    assert len(first["keypoints"]) == 17


def test_a_client_reads_back_what_was_said() -> None:
    sure = SURE.copy()
    sure[3] = 0
    answer = poses(sure=sure)
    again = TASK.restore(answer.predictions())
    assert again.predictions() == answer.predictions()
    assert TASK.restore([]).predictions() == []


def test_points_that_are_not_cocos_keep_their_names() -> None:
    raw = {"out": np.array([[[0.5, 0.5, 0.9], [0.25, 0.75, 0.8]]], np.float32)}
    answer = MoveNet().decode(raw, PLACEMENTS["stretch"], ("tip", "tail"), KeypointsOptions())
    assert [one["name"] for one in answer.predictions()[0]["keypoints"]] == ["tip", "tail"]
    assert answer.edges == ()
    assert TASK.restore(answer.predictions()).predictions() == answer.predictions()


def test_drawing_leaves_the_picture_alone() -> None:
    pixels = np.full((480, 640, 3), 200, np.uint8)
    drawn = poses().draw(pixels)
    assert drawn.shape == pixels.shape
    assert (pixels == 200).all()
    assert (drawn != 200).any()


def test_edges_join_all_points() -> None:
    assert {point for edge in COCO_EDGES for point in edge} == set(range(17))


def test_the_decoders_are_told_apart_by_tag() -> None:
    assert msgspec.convert({"decoder": "movenet"}, AnyDecoder) == MoveNet()
    assert msgspec.convert({"decoder": "heatmaps", "output": "x"}, AnyDecoder) == Heatmaps(
        output="x"
    )


def test_similarity_by_hand() -> None:
    everywhere = np.ones(17, np.bool_)
    person = Person(POINTS, everywhere, 10_000.0)
    assert similarity(POINTS, person) == pytest.approx(1)
    # A point off by its own tolerance, 2 * sigma * sqrt(area), is worth exp(-1/2).
    off = POINTS.copy()
    off[:, 0] += (2 * COCO_SIGMAS * 100).astype(np.float32)
    assert similarity(off, person) == pytest.approx(np.exp(-0.5), rel=1e-4)
    only = np.zeros(17, np.bool_)
    only[0] = True
    far = POINTS.copy()
    far[1:] += 1e4
    assert similarity(far, Person(POINTS, only, 10_000.0)) == pytest.approx(1)
    assert similarity(POINTS, Person(POINTS, np.zeros(17, np.bool_), 1.0)) == 0


def test_mean_similarity_gives_each_person_one_answer() -> None:
    everywhere = np.ones(17, np.bool_)
    here, there = (
        Person(POINTS, everywhere, 1e4),
        Person((POINTS + 1e5).astype(np.float32), everywhere, 1e4),
    )
    assert mean_similarity([poses()], [[there, here]]) == pytest.approx(0.5)
    twice = Poses(np.stack([POINTS, POINTS]), np.stack([SURE, SURE]), np.ones(2, np.float32))
    assert mean_similarity([twice], [[here, there]]) == pytest.approx(0.5)
    assert mean_similarity([poses()], [[]]) == 0
