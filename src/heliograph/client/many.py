"""Many pictures, a few at once: what the workers of either client share.

One request a picture, not one multipart body for all: each is retried alone, is in memory alone,
and fails alone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from heliograph.client.pictures import Source
from heliograph.client.prediction import Prediction
from heliograph.vision.tasks.base import Result

Answer: TypeAlias = Prediction[Result] | Exception
"""What came of one picture of many: the answer, or the error that a single call would raise."""


class Feed:
    """Gives out pictures one by one as they are asked for, and puts the answers into order.

    Args:
        pictures: may be a generator; it is never further ahead than there are workers.
        at_once: how many workers there will be.

    Raises:
        ValueError: without a worker nothing would be done.
    """

    def __init__(self, pictures: Iterable[Source], at_once: int) -> None:
        if at_once < 1:
            raise ValueError(f"at_once is at least 1; got {at_once}.")
        self._pictures = enumerate(pictures)
        self._answers: dict[int, Answer] = {}
        self._lock = threading.Lock()
        self._stopped = False
        self._failure: Exception | None = None

    def take(self) -> tuple[int, Source] | None:
        """The next picture and its place; None when there is none left."""
        with self._lock:
            if self._stopped:
                return None
            try:
                return next(self._pictures, None)
            except Exception as error:  # noqa: BLE001 - the caller's own generator; see answers
                self._failure, self._stopped = error, True
                return None

    def put(self, place: int, answer: Answer) -> None:
        """Keep what came of a picture."""
        self._answers[place] = answer

    def stop(self) -> None:
        """Give out no more: the caller was interrupted."""
        self._stopped = True

    def answers(self) -> list[Answer]:
        """All answers, in the order of the pictures; raises what the pictures' generator raised."""
        if self._failure is not None:
            raise self._failure
        return [self._answers[place] for place in sorted(self._answers)]


def kept(source: Source, data: bytes) -> bytes | Path:
    """What a Prediction among many remembers: a file on disk by its path, anything else whole."""
    return Path(source).expanduser().absolute() if isinstance(source, str | os.PathLike) else data
