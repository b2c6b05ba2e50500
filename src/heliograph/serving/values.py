"""What flows along the path, and the Protocols the path needs from others.

Head -> Entry -> Ticket -> Picture -> Raw -> Answer, and one Usage per Ticket; a call that brings
tensors goes Head -> Entry -> Ticket -> Feeds -> Arrays -> Tensors on the same way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from heliograph.core.call import NO_CREDENTIALS, Caller, Credentials, Timings, Usage
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.runtimes.base import Arrays
from heliograph.serving.resident import Signature, State
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
        version: a version of the model or one of its aliases; empty for the one in service.
        sticky: calls with the same text get the same version while traffic is split.
        tensors: the call brings tensors and wants tensors, whatever the model's task.
        credentials: what the request says of its sender.
        options: the caller's options as text, by name.
        form: `json`, `png`, `jpeg` or `webp`; empty for the task's own: a picture for tasks whose
            answer is one, JSON for the others.
        alive: False once the caller has gone.
    """

    model: str = ""
    task: str = ""
    version: str = ""
    credentials: Credentials = NO_CREDENTIALS
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    form: Form = ""
    alive: Callable[[], bool] = always
    sticky: str = ""
    tensors: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the path sees it: what to feed, how to read the answer, where it runs.

    Attributes:
        name: the model's; `version` and `digest` say exactly which.
        task: what it is for; None for a model that only takes and gives tensors.
        input: how a picture becomes its tensor; None likewise.
        decoder: how its arrays become a result; None likewise.
        labels: by class id.
        lane: where it runs.
        consent: what its callers must have agreed to; empty for nothing.
    """

    name: str
    version: str
    digest: str
    task: Task | None
    input: InputSpec | None
    decoder: Decoder | None
    labels: Sequence[str]
    lane: Lane
    consent: str = ""

    @property
    def signature(self) -> Signature:
        """What it takes and gives; raises `model_unavailable` until it was loaded once."""
        return self.lane.resident.signature

    @property
    def state(self) -> State:
        """Whether it is in memory."""
        return self.lane.resident.state

    @property
    def reason(self) -> str:
        """Why it failed to load; empty if it did not."""
        return self.lane.resident.reason

    @property
    def takes_calls(self) -> bool:
        """Whether a call that comes now will find it."""
        return self.lane.resident.takes_calls

    def load(self) -> None:
        """Bring it into memory; see `Resident.load`."""
        self.lane.resident.load()

    def unload(self) -> None:
        """Let its calls finish, those in the line too, and give its memory back."""
        self.lane.drain()
        self.lane.resident.unload()

    def refusal(self) -> HeliographError:
        """Why a call cannot have it now."""
        return self.lane.resident.refusal()


class Sight(NamedTuple):
    """What makes a model one that looks at pictures."""

    task: Task
    input: InputSpec
    decoder: Decoder


def sight(model: Model) -> Sight:
    """The parts of a model that looks at pictures.

    Raises:
        HeliographError: `unsupported` for a model of plain tensors.
    """
    if model.task is None or model.input is None or model.decoder is None:
        raise HeliographError(
            Code.UNSUPPORTED,
            f"The model {model.name!r} takes tensors, not pictures: call "
            f"/v2/models/{model.name}/infer or /v1/models/{model.name}:predict.",
        )
    return Sight(model.task, model.input, model.decoder)


@dataclass(frozen=True, slots=True)
class Entry:
    """A call that may come in: who, which model, with which options, until when.

    Attributes:
        shadow: another version that gets a copy of the call, for comparison.
    """

    caller: Caller
    model: Model
    options: Options
    form: Form
    alive: Callable[[], bool]
    deadline: float
    shadow: Model | None = None

    @property
    def pictured(self) -> bool:
        """Whether the answer goes out as a picture, so that every pixel must be kept."""
        task = self.model.task
        return self.form != "json" and (self.form != "" or (task is not None and task.pictured))

    def left(self) -> float:
        """Seconds until the deadline; negative when it has passed."""
        return self.deadline - time.perf_counter()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A decoded picture and the tensor made of it; None where its decoder feeds models itself."""

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
        usage: what the call used; there once its ticket is settled.
    """

    id: str
    model: str
    version: str
    task: str
    size: Size
    result: Result
    timings: Timings
    drawn: Encoded | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Tensors:
    """What a tensor call gets back.

    Attributes:
        id: the call's id, `pred_…`.
        model: name; `version` likewise.
        arrays: every output by name, with the batch axis.
        timings: milliseconds by step.
        batch: rows that ran together.
        usage: what the call used.
    """

    id: str
    model: str
    version: str
    arrays: Arrays
    timings: Timings
    batch: int
    usage: Usage | None = None


class Gate(Protocol):
    """Who is calling, and may they?"""

    def check(self, credentials: Credentials, needs: Permission, model: str = "") -> Caller:
        """Name the caller.

        Args:
            credentials: what the request says of its sender.
            needs: what the caller wants to do.
            model: to which model; empty where it is to none.

        Raises:
            HeliographError: `unauthenticated`, `forbidden` or `suspended`.
        """
        ...

    def agreed(self, caller: Caller, purpose: str) -> None:
        """Let a caller pass to a model whose callers must have agreed to a purpose.

        Raises:
            HeliographError: `consent_required`.
        """
        ...


class Allowance(Protocol):
    """How much may a caller still use?"""

    def look(self, caller: Caller) -> None:
        """Refuse who is known to have used up a limit.

        Raises:
            HeliographError: `rate_limited` or `quota_exceeded`.
        """
        ...

    def take(self, caller: Caller) -> None:
        """As `look`, and count the call as in progress."""
        ...

    def give_back(self, caller: Caller) -> None:
        """The call is no longer in progress."""
        ...


class NoLimits:
    """Everybody may use as much as they like: where nobody keeps accounts."""

    def look(self, caller: Caller) -> None:
        """See `Allowance.look`."""

    def take(self, caller: Caller) -> None:
        """See `Allowance.take`."""

    def give_back(self, caller: Caller) -> None:
        """See `Allowance.give_back`."""


class Catalog(Protocol):
    """Which models are in service."""

    def find(self, name: str, version: str = "", sticky: str = "") -> Model:
        """A model by name.

        Args:
            name: the model's.
            version: a number or an alias; empty for what the release says.
            sticky: calls with the same text get the same version while traffic is split.

        Raises:
            HeliographError: `not_found`, or `model_unavailable` while it is not loaded.
        """
        ...

    def default(self, task: str, version: str = "", sticky: str = "") -> Model:
        """The default model of a task; raises as `find` does."""
        ...

    def shadow(self, name: str) -> Model | None:
        """The version that gets a copy of this call, if one does."""
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
