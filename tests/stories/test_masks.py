"""Stories of masks and vectors: models of these tasks behind a real server, and a client."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import ModelProto, helper
from PIL import Image

import heliograph
from heliograph.vision.picture import Pixels
from support import models, pictures
from support.server import Server, running

LABELS = ("red", "green", "blue")


def package(home: Path, name: str, made: ModelProto, **table: Any) -> None:
    folder = home / "models" / name
    folder.mkdir(parents=True)
    models.save(made, folder / "model.onnx")
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n", "utf-8")
    weights = {"file": "model.onnx", "sha256": digest}
    models.write_card(folder, models.card(name, weights=weights, **table))


def channels(side: int = 16) -> ModelProto:
    """The picture's own channels at a stride of 2, as if they were scores of three classes."""
    node = helper.make_node("AveragePool", ["images"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    given = models.floats("images", "N", 3, side, side)
    return models.model([node], given, models.floats("y", "N", 3, side // 2, side // 2))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("masks")
    inputs = {"name": "images", "width": 16, "height": 16, "std": [255.0], "fit": "contain"}
    package(
        home, "colours", channels(), task="segmentation", input=inputs,
        output={"decoder": "class-scores", "threshold": 0.5},
    )  # fmt: skip
    models.colour_package(home, "point", task="embedding", output={"decoder": "embedding"})
    same = models.model(
        [helper.make_node("Identity", ["images"], ["y"])],
        models.floats("images", "N", 3, "h", "w"),
        models.floats("y", "N", 3, "h", "w"),
    )
    package(
        home, "same", same, task="enhancement", input={"name": "images", "std": [255.0]},
        output={"decoder": "picture"},
    )  # fmt: skip
    log = tmp_path_factory.mktemp("masks-log") / "stderr"
    with running(home, "--open", "--models", "colours,point,same", stderr=log) as server:
        yield server


def halves() -> Pixels:
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, :32, 0] = pixels[:, 32:, 2] = 255
    return pixels


def test_classes_of_pixels(asked: Server) -> None:
    with heliograph.Client(asked.address) as client:
        found = client.segment(halves())
        assert [one.label for one in found.result.segments] == ["red", "blue"]
        classes = found.result.class_map()
        assert classes.shape == (48, 64)
        assert (classes[:, :28] == 0).all()
        assert (classes[:, 36:] == 2).all()
        assert found.predictions[0]["share"] == pytest.approx(0.5, abs=0.05)
        assert np.asarray(found.draw()).shape == (48, 64, 3)
        only = client.segment(halves(), classes="blue")
        assert [one.label for one in only.result.segments] == ["blue"]


def test_vectors(asked: Server) -> None:
    with heliograph.Client(asked.address) as client:
        red, darker, blue = (
            client.embed(pictures.plain(colour)).result.vector
            for colour in (pictures.RED, (200, 40, 40), pictures.BLUE)
        )
    assert red @ darker > red @ blue
    assert red @ red == pytest.approx(1)


def test_an_enhanced_picture(asked: Server) -> None:
    with heliograph.Client(asked.address) as client:
        found = client.enhance(halves())
    assert np.array_equal(np.asarray(found.draw()), halves())
    assert found.result.scale == 1
    reply = httpx.post(f"{asked.address}/api/v1/enhance", content=pictures.file(halves()))
    assert reply.headers["content-type"] == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(reply.content))), halves())


def test_an_overlay_as_a_picture(asked: Server) -> None:
    reply = httpx.post(
        f"{asked.address}/api/v1/segment",
        params={"format": "png"},
        content=pictures.file(halves()),
    )
    assert reply.status_code == 200, reply.text
    assert Image.open(io.BytesIO(reply.content)).size == (64, 48)
    refused = httpx.post(
        f"{asked.address}/api/v1/segment",
        params={"classes": "pink"},
        content=pictures.file(halves()),
    )
    assert refused.json()["code"] == "validation"
