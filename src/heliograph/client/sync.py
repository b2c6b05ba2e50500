"""Client: the synchronous client.

`aio.py` is its twin; what both decide is in `core`, `questions` and `retry`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, Self

import httpx

from heliograph.client import questions
from heliograph.client.core import Reply, Request, Target, failure, patience
from heliograph.client.errors import ApiError, ClientError, UnreachableError
from heliograph.client.many import Answer, Feed, kept
from heliograph.client.pictures import Source, load
from heliograph.client.prediction import Prediction
from heliograph.client.questions import ModelCard, ModelInfo, Option, Question, R
from heliograph.client.retry import Outcome, Policy, Send, converse
from heliograph.vision.tasks.base import Result
from heliograph.vision.tasks.classification import Classes
from heliograph.vision.tasks.detection import Detections
from heliograph.vision.tasks.edges import Edges
from heliograph.vision.tasks.embedding import Embedding
from heliograph.vision.tasks.enhancement import Enhanced
from heliograph.vision.tasks.instances import Instances
from heliograph.vision.tasks.keypoints import Poses
from heliograph.vision.tasks.process import Processed
from heliograph.vision.tasks.segmentation import Segments


class Client:
    """Asks a Heliograph server about pictures.

    A picture is a path, the bytes of a file, a file opened in binary mode, uint8 RGB pixels
    [h, w, 3] or a PIL image. Options left at None are the server's defaults. Threads may share a
    client.

        with heliograph.Client() as client:
            print(client.detect("photo.jpg", min_score=0.5))

    Args:
        address: the server's; by default `HELIOGRAPH_ADDRESS`, else http://127.0.0.1:8000.
        key: by default `HELIOGRAPH_KEY`, else for a server on this machine the administrator key
            in this user's data folder; a server that was started with `--open` needs none.
        timeout: seconds for a whole call, retries and the pauses between them included.
        retries: how often a call is tried again that met a busy or stopping server or no
            connection. A refusal (4xx, but for 429) is final.

    Every call raises a `ClientError`: `ApiError` where the server refuses, `UnreachableError` where
    there is none, `OutOfTimeError`, `BadReplyError`; and what reading the picture raises.
    """

    def __init__(
        self,
        address: str | None = None,
        key: str | None = None,
        *,
        timeout: float = 30.0,
        retries: int = 3,
    ) -> None:
        self._target = Target.choose(address, key)
        self._policy = Policy(timeout, retries)
        self._http = httpx.Client(**self._target.http())

    def detect(
        self,
        picture: Source,
        *,
        min_score: float | None = None,
        top_k: int | None = None,
        iou: float | None = None,
    ) -> Prediction[Detections]:
        """What the picture shows, and where.

        Args:
            picture: see the class.
            min_score: only objects with at least this score, 0-1.
            top_k: at most this many, best first.
            iou: of two boxes of one class that overlap by more than this, 0-1, the better stays.
        """
        asked = questions.of_task(
            "detection", Detections, min_score=min_score, top_k=top_k, iou=iou
        )
        return self._ask(asked, picture)

    def classify(
        self, picture: Source, *, top_k: int | None = None, min_score: float | None = None
    ) -> Prediction[Classes]:
        """Which classes the picture shows, best first.

        Args:
            picture: see the class.
            top_k: at most this many.
            min_score: only classes with at least this score, 0-1.
        """
        asked = questions.of_task("classification", Classes, top_k=top_k, min_score=min_score)
        return self._ask(asked, picture)

    def keypoints(
        self, picture: Source, *, min_score: float | None = None, top_k: int | None = None
    ) -> Prediction[Poses]:
        """Where the joints of the people are.

        Args:
            picture: see the class.
            min_score: only points with at least this score, 0-1.
            top_k: at most this many people, best first.
        """
        asked = questions.of_task("keypoints", Poses, min_score=min_score, top_k=top_k)
        return self._ask(asked, picture)

    def segment(
        self,
        picture: Source,
        *,
        min_score: float | None = None,
        classes: str | None = None,
        min_share: float | None = None,
        top_k: int | None = None,
    ) -> Prediction[Segments]:
        """Which class each pixel belongs to.

        Args:
            picture: see the class.
            min_score: pixels whose class has a lower score, 0-1, belong to none.
            classes: only these, with commas between.
            min_share: classes that cover a smaller part of the picture, 0-1, are left out.
            top_k: at most this many classes, the largest first.
        """
        asked = questions.of_task(
            "segmentation",
            Segments,
            min_score=min_score,
            classes=classes,
            min_share=min_share,
            top_k=top_k,
        )
        return self._ask(asked, picture)

    def instances(
        self,
        picture: Source,
        *,
        min_score: float | None = None,
        top_k: int | None = None,
        iou: float | None = None,
    ) -> Prediction[Instances]:
        """What the picture shows, and which pixels are each thing's; arguments as of `detect`."""
        asked = questions.of_task("instances", Instances, min_score=min_score, top_k=top_k, iou=iou)
        return self._ask(asked, picture)

    def embed(self, picture: Source) -> Prediction[Embedding]:
        """The picture as a vector: alike pictures have vectors that point nearly the same way."""
        return self._ask(questions.of_task("embedding", Embedding, encoding="base64"), picture)

    def enhance(self, picture: Source) -> Prediction[Enhanced]:
        """The same picture, but better."""
        return self._ask(questions.of_task("enhancement", Enhanced), picture)

    def edges(
        self,
        picture: Source,
        *,
        method: Literal["canny", "sobel", "scharr"] | None = None,
        low: float | None = None,
        high: float | None = None,
        blur: float | None = None,
    ) -> Prediction[Edges]:
        """Where the brightness changes.

        Args:
            picture: see the class.
            method: thin lines (`canny`) or the gradient's strength.
            low: for `canny`: gradient from which a pixel continues an edge, 0-255.
            high: for `canny`: gradient from which a pixel starts an edge, 0-255.
            blur: sigma in pixels of a Gaussian before.
        """
        asked = questions.of_task("edges", Edges, method=method, low=low, high=high, blur=blur)
        return self._ask(asked, picture)

    def process(self, picture: Source, ops: str) -> Prediction[Processed]:
        """The picture through a pipeline.

        Args:
            picture: see the class.
            ops: steps in the order they are done, e.g. `grayscale,resize:320,png`.
        """
        return self._ask(questions.of_task("process", Processed, ops=ops), picture)

    def predict(
        self,
        picture: Source,
        model: str = "",
        *,
        task: str = "detection",
        version: str = "",
        **options: Option,
    ) -> Prediction[Result]:
        """Ask any model.

        Args:
            picture: see the class.
            model: by name, see `models`; empty for the default model of `task`.
            task: e.g. `classification`; does not matter where a model is named.
            version: of the model; empty for the one in service.
            options: those of the model's task, e.g. `min_score=0.3`.
        """
        return self._ask(questions.of_model(model, task, version, options), picture)

    def predict_many(
        self,
        pictures: Iterable[Source],
        model: str = "",
        *,
        task: str = "detection",
        version: str = "",
        at_once: int = 8,
        **options: Option,
    ) -> list[Answer]:
        """Ask about many pictures, a few at once.

        Args:
            pictures: may be a generator, however long.
            model: as in `predict`; so are `task`, `version` and `options`.
            task: see there.
            version: see there.
            at_once: most calls at the same time.
            options: see there.

        Returns:
            In the order of the pictures, what came of each: a `Prediction`, or the exception that
            `predict` would have raised.
        """
        asked = questions.of_model(model, task, version, options)
        feed = Feed(pictures, at_once)
        with ThreadPoolExecutor(at_once, "heliograph") as pool:
            try:
                for worker in [pool.submit(self._work, asked, feed) for _ in range(at_once)]:
                    worker.result()
            finally:
                feed.stop()
        return feed.answers()

    def models(self) -> list[ModelInfo]:
        """The models in service."""
        return questions.read_models(self._talk(questions.MODELS))

    def model(self, name: str) -> ModelCard:
        """A model's card: what one should know before relying on it."""
        return questions.read_card(self._talk(questions.card_of(name)))

    def ready(self) -> bool:
        """Whether a call would be taken now; False too where nobody answers. Tries once."""
        try:
            self._talk(questions.READY, self._policy.once())
        except (ApiError, UnreachableError):
            return False
        return True

    def close(self) -> None:
        """Close the connections; `with Client() as client:` does it by itself."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._target.address!r})"

    def _ask(self, asked: Question[R], picture: Source) -> Prediction[R]:
        data = load(picture)
        return asked.read(self._talk(asked.about(data)), data)

    def _work(self, asked: Question[Result], feed: Feed) -> None:
        while (taken := feed.take()) is not None:
            place, source = taken
            try:
                data = load(source)
                feed.put(place, asked.read(self._talk(asked.about(data)), kept(source, data)))
            except Exception as error:  # noqa: BLE001 - handed to the caller in its place
                feed.put(place, error)

    def _talk(self, request: Request, policy: Policy | None = None) -> Reply:
        talk = converse(request, policy or self._policy, self._target.address)
        outcome: Outcome = None
        while True:
            try:
                step = talk.send(outcome)
            except StopIteration as done:
                return done.value
            outcome = self._send(step) if isinstance(step, Send) else time.sleep(step.seconds)

    def _send(self, step: Send) -> Reply | ClientError:
        request, ends = step.request, time.monotonic() + step.left
        try:
            with self._http.stream(
                request.method,
                self._target.address + request.path,
                params=request.query,
                content=request.body or None,
                timeout=httpx.Timeout(**patience(step.left)),
            ) as got:
                return Reply(got.status_code, got.headers, _body(got, ends))
        except (httpx.RequestError, TimeoutError) as error:
            return failure(error, self._target.address, self._policy.timeout)


def _body(got: httpx.Response, ends: float) -> bytes:
    # httpx bounds each read on its own; a drip of bytes would last for ever.
    body = bytearray()
    for chunk in got.iter_bytes():
        body += chunk
        if time.monotonic() > ends:
            raise TimeoutError
    return bytes(body)
