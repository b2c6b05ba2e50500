"""What REST and gRPC share: the state of the protocol in this process, and its use cases."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from heliograph.core.call import Credentials
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.oip.classes import best_classes
from heliograph.edge.oip.controls import LogControl, TraceControl
from heliograph.edge.oip.datatypes import Array, datatype, read_raw, write_raw
from heliograph.edge.oip.describe import MAX_BATCH, Described
from heliograph.edge.oip.errors import unknown
from heliograph.edge.oip.memory import SharedMemory
from heliograph.edge.oip.parameters import deadline
from heliograph.edge.oip.sequences import Sequences, first_state
from heliograph.edge.oip.values import Given, Question, Reply, Told, Wanted
from heliograph.edge.services import Services
from heliograph.edge.waiting import wait
from heliograph.registry.catalog import Shelf
from heliograph.serving.values import Entry, Head, Model, always
from heliograph.telemetry.trace import Tracer

T = TypeVar("T")
_AT_ONCE = 1 << 20
_EXTENSIONS = (
    "classification",
    "sequence",
    "model_repository",
    "model_repository(unload_dependents)",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
)


@dataclass(frozen=True, slots=True)
class Options:
    """How the protocol is spoken here.

    Attributes:
        server_name: what the server calls itself; some of Triton's samples insist on `triton`.
        shared_memory: offer system shared memory; whoever may call can then name regions of it.
        alone: one worker serves. With several, what lives in one process is refused: sequences,
            shared memory, changes of log and trace settings.
        most_bytes: of a body over HTTP after decompression.
        home: the data folder, for models that a load request brings; None to take none.
    """

    server_name: str = "heliograph"
    shared_memory: bool = False
    alone: bool = True
    most_bytes: int = 256 << 20
    home: Path | None = None


class Dialect:
    """The protocol over these services; see the module's docstring.

    Args:
        services: the use cases.
        options: how it is spoken.
        tracer: writes traces; also the meter's.
    """

    def __init__(self, services: Services, options: Options, tracer: Tracer) -> None:
        self.services = services
        self.options = options
        self.memory = SharedMemory(on=options.shared_memory and options.alone)
        self.sequences = Sequences()
        self.log = LogControl()
        self.trace = TraceControl(tracer)
        self.limits: dict[str, int] = {}

    # --- server and models -------------------------------------------------------------------

    def server(self) -> dict[str, Any]:
        """The server's metadata."""
        more = ["system_shared_memory"] if self.memory.on else []
        return {
            "name": self.options.server_name,
            "version": version_of("heliograph"),
            "extensions": [*_EXTENSIONS, *more],
        }

    def ready(self) -> bool:
        """Whether a call to any served model would be taken."""
        return not self.services.draining and not self.services.catalog.why_not_ready()

    def model_ready(self, name: str, version: str = "") -> bool:
        """Whether a call to a model would be taken.

        Raises:
            HeliographError: `not_found`.
        """
        try:
            self.find(name, version)
        except HeliographError as error:
            if error.code is Code.MODEL_UNAVAILABLE:
                return False
            raise
        return not self.services.draining

    def find(self, name: str, version: str = "") -> Model:
        """A model that takes calls; raises in the protocol's words."""
        try:
            return self.services.catalog.find(name, version)
        except HeliographError as error:
            raise unknown(error, name, version) from error

    async def describe(self, name: str, version: str = "") -> Described:
        """Everything the protocol tells of a model."""
        return await self._described(self.find(name, version))

    def versions(self, name: str) -> list[str]:
        """The versions of a model that take calls."""
        return self.services.catalog.product(name).able()

    def check(self, credentials: Credentials, needs: Permission) -> None:
        """Let in whoever may do that; for everything that is not an inference."""
        self.services.gate.check(credentials, needs)

    def check_alone(self, what: str) -> None:
        """Refuse what one of several workers cannot do for all of them."""
        if not self.options.alone:
            raise HeliographError(
                Code.UNSUPPORTED, f"{what} needs a server with one worker (server.workers = 1)"
            )

    def no_cuda(self, name: str) -> HeliographError:
        """Why a region of a GPU's memory cannot be registered."""
        return HeliographError(
            Code.UNSUPPORTED,
            f"failed to register CUDA shared memory region '{name[:80]}': this server does not "
            "share GPU memory",
        )

    async def change_trace(self, changes: Mapping[str, Any], model: str) -> dict[str, Any]:
        """Change settings of the trace; calls answered before still count under the old ones."""
        self.check_alone("A change of trace settings")
        await asyncio.to_thread(self.services.meter.flush)
        return self.trace.update(changes, model)

    # --- inference ---------------------------------------------------------------------------

    def enter(
        self,
        name: str,
        version: str,
        credentials: Credentials,
        alive: Callable[[], bool] = always,
        sticky: str = "",
    ) -> Entry:
        """Decide on a call before its body is read; raises in the protocol's words."""
        head = Head(
            model=name,
            version=version,
            credentials=credentials,
            alive=alive,
            sticky=sticky,
            tensors=True,
        )
        try:
            return self.services.path.enter(head)
        except HeliographError as error:
            raise unknown(error, name, version) from error

    async def described(self, entry: Entry) -> Described:
        """What is known of the model of a call."""
        return await self._described(entry.model)

    async def infer(self, entry: Entry, question: Question, size: int) -> Reply:
        """Answer one inference request, `size` bytes on the wire.

        Raises:
            HeliographError: whatever is wrong with it.
        """
        one = await self._described(entry.model)
        soon = deadline(question.parameters)
        if soon is not None and soon < entry.deadline:
            entry = replace(entry, deadline=soon)
        feeds = self._feeds(one, question)
        wanted = _wanted(one, question)
        async with self._state(one, question, feeds) as state:
            future = self.services.path.submit_tensors(entry, feeds, size)
            arrays = (await wait(entry, future)).arrays
            for given, taken in one.states.items():
                state[given] = arrays[taken]
        model = one.model
        outputs = tuple([self._tell(one, each, arrays[each.name]) for each in wanted])
        return Reply(question.id, model.name, model.version, outputs)

    async def _described(self, model: Model) -> Described:
        # Loading on demand, which is all that takes time here, is no work for the event loop.
        ready = model.state == "ready"
        signature = model.signature if ready else await asyncio.to_thread(lambda: model.signature)
        package = self._shelf(model).package
        states: Mapping[str, str] = getattr(package, "states", None) or {}
        limit = self.limits.get(model.name, MAX_BATCH) if signature.batched else 0
        return Described(model, signature, package, limit, states)

    def _shelf(self, model: Model) -> Shelf[Model]:
        return self.services.catalog.shelf(model.name, model.version)

    def _feeds(self, one: Described, question: Question) -> dict[str, Array]:
        known = {tensor.name: tensor for tensor in one.inputs}
        feeds: dict[str, Array] = {}
        for given in question.inputs:
            tensor = known.get(given.name)
            if given.name in one.states:
                raise HeliographError(
                    Code.VALIDATION,
                    f"unexpected inference input '{given.name}' for model '{one.model.name}'",
                )
            if tensor is not None:
                self._check_input(one, given, datatype(tensor.dtype))
            feeds[given.name] = self._elements(given)
        if one.model.input is not None:
            for name, array in feeds.items():
                if array.dtype.kind == "f" and not np.isfinite(array).all():
                    raise HeliographError(
                        Code.BAD_SHAPE, f"input '{name}' holds NaN or infinity, as no picture does"
                    )
        return feeds

    def _check_input(self, one: Described, given: Given, expected: str) -> None:
        name = one.model.name
        file = given.datatype == "BYTES" and one.model.input is not None
        if given.datatype != expected and not file:
            raise HeliographError(
                Code.BAD_SHAPE,
                f"inference input '{given.name}' data-type is '{given.datatype}', but model "
                f"'{name}' expects '{expected}'",
            )
        rows = given.shape[0] if given.shape and one.max_batch else 1
        if not 0 < rows <= max(one.max_batch, 1):
            raise HeliographError(
                Code.BAD_SHAPE,
                f"inference request batch-size must be <= {one.max_batch} for '{name}', and at "
                f"least 1; got {rows}",
            )

    def _elements(self, given: Given) -> Array:
        if given.array is not None:
            return given.array
        assert given.region is not None
        data = self.memory.read(given.region)
        return read_raw(given.name, given.datatype, given.shape, data)

    @contextlib.asynccontextmanager
    async def _state(
        self, one: Described, question: Question, feeds: dict[str, Array]
    ) -> AsyncGenerator[dict[str, Array]]:
        """For a stateful model: wait for the sequence's turn and feed its state."""
        if not one.states:
            yield {}
            return
        self.check_alone("A sequence")
        model = one.model
        async with self.sequences.turn(model.name, model.version, question.parameters) as state:
            rows = next((len(array) for array in feeds.values() if array.ndim), 1)
            for tensor in one.signature.inputs:
                if tensor.name in one.states:
                    feeds[tensor.name] = state.get(tensor.name, first_state(tensor, rows))
            yield state

    def _tell(self, one: Described, wanted: Wanted, array: Array) -> Told:
        tensor = next(each for each in one.outputs if each.name == wanted.name)
        kind = datatype(tensor.dtype)
        if wanted.classes:
            array = best_classes(
                wanted.name, array, wanted.classes, one.model.labels, batched=one.max_batch > 0
            )
            kind = "BYTES"
        if wanted.region is None:
            return Told(wanted.name, kind, array.shape, array, wanted.binary)
        data = write_raw(array, kind)
        self.memory.write(wanted.region, data)
        region = replace(wanted.region, size=len(data))
        return Told(wanted.name, kind, array.shape, None, binary=True, region=region)


async def aside(size: int, work: Callable[..., T], *args: Any) -> T:
    """Do work on `size` bytes: on a thread if they are many, so that other calls go on."""
    return work(*args) if size < _AT_ONCE else await asyncio.to_thread(work, *args)


def _wanted(one: Described, question: Question) -> tuple[Wanted, ...]:
    if not question.outputs:
        return tuple([Wanted(tensor.name, question.binary) for tensor in one.outputs])
    known = {tensor.name for tensor in one.outputs}
    for each in question.outputs:
        if each.name not in known:
            raise HeliographError(
                Code.VALIDATION,
                f"unexpected inference output '{each.name[:80]}' for model '{one.model.name}'",
            )
    return question.outputs
