"""The Python client against a real server, and against servers that misbehave."""

from __future__ import annotations

import asyncio
import io
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import heliograph
from heliograph.client import (
    ApiError,
    BadReplyError,
    OutOfTimeError,
    Prediction,
    UnreachableError,
)
from heliograph.vision.decode import decode
from heliograph.vision.tasks.classification import Classes
from heliograph.vision.tasks.detection import Detections
from support.server import Server
from support.stub import Said, answering

BUSY = b'{"code": "overloaded", "detail": "All seats are taken.", "retry_after": 0.1}'
MODELS = b'{"models": [{"name": "ssd"}]}'


@pytest.fixture
def client(server: Server) -> Iterator[heliograph.Client]:
    with heliograph.Client(server.address, timeout=60) as one:
        yield one


@pytest.fixture
def pets(photos: Path) -> Path:
    return photos / "pets.jpg"


def labels(answer: Prediction[Any]) -> list[str]:
    return [one["label"] for one in answer.predictions]


# --- every call, on real photos -------------------------------------------------------------------


def test_detect_finds_the_two_dogs(client: heliograph.Client, pets: Path, tmp_path: Path) -> None:
    answer = client.detect(pets, min_score=0.5)
    assert labels(answer) == ["dog", "dog"]
    assert answer.result.boxes.shape == (2, 4)
    assert (answer.task, answer.model) == ("detection", "ssd-mobilenet-v2-coco")
    assert answer.size == (512, 430)
    assert answer.id.startswith("pred_")
    assert answer.timings_ms["total"] > 0
    assert answer.picture == pets.read_bytes()
    drawn = np.asarray(answer.draw())
    assert drawn.shape == (430, 512, 3)
    assert not np.array_equal(drawn, decode(pets.read_bytes()).pixels)
    with Image.open(answer.save(tmp_path / "pets.webp")) as image:
        assert image.size == (512, 430)
    assert client.detect(pets, top_k=1).predictions == answer.predictions[:1]


def test_a_picture_may_come_in_every_form(client: heliograph.Client, pets: Path) -> None:
    data = pets.read_bytes()
    expected = client.detect(pets).predictions
    for same in (str(pets), data, bytearray(data), io.BytesIO(data)):
        assert client.detect(same).predictions == expected
    pixels = decode(data).pixels
    with Image.open(pets) as image:
        for alike in (pixels, Image.fromarray(pixels), image):
            boxes = client.detect(alike).result.boxes
            assert boxes == pytest.approx(client.detect(pixels).result.boxes, abs=4)
            assert len(boxes) == len(expected)


def test_classify_names_the_dog(client: heliograph.Client, photos: Path) -> None:
    answer = client.classify(photos / "dog.jpg", top_k=3)
    assert len(answer.result.labels) == 3
    assert list(answer.result.scores) == sorted(answer.result.scores, reverse=True)
    assert client.classify(photos / "dog.jpg", min_score=1.0).predictions == []


def test_keypoints_finds_a_person(client: heliograph.Client, photos: Path) -> None:
    answer = client.keypoints(photos / "kite_and_cold.jpg", min_score=0.1)
    people, points = answer.result.scores.shape
    assert (people, points) == (1, 17)
    assert answer.draw().size == tuple(answer.size)


def test_edges_have_the_size_of_the_photo(client: heliograph.Client, pets: Path) -> None:
    answer = client.edges(pets, method="canny", low=50, high=150, blur=1.0)
    assert answer.result.strength.shape == (430, 512)
    assert 0 < answer.result.edge_fraction < 0.5
    assert answer.draw().size == (512, 430)


def test_process_returns_the_file_that_was_asked_for(
    client: heliograph.Client, pets: Path, tmp_path: Path
) -> None:
    answer = client.process(pets, "grayscale,resize:320,jpeg:70")
    height, width = answer.result.pixels.shape[:2]
    assert (width, height) == (320, 269)
    assert np.ptp(answer.result.pixels.astype(int), axis=2).max() == 0
    assert answer.save(tmp_path / "small.jpg").read_bytes() == answer.result.encode().data


