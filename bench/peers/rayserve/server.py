"""Ray Serve: a replica per core, the raw body.

As documented: `num_replicas` = cores with one CPU each, `RAY_SERVE_THROUGHPUT_OPTIMIZED=1` (see
`servers.py`), no dashboard. 32 requests may wait in a replica, so that it never waits for the
proxy: 4 were a third slower.
"""

import time

import ray
from bench.classifier import CORES, PORT, Answer, Classifier
from ray import serve
from starlette.requests import Request


@serve.deployment(num_replicas=CORES, max_ongoing_requests=32, ray_actor_options={"num_cpus": 1})
class Classify:
    """Decode and infer in a replica."""

    def __init__(self) -> None:
        self.classifier = Classifier(threads=1)

    async def __call__(self, request: Request) -> Answer:
        """Classify the JPEG in the body."""
        return self.classifier.classify(await request.body())


if __name__ == "__main__":
    ray.init(num_cpus=CORES, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    serve.run(Classify.bind(), route_prefix="/")
    while True:
        time.sleep(3600)
