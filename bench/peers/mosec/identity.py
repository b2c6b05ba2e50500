"""Mosec: an identity model over the raw body, one worker process; the tensor travels as bytes."""

import os

import numpy as np
import onnxruntime as ort
from mosec import Server, Worker


class Identity(Worker):
    """Bytes in, the model, bytes out."""

    def __init__(self) -> None:
        super().__init__()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["BENCH_MODEL"], options)

    def deserialize(self, data: bytes) -> np.ndarray:
        """Take the body as the tensor's bytes."""
        return np.frombuffer(data, np.float32).reshape(1, -1)

    def forward(self, data: np.ndarray) -> np.ndarray:
        """Run the model."""
        return self.session.run(None, {"x": data})[0]

    def serialize(self, data: np.ndarray) -> bytes:
        """Answer with the tensor's bytes."""
        return data.tobytes()


if __name__ == "__main__":
    server = Server()
    server.append_worker(Identity, num=1)
    server.run()
