"""LitServe: a worker process per core, base64 in JSON as its image tutorial has it.

As documented: `workers_per_device` = cores on a CPU, `fast_queue` (ZeroMQ) for more than 100
requests/s (measured: it helps). One API server: two were no faster here. The raw body is not an
option, as LitServe itself parses JSON or a form.
"""

import base64
from typing import Any

import litserve
from bench.classifier import CORES, PORT, Answer, Classifier


class ClassifyAPI(litserve.LitAPI):
    """Decode and infer in a worker."""

    def setup(self, device: str) -> None:
        """Load the model in the worker."""
        del device
        self.classifier = Classifier(threads=1)

    def decode_request(self, request: dict[str, str]) -> bytes:
        """The picture's bytes."""
        return base64.b64decode(request["image_data"])

    def predict(self, jpeg: bytes) -> Answer:
        """Classify one picture."""
        return self.classifier.classify(jpeg)

    def encode_response(self, output: Answer) -> dict[str, Any]:
        """As it is."""
        return dict(output)


if __name__ == "__main__":
    server = litserve.LitServer(
        ClassifyAPI(), accelerator="cpu", workers_per_device=CORES, fast_queue=True
    )
    server.run(
        host="127.0.0.1",
        port=PORT,
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
