"""Anchors: their number, order and values, and what an offset does to them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from heliograph.vision.anchors import apply_offsets, ssd_anchors

DIGEST = "1475439db129cb712b43dadf0c88aa53060614fed4509717cd4e306442eb8e27"


def test_the_default_anchors_are_those_inside_the_published_graph() -> None:
    anchors = ssd_anchors()
    assert anchors.shape == (1917, 4)
    assert anchors.dtype == np.float32
    # Digest of the constant that OpenVINO folds from ssd_mobilenet_v2_coco_2018_03_29's graph.
    assert hashlib.sha256(anchors.tobytes()).hexdigest() == DIGEST
    assert anchors[0] == pytest.approx([-0.0236842, -0.0236842, 0.0763158, 0.0763158])
    assert anchors[-1] == pytest.approx([0.0126603] * 2 + [0.9873397] * 2)


def test_each_map_has_its_cells_times_its_shapes() -> None:
    assert len(ssd_anchors((4, 2))) == 16 * 3 + 4 * 6
    assert len(ssd_anchors((4, 2), reduce_boxes_in_lowest_layer=False)) == (16 + 4) * 6
    assert len(ssd_anchors((4, 2), interpolated_scale_aspect_ratio=0)) == 16 * 3 + 4 * 5
    middles = ssd_anchors((2, 1))[::3][:4].reshape(4, 2, 2).mean(axis=1)
    assert middles.tolist() == [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]


def test_no_offset_leaves_the_anchor_and_a_batch_equals_its_items() -> None:
    anchors = ssd_anchors()
    assert apply_offsets(np.zeros_like(anchors), anchors) == pytest.approx(anchors, abs=1e-6)
    batch = np.random.default_rng(0).normal(size=(2, 1917, 4)).astype(np.float32)
    alone = np.stack([apply_offsets(one, anchors) for one in batch])
    assert (apply_offsets(batch, anchors) == alone).all()


def test_an_offset_moves_by_the_anchors_size_and_scales_exponentially() -> None:
    anchor = np.array([[0.2, 0.2, 0.4, 0.6]], np.float32)
    offset = np.array([[10.0, 0.0, 0.0, 5 * np.log(2)]], np.float32)
    assert apply_offsets(offset, anchor)[0] == pytest.approx([0.4, 0.0, 0.6, 0.8], abs=1e-6)
