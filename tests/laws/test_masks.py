"""Laws of masks, maps and tiles."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from heliograph.vision import maps, rle, tiles
from heliograph.vision.geometry import Fit, place
from heliograph.vision.picture import Size
from heliograph.vision.prepare import InputSpec
from heliograph.vision.rle import Rle
from heliograph.vision.tasks import segmentation
from heliograph.vision.tasks.base import Raw
from heliograph.vision.tasks.enhancement import PictureOutput
from heliograph.vision.tasks.segmentation import ClassIds, ClassScores, SegmentationOptions

SIDES = st.tuples(st.integers(1, 24), st.integers(1, 24))
MASKS = SIDES.flatmap(lambda sides: arrays.arrays(np.bool_, sides))
FITS: st.SearchStrategy[Fit] = st.sampled_from(["stretch", "contain", "crop"])


@given(MASKS)
def test_a_mask_survives_its_runs(mask: NDArray[np.bool_]) -> None:
    made = Rle.of(mask)
    assert np.array_equal(made.mask(), mask)
    assert made.area == mask.sum()
    assert Rle.from_json(made.to_json()) == made
    assert rle.expand(rle.compress(made.runs)).tolist() == made.runs.tolist()


@given(st.lists(st.integers(0, 1 << 31), min_size=1, max_size=30))
def test_any_runs_survive_compression(runs: list[int]) -> None:
    assert rle.expand(rle.compress(np.array(runs, np.int64))).tolist() == runs


@given(SIDES.flatmap(lambda sides: st.tuples(*2 * [arrays.arrays(np.bool_, sides)])))
def test_overlap_counts_shared_pixels(
    pair: tuple[NDArray[np.bool_], NDArray[np.bool_]],
) -> None:
    one, other = pair
    assert rle.overlap(Rle.of(one), Rle.of(other)) == (one & other).sum()


@given(MASKS, st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_a_placed_part_is_the_part_in_place(
    part: NDArray[np.bool_], left: int, top: int, right: int, bottom: int
) -> None:
    whole = np.pad(part, ((top, bottom), (left, right)))
    size = Size(whole.shape[1], whole.shape[0])
    assert Rle.placed(part, left, top, size) == Rle.of(whole)


@given(SIDES.flatmap(lambda sides: arrays.arrays(np.uint16, sides, elements=st.integers(0, 5))))
def test_a_class_map_survives_predictions(class_map: NDArray[np.uint16]) -> None:
    height, width = class_map.shape
    size = Size(width, height)
    decoder, placement = ClassIds(ignore=5), place(size, size, "stretch")
    options, labels = SegmentationOptions(), ("a", "b", "c")
    found = decoder.decode({"ids": class_map}, placement, labels, options)
    back = segmentation.restore(found.predictions())
    assert back == found
    truth = np.where(class_map == 5, np.uint16(segmentation.NOTHING), class_map)
    if found.segments:
        assert np.array_equal(back.class_map(), truth)
    assert sum(one.area for one in found.segments) == (class_map != 5).sum()
    assert {one.class_id: one.mask for one in found.segments} == {
        one: Rle.of(class_map == one) for one in range(5) if (class_map == one).any()
    }


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(4, 40), st.integers(4, 40)),
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    FITS,
    st.integers(0, 999),
)
def test_the_strongest_class_is_that_of_the_interpolated_maps(
    size: tuple[int, int],
    target: tuple[int, int],
    cells: tuple[int, int],
    fit: Fit,
    seed: int,
) -> None:
    placement = place(Size(*size), Size(*target), fit)
    grid = np.random.default_rng(seed).normal(size=(*cells, 4)).astype(np.float32)
    where = maps.axes(placement, *cells)
    every = np.stack(
        [maps.bilinear(np.ascontiguousarray(grid[:, :, one]), where) for one in range(4)], axis=-1
    )
    chosen = maps.choose(grid, where)
    top = np.sort(every, axis=-1)
    # OpenCV interpolates in 1/32 cells of its own in places: only clear cases are told apart.
    clear = top[:, :, -1] - top[:, :, -2] > 1e-2
    assert np.array_equal(chosen[clear], every.argmax(axis=-1)[clear])


@given(
    st.tuples(st.integers(8, 60), st.integers(8, 60)),
    st.tuples(st.integers(8, 32), st.integers(8, 32)),
    st.sampled_from([1, 2, 4]),
    st.integers(0, 999),
)
def test_what_a_model_says_of_padding_never_counts(
    size: tuple[int, int], target: tuple[int, int], stride: int, seed: int
) -> None:
    placement = place(Size(*size), Size(target[0] * stride, target[1] * stride), "contain")
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(3, target[1], target[0])).astype(np.float32)
    shouting = logits.copy()
    inside = np.zeros(logits.shape[1:], np.bool_)
    at = placement.target
    rows = (np.arange(target[1]) + 0.5) * stride
    columns = (np.arange(target[0]) + 0.5) * stride
    inside[
        np.ix_(
            (rows >= at.y) & (rows <= at.y + at.height),
            (columns >= at.x) & (columns <= at.x + at.width),
        )
    ] = True
    if not inside.any():
        return
    shouting[2, ~inside] = 1e6
    options = SegmentationOptions()
    quiet, loud = (
        ClassScores().decode({"scores": one}, placement, (), options) for one in (logits, shouting)
    )
    assert quiet == loud


@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.tuples(st.integers(8, 40), st.integers(8, 40)),
    st.integers(0, 30),
    st.integers(1, 3),
    st.sampled_from(["RGB", "BGR", "GRAY"]),
    st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_a_model_that_hands_pixels_through_gives_the_very_picture_back(
    size: tuple[int, int],
    tile: tuple[int, int],
    overlap: int,
    scale: int,
    channels: str,
    seed: int,
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    spec = InputSpec(width=tile[0], height=tile[1], channels=channels, std=(255.0,))  # pyright: ignore[reportArgumentType]
    decoder = PictureOutput(overlap=overlap, channels="BGR" if channels == "BGR" else "RGB")

    def run(tensor: NDArray[np.float32]) -> Raw:
        assert tensor.shape[1:] == (tile[1], tile[0])
        return {"made": tensor.repeat(scale, axis=1).repeat(scale, axis=2)}

    made = decoder.piecewise(pixels, spec, run)["picture"]
    if channels == "GRAY" and scale > 1:
        # The colours come bicubically enlarged; only the brightness is the model's.
        assert made.shape == (size[1] * scale, size[0] * scale, 3)
        return
    assert np.array_equal(made, pixels.repeat(scale, axis=0).repeat(scale, axis=1))


@given(
    st.tuples(st.integers(1, 100), st.integers(1, 100)),
    st.integers(20, 40),
    st.integers(1, 4),
    st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_tiles_of_a_short_sighted_model_are_those_of_the_whole(
    size: tuple[int, int], tile: int, reach: int, seed: int
) -> None:
    """A blur that reaches a quarter of the overlap: no seam at all."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    side = 2 * reach + 1

    def work(cut: NDArray[np.uint8]) -> NDArray[np.float32]:
        kind = cv2.BORDER_REFLECT
        return np.asarray(
            cv2.blur(cut.astype(np.float32), (side, side), borderType=kind), np.float32
        )

    square = Size(tile, tile)
    overlap = min(4 * reach, tile // 2)
    if overlap < 4 * reach:
        return
    made = tiles.through(pixels, square, overlap, work, max_pixels=10**6)
    padded = tiles.mirrored(pixels, Size(max(size[0], tile), max(size[1], tile)))
    whole = work(padded)[: size[1], : size[0]]
    assert np.abs(made - whole).max() <= 0.501


@given(st.integers(1, 300), st.integers(2, 64), st.integers(0, 32), st.integers(1, 3))
def test_tiles_cover_a_side_and_their_weights_add_up_to_one(
    length: int, tile: int, overlap: int, scale: int
) -> None:
    overlap, length = min(overlap, tile // 2), max(length, tile)
    begin = tiles.starts(length, tile, overlap)
    assert begin[0] == 0
    assert begin[-1] + tile == length
    assert all(0 < b - a <= tile - overlap for a, b in itertools.pairwise(begin))
    total = np.zeros(length * scale)
    for start, one in zip(begin, tiles.weights(begin, tile, overlap, scale), strict=True):
        total[start * scale : (start + tile) * scale] += one
    assert np.abs(total - 1).max() < 1e-5
