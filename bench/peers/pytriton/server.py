"""PyTriton: Triton's HTTP front end, the picture as one BYTES element of the binary protocol.

As documented: one inference callable per instance, an instance per core, Triton's dynamic batcher
in front. Batches of at most 4 cost least (fewer trips between Triton and Python); the batcher does
not wait for more to come. gRPC and metrics are off, as nobody asks them.
"""

import os
from pathlib import Path

import numpy as np
from bench.classifier import CORES, PORT, Classifier
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


class Instance:
    """One of Triton's instances of the model."""

    def __init__(self) -> None:
        self.classifier = Classifier(threads=1)

    @batch
    def __call__(self, image: NDArray[np.object_]) -> dict[str, NDArray[np.generic]]:
        """Classify a batch of JPEGs, [N, 1]."""
        answers = self.classifier.infer([self.classifier.tensor(row[0]) for row in image])
        return {
            "index": np.array([[answer["index"]] for answer in answers], np.int64),
            "score": np.array([[answer["score"]] for answer in answers], np.float32),
        }


if __name__ == "__main__":
    config = TritonConfig(
        http_address="127.0.0.1", http_port=PORT, allow_grpc=False, allow_metrics=False
    )
    with Triton(config=config, workspace=Path(os.environ["TMPDIR"], "triton")) as triton:
        triton.bind(
            model_name="classify",
            infer_func=[Instance() for _ in range(CORES)],
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[
                Tensor(name="index", dtype=np.int64, shape=(1,)),
                Tensor(name="score", dtype=np.float32, shape=(1,)),
            ],
            config=ModelConfig(max_batch_size=4, batcher=DynamicBatcher()),
            strict=False,
        )
        triton.serve()
