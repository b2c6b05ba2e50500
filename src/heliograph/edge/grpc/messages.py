"""Protocol buffer messages of our edges, from a pool of their own.

Each edge keeps its `.proto` files beside its code, written after the public interface, and the
descriptor set that `tools/protos.py` makes of them (`NAME.binpb`). The classes come from a private
pool: a program that imports both us and `tritonclient` or `tensorflow`, which register the same
names in protobuf's one default pool, would otherwise not start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from heliograph.core.errors import Code, HeliographError


class Messages:
    """The message classes of one pool: `messages["inference.ModelInferRequest"]()`."""

    def __init__(self, pool: DescriptorPool) -> None:
        self.pool = pool
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        """The class of a message by its full name.

        Raises:
            KeyError: there is no such message.
        """
        found = self._made.get(name)
        if found is None:
            found = self._made[name] = GetMessageClass(self.pool.FindMessageTypeByName(name))
        return found

    def methods(self, service: str) -> dict[str, tuple[Any, Any]]:
        """Request and answer class of each method of a service, by the method's name."""
        found = self.pool.FindServiceByName(service)
        return {
            one.name: (self[one.input_type.full_name], self[one.output_type.full_name])
            for one in found.methods
        }


def load(*sets: Path) -> Messages:
    """Read descriptor sets (`.binpb`) into one new pool.

    Args:
        sets: files made by `tools/protos.py`; each holds its imports, too. Of a file that stands in
            several the first is taken.
    """
    pool = DescriptorPool()
    seen: set[str] = set()
    for path in sets:
        for file in FileDescriptorSet.FromString(path.read_bytes()).file:
            if file.name not in seen:
                seen.add(file.name)
                pool.Add(file)
    return Messages(pool)


def parse(kind: Any, data: bytes) -> Any:
    """Read a message that a client sent.

    Raises:
        HeliographError: `bad_request`; the bytes are not such a message, or nest too deeply.
    """
    message: Message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise HeliographError(
            Code.BAD_REQUEST, f"The bytes are not a valid {kind.DESCRIPTOR.full_name}."
        ) from error
    return message
