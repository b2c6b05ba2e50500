"""MLServer: an identity model behind the V2 protocol, in the server's own process (its fastest)."""

import asyncio
import os

import onnxruntime as ort
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

PORT = int(os.environ["BENCH_PORT"])


class Identity(MLModel):
    """A tensor in, the model, a tensor out."""

    async def load(self) -> bool:
        """Load the model."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["BENCH_MODEL"], options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Run the model."""
        tensor = NumpyCodec.decode_input(payload.inputs[0])
        answer = self.session.run(None, {"x": tensor})[0]
        return InferenceResponse(
            model_name=self.name, outputs=[NumpyCodec.encode_output("y", answer)]
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
    await MLServer(settings).start([ModelSettings(name="identity", implementation=Identity)])


if __name__ == "__main__":
    asyncio.run(main())
