"""Which library decodes a JPEG fastest, at full size and scaled to what a 224-pixel model needs.

    python -m bench.decoders --data ../shared/data

Each decoder runs in one thread, interleaved with the others, and the median of the rounds counts.
A library that is not installed is named as missing. Writes `bench/results/decoders.md`.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from bench.machine import line as machine

ROUNDS = 15
NEED = 256
Decode = Callable[[bytes], np.ndarray]


def simplejpeg_full(data: bytes) -> np.ndarray:
    import simplejpeg

    return simplejpeg.decode_jpeg(data)


def simplejpeg_scaled(data: bytes) -> np.ndarray:
    import simplejpeg

    height, width = simplejpeg.decode_jpeg_header(data)[:2]
    scale = next((s for s in (8, 4, 2) if min(height, width) // s >= NEED), 1)
    return simplejpeg.decode_jpeg(
        data, min_height=-(-height // scale), min_width=-(-width // scale), min_factor=scale
    )


def simplejpeg_any_eighth(data: bytes) -> np.ndarray:
    import simplejpeg

    return simplejpeg.decode_jpeg(data, min_height=NEED, min_width=NEED)


def turbojpeg_full(data: bytes) -> np.ndarray:
    return _turbo().decode(data)


def turbojpeg_scaled(data: bytes) -> np.ndarray:
    width, height = _turbo().decode_header(data)[:2]
    scale = next((s for s in (8, 4, 2) if min(height, width) // s >= NEED), 1)
    return _turbo().decode(data, scaling_factor=(1, scale))


_found: list[object] = []


def _turbo():
    if not _found:
        from turbojpeg import TurboJPEG

        _found.append(TurboJPEG())
    return _found[0]


def opencv_full(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def opencv_scaled(data: bytes) -> np.ndarray:
    import simplejpeg

    height, width = simplejpeg.decode_jpeg_header(data)[:2]
    scale = next((s for s in (8, 4, 2) if min(height, width) // s >= NEED), 1)
    flag = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }[scale]
    return cv2.imdecode(np.frombuffer(data, np.uint8), flag)


def pyvips_full(data: bytes) -> np.ndarray:
    import pyvips

    return pyvips.Image.new_from_buffer(data, "").numpy()


def pyvips_scaled(data: bytes) -> np.ndarray:
    import pyvips

    return pyvips.Image.thumbnail_buffer(data, 10_000, height=NEED, no_rotate=True).numpy()


def pillow_full(data: bytes) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def pillow_scaled(data: bytes) -> np.ndarray:
    from PIL import Image

    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (NEED, NEED))
    return np.asarray(image.convert("RGB"))


DECODERS: tuple[Decode, ...] = (
    simplejpeg_full,
    turbojpeg_full,
    opencv_full,
    pyvips_full,
    pillow_full,
    simplejpeg_scaled,
    simplejpeg_any_eighth,
    turbojpeg_scaled,
    opencv_scaled,
    pyvips_scaled,
    pillow_scaled,
)


def payloads(folder: Path) -> dict[str, bytes]:
    photo = cv2.imread(str(folder / "photos" / "rome.jpg"))
    sizes = {"640x480": (640, 480), "1280x960": (1280, 960), "4000x3000": (4000, 3000)}
    return {
        name: cv2.imencode(".jpg", cv2.resize(photo, size), [cv2.IMWRITE_JPEG_QUALITY, 90])[
            1
        ].tobytes()
        for name, size in sizes.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    files = payloads(chosen.data)
    times: dict[tuple[str, str], list[float]] = {}
    missing: dict[str, str] = {}
    for _ in range(ROUNDS):
        for name, data in files.items():
            for decode in DECODERS:
                if decode.__name__ in missing:
                    continue
                began = time.perf_counter()
                try:
                    decode(data)
                except (ImportError, OSError, RuntimeError) as error:
                    missing[decode.__name__] = type(error).__name__
                    continue
                times.setdefault((decode.__name__, name), []).append(time.perf_counter() - began)
    lines = [
        f"Milliseconds to decode, one thread, median of {ROUNDS} interleaved rounds. {machine()}",
        "",
        "| decoder | " + " | ".join(files) + " |",
        "| --- |" + " --: |" * len(files),
    ]
    for decode in DECODERS:
        label = decode.__name__.replace("_", " ")
        if decode.__name__ in missing:
            lines.append(f"| {label} | not installed ({missing[decode.__name__]}) |" + " |" * 2)
            continue
        cells = [f"{statistics.median(times[decode.__name__, name]) * 1e3:.2f}" for name in files]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    text = "\n".join(lines) + "\n"
    print(text)
    (Path(__file__).parent / "results" / "decoders.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
