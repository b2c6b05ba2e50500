"""MLServer: a custom runtime behind the V2 protocol, base64 in JSON.

As documented: a custom `MLModel` with an async `predict` and the built-in codecs. Two of its
documented ways to use all cores were measured: `parallel_workers` = cores (a process each), and
none with the blocking work in threads of the one process. The second needs a tenth less processor
time and half the memory, so it stands here. Adaptive batching stays off: it gains nothing on a CPU.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from bench.classifier import CORES, PORT, Classifier
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Classify(MLModel):
    """Decode and infer in threads."""

    async def load(self) -> bool:
        """Load the model."""
        self.classifier, self.pool = Classifier(threads=1), ThreadPoolExecutor(CORES)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Classify the one picture of the request."""
        loop, (jpeg,) = asyncio.get_running_loop(), Base64Codec.decode_input(payload.inputs[0])
        answer = await loop.run_in_executor(self.pool, self.classifier.classify, jpeg)
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                NumpyCodec.encode_output("index", np.array([answer["index"]])),
                NumpyCodec.encode_output("score", np.array([answer["score"]])),
            ],
        )


async def main() -> None:
    """Serve one model."""
    settings = Settings(
        host="127.0.0.1",
        http_port=PORT,
        grpc_port=PORT + 1,
        metrics_port=PORT + 2,
        parallel_workers=0,
        environments_dir=os.environ["TMPDIR"],
        debug=False,
    )
    await MLServer(settings).start([ModelSettings(name="classify", implementation=Classify)])


if __name__ == "__main__":
    asyncio.run(main())
