"""What one can ask a server: each question makes a Request and reads its Reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar, cast
from urllib.parse import quote

import msgspec

from heliograph.client.core import Reply, Request
from heliograph.client.errors import BadReplyError
from heliograph.client.prediction import Prediction, read_prediction
from heliograph.vision.tasks import TASKS
from heliograph.vision.tasks.base import Result

R = TypeVar("R", bound=Result)
S = TypeVar("S", bound=msgspec.Struct)
_API = "/api/v1"

Option: TypeAlias = str | float | bool | None
"""An option of a task; None leaves it to the server."""

READY = Request("GET", "/readyz")
MODELS = Request("GET", f"{_API}/models")


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A model in a line.

    Attributes:
        name: what `predict(model=…)` takes.
        version: the one in service.
        title: for people.
        task: e.g. `detection`.
        default: whether the task's own address asks this model.
        state: `ready`, `loading` or `failed`.
        licence: of its weights.
    """

    name: str
    version: str = ""
    title: str = ""
    task: str = ""
    default: bool = False
    state: str = ""
    licence: str = ""


class ModelCard(ModelInfo, frozen=True, kw_only=True):
    """Everything one should know before relying on a model.

    Attributes:
        reason: why it is in its state.
        description: what it does and does not.
        provenance: where it comes from.
        digest: of its files.
        metrics: published figures.
        input: how a picture is fed to it.
        output: how its answer is read.
        labels: name of each class id.
        plan: how it runs on the server's machine; None while it is not loaded.
    """

    reason: str = ""
    description: str = ""
    provenance: str = ""
    digest: str = ""
    metrics: list[dict[str, Any]] = []
    input: dict[str, Any] = {}
    output: dict[str, Any] = {}
    labels: list[str] = []
    plan: dict[str, Any] | None = None


class _Models(msgspec.Struct, frozen=True):
    models: list[ModelInfo]


@dataclass(frozen=True, slots=True)
class Question(Generic[R]):
    """One question about a picture; the same one can be asked about many.

    Attributes:
        path: the address under the server's.
        query: options as text.
        kind: the type of its answers.
    """

    path: str
    query: Mapping[str, str]
    kind: type[R]

    def about(self, picture: bytes) -> Request:
        """The request that asks it about a picture's file."""
        return Request("POST", self.path, self.query, picture)

    def read(self, reply: Reply, picture: bytes | Path) -> Prediction[R]:
        """The answer of a good reply; `picture` is kept for drawing on.

        Raises:
            BadReplyError: not an answer, or one of another kind.
        """
        answer = read_prediction(reply.body, picture)
        if not isinstance(answer.result, self.kind):
            raise BadReplyError(f"Expected {self.kind.__name__}, got an answer to {answer.task}.")
        return cast("Prediction[R]", answer)


def of_task(task: str, kind: type[R], **options: Option) -> Question[R]:
    """Ask the default model of a task, by the task's name."""
    return Question(f"{_API}/{TASKS[task].verb}", _query(options), kind)


def of_model(
    model: str, task: str, version: str, options: Mapping[str, Option]
) -> Question[Result]:
    """Ask a model by name; without a name, the default model of `task`.

    Raises:
        TypeError: `format` among the options: typed answers come as JSON.
        ValueError: there is no such task.
    """
    if "format" in options:
        raise TypeError("Answers come typed, not as a file; draw one with .draw() or .save(path).")
    if task not in TASKS:
        raise ValueError(f"There is no task {task!r}; there are {', '.join(TASKS)}.")
    place = f"models/{quote(model, safe='')}/predict" if model else TASKS[task].verb
    anything: type[Any] = object
    return Question(f"{_API}/{place}", _query({**options, "version": version or None}), anything)


def card_of(name: str) -> Request:
    """The request for a model's card."""
    return Request("GET", f"{_API}/models/{quote(name, safe='')}")


def read_models(reply: Reply) -> list[ModelInfo]:
    """The models in service."""
    return _read(reply, _Models).models


def read_card(reply: Reply) -> ModelCard:
    """A model's card."""
    return _read(reply, ModelCard)


def _read(reply: Reply, kind: type[S]) -> S:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadReplyError(
            f"The address answered {reply.status}, but not as a Heliograph server does: {error}."
        ) from error


def _query(options: Mapping[str, Option]) -> dict[str, str]:
    said = {name: _text(value) for name, value in options.items() if value is not None}
    # JSON also where the server would rather send a picture: it carries the id, size and timings.
    return {**said, "format": "json"}


def _text(value: str | float | bool) -> str:  # noqa: FBT001 - a value, not a switch
    return str(value).lower() if isinstance(value, bool) else str(value)