def test_predict_asks_a_model_by_name_or_by_task(client: heliograph.Client, pets: Path) -> None:
    named = client.predict(pets, "ssd-mobilenet-v2-coco", version="1", min_score=0.9)
    assert isinstance(named.result, Detections)
    assert named.predictions == client.predict(pets, min_score=0.9).predictions
    assert isinstance(client.predict(pets, task="classification").result, Classes)


def test_models_and_their_cards(client: heliograph.Client) -> None:
    models = {one.name: one for one in client.models()}
    assert models["ssd-mobilenet-v2-coco"].default
    card = client.model("ssd-mobilenet-v2-coco")
    assert (card.task, card.state) == ("detection", "ready")
    assert "dog" in card.labels
    assert client.ready()


def test_a_notebook_shows_the_drawn_picture(client: heliograph.Client, pets: Path) -> None:
    answer = client.detect(pets)
    png = answer._repr_png_()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert np.array_equal(decode(png).pixels, np.asarray(answer.draw()))
    assert "<td>dog</td>" in answer._repr_html_()


# --- many pictures --------------------------------------------------------------------------------


def test_many_come_back_in_order_and_fail_alone(client: heliograph.Client, photos: Path) -> None:
    files = sorted(photos.glob("*.jpg"))
    asked: list[Any] = [*files, b"not a picture", photos / "missing.jpg", 7, *files[:2]]
    answers = client.predict_many(iter(asked), min_score=0.5, at_once=4)
    assert len(answers) == len(asked)
    alone = [client.detect(one, min_score=0.5).predictions for one in files[:2]]
    first, last = answers[:2], answers[-2:]
    assert [one.predictions for one in first if isinstance(one, Prediction)] == alone
    assert [one.predictions for one in last if isinstance(one, Prediction)] == alone
    broken, missing, wrong = answers[len(files) : len(files) + 3]
    assert isinstance(broken, ApiError)
    assert broken.status in {400, 415}
    assert isinstance(missing, FileNotFoundError)
    assert isinstance(wrong, TypeError)
    assert isinstance(answers[0], Prediction)
    assert answers[0].picture == files[0]
    assert answers[0].draw().size == tuple(answers[0].size)


def test_the_async_client_gives_the_same_answers_at_the_same_time(
    server: Server, client: heliograph.Client, photos: Path, pets: Path
) -> None:
    async def ask() -> tuple[list[Prediction[Any]], list[Any], list[str]]:
        async with heliograph.AsyncClient(server.address, timeout=60) as asking:
            assert await asking.ready()
            answers = await asyncio.gather(
                asking.detect(pets),
                asking.classify(pets),
                asking.keypoints(pets),
                asking.edges(pets),
                asking.process(pets, "grayscale,resize:32,png"),
                asking.predict(pets, "ssd-mobilenet-v2-coco"),
            )
            many = await asking.predict_many([pets, b"not a picture", pets], at_once=2)
            card = await asking.model("edges")
            return list(answers), many, [one.name for one in await asking.models()] + [card.name]

    answers, many, names = asyncio.run(ask())
    same = [
        client.detect(pets), client.classify(pets), client.keypoints(pets), client.edges(pets),
        client.process(pets, "grayscale,resize:32,png"), client.detect(pets),
    ]  # fmt: skip
    assert [one.predictions for one in answers] == [one.predictions for one in same]
    assert [type(one).__name__ for one in many] == ["Prediction", "ApiError", "Prediction"]
    assert names == [one.name for one in client.models()] + ["edges"]


# --- refusals -------------------------------------------------------------------------------------


def test_without_the_right_key_nobody_is_let_in(keyed_server: Server, pets: Path) -> None:
    for wrong in ("", "hg_wrong"):
        with (
            heliograph.Client(keyed_server.address, key=wrong) as client,
            pytest.raises(ApiError) as caught,
        ):
            client.edges(pets)
        assert (caught.value.code, caught.value.status) == ("unauthenticated", 401)
        assert caught.value.request_id.startswith("req_")
        assert "HELIOGRAPH_KEY" in caught.value.__notes__[0]


