"""Reading an `ExportedProgram` (`.pt2`) as data, and running it, without `torch.export.load`.

PyTorch's own loader may unpickle (example inputs, tensor subclasses), evaluates shape expressions
with sympy, imports modules that the file names and compiles guards as Python. A model from
elsewhere must do none of this. The archive's graph is JSON and its weights are raw bytes, so this
module reads both, and `runtimes/pt2graph.py` calls the operators.

Covered: nothing in the file is unpickled, evaluated, imported or compiled; operators come from a
closed list of namespaces; weights lie inside their bytes. Not covered: what an operator does with
hostile numbers (it runs behind the wall of `runtimes/host.py`), and programs with pickled tensors,
custom objects, changing state or control flow, which are refused by name.

Source of the layout: `torch/_export/serde/schema.py` (schema 8) of PyTorch 2.9-2.13.
"""

# PyTorch is an extra: the types may be checked where it is not installed.
# pyright: reportMissingImports=false, reportUnknownParameterType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Tensor
from heliograph.runtimes.pt2graph import Step, dtype_of, invalid, read_steps, run_steps, written

_SCHEMA = 8
_MODEL = "models/model.json"
_WEIGHTS = "data/weights/", "model_weights_config.json"
_CONSTANTS = "data/constants/", "model_constants_config.json"
_KEPT = {
    "parameter": "parameter_name",
    "buffer": "buffer_name",
    "tensor_constant": "tensor_constant_name",
}


@dataclass(frozen=True, slots=True)
class Program:
    """A program that was read.

    Attributes:
        inputs: in the order that `run` takes them.
        outputs: in the order that `run` gives them.
        feeds: names of the inputs in the graph.
        answers: names of the outputs in the graph.
        steps: the operators.
        kept: weights by their name in the graph.
        written: inputs that the graph writes to in place: it gets copies of them.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    feeds: tuple[str, ...]
    answers: tuple[str, ...]
    steps: tuple[Step, ...]
    kept: Mapping[str, torch.Tensor]
    written: frozenset[str]

    def run(self, given: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Run every operator in order.

        Args:
            given: one tensor for each of `inputs`, on the device that the program was read for.
        """
        values: dict[str, Any] = dict(self.kept)
        for name, one in zip(self.feeds, given, strict=True):
            values[name] = one.clone() if name in self.written else one
        run_steps(self.steps, values)
        return [values[name] for name in self.answers]


def read_program(path: Path, device: str) -> Program:
    """Read a `.pt2` archive and put its weights on a device.

    Args:
        path: the file, as `torch.export.save` writes it.
        device: `cpu` or `cuda`.

    Raises:
        HeliographError: `unsafe_format` if it holds pickled tensors or native code,
            `model_op_forbidden` for an operator that is not on the list, `model_invalid` if it is
            damaged or of another schema.
    """
    with zipfile.ZipFile(path) as archive:
        folder = _folder(archive)
        said = json.loads(archive.read(f"{folder}{_MODEL}"))
        if said["schema_version"]["major"] != _SCHEMA:
            raise invalid(
                f"its schema is {said['schema_version']['major']}, expected {_SCHEMA}: save it "
                "again with torch.export.save of PyTorch 2.9 or newer"
            )
        weights = _payload(archive, folder, *_WEIGHTS, device)
        constants = _payload(archive, folder, *_CONSTANTS, device)
    return _program(said["graph_module"], {**weights, **constants}, device)


def _folder(archive: zipfile.ZipFile) -> str:
    names = archive.namelist()
    for one in archive.infolist():
        # PyTorch stores; a compressed entry could unfold to any size.
        if one.compress_type != zipfile.ZIP_STORED:
            raise invalid("its archive is compressed, which torch.export.save does not do")
    if any("/aotinductor/" in name or name.endswith(".so") for name in names):
        raise HeliographError(
            Code.UNSAFE_FORMAT, "The .pt2 file holds compiled native code; export the program only."
        )
    (folder,) = (name.removesuffix(_MODEL) for name in names if name.endswith(_MODEL))
    order = f"{folder}byteorder"
    if order in names and archive.read(order) != b"little":
        raise invalid("it was saved on a big-endian machine")
    return folder


