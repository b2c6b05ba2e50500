"""Which model a request means, and what TensorFlow Serving says when there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from heliograph.core.call import Credentials
from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.services import Services
from heliograph.registry.catalog import Shelf
from heliograph.runtimes.base import Tensor
from heliograph.serving.resident import Signature
from heliograph.serving.values import Entry, Head, Model, always

SIGNATURE = "serving_default"
_LARGEST = 2**63 - 1
_STATES = {
    "unloaded": "END",
    "loading": "LOADING",
    "ready": "AVAILABLE",
    "unloading": "UNLOADING",
    "failed": "END",
}


@dataclass(frozen=True, slots=True)
class Spec:
    """A model as a request names it.

    Attributes:
        name: the model's.
        version: a number as text; empty for the one in service.
        label: an alias instead of a number; empty for none.
        signature: the signature's name; empty for the default.
    """

    name: str
    version: str = ""
    label: str = ""
    signature: str = ""

    @property
    def wanted(self) -> str:
        """The request in TensorFlow Serving's words: `Latest(m)` or `Specific(m, 3)`."""
        if self.version:
            return f"Specific({self.name[:80]}, {self.version})"
        return f"Latest({self.name[:80]})"


def version_number(text: str) -> str:
    """A version as it stands in an address, without leading noughts.

    Raises:
        HeliographError: `bad_request`; it does not fit into 64 bits.
    """
    if len(text) > len(str(_LARGEST)) or int(text) > _LARGEST:
        raise HeliographError(
            Code.BAD_REQUEST, f"Failed to convert version: {text[:40]} to numeric."
        )
    return str(int(text))


def enter(
    services: Services,
    spec: Spec,
    credentials: Credentials,
    alive: Callable[[], bool] = always,
    sticky: str = "",
) -> Entry:
    """Decide on a call before its body is read; the arguments are those of `Head`.

    Raises:
        HeliographError: those of `Desk.enter`; `not_found` and `model_unavailable` with TensorFlow
            Serving's texts, which clients look for; `validation` for an unknown label.
    """
    services.gate.check(credentials, Permission.MODELS_CALL, spec.name)
    if not spec.name:
        raise HeliographError(Code.BAD_REQUEST, "ModelSpec has no name specified.")
    if spec.label.isdigit():  # a number is a version, never a label
        raise _unknown_label(spec)
    head = Head(
        model=spec.name,
        version=spec.version or spec.label,
        credentials=credentials,
        alive=alive,
        sticky=sticky,
        tensors=True,
    )
    try:
        return services.path.enter(head)
    except HeliographError as error:
        if error.code is Code.NOT_FOUND:
            raise (_unknown_label(spec) if spec.label else not_found(spec)) from error
        if error.code is Code.MODEL_UNAVAILABLE:
            # Taken out of service is as good as never there; loading and failed are told as such.
            if services.catalog.shelf(spec.name, head.version).state not in {"loading", "failed"}:
                raise not_found(spec) from error
            raise HeliographError(
                error.code,
                f"Servable not found for request: {spec.wanted}. {error.detail}",
                retry_after=error.retry_after,
            ) from error
        raise


def not_found(spec: Spec) -> HeliographError:
    """The error of a model or version that is not there."""
    return HeliographError(Code.NOT_FOUND, f"Servable not found for request: {spec.wanted}")


def _unknown_label(spec: Spec) -> HeliographError:
    return HeliographError(
        Code.VALIDATION, f"Unrecognized servable version label: {spec.label[:80]}"
    )


async def signature_of(model: Model) -> Signature:
    """What a model takes and gives; one that is loaded on demand is loaded for it.

    Raises:
        HeliographError: `model_unavailable`, or why it does not load.
    """
    try:
        return model.signature
    except HeliographError:
        if not model.takes_calls:
            raise
    await asyncio.to_thread(model.load)
    return model.signature


def check_signature(name: str) -> None:
    """Refuse a signature other than the one that every model has here.

    Raises:
        HeliographError: `validation`.
    """
    if name not in {"", SIGNATURE}:
        raise HeliographError(
            Code.VALIDATION, f'Serving signature key "{name[:80]}" not found in signature def'
        )


def file_input(model: Model, inputs: tuple[Tensor, ...]) -> str | None:
    """Name of the input that takes files (JPEG, PNG …) as well as numbers; None for none."""
    if model.input is None:
        return None
    return model.input.name or inputs[0].name


@dataclass(frozen=True, slots=True)
class Status:
    """How far one version is.

    Attributes:
        version: its number as text.
        state: of the enum `ModelVersionStatus.State`.
        code: of the enum `tensorflow.error.Code`.
        message: why it failed; empty if it did not.
    """

    version: str
    state: str
    code: str
    message: str


def statuses(services: Services, spec: Spec) -> list[Status]:
    """How far the versions of a model are: the one that is asked for, else all, highest first.

    Raises:
        HeliographError: `not_found`, or `validation` for an unknown label.
    """
    shelves = [one for one in services.catalog.shelves if one.package.name == spec.name]
    if spec.label:
        version = "" if spec.label.isdigit() else _aliased(services, spec)
        shelves = [one for one in shelves if one.version == version]
        if not shelves:
            raise _unknown_label(spec)
    elif spec.version:
        shelves = [one for one in shelves if one.version == spec.version]
    if not shelves:
        which = f"version {spec.version}" if spec.version else "any versions"
        raise HeliographError(Code.NOT_FOUND, f"Could not find {which} of model {spec.name[:80]}")
    release = services.catalog.product(spec.name).release
    return [
        _status(one, served=release.serves(one.version))
        for one in sorted(shelves, key=lambda one: -int(one.version))
    ]


def _aliased(services: Services, spec: Spec) -> str:
    try:
        return services.catalog.shelf(spec.name, spec.label).version
    except HeliographError as error:
        raise _unknown_label(spec) from error


def _status(shelf: Shelf[Model], *, served: bool) -> Status:
    failed = shelf.state == "failed"
    state = _STATES[shelf.state]
    if served and shelf.model.takes_calls:
        state = "AVAILABLE"  # it may be one that is loaded by its first call
    elif shelf.state == "ready":
        # What is out of service stays in memory for the calls that were let in; it takes no others.
        state = "UNLOADING"
    return Status(
        shelf.version,
        state,
        "UNKNOWN" if failed else "OK",
        shelf.reason if failed else "",
    )
