"""What flows along the path, and the Protocols the path needs from others.

Head -> Entry -> Ticket -> Picture -> Raw -> Answer, and one Usage per Ticket
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from heliograph.core.call import Caller, Timings, Usage
from heliograph.vision.encode import Encoded
from heliograph.vision.geometry import Placement
from heliograph.vision.picture import Picture, Size
from heliograph.vision.prepare import InputSpec
from heliograph.vision.tasks.base import Decoder, Options, Result, Task

if TYPE_CHECKING:
    from heliograph.serving.batch import Lane


Form = Literal["", "json", "png", "jpeg", "webp"]


def always() -> bool:
    """The caller is there: for callers that cannot hang up."""
    return True


@dataclass(frozen=True, slots=True)
class Head:
    """What a call says before its body: enough to decide whether to read the body at all.

    Attributes:
        model: a model's name; empty to take the default model of `task`.
        task: a task's name; empty when `model` is given.
        version: a version of the model; empty for the one in service.
        credentials: the key as sent; empty when none came.
        options: the caller's options as text, by name.
        form: `json`, `png`, `jpeg` or `webp`; empty for the task's own: a picture for tasks whose
            answer is one, JSON for the others.
        alive: False once the caller has gone.
    """

    model: str = ""
    task: str = ""
    version: str = ""
    credentials: str = ""
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    form: Form = ""
    alive: Callable[[], bool] = always


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the path sees it: what to feed, how to read the answer, where it runs."""

    name: str
    version: str
    digest: str
    task: Task
    input: InputSpec
    decoder: Decoder
    labels: Sequence[str]
    lane: Lane


@dataclass(frozen=True, slots=True)
class Entry:
    """A call that may come in: who, which model, with which options, until when."""

    caller: Caller
    model: Model
    options: Options
    form: Form
    alive: Callable[[], bool]
    deadline: float

    @property
    def pictured(self) -> bool:
        """Whether the answer goes out as a picture, so that every pixel must be kept."""
        return self.form != "json" and (self.form != "" or self.model.task.pictured)

    def left(self) -> float:
        """Seconds until the deadline; negative when it has passed."""
        return self.deadline - time.perf_counter()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decoded picture and the tensor made of it."""

    picture: Picture
    tensor: Any
    placement: Placement


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call gets back.

    Attributes:
        id: the call's id, `pred_…`.
        model: name; `version`, `task` likewise.
        size: width and height of the upright picture.
        result: typed values.
        timings: milliseconds by step.
        drawn: the encoded picture, when the caller wants the answer as one; else None.
    """

    id: str
    model: str
    version: str
    task: str
    size: Size
    result: Result
    timings: Timings
    drawn: Encoded | None = None


class Gate(Protocol):
    """Who is calling, and may they?"""

    def check(self, credentials: str) -> Caller:
        """Name the caller.

        Raises:
            HeliographError: `unauthenticated` or `forbidden`.
        """
        ...


class Catalog(Protocol):
    """Which models are in service."""

    def find(self, name: str, version: str = "") -> Model:
        """A model by name.

        Raises:
            HeliographError: `not_found`, or `model_unavailable` while it is not loaded.
        """
        ...

    def default(self, task: str, version: str = "") -> Model:
        """The default model of a task; raises as `find` does."""
        ...


class Meter(Protocol):
    """Takes one Usage for each admitted call."""

    def record(self, usage: Usage) -> None:
        """Keep a usage row; must not fail the call."""
        ...


class NullMeter:
    """Keeps nothing: for the command line, where nobody is billed."""

    def record(self, usage: Usage) -> None:
        """See `Meter.record`."""
