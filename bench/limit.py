"""The limit: decode, prepare and infer in as many threads as cores, with no server at all.

Run as `python -m bench.limit --payload FILE...`; prints one JSON object. One ONNX Runtime session
per thread with one thread inside, so that nothing is shared but the cores.
"""

import argparse
import json
import threading
import time
from pathlib import Path
from typing import TypedDict

from bench.classifier import CORES, Classifier
from bench.measure import percentile


class Limit(TypedDict):
    """One measurement: of `threads` threads over `seconds`."""

    threads: int
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    index: int


def measure(classifiers: list[Classifier], jpeg: bytes, seconds: float) -> Limit:
    """Classify `jpeg` over and over, one thread per classifier."""
    index = classifiers[0].classify(jpeg)["index"]
    times: list[list[float]] = [[] for _ in classifiers]
    start = threading.Barrier(len(classifiers) + 1)

    def work(classifier: Classifier, mine: list[float]) -> None:
        classifier.classify(jpeg)
        start.wait()
        before, end = time.perf_counter(), time.perf_counter() + seconds
        while before < end:
            classifier.classify(jpeg)
            now = time.perf_counter()
            mine.append(now - before)
            before = now

    threads = [
        threading.Thread(target=work, args=pair) for pair in zip(classifiers, times, strict=True)
    ]
    for thread in threads:
        thread.start()
    start.wait()
    used = time.process_time()
    for thread in threads:
        thread.join()
    used = time.process_time() - used
    everything = sorted(took * 1e3 for mine in times for took in mine)
    return Limit(
        threads=len(classifiers),
        # Each thread's own rate: the last call of each may end after the others have stopped.
        per_second=sum(len(mine) / sum(mine) for mine in times),
        p50_ms=percentile(everything, 50),
        p99_ms=percentile(everything, 99),
        cpu_ms=used * 1e3 / len(everything),
        index=index,
    )


def main() -> None:
    """Measure each payload with one thread and with all cores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payload", type=Path, nargs="+", required=True)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    classifiers = [Classifier(threads=1) for _ in range(CORES)]
    found = {
        path.stem: {
            "one": measure(classifiers[:1], path.read_bytes(), options.seconds),
            "all": measure(classifiers, path.read_bytes(), options.seconds),
        }
        for path in options.payload
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
