"""Mosec: one stage, a worker process per core, the raw body.

As documented: a `Worker` with its own `deserialize` for raw bytes, `num` processes. One stage,
because a second one for inference only adds a copy of every tensor where all work is the CPU's.
"""

from bench.classifier import CORES, Answer, Classifier
from mosec import Server, Worker


class Classify(Worker):
    """Decode and infer in one process."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = Classifier(threads=1)

    def deserialize(self, data: bytes) -> bytes:
        """Take the body as it is: a JPEG."""
        return data

    def forward(self, data: bytes) -> Answer:
        """Classify one picture."""
        return self.classifier.classify(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Classify, num=CORES)
    server.run()
