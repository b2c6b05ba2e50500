"""EfficientNet-Lite0 without its classifier: the features that it judges a picture by.

Same source and same network as the recipe `efficientnet_lite0`; the end is cut off behind the
global average pool, so that the answer is 1280 features, which lie close together for pictures that
look alike.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from heliograph.registry.recipes.efficientnet_lite0 import write

if TYPE_CHECKING:
    from onnx import ValueInfoProto

_FEATURES = 1280


def build(source: Path, target: Path) -> None:
    """Write the ONNX model; the same source gives the same bytes.

    Args:
        source: ``efficientnet-lite0-57934424.pth``.
        target: the ``.onnx`` file to write: input ``images`` float32 [N, 3, 224, 224], RGB,
            ``(pixel - 127) / 128``; output ``embedding`` float32 [N, 1280], none negative.

    Raises:
        ValueError: the source is not the expected state dict.
    """
    write(source, target, _features)


def _features(graph: Any, features: str) -> ValueInfoProto:
    from onnx import TensorProto, helper

    graph.add("Identity", [features], "embedding")
    return helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", _FEATURES])