def test_the_environment_lets_one_in(
    keyed_server: Server, pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELIOGRAPH_ADDRESS", keyed_server.address)
    monkeypatch.setenv("HELIOGRAPH_KEY", keyed_server.key)
    with heliograph.Client() as client:
        assert client.edges(pets).task == "edges"


def test_a_refusal_says_what_was_wrong(client: heliograph.Client, pets: Path) -> None:
    calls: list[tuple[Any, str]] = [
        (lambda: client.detect(b""), "empty_file"),
        (lambda: client.detect(pets.read_bytes()[:4000]), "image_corrupt"),
        (lambda: client.detect(pets, min_score=2), "validation"),
        (lambda: client.predict(pets, telepathy=True), "unknown_field"),
        (lambda: client.predict(pets, "nobody"), "not_found"),
        (lambda: client.process(pets, "melt"), "unknown_field"),
        (lambda: client.model("nobody"), "not_found"),
        (lambda: client.detect(bytes(40 << 20)), "too_large"),
    ]
    for call, code in calls:
        with pytest.raises(ApiError) as caught:
            call()
        assert caught.value.code == code
        assert caught.value.detail
    assert labels(client.detect(pets)) == ["dog", "dog"]


# --- servers that misbehave -----------------------------------------------------------------------


def test_a_busy_server_is_asked_again() -> None:
    busy = Said(503, BUSY, {"content-type": "application/problem+json", "retry-after": "1"})
    script = [busy, busy, Said(200, MODELS)]
    with answering(script) as stub, heliograph.Client(stub.address) as asking:
        began = time.monotonic()
        assert [one.name for one in asking.models()] == ["ssd"]
        assert 0.2 <= time.monotonic() - began < 2.0
    assert [one.path for one in stub.heard] == ["/api/v1/models"] * 3


def test_a_connection_that_is_cut_is_made_again() -> None:
    async def ask(address: str) -> list[Any]:
        async with heliograph.AsyncClient(address) as asking:
            return await asking.models()

    with answering([Said(0), Said(200, MODELS), Said(0), Said(200, MODELS)]) as stub:
        with heliograph.Client(stub.address) as asking:
            assert asking.models()[0].name == "ssd"
        assert asyncio.run(ask(stub.address))[0].name == "ssd"
    assert len(stub.heard) == 4


def test_a_refusal_is_not_repeated() -> None:
    no = Said(400, b'{"code": "image_corrupt", "detail": "Damaged."}')
    with (
        answering([no]) as stub,
        heliograph.Client(stub.address, key="hg_k") as asking,
        pytest.raises(ApiError, match="image_corrupt"),
    ):
        asking.detect(b"picture", min_score=0.5)
    (heard,) = stub.heard
    assert (heard.method, heard.body) == ("POST", b"picture")
    assert heard.path == "/api/v1/detect?min_score=0.5&format=json"
    assert heard.headers["authorization"] == "Bearer hg_k"
    assert heard.headers["user-agent"].startswith("heliograph/")


def test_the_deadline_holds_against_a_drip_of_bytes() -> None:
    async def ask(address: str) -> None:
        async with heliograph.AsyncClient(address, timeout=0.4) as asking:
            await asking.models()

    with answering([Said(200, MODELS, drip=0.05)]) as stub:
        began = time.monotonic()
        with heliograph.Client(stub.address, timeout=0.4) as asking, pytest.raises(OutOfTimeError):
            asking.models()
        with pytest.raises(OutOfTimeError):
            asyncio.run(ask(stub.address))
        assert time.monotonic() - began < 1.3


def test_nobody_there_says_what_to_do() -> None:
    with socket.socket() as taken:
        # Bound, not listening: connections to this port are refused.
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with heliograph.Client(address, retries=1) as asking:
            assert not asking.ready()
            with pytest.raises(UnreachableError, match="heliograph serve") as caught:
                asking.models()
    assert address in str(caught.value)


def test_another_kind_of_server_is_told_apart() -> None:
    with answering([Said(200, b"<html>")]) as stub, heliograph.Client(stub.address) as asking:
        with pytest.raises(BadReplyError):
            asking.models()
        with pytest.raises(BadReplyError):
            asking.detect(b"picture")
