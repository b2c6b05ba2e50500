"""Save an OpenVINO model as IR whose bytes depend on the model alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openvino import Model


def save_ir(model: Model, target: Path, names: Sequence[str]) -> None:
    """Name the ends of a model and write it, without compressing its weights.

    Nodes are renamed by position: OpenVINO's own names count up over the life of the process.

    Args:
        model: the model; renamed in place.
        target: the ``.xml`` file to write, with a ``.bin`` beside it.
        names: public names of the inputs, then of the outputs.
    """
    import openvino

    for number, node in enumerate(model.get_ordered_ops()):
        node.set_friendly_name(f"node{number}")
    for port, name in zip([*model.inputs, *model.outputs], names, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_friendly_name(name)
    openvino.save_model(model, target, compress_to_fp16=False)
