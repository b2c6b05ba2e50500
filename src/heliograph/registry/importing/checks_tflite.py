"""Is a TensorFlow Lite file safe? Its offsets, its operations, and its tensors' declared sizes.

Covered: offsets that lead outside, operations that would need TensorFlow or a library, tensors that
hold other than they declare, files packed behind it. Not covered: what its graph computes.
"""

from __future__ import annotations

import math

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.bounds import MOST_ELEMENTS
from heliograph.registry.importing.files import mapped
from heliograph.registry.importing.names import printable
from heliograph.registry.importing.tflite_file import (
    LiteFile,
    LiteTensor,
    packed_labels,
    read_lite,
)
from heliograph.registry.importing.values import Staged

_KNOWN = {"TFLite_Detection_PostProcess"}
_SIZES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 8: 8, 9: 1, 10: 8, 12: 8, 15: 4, 16: 2}


def check(staged: Staged) -> None:
    """Refuse a file that lies or needs what is not here.

    Raises:
        HeliographError: `model_invalid`, `model_op_forbidden` or `model_resource_limit`.
    """
    with mapped(staged.main) as data:
        lite = read_lite(data)
    for name in lite.customs:
        if name not in _KNOWN:
            raise HeliographError(
                Code.MODEL_OP_FORBIDDEN,
                f"The model has the custom operation {printable(name)}, which needs a library of "
                f"its own; convert it with built-in operations only.",
            )
    for number in (*lite.inputs, *lite.outputs):
        if not 0 <= number < len(lite.tensors):
            raise HeliographError(Code.MODEL_INVALID, "An input or output of the model is missing.")
    for one in lite.tensors:
        _tensor(one, lite)
    packed_labels(staged.main)


def _tensor(one: LiteTensor, lite: LiteFile) -> None:
    count = math.prod(max(1, size) for size in one.shape)
    if count > MOST_ELEMENTS:
        raise HeliographError(
            Code.MODEL_RESOURCE_LIMIT,
            f"The tensor {printable(one.name)} has {count:,} elements; {MOST_ELEMENTS:,} go.",
        )
    if one.buffer >= max(1, len(lite.buffers)):
        raise HeliographError(
            Code.MODEL_INVALID, f"The tensor {printable(one.name)} has no buffer."
        )
    held = lite.buffers[one.buffer] if lite.buffers else 0
    need = math.prod(one.shape) * _SIZES.get(one.kind, 0)
    plain = one.kind in _SIZES and not one.sparse and min(one.shape, default=1) >= 0
    if held < 0 or (held and plain and held != need):
        raise HeliographError(
            Code.MODEL_INVALID,
            f"The tensor {printable(one.name)} is declared with {need:,} bytes, but has {held:,}.",
        )
