"""The work that every peer's server file does per request; the servers differ around it.

The harness says by the environment which model and which variant: `BENCH_MODEL`, `BENCH_VARIANT`
(a key of `decoder.DECODERS`), and on which port of 127.0.0.1: `BENCH_PORT`.
"""

import os
from collections.abc import Sequence
from typing import TypedDict, cast

import numpy as np
import onnxruntime as ort

from bench.decoder import DECODERS, Tensor

PORT = int(os.environ.get("BENCH_PORT", "8000"))
VARIANT = os.environ.get("BENCH_VARIANT", "documented")
CORES = len(os.sched_getaffinity(0))


class Answer(TypedDict):
    """What a client gets back."""

    index: int
    score: float


class Classifier:
    """An ONNX Runtime session and a decoder; safe to share between threads."""

    def __init__(self, threads: int = 1) -> None:
        """Load the model.

        Args:
            threads: ONNX Runtime's threads per call: 1 where the server itself keeps every core
                busy (workers, replicas, a thread pool), all cores where one worker does it all.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(
            os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self.tensor = DECODERS[VARIANT]

    def infer(self, tensors: Sequence[Tensor]) -> list[Answer]:
        """Run one batch."""
        outputs = self._session.run(None, {"images": np.stack(tensors)})
        probabilities = cast("Tensor", outputs[0])
        best = np.argmax(probabilities, axis=1)
        return [
            Answer(index=int(index), score=float(row[index]))
            for row, index in zip(probabilities, best, strict=True)
        ]

    def classify(self, jpeg: bytes) -> Answer:
        """One picture from bytes to answer."""
        return self.infer([self.tensor(jpeg)])[0]
