"""PyTorch: exported programs (`.pt2`) and, where an operator allows it, TorchScript.

An exported program is data and is read as such, see `runtimes/pt2.py`. TorchScript is a program in
a language of its own, kept with pickles: it is refused unless `unsafe` says otherwise, and then it
belongs behind the wall of `runtimes/host.py`. Runs on CUDA where PyTorch finds it, else on the CPU.
"""

# PyTorch is an extra: the types may be checked where it is not installed.
# pyright: reportMissingImports=false, reportUnknownParameterType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Arrays, Plan, Tensor
from heliograph.runtimes.pt2 import read_program
from heliograph.runtimes.pt2graph import DTYPES
from heliograph.runtimes.resident import resident

SIGNATURE = "signature.json"
"""Beside a TorchScript file: its tensors, which the file itself does not tell."""

_TORCH = {name: kind for kind, name in DTYPES.values()}
_Call = Callable[[Sequence[torch.Tensor]], Sequence[torch.Tensor]]


class TorchRunner:
    """A model file run by PyTorch.

    Args:
        path: a `.pt2` archive, or a TorchScript archive with a `signature.json` beside it:
            `{"inputs": [{"name", "dtype", "shape"}, …], "outputs": […]}`.
        plan: `threads` holds for each thread that calls `run`.
        unsafe: whether TorchScript may be loaded.

    Attributes:
        device: where it runs, `cuda` or `cpu`.
    """

    def __init__(self, path: Path, plan: Plan, *, unsafe: bool = False) -> None:
        before = resident()
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._threads, self._local = plan.threads, threading.local()
        self._call: _Call | None
        match kind_of(path):
            case "pt2":
                program = read_program(path, self.device)
                self.inputs, self.outputs = program.inputs, program.outputs
                self.platform, self._call = "pytorch_pt2", program.run
            case "torchscript" if unsafe:
                self.inputs, self.outputs = read_signature(path)
                self.platform = "pytorch_libtorch"
                self._call = _scripted(path, self.device, self.outputs)
            case kind:
                raise HeliographError(
                    Code.UNSAFE_FORMAT,
                    f"A {kind} can run anything and is refused. Export the model with "
                    "torch.export.save (.pt2) or as ONNX"
                    + (", or let the operator allow unsafe models." * (kind == "torchscript")),
                )
        self._memory = resident() - before

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """See `Runner.run`."""
        if self._call is None:
            raise RuntimeError("the runner is closed; this is a bug")
        self._settle()
        with torch.inference_mode():
            given = [self._given(one, feeds[one.name]) for one in self.inputs]
            found = self._call(given)
            return {
                one.name: _array(tensor) for one, tensor in zip(self.outputs, found, strict=True)
            }

    def memory(self) -> int:
        """See `Runner.memory`: what the process grew by while loading."""
        return max(0, self._memory)

    def close(self) -> None:
        """See `Runner.close`."""
        self._call = None
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def _settle(self) -> None:
        """PyTorch keeps the number of threads for each calling thread."""
        if not getattr(self._local, "settled", False):
            torch.set_num_threads(self._threads)
            self._local.settled = True

    def _given(self, tensor: Tensor, array: NDArray[Any]) -> torch.Tensor:
        # PyTorch shares numpy's memory and warns where it may not write.
        flat = np.require(array, requirements=["C", "W"]).reshape(array.shape)
        made = torch.from_numpy(flat)
        wanted = _TORCH[tensor.dtype]
        return made.to(self.device, wanted) if tensor.dtype == "bfloat16" else made.to(self.device)


def kind_of(path: Path) -> str:
    """What a PyTorch file is, by its content: `pt2`, `torchscript` or `pickle`.

    Raises:
        HeliographError: `model_format` if it is none of them.
    """
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            # A pickle of protocol 2 or later says so in its first byte.
            if file.read(1) == b"\x80":
                return "pickle"
        raise HeliographError(
            Code.MODEL_FORMAT, "The file is neither an exported program nor TorchScript."
        )
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if sum(name.endswith("/models/model.json") for name in names) == 1:
        return "pt2"
    return "torchscript" if any("/code/" in name for name in names) else "pickle"


def read_signature(path: Path) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The inputs and outputs told beside a file that does not tell them itself.

    Raises:
        HeliographError: `model_invalid` with what is wanted.
    """
    try:
        said = json.loads((path.parent / SIGNATURE).read_text("utf-8"))
        inputs, outputs = (
            tuple(
                Tensor(str(one["name"]), str(one["dtype"]), tuple(map(int, one["shape"])))
                for one in said[side]
            )
            for side in ("inputs", "outputs")
        )
        # A dtype that PyTorch has not is a KeyError here.
        _ = [_TORCH[one.dtype] for one in (*inputs, *outputs)]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise HeliographError(
            Code.MODEL_INVALID,
            f"TorchScript does not tell its tensors: {SIGNATURE!r} beside it must, as "
            '{"inputs": [{"name": "x", "dtype": "float32", "shape": [-1, 3, 224, 224]}], '
            '"outputs": [...]}.',
        ) from error
    return inputs, outputs


def _scripted(path: Path, device: str, outputs: Sequence[Tensor]) -> _Call:
    module: Any = torch.jit.load(str(path), map_location=device)  # pyright: ignore[reportPrivateImportUsage]
    module.eval()
    names = [one.name for one in outputs]

    def call(given: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        found = module(*given)
        if isinstance(found, dict):
            return [found[name] for name in names]
        several = isinstance(found, tuple | list)
        return cast("Sequence[torch.Tensor]", found if several else [found])

    return call


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    plain = tensor.detach()
    if plain.dtype is torch.bfloat16:
        plain = plain.float()
    # A copy: what comes out may be an input or a weight itself.
    return np.array(plain.cpu().numpy(), order="C")