def _payload(
    archive: zipfile.ZipFile, folder: str, within: str, config: str, device: str
) -> dict[str, torch.Tensor]:
    """The tensors of one section by name; tensors that share bytes share memory."""
    files: dict[str, torch.Tensor] = {}
    found: dict[str, torch.Tensor] = {}
    for name, one in json.loads(archive.read(f"{folder}{within}{config}"))["config"].items():
        meta = one["tensor_meta"]
        if one["use_pickle"] or meta is None:
            raise HeliographError(
                Code.UNSAFE_FORMAT,
                f"The tensor {name!r} of the .pt2 file is pickled, and a pickle can run anything; "
                "export the model with plain tensors.",
            )
        dtype = dtype_of(meta["dtype"])[0]
        path = str(one["path_name"])
        if path not in files:
            raw = bytearray(archive.read(f"{folder}{within}{path}"))
            empty = torch.empty(0, dtype=torch.uint8)
            files[path] = (torch.frombuffer(raw, dtype=torch.uint8) if raw else empty).to(device)
        # as_strided refuses what reaches behind the end of the bytes.
        found[name] = torch.as_strided(
            files[path].view(dtype),
            [_whole(size) for size in meta["sizes"]],
            [_whole(step) for step in meta["strides"]],
            _whole(meta["storage_offset"]),
        )
    return found


def _program(module: Any, tensors: Mapping[str, torch.Tensor], device: str) -> Program:
    signature, metas = module["signature"], module["graph"]["tensor_values"]
    kept, feeds = _entries(signature["input_specs"], tensors)
    leaves = _exits(signature["output_specs"])
    named = zip(_names(module, len(leaves)), leaves, strict=True)
    answers = {name: one for name, one in named if one is not None}
    steps = read_steps(module["graph"], set(answers.values()), device)
    changed = written(module["graph"], {*kept, *feeds})
    if changed & set(kept):
        raise invalid("it changes its own weights: export the model for inference, in eval mode")
    return Program(
        inputs=tuple(_tensor(name, metas[name]) for name in feeds),
        outputs=tuple(_tensor(name, metas[one]) for name, one in answers.items()),
        feeds=tuple(feeds),
        answers=tuple(answers.values()),
        steps=steps,
        kept=kept,
        written=frozenset(changed),
    )


def _entries(
    specs: Sequence[Any], tensors: Mapping[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Weights by their name in the graph, and the names of the inputs."""
    kept: dict[str, torch.Tensor] = {}
    feeds: list[str] = []
    for spec in specs:
        ((kind, one),) = spec.items()
        if kind in _KEPT:
            kept[one["arg"]["name"]] = tensors[one[_KEPT[kind]]]
        elif kind == "user_input" and "as_tensor" in one["arg"]:
            feeds.append(one["arg"]["as_tensor"]["name"])
        elif kind not in {"user_input", "constant_input"}:
            raise invalid(f"it takes a {kind}, which is not a tensor")
    return kept, feeds


def _exits(specs: Sequence[Any]) -> list[str | None]:
    """The names of the answers in the graph; None where the model answers None."""
    answers: list[str | None] = []
    for spec in specs:
        ((kind, one),) = spec.items()
        if kind != "user_output":
            raise invalid(f"it has a {kind}: export the model for inference, in eval mode")
        arg = one["arg"]
        if "as_tensor" not in arg and "as_none" not in arg:
            raise invalid("it answers something that is not a tensor")
        answers.append(arg["as_tensor"]["name"] if "as_tensor" in arg else None)
    return answers


def _names(module: Any, count: int) -> list[str]:
    """Names of the outputs: the keys of the dict that the model returns, else `output_0` and so on.

    The name in the graph is that of the last operator, which says nothing and changes with it.
    """
    calls = [one for one in module["module_call_graph"] if one["fqn"] == ""]
    spec = json.loads(calls[0]["signature"]["out_spec"])[1] if calls else None
    leaves = _leaves(spec, "") if spec else []
    if len(leaves) != count or not all(leaves) or len(set(leaves)) != count:
        leaves = ["output"] if count == 1 else [f"output_{number}" for number in range(count)]
    return leaves


def _leaves(spec: Any, path: str) -> list[str]:
    """The path of each leaf of a serialised tree: keys and positions, joined by dots."""
    if spec["type"] is None:
        return [path]
    children = spec["children_spec"]
    keys = [f"{number}" if path else f"output_{number}" for number in range(len(children))]
    if spec["type"] in {"builtins.dict", "collections.OrderedDict"}:
        context = json.loads(spec["context"]) if isinstance(spec["context"], str) else None
        keys = [str(one) for one in context] if isinstance(context, list) else keys
    return [
        leaf
        for key, child in zip(keys, children, strict=True)
        for leaf in _leaves(child, f"{path}.{key}" if path else key)
    ]


def _tensor(name: str, meta: Any) -> Tensor:
    shape = tuple(int(size["as_int"]) if "as_int" in size else -1 for size in meta["sizes"])
    return Tensor(name, dtype_of(meta["dtype"])[1], shape)


def _whole(size: Any) -> int:
    if "as_int" not in size:
        raise invalid("the size of a weight is not a number")
    return int(size["as_int"])
