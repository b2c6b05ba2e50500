"""Our message descriptors: made of today's .proto files, and the same as the real clients'."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from heliograph.edge.oip.protos import MESSAGES, SERVICE
from support.clients import run_client
from support.protos import compile_to, folders


@pytest.mark.parametrize("folder", folders(), ids=lambda one: one.name)
def test_compiled_descriptors_are_fresh(folder: Path, tmp_path: Path) -> None:
    compile_to(folder, tmp_path / "fresh.binpb")
    fresh = FileDescriptorSet.FromString((tmp_path / "fresh.binpb").read_bytes())
    kept = FileDescriptorSet.FromString((folder / f"{folder.name}.binpb").read_bytes())
    assert fresh == kept, f"run tools/protos.py: {folder.name}.binpb is older than its .proto files"


def _ours(name: str) -> list[Any]:
    """A field or method of ours, as tests/clients/descriptors.py tells the real ones."""
    owner, _, member = name.rpartition(".")
    if owner == SERVICE:
        method = MESSAGES.pool.FindServiceByName(owner).methods_by_name[member]
        ends = [method.input_type.full_name, method.output_type.full_name]
        return [*ends, method.client_streaming, method.server_streaming]
    field = MESSAGES.pool.FindMessageTypeByName(owner).fields_by_name[member]
    kind = field.message_type or field.enum_type
    return [field.number, field.type, field.is_repeated, kind.full_name if kind else ""]


def _names(message: Any) -> Iterator[str]:
    for field in message.fields:
        yield f"{message.full_name}.{field.name}"
    for nested in message.nested_types:
        yield from _names(nested)


def test_every_message_of_tritonclient_is_ours() -> None:
    theirs = run_client("descriptors", "triton")
    assert len(theirs) > 250
    assert {name: _ours(name) for name in theirs} == theirs
    files = [MESSAGES.pool.FindFileByName(name) for name in ("oip.proto", "config.proto")]
    ours = {
        name
        for file in files
        for message in file.message_types_by_name.values()
        for name in _names(message)
    }
    assert ours <= set(theirs), "a field of ours that no client knows"


def test_every_message_of_kserve_is_ours() -> None:
    theirs = run_client("descriptors", "kserve")
    # Its messages for loading and unloading are not Triton's; no client class of it sends them.
    theirs = {name: one for name, one in theirs.items() if ".RepositoryModel" not in name}
    assert len(theirs) > 50
    assert {name: _ours(name) for name in theirs} == theirs


def test_the_service_has_twenty_methods() -> None:
    assert len(MESSAGES.methods(SERVICE)) == 20
