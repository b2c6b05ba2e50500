"""Laws of detection: whatever a model says, the answer is well formed."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from heliograph.vision.geometry import Fit, Placement, place
from heliograph.vision.nms import iou, nms
from heliograph.vision.picture import Size
from heliograph.vision.tasks.detection import DetectionOptions, Truth, average_precision, restore
from heliograph.vision.tasks.detectors.tf import Ssd
from heliograph.vision.tasks.detectors.yolo import YoloEnd2End, YoloV8

FITS: list[Fit] = ["stretch", "contain", "crop"]
SIDES = st.integers(1, 4000)
UNIT = st.floats(0, 1, width=32)
SMALL = Ssd(grids=(4, 2))
ANCHORS = len(SMALL.anchors())


@st.composite
def placements(draw: st.DrawFn) -> Placement:
    size = Size(draw(SIDES), draw(SIDES))
    target = Size(draw(st.integers(32, 640)), draw(st.integers(32, 640)))
    return place(size, target, draw(st.sampled_from(FITS)), centred=draw(st.booleans()))


@st.composite
def scenes(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Boxes on a coarse lattice, so that many overlap, touch or coincide."""
    many = draw(st.integers(0, 60))
    numbers = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    low, sides = numbers.integers(0, 20, (many, 2)), numbers.integers(0, 12, (many, 2))
    boxes = np.concatenate([low, low + sides], axis=1).astype(np.float32)
    scores = (numbers.integers(0, 30, many) / 30).astype(np.float32)
    return boxes, scores, numbers.integers(0, 3, many)


@given(
    placements(),
    arrays.arrays(np.float32, (20, 6), elements=st.floats(width=32)),
    UNIT,
    st.integers(1, 30),
)
def test_boxes_are_inside_and_best_first(
    placement: Placement, rows: NDArray[np.float32], least: float, top_k: int
) -> None:
    options = DetectionOptions(min_score=least, top_k=top_k)
    for decoder, raw in ((YoloEnd2End(), rows), (YoloV8(), rows.T)):
        answer = decoder.decode({"out": raw}, placement, (), options)
        assert len(answer.labels) <= top_k
        assert (answer.scores[:-1] >= answer.scores[1:]).all()
        assert ((answer.scores >= min(least, 1)) & (answer.scores <= 1)).all()
        for one in answer.predictions():
            box = one["box"]
            assert box["x"] >= 0
            assert box["y"] >= 0
            assert box["width"] > 0
            assert box["height"] > 0
            # Two decimals each: their sum may differ in the last place of a float.
            assert box["x"] + box["width"] <= placement.size.width + 1e-6
            assert box["y"] + box["height"] <= placement.size.height + 1e-6


@given(scenes(), st.floats(0.0625, 1, width=32), st.integers(1, 80), st.booleans())
def test_what_stays_does_not_overlap_and_what_falls_does(
    scene: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]],
    threshold: float,
    limit: int,
    aware: bool,
) -> None:
    boxes, scores, ids = scene
    classes = ids if aware else np.zeros_like(ids)
    kept = nms(boxes, scores, ids if aware else None, iou_threshold=threshold, limit=limit)
    assert len(set(kept.tolist())) == len(kept) <= limit
    assert (np.diff(scores[kept]) <= 0).all()
    rivals = (iou(boxes, boxes) > threshold) & (classes[:, None] == classes[None, :])
    among = rivals[np.ix_(kept, kept)]
    assert not among[~np.eye(len(kept), dtype=np.bool_)].any()
    if len(kept) < limit:
        fallen = np.setdiff1d(np.arange(len(boxes)), kept)
        assert all((rivals[one, kept] & (scores[kept] >= scores[one])).any() for one in fallen)


@given(placements(), st.integers(0, 1 << 32))
def test_the_order_of_anchors_does_not_matter(placement: Placement, seed: int) -> None:
    numbers = np.random.default_rng(seed)
    columns = np.concatenate(
        [numbers.uniform(0, 640, (40, 2)), numbers.uniform(1, 300, (40, 2))], axis=1
    )
    # Distinct scores: of equal ones the first wins, which is an order.
    scores = numbers.permutation(np.linspace(0.01, 0.99, 40 * 3)).reshape(40, 3)
    rows = np.concatenate([columns, scores], axis=1).astype(np.float32)
    order = numbers.permutation(40)
    options = DetectionOptions(min_score=0.3)
    one = YoloV8().decode({"out": rows.T}, placement, (), options)
    other = YoloV8().decode({"out": rows[order].T}, placement, (), options)
    assert one.predictions() == other.predictions()


@given(placements(), st.integers(0, 1 << 32), UNIT)
def test_an_ssd_answers_alike_from_scores_and_their_logits(
    placement: Placement, seed: int, least: float
) -> None:
    numbers = np.random.default_rng(seed)
    scores = numbers.permutation(np.linspace(0.02, 0.98, ANCHORS * 3)).astype(np.float32)
    scores = scores.reshape(ANCHORS, 3)
    encodings = numbers.normal(0, 2, (ANCHORS, 4)).astype(np.float32)
    options = DetectionOptions(min_score=max(0.1, round(least, 1) + 0.003) % 1)
    one = SMALL.decode({"encodings": encodings, "scores": scores}, placement, (), options)
    logits = np.log(scores / (1 - scores))
    raw = {"encodings": encodings, "scores": logits}
    other = Ssd(grids=(4, 2), activation="sigmoid").decode(raw, placement, (), options)
    np.testing.assert_array_equal(one.class_ids, other.class_ids)
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-5)


@given(scenes())
def test_the_truth_scores_one_and_its_json_form_too(
    scene: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]],
) -> None:
    boxes, scores, ids = scene
    rows = np.column_stack([boxes, scores, ids]).astype(np.float32)
    placement = place(Size(32, 32), Size(32, 32), "stretch")
    options = DetectionOptions(min_score=0)
    answer = YoloEnd2End().decode({"out": rows}, placement, (), options)
    truth = Truth(answer.boxes, answer.class_ids)
    wanted = 1.0 if len(answer.labels) else 0.0
    for one in (answer, restore(answer.predictions())):
        score = average_precision([one], [truth])
        np.testing.assert_allclose(score, (wanted, wanted))
