"""AsyncClient: the client for asyncio. The twin of `sync.py`: the same calls, to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
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


class AsyncClient:
    """Asks a Heliograph server about pictures, without blocking the event loop.

        async with heliograph.AsyncClient() as client:
            print(await client.detect("photo.jpg", min_score=0.5))

    Arguments, calls, answers and errors are those of `Client`. Files are read and answers unpacked
    in threads.
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
        self._http = httpx.AsyncClient(**self._target.http())

    async def detect(
        self,
        picture: Source,
        *,
        min_score: float | None = None,
        top_k: int | None = None,
        iou: float | None = None,
    ) -> Prediction[Detections]:
        """See `Client.detect`."""
        asked = questions.of_task(
            "detection", Detections, min_score=min_score, top_k=top_k, iou=iou
        )
        return await self._ask(asked, picture)

    async def classify(
        self, picture: Source, *, top_k: int | None = None, min_score: float | None = None
    ) -> Prediction[Classes]:
        """See `Client.classify`."""
        asked = questions.of_task("classification", Classes, top_k=top_k, min_score=min_score)
        return await self._ask(asked, picture)

    async def keypoints(
        self, picture: Source, *, min_score: float | None = None, top_k: int | None = None
    ) -> Prediction[Poses]:
        """See `Client.keypoints`."""
        asked = questions.of_task("keypoints", Poses, min_score=min_score, top_k=top_k)
        return await self._ask(asked, picture)

    async def segment(
        self,
        picture: Source,
        *,
        min_score: float | None = None,
        classes: str | None = None,
        min_share: float | None = None,
        top_k: int | None = None,
    ) -> Prediction[Segments]:
        """See `Client.segment`."""
        asked = questions.of_task(
            "segmentation",
            Segments,
            min_score=min_score,
            classes=classes,
            min_share=min_share,
            top_k=top_k,
        )
        return await self._ask(asked, picture)

    async def instances(
        self,
        picture: Source,
        *,
        min_score: float | None = None,
        top_k: int | None = None,
        iou: float | None = None,
    ) -> Prediction[Instances]:
        """See `Client.instances`."""
        asked = questions.of_task("instances", Instances, min_score=min_score, top_k=top_k, iou=iou)
        return await self._ask(asked, picture)

    async def embed(self, picture: Source) -> Prediction[Embedding]:
        """See `Client.embed`."""
        return await self._ask(
            questions.of_task("embedding", Embedding, encoding="base64"), picture
        )

    async def enhance(self, picture: Source) -> Prediction[Enhanced]:
        """See `Client.enhance`."""
        return await self._ask(questions.of_task("enhancement", Enhanced), picture)

    async def edges(
        self,
        picture: Source,
        *,
        method: Literal["canny", "sobel", "scharr"] | None = None,
        low: float | None = None,
        high: float | None = None,
        blur: float | None = None,
    ) -> Prediction[Edges]:
        """See `Client.edges`."""
        asked = questions.of_task("edges", Edges, method=method, low=low, high=high, blur=blur)
        return await self._ask(asked, picture)

    async def process(self, picture: Source, ops: str) -> Prediction[Processed]:
        """See `Client.process`."""
        return await self._ask(questions.of_task("process", Processed, ops=ops), picture)

    async def predict(
        self,
        picture: Source,
        model: str = "",
        *,
        task: str = "detection",
        version: str = "",
        **options: Option,
    ) -> Prediction[Result]:
        """See `Client.predict`."""
        return await self._ask(questions.of_model(model, task, version, options), picture)

    async def predict_many(
        self,
        pictures: Iterable[Source],
        model: str = "",
        *,
        task: str = "detection",
        version: str = "",
        at_once: int = 8,
        **options: Option,
    ) -> list[Answer]:
        """See `Client.predict_many`."""
        asked = questions.of_model(model, task, version, options)
        feed = Feed(pictures, at_once)
        async with asyncio.TaskGroup() as workers:
            for _ in range(at_once):
                workers.create_task(self._work(asked, feed))
        return feed.answers()

    async def models(self) -> list[ModelInfo]:
        """See `Client.models`."""
        return questions.read_models(await self._talk(questions.MODELS))

    async def model(self, name: str) -> ModelCard:
        """See `Client.model`."""
        return questions.read_card(await self._talk(questions.card_of(name)))

    async def ready(self) -> bool:
        """See `Client.ready`."""
        try:
            await self._talk(questions.READY, self._policy.once())
        except (ApiError, UnreachableError):
            return False
        return True

    async def close(self) -> None:
        """Close the connections; `async with AsyncClient() as client:` does it by itself."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._target.address!r})"

    async def _ask(self, asked: Question[R], picture: Source) -> Prediction[R]:
        data = await asyncio.to_thread(load, picture)
        reply = await self._talk(asked.about(data))
        return await asyncio.to_thread(asked.read, reply, data)

    async def _work(self, asked: Question[Result], feed: Feed) -> None:
        while (taken := feed.take()) is not None:
            place, source = taken
            try:
                data = await asyncio.to_thread(load, source)
                reply = await self._talk(asked.about(data))
                feed.put(place, await asyncio.to_thread(asked.read, reply, kept(source, data)))
            except Exception as error:  # noqa: BLE001 - handed to the caller in its place
                feed.put(place, error)

    async def _talk(self, request: Request, policy: Policy | None = None) -> Reply:
        talk = converse(request, policy or self._policy, self._target.address)
        outcome: Outcome = None
        while True:
            try:
                step = talk.send(outcome)
            except StopIteration as done:
                return done.value
            if isinstance(step, Send):
                outcome = await self._send(step)
            else:
                outcome = await asyncio.sleep(step.seconds)

    async def _send(self, step: Send) -> Reply | ClientError:
        request = step.request
        try:
            async with asyncio.timeout(step.left):
                got = await self._http.request(
                    request.method,
                    self._target.address + request.path,
                    params=request.query,
                    content=request.body or None,
                    timeout=httpx.Timeout(**patience(step.left)),
                )
        except (httpx.RequestError, TimeoutError) as error:
            return failure(error, self._target.address, self._policy.timeout)
        return Reply(got.status_code, got.headers, got.content)
