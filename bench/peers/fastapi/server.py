"""FastAPI on uvicorn: the raw body, classified in a thread per core.

As documented: `uvicorn[standard]` (uvloop, httptools), the body from the `Request`, blocking work
off the event loop in threads. One process whose threads are limited to the cores was as fast as a
process per core (decoders and ONNX Runtime release the interpreter's lock) at half the memory, and
spread 16 connections more evenly.
"""

from typing import Any

import anyio
import uvicorn
from bench.classifier import CORES, PORT, Classifier
from fastapi import FastAPI, Request

app = FastAPI()
classifier = Classifier(threads=1)
cores = anyio.CapacityLimiter(CORES)


@app.post("/predict")
async def predict(request: Request) -> dict[str, Any]:
    """Classify the JPEG in the body."""
    jpeg = await request.body()
    return dict(await anyio.to_thread.run_sync(classifier.classify, jpeg, limiter=cores))


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, access_log=False)
