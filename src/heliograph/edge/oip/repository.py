"""The model repository extension: what there is, and taking it in and out of service.

A load may bring a configuration (of which `max_batch_size` can be set; what else differs from ours
is refused by name) and, with it, the files of a new version.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from typing import Any

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.oip.describe import MAX_BATCH, configuration
from heliograph.edge.oip.dialect import Dialect
from heliograph.registry.catalog import Shelf
from heliograph.serving.values import Model

_STATES = {"ready": "READY", "loading": "LOADING", "unloading": "UNLOADING"}
_FILE = "file:"


def index(dialect: Dialect, *, ready: bool) -> list[dict[str, str]]:
    """Every version of every model and its state; only those that take calls if `ready`."""
    listed = [
        _entry(shelf, serves=product.release.serves(shelf.version))
        for product in dialect.services.catalog.products.values()
        for shelf in product.shelves.values()
    ]
    return [one for one in listed if not ready or one["state"] == "READY"]


def _entry(shelf: Shelf[Model], *, serves: bool) -> dict[str, str]:
    state = _STATES.get(shelf.state, "UNAVAILABLE")
    if shelf.state == "unloaded" and shelf.model.takes_calls and serves:
        state = "READY"  # its first call loads it
    elif state == "READY" and not serves:
        state = "UNLOADING"
    reason = shelf.reason or ("unloaded" if state == "UNAVAILABLE" else "")
    return {
        "name": shelf.package.name,
        "version": shelf.version,
        "state": state,
        "reason": reason,
    }


async def load(dialect: Dialect, name: str, parameters: Mapping[str, Any]) -> None:
    """Bring a model into service; returns when it takes calls.

    Args:
        dialect: the protocol.
        name: the model's.
        parameters: `config`, a JSON text, and `file:PATH`, bytes.

    Raises:
        HeliographError: its text says "failed to load".
    """
    try:
        await _load(dialect, name, parameters)
    except HeliographError as error:
        code = Code.VALIDATION if error.code is Code.NOT_FOUND else error.code
        why = "failed to poll from model repository: there is no such model"
        raise HeliographError(
            code,
            f"failed to load '{name[:80]}', {why if code is not error.code else error.detail}",
        ) from error


async def _load(dialect: Dialect, name: str, parameters: Mapping[str, Any]) -> None:
    for key in parameters:
        if key != "config" and not key.startswith(_FILE):
            raise HeliographError(
                Code.VALIDATION, f"unexpected error on creating Triton parameter '{key[:60]}'"
            )
    files = {key.removeprefix(_FILE): value for key, value in parameters.items() if key != "config"}
    if files and "config" not in parameters:
        raise HeliographError(
            Code.VALIDATION, "override files need the model's configuration, too: send 'config'"
        )
    given = _read_config(parameters["config"]) if "config" in parameters else None
    version = await asyncio.to_thread(_bring, dialect, name, files) if files else ""
    shelf = await asyncio.to_thread(dialect.services.catalog.load, name, version)
    if given is None:
        dialect.limits.pop(name, None)
        return
    await _apply(dialect, shelf, given)


def _bring(dialect: Dialect, name: str, files: Mapping[str, bytes]) -> str:
    from heliograph.edge.oip.files import bring  # the importer is large and rarely needed

    if dialect.options.home is None:
        raise HeliographError(
            Code.UNSUPPORTED, "models are not taken here: bring it in with 'heliograph import'"
        )
    version = bring(dialect.options.home, name, files, dialect.services.catalog.products.get(name))
    catalog = dialect.services.catalog
    catalog.refresh()
    if name not in catalog.products:
        raise HeliographError(
            Code.CONFLICT, "its files are kept, but this server was told which models to serve"
        )
    return version


async def _apply(dialect: Dialect, shelf: Shelf[Model], given: dict[str, Any]) -> None:
    """Take over what can be set; refuse what differs from the model and cannot be."""
    name = shelf.package.name
    own = configuration(await dialect.describe(name, shelf.version))
    for field, value in given.items():
        if field == "max_batch_size":
            _check_batch(value, own)
        elif not _covers(own.get(field), value):
            raise HeliographError(
                Code.UNSUPPORTED, f"its configuration's '{field}' is fixed by the model package"
            )
    if "max_batch_size" in given:
        dialect.limits[name] = given["max_batch_size"]


def _check_batch(value: int, own: Mapping[str, Any]) -> None:
    if not own["max_batch_size"]:
        raise HeliographError(
            Code.VALIDATION, "its first axis is no batch, so that max_batch_size must be 0"
        )
    if not 1 <= value <= MAX_BATCH:
        raise HeliographError(Code.VALIDATION, f"max_batch_size must be 1 to {MAX_BATCH} here")


def _covers(own: Any, given: Any) -> bool:
    """Whether everything given is so already."""
    if isinstance(given, dict):
        return isinstance(own, dict) and all(_covers(own.get(key), given[key]) for key in given)
    if isinstance(given, list):
        return isinstance(own, list) and len(own) == len(given) and all(map(_covers, own, given))
    return own == given


def _read_config(text: Any) -> dict[str, Any]:
    """A configuration as JSON text, read as leniently as protobuf's JSON is."""
    from google.protobuf import json_format

    from heliograph.edge.oip.protos import MESSAGES

    if not isinstance(text, str):
        raise HeliographError(Code.VALIDATION, "'config' must be a JSON text")
    message = MESSAGES["inference.ModelConfig"]()
    try:
        json_format.Parse(text, message, max_recursion_depth=100)
    except json_format.ParseError as error:
        raise HeliographError(
            Code.VALIDATION, "its configuration is no valid inference.ModelConfig in JSON"
        ) from error
    given = to_json(message)
    if '"max_batch_size"' in text:  # 0 is protobuf's silence, but here it was said
        given.setdefault("max_batch_size", 0)
    return given


def to_json(message: Any) -> dict[str, Any]:
    """A message as JSON with the names of its fields, and 64-bit integers as numbers."""
    from google.protobuf import json_format

    return _numbers(
        json_format.MessageToDict(message, preserving_proto_field_name=True), message.DESCRIPTOR
    )


def _numbers(said: dict[str, Any], of: Any) -> dict[str, Any]:
    for field in of.fields:
        value = said.get(field.name)
        if value is None:
            continue
        if field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for one in value if isinstance(value, list) else [value]:
                _numbers(one, field.message_type)
        elif field.cpp_type in {field.CPPTYPE_INT64, field.CPPTYPE_UINT64}:
            said[field.name] = (
                [int(one) for one in value] if isinstance(value, list) else int(value)
            )
    return said


def decode_file(text: Any) -> bytes:
    """The bytes of a file that came as base64 in JSON.

    Raises:
        HeliographError: `validation`.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise HeliographError(Code.VALIDATION, "a file must be base64 (RFC 4648)") from error


async def unload(dialect: Dialect, name: str, parameters: Mapping[str, Any]) -> None:
    """Take every version of a model out of service; returns when its memory is back.

    Raises:
        HeliographError: its text says "failed to unload".
    """
    for key, value in parameters.items():
        if key != "unload_dependents" or not isinstance(value, bool):
            raise HeliographError(
                Code.VALIDATION,
                f"failed to unload '{name[:80]}', parameter '{key[:60]}' is not known or no truth",
            )
    dialect.limits.pop(name, None)
    try:
        await asyncio.to_thread(dialect.services.catalog.unload, name)
    except HeliographError as error:
        raise HeliographError(
            error.code, f"failed to unload '{name[:80]}', {error.detail}"
        ) from error
