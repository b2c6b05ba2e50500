"""One network in every format: an ONNX graph rebuilt layer by layer in PyTorch and in Keras.

The two builders read the ONNX file's nodes and weights and use the other library's own layers, so
that what `bench/agreement.py` compares are independent kernels, not one library asked four times.
They know the nodes of our EfficientNet-Lite0 recipe: Conv, Clip, Relu, Add, GlobalAveragePool,
Flatten, Gemm, Softmax.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper


def load(path: Path):
    """The graph of an ONNX file and its weights by name."""
    graph = onnx.load(path).graph
    return graph, {one.name: numpy_helper.to_array(one) for one in graph.initializer}


def small_cnn(path: Path) -> Path:
    """A random network of a few layers, strides and groups: images [N, 3, 32, 32] -> [N, 10]."""
    rng = np.random.default_rng(5)

    def weight(name, *shape):
        scale = np.sqrt(2 / np.prod(shape[1:]))
        return numpy_helper.from_array((rng.standard_normal(shape) * scale).astype("f"), name)

    def conv(x, out, shape, stride, group=1):
        kept.extend([weight(f"{out}.w", *shape), weight(f"{out}.b", shape[0])])
        nodes.append(
            helper.make_node(
                "Conv",
                [x, f"{out}.w", f"{out}.b"],
                [out],
                kernel_shape=shape[2:],
                group=group,
                strides=[stride, stride],
                pads=[0, 0, 1, 1] if stride == 2 else [1, 1, 1, 1],
            )
        )
        nodes.append(helper.make_node("Relu", [out], [f"{out}.r"]))
        return f"{out}.r"

    kept, nodes = [], []
    x = conv("images", "c1", (16, 3, 3, 3), 2)
    y = conv(x, "c2", (16, 1, 3, 3), 1, group=16)
    nodes.append(helper.make_node("Add", [x, y], ["sum"]))
    x = conv("sum", "c3", (32, 16, 3, 3), 2)
    nodes.append(helper.make_node("GlobalAveragePool", [x], ["pool"]))
    nodes.append(helper.make_node("Flatten", ["pool"], ["flat"], axis=1))
    kept += [weight("fc.w", 10, 32), weight("fc.b", 10)]
    nodes.append(helper.make_node("Gemm", ["flat", "fc.w", "fc.b"], ["logits"], transB=1))
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1))
    ends = [("images", ["N", 3, 32, 32]), ("probabilities", ["N", 10])]
    given, answer = (helper.make_tensor_value_info(name, 1, shape) for name, shape in ends)
    graph = helper.make_graph(nodes, "small", [given], [answer], kept)
    made = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    path.write_bytes(made.SerializeToString())
    return path


def attributes(node):
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


def torch_module(path: Path):
    """The network as a `torch.nn.Module`; images [N, 3, h, w] -> `probabilities` [N, classes]."""
    import torch
    from torch import nn

    graph, weights = load(path)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleDict()
            for node in graph.node:
                if node.op_type in {"Conv", "Gemm"}:
                    self.layers[plain(node)] = torch_layer(node, weights)

        def forward(self, images):
            values = {"images": images}
            for node in graph.node:
                given = [values[one] for one in node.input if one in values]
                values[node.output[0]] = steps[node.op_type](self.layers, node, *given)
            return {"probabilities": values["probabilities"]}

    def conv(kept, node, x):
        top, left, bottom, right = attributes(node)["pads"]
        return kept[plain(node)](nn.functional.pad(x, (left, right, top, bottom)))

    steps = {
        "Conv": conv,
        "Gemm": lambda kept, node, x: kept[plain(node)](x),
        "Clip": lambda _kept, _node, x: nn.functional.relu6(x),
        "Relu": lambda _kept, _node, x: nn.functional.relu(x),
        "Add": lambda _kept, _node, x, other: x + other,
        "GlobalAveragePool": lambda _kept, _node, x: x.mean((2, 3), keepdim=True),
        "Flatten": lambda _kept, _node, x: x.flatten(1),
        "Softmax": lambda _kept, _node, x: x.softmax(1),
    }
    torch.manual_seed(0)
    return Network().eval()


def plain(node):
    """The node's name as PyTorch and Keras allow it."""
    return node.output[0].replace(".", "_").lstrip("_")


def torch_layer(node, weights):
    import torch
    from torch import nn

    kernel, bias = (torch.from_numpy(weights[one].copy()) for one in node.input[1:3])
    said = attributes(node)
    group = said.get("group", 1)
    layer = (
        nn.Conv2d(
            kernel.shape[1] * group,
            kernel.shape[0],
            tuple(kernel.shape[2:]),
            tuple(said["strides"]),
            groups=group,
        )
        if node.op_type == "Conv"
        else nn.Linear(kernel.shape[1], kernel.shape[0])
    )
    layer.weight.data, layer.bias.data = kernel, bias
    return layer


def keras_model(path: Path):
    """The network as a Keras model; images [N, h, w, 3] -> [N, classes]."""
    import keras
    from keras import layers

    graph, weights = load(path)
    sides = [one.dim_value for one in graph.input[0].type.tensor_type.shape.dim]
    images = keras.Input((sides[2], sides[3], sides[1]), name="images")
    values, kept = {"images": images}, []
    simple = {
        "Clip": lambda: layers.ReLU(6.0),
        "Relu": layers.ReLU,
        "GlobalAveragePool": lambda: layers.GlobalAveragePooling2D(keepdims=True),
        "Flatten": layers.Flatten,
        "Softmax": lambda: layers.Softmax(name="probabilities"),
    }
    for node in graph.node:
        given = [values[one] for one in node.input if one in values]
        if node.op_type in {"Conv", "Gemm"}:
            layer, *numbers = keras_layer(node, weights)
            kept.append((layer, numbers))
            made = layer(keras_padding(node)(given[0]) if node.op_type == "Conv" else given[0])
        elif node.op_type == "Add":
            made = layers.Add()(given)
        else:
            made = simple[node.op_type]()(given[0])
        values[node.output[0]] = made
    for layer, numbers in kept:
        layer.set_weights(numbers)
    return keras.Model(images, values["probabilities"])


def keras_padding(node):
    from keras import layers

    top, left, bottom, right = attributes(node)["pads"]
    return layers.ZeroPadding2D(((top, bottom), (left, right)))


def keras_layer(node, weights):
    """A layer, and its kernel in Keras's order and bias, to be set once it is built."""
    from keras import layers

    kernel, bias = weights[node.input[1]], weights[node.input[2]]
    if node.op_type == "Gemm":
        return layers.Dense(len(bias), name=plain(node)), kernel.T, bias
    said = attributes(node)
    size, stride = kernel.shape[2:], tuple(said["strides"])
    if said.get("group", 1) > 1:
        layer = layers.DepthwiseConv2D(size, stride, name=plain(node))
        return layer, kernel.transpose(2, 3, 0, 1), bias
    layer = layers.Conv2D(kernel.shape[0], size, stride, name=plain(node))
    return layer, kernel.transpose(2, 3, 1, 0), bias
