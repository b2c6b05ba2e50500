"""The protocol over gRPC: `inference.GRPCInferenceService`, all twenty methods."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import json_format

from heliograph.core.errors import Code, HeliographError
from heliograph.core.permissions import Permission
from heliograph.edge.grpc.calls import Context, Handler, credentials, duplex, service, unary
from heliograph.edge.oip import repository
from heliograph.edge.oip.describe import configuration, metadata
from heliograph.edge.oip.dialect import Dialect
from heliograph.edge.oip.errors import render
from heliograph.edge.oip.protos import MESSAGES, SERVICE
from heliograph.edge.oip.stats import statistics
from heliograph.edge.oip.stream import Streams, answer

Behave = Callable[[Any], Awaitable[dict[str, Any]]]
"""A request message in, the members of the answer out."""


def handlers(dialect: Dialect) -> list[grpc.GenericRpcHandler]:
    """The service."""
    kinds = MESSAGES.methods(SERVICE)
    admin = Administration(dialect)
    read, change = Permission.MODELS_READ, Permission.MODELS_WRITE
    run = Permission.SERVER_OPERATE
    simple: dict[str, tuple[Behave, Permission | None]] = {
        "ServerLive": (admin.live, None),
        "ServerReady": (admin.ready, None),
        "ServerMetadata": (admin.server_metadata, read),
        "ModelReady": (admin.model_ready, read),
        "ModelMetadata": (admin.model_metadata, read),
        "ModelConfig": (admin.model_config, read),
        "ModelStatistics": (admin.model_statistics, read),
        "RepositoryIndex": (admin.repository_index, read),
        "RepositoryModelLoad": (admin.load, change),
        "RepositoryModelUnload": (admin.unload, change),
        "SystemSharedMemoryStatus": (admin.regions, run),
        "SystemSharedMemoryRegister": (admin.register, run),
        "SystemSharedMemoryUnregister": (admin.unregister, run),
        "CudaSharedMemoryStatus": (admin.cuda_regions, run),
        "CudaSharedMemoryRegister": (admin.cuda_register, run),
        "CudaSharedMemoryUnregister": (admin.unregister, run),
        "TraceSetting": (admin.trace, read),
        "LogSettings": (admin.log, run),
    }
    methods: dict[str, Handler] = {
        name: _method(dialect, kinds[name], act, needs) for name, (act, needs) in simple.items()
    }
    methods["ModelInfer"] = unary(
        None, lambda data, context: answer(dialect, data, context), render=_counted(dialect)
    )
    methods["ModelStreamInfer"] = duplex(Streams(dialect).serve, render=_counted(dialect))
    return [service(SERVICE, methods)]


def _method(
    dialect: Dialect, kinds: tuple[Any, Any], act: Behave, needs: Permission | None
) -> Handler:
    """A method; `needs` is None where anybody may ask."""
    question, answer_kind = kinds

    async def behave(asked: Any, context: Context) -> Any:
        if needs:
            # Trace and log settings are read and changed by the same calls.
            changes = bool(getattr(asked, "settings", None))
            dialect.check(credentials(context), Permission.SERVER_OPERATE if changes else needs)
        return json_format.ParseDict(await act(asked), answer_kind())

    return unary(question, behave, render=_counted(dialect))


def _counted(dialect: Dialect) -> Any:
    def tell(error: Any) -> Any:
        dialect.services.meter.problem(error.code)
        return render(error)

    return tell


class Administration:
    """Every method but inference; each takes a request and gives the members of its answer."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    async def live(self, asked: Any) -> dict[str, Any]:
        """ServerLive."""
        del asked
        return {"live": True}

    async def ready(self, asked: Any) -> dict[str, Any]:
        """ServerReady."""
        del asked
        return {"ready": self._dialect.ready()}

    async def server_metadata(self, asked: Any) -> dict[str, Any]:
        """ServerMetadata."""
        del asked
        return self._dialect.server()

    async def model_ready(self, asked: Any) -> dict[str, Any]:
        """ModelReady."""
        return {"ready": self._dialect.model_ready(asked.name, asked.version)}

    async def model_metadata(self, asked: Any) -> dict[str, Any]:
        """ModelMetadata."""
        one = await self._dialect.describe(asked.name, asked.version)
        versions = [one.model.version] if asked.version else self._dialect.versions(asked.name)
        return metadata(one, versions)

    async def model_config(self, asked: Any) -> dict[str, Any]:
        """ModelConfig."""
        one = await self._dialect.describe(asked.name, asked.version)
        return {"config": configuration(one)}

    async def model_statistics(self, asked: Any) -> dict[str, Any]:
        """ModelStatistics."""
        told = await asyncio.to_thread(statistics, self._dialect, asked.name, asked.version)
        return {"model_stats": told}

    # --- repository --------------------------------------------------------------------------

    async def repository_index(self, asked: Any) -> dict[str, Any]:
        """RepositoryIndex."""
        _one_repository(asked)
        return {"models": repository.index(self._dialect, ready=asked.ready)}

    async def load(self, asked: Any) -> dict[str, Any]:
        """RepositoryModelLoad."""
        _one_repository(asked)
        await repository.load(self._dialect, asked.model_name, _choices(asked.parameters))
        return {}

    async def unload(self, asked: Any) -> dict[str, Any]:
        """RepositoryModelUnload."""
        _one_repository(asked)
        await repository.unload(self._dialect, asked.model_name, _choices(asked.parameters))
        return {}

    # --- shared memory -----------------------------------------------------------------------

    async def regions(self, asked: Any) -> dict[str, Any]:
        """SystemSharedMemoryStatus."""
        found = self._dialect.memory.status(asked.name)
        return {
            "regions": {
                one.name: {
                    "name": one.name,
                    "key": one.key,
                    "offset": one.offset,
                    "byte_size": one.byte_size,
                }
                for one in found
            }
        }

    async def register(self, asked: Any) -> dict[str, Any]:
        """SystemSharedMemoryRegister."""
        self._dialect.memory.register(asked.name, asked.key, asked.offset, asked.byte_size)
        return {}

    async def unregister(self, asked: Any) -> dict[str, Any]:
        """SystemSharedMemoryUnregister, and CudaSharedMemoryUnregister: one space of names."""
        self._dialect.memory.unregister(asked.name)
        return {}

    async def cuda_regions(self, asked: Any) -> dict[str, Any]:
        """CudaSharedMemoryStatus: there are never any."""
        del asked
        self._dialect.memory.status("")
        return {}

    async def cuda_register(self, asked: Any) -> dict[str, Any]:
        """CudaSharedMemoryRegister."""
        raise self._dialect.no_cuda(asked.name)

    # --- trace and log -----------------------------------------------------------------------

    async def trace(self, asked: Any) -> dict[str, Any]:
        """TraceSetting: without settings it only reads."""
        if asked.model_name:
            self._dialect.find(asked.model_name)
        changes = {name: list(one.value) or None for name, one in asked.settings.items()}
        if changes:
            told = await self._dialect.change_trace(changes, asked.model_name)
        else:
            told = self._dialect.trace.read(asked.model_name)
        return {
            "settings": {
                name: {"value": value if isinstance(value, list) else [value]}
                for name, value in told.items()
            }
        }

    async def log(self, asked: Any) -> dict[str, Any]:
        """LogSettings: without settings it only reads."""
        changes = _choices(asked.settings)
        if changes:
            self._dialect.check_alone("A change of log settings")
            told = self._dialect.log.update(changes)
        else:
            told = self._dialect.log.read()
        return {"settings": {name: {_field(value): value} for name, value in told.items()}}


def _choices(given: Any) -> dict[str, Any]:
    """A map of messages with one `parameter_choice` each, as plain values."""
    plain: dict[str, Any] = {}
    for name, one in given.items():
        chosen = one.WhichOneof("parameter_choice")
        plain[name] = getattr(one, chosen) if chosen else None
    return plain


def _field(value: Any) -> str:
    if isinstance(value, bool):
        return "bool_param"
    return "uint32_param" if isinstance(value, int) else "string_param"


def _one_repository(asked: Any) -> None:
    if asked.repository_name:
        raise HeliographError(Code.UNSUPPORTED, "'repository_name' specification is not supported")
