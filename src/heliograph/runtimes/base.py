"""The Runner protocol: arrays in, arrays out, callable from several threads at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
"""Tensors by name; the first axis of each is the batch, unless its `Tensor` has no such axis.

Byte strings are arrays of dtype object with `bytes` in them. numpy has no bfloat16: a tensor whose
`Tensor.dtype` says so travels as float32, which holds every bfloat16 exactly.
"""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a model.

    Attributes:
        name: as the model's author called it.
        dtype: numpy's name of the element type, e.g. `float32`; `object` for byte strings, and
            `bfloat16`, whose arrays are float32.
        shape: sizes with the batch axis first; -1 where any size is taken; empty for a scalar.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a model runs on this machine; see `runtimes/tune.py` for where it comes from.

    Attributes:
        engine: a key of `runtimes.engines.ENGINES`.
        threads: threads inside one run.
        instances: runs at the same time.
        max_batch: most pictures in one run; 1 unless batching was measured to help.
        max_wait_ms: how long a batch that is not full waits for more once an instance is free.
        wide: threads of a second copy that runs a call which is alone in its lane, so that a
            single caller has all cores; 0 for none. It costs the weights once more.
        reason: why this plan, in a sentence, with its evidence.
    """

    engine: str
    threads: int = 1
    instances: int = 1
    max_batch: int = 1
    max_wait_ms: float = 0.0
    wide: int = 0
    reason: str = "the default: one thread a run, one run a core, no batching until measured"


class Runner(Protocol):
    """A loaded model. `run` may be called from `plan.instances` threads at once."""

    @property
    def platform(self) -> str:
        """What runs the model, in the words of the Open Inference Protocol.

        For example `onnxruntime_onnx`, `openvino_ir`, `tensorflow_savedmodel`, `pytorch_pt2`.
        """
        ...

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """The model's inputs."""
        ...

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """The model's outputs."""
        ...

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        """Run one batch.

        Args:
            feeds: every input by name; all share the size of their first axis.

        Returns:
            Every output by name, freshly allocated, of the same first axis.
        """
        ...

    def memory(self) -> int:
        """Bytes that closing it gives back, as far as that can be measured; 0 if it cannot."""
        ...

    def close(self) -> None:
        """Give everything back; nothing runs any more and nothing will. Twice is as once."""
        ...
