"""Anchors: the boxes a single-shot detector corrects, and how it corrects them.

A detector of this family does not predict boxes but offsets to a fixed set of them. The set follows
from a handful of parameters, so it is computed here rather than shipped with each model.

Sources, all of the TensorFlow Object Detection API (``tensorflow/models``, Apache-2.0), with its
parameter names: ``anchor_generators/multiple_grid_anchor_generator.py`` (``create_ssd_anchors``),
``grid_anchor_generator.py`` (``tile_anchors``) and ``box_coders/faster_rcnn_box_coder.py``. Every
step is float32 in the original's order, so the result equals, bit for bit, the anchors that
``ssd_mobilenet_v2_coco_2018_03_29`` carries in its graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Boxes: TypeAlias = NDArray[np.float32]


def ssd_anchors(
    grids: Sequence[int] = (19, 10, 5, 3, 2, 1),
    *,
    min_scale: float = 0.2,
    max_scale: float = 0.95,
    aspect_ratios: Sequence[float] = (1.0, 2.0, 0.5, 3.0, 0.3333),
    interpolated_scale_aspect_ratio: float = 1.0,
    reduce_boxes_in_lowest_layer: bool = True,
) -> Boxes:
    """Compute the anchors of an SSD with square feature maps over a square input.

    Args:
        grids: cells per side of each feature map, finest first; at least two.
        min_scale: side of an anchor of the finest map, as a fraction of the picture.
        max_scale: the same for the coarsest map; those between are interpolated linearly.
        aspect_ratios: width over height of the anchors in each cell.
        interpolated_scale_aspect_ratio: aspect ratio of one more anchor in each cell, whose scale
            is the geometric mean of this map's and the next one's; 0 leaves it out.
        reduce_boxes_in_lowest_layer: give the finest map three anchors for each cell: (scale 0.1,
            ratio 1), (``min_scale``, 2) and (``min_scale``, 1/2).

    Returns:
        float32 [A, 4] of (ymin, xmin, ymax, xmax), where the picture is [0, 1] by [0, 1]; not
        clipped to it. Ordered by map, row, column, then anchor in the cell. A is 1917 by default.
    """
    # The original reads both from a float32 field of its pipeline file; the last bit depends on it.
    low, high = float(np.float32(min_scale)), float(np.float32(max_scale))
    steps = len(grids) - 1
    scales = [low + (high - low) * i / steps for i in range(len(grids))] + [1.0]
    maps: list[Boxes] = []
    for index, grid in enumerate(grids):
        if index == 0 and reduce_boxes_in_lowest_layer:
            shapes = [(0.1, 1.0), (low, 2.0), (low, 0.5)]
        else:
            shapes = [(scales[index], ratio) for ratio in aspect_ratios]
            if interpolated_scale_aspect_ratio > 0:
                between = math.sqrt(scales[index] * scales[index + 1])
                shapes.append((between, interpolated_scale_aspect_ratio))
        maps.append(_tile(grid, shapes))
    return np.concatenate(maps)


def _tile(grid: int, shapes: Sequence[tuple[float, float]]) -> Boxes:
    """Place each (scale, aspect ratio) at the middle of every cell of a grid by grid map."""
    scale, ratio = np.array(shapes, np.float32).T
    root = np.sqrt(ratio)
    sizes = np.stack([scale / root, scale * root], axis=-1)
    stride = np.float32(1) / np.float32(grid)
    middles = np.arange(grid, dtype=np.float32) * stride + np.float32(0.5) * stride
    centres = np.stack(np.meshgrid(middles, middles, indexing="ij"), axis=-1)[:, :, None, :]
    half = np.float32(0.5) * sizes
    return np.concatenate([centres - half, centres + half], axis=-1).reshape(-1, 4)


def apply_offsets(
    encodings: Boxes,
    anchors: Boxes,
    *,
    scales: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0),
) -> Boxes:
    """Turn a detector's offsets into boxes (the Faster R-CNN box coder, decoding).

    Args:
        encodings: float32 [..., A, 4] of (ty, tx, th, tw).
        anchors: float32 [A, 4] of (ymin, xmin, ymax, xmax).
        scales: what training multiplied ty, tx, th and tw by.

    Returns:
        float32 [..., A, 4] of (ymin, xmin, ymax, xmax) in the anchors' unit; not clipped.
    """
    sizes = anchors[:, 2:] - anchors[:, :2]
    middles = anchors[:, :2] + sizes / np.float32(2)
    offsets = encodings / np.array(scales, np.float32)
    centres = offsets[..., :2] * sizes + middles
    half = np.exp(offsets[..., 2:]) * sizes / np.float32(2)
    return np.concatenate([centres - half, centres + half], axis=-1, dtype=np.float32)
