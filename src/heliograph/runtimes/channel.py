"""How a server and a model worker talk: tensors in shared memory, a short message for each turn.

A channel is one socket pair and two arenas (memory that the server made and sealed at its size, so
that a worker cannot cut it away under the server's hands). The server writes a call's inputs into
the first arena and sends where they lie; the worker runs the model, writes the outputs into the
second and answers where they lie. The message that tells is also what wakes the other side.

The server takes nothing from a worker at its word: messages are decoded into the closed types
below, places are checked against the arena before it is touched, and bytes are copied out before
they are used. What fails a check is `Nonsense`.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import math
import mmap
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from heliograph.runtimes.base import Tensor

MESSAGE_BYTES = 128 << 10
"""Longest message; a model with more tensors than fit is refused."""

RANK = 32
"""Most axes of a tensor."""

KEPT_BYTES = 64 << 20
"""Arenas above this size are given back after the call that needed them."""

DTYPES = frozenset((
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
))  # fmt: skip
"""Element types that are plain bytes; `object` (byte strings) has a framing of its own."""

STRINGS = 1 << 20
"""Most byte strings in one tensor: each costs an object."""

_TURN = 8
_LINE = 64
_PAGE = mmap.PAGESIZE
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Nonsense(Exception):  # noqa: N818 - it is what was said
    """The other side said something that cannot be."""


class Gone(Exception):  # noqa: N818 - it is where the other side is
    """The other side has hung up."""


class Absent(Gone):
    """The other side had hung up before it was told."""


class Slot(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where one tensor lies in an arena: `size` bytes from `start` on."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """Server: run these. `arenas` says which arenas (0, 1) come anew with this message."""

    slots: list[Slot]
    arenas: list[int]


class Room(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Server: here is the larger arena that was asked for; without one, there is no room."""


class Here(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """Worker: this line is served by the thread of this number."""

    thread: int


class Walled(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Worker: the wall stands; what holds each of its parts."""

    parts: dict[str, str]


class Loaded(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Worker: the model is open. Tensors are (name, dtype, shape)."""

    inputs: list[tuple[str, str, tuple[int, ...]]]
    outputs: list[tuple[str, str, tuple[int, ...]]]
    platform: str


class Done(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Worker: the outputs lie here."""

    slots: list[Slot]


class More(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Worker: the outputs need an arena of this many bytes."""

    size: int


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Worker: the model could not be opened or run.

    Attributes:
        code: an error code, or empty for a failure of the engine's own.
        detail: for the caller, with a code.
        reason: for the log.
    """

    code: str
    detail: str
    reason: str


Said = Here | Walled | Loaded | Done | More | Failed
"""What a worker may say."""

Told = Ask | Room
"""What a server may say."""

encode = msgspec.msgpack.Encoder().encode
_said: msgspec.msgpack.Decoder[Said] = msgspec.msgpack.Decoder(Said)
_told: msgspec.msgpack.Decoder[Told] = msgspec.msgpack.Decoder(Told)


def obey(body: bytes) -> Told:
    """What the server said."""
    return _told.decode(body)


def understand(body: bytes) -> Said:
    """What a worker said.

    Raises:
        Nonsense: it is none of the messages.
    """
    try:
        return _said.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Nonsense("a message that cannot be read") from None


class Arena:
    """Shared memory of a fixed size.

    Args:
        descriptor: a memory file; it is closed, the mapping stays.
    """

    def __init__(self, descriptor: int) -> None:
        self.size = os.fstat(descriptor).st_size
        self.map = mmap.mmap(descriptor, self.size)

    @staticmethod
    def make(size: int) -> int:
        """A new memory file of at least `size` bytes that nobody can shrink or grow."""
        descriptor = os.memfd_create("arena", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, max(_PAGE, -(-size // _PAGE) * _PAGE))
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        return descriptor

    def view(self, slot: Slot) -> NDArray[Any]:
        """The tensor of a slot, where it lies; its slot must have been checked."""
        return np.ndarray(slot.shape, slot.dtype, self.map, slot.start)

    def close(self) -> None:
        """Unmap it, now or once the last array that lies in it is gone."""
        with contextlib.suppress(BufferError):
            self.map.close()


class Layout:
    """Where tensors lie in an arena. Most calls look like the one before, so it is kept for it.

    Args:
        arrays: the tensors that are to lie there.

    Raises:
        TypeError: one has an element type that cannot be sent.
    """

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.kind = kind_of(arrays)
        self.packed: dict[str, bytes] = {}
        self.slots: list[Slot] = []
        self.size = 0
        for name, one in arrays.items():
            size = one.nbytes
            if one.dtype == object:
                self.packed[name] = pack_strings(one)
                size = len(self.packed[name])
            elif one.dtype.name not in DTYPES:
                raise TypeError(f"tensor {name!r} has the element type {one.dtype}")
            self.slots.append(Slot(name, one.dtype.name, one.shape, self.size, size))
            self.size += -(-size // _LINE) * _LINE
        self._bound: Arena | None = None
        self._places: list[tuple[str, NDArray[Any]]] = []

    def suits(self, arrays: Mapping[str, NDArray[Any]]) -> bool:
        """Whether these would lie just so; byte strings never: their sizes are their own."""
        return not self.packed and self.kind == kind_of(arrays)

    def write(self, arena: Arena, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Copy the tensors to their places."""
        if arena is not self._bound:
            plain = [slot for slot in self.slots if slot.dtype != "object"]
            self._places = [(slot.name, arena.view(slot)) for slot in plain]
            self._bound = arena
        for name, place in self._places:
            np.copyto(place, arrays[name])
        if self.packed:
            for slot in self.slots:
                if slot.dtype == "object":
                    arena.map[slot.start : slot.start + slot.size] = self.packed[slot.name]

    def release(self) -> None:
        """Let go of the arena that was written to last."""
        self._bound, self._places = None, []


def kind_of(arrays: Mapping[str, NDArray[Any]]) -> list[tuple[str, tuple[int, ...], Any]]:
    """What a layout depends on: names, shapes and element types, in their order."""
    return [(name, one.shape, one.dtype) for name, one in arrays.items()]


def read(arena: Arena, slot: Slot, *, copy: bool) -> NDArray[Any]:
    """The tensor of a checked slot; byte strings are always copied.

    Raises:
        Nonsense: its shape cannot be.
    """
    if slot.dtype == "object":
        return unpack_strings(arena.map[slot.start : slot.start + slot.size], slot.shape)
    try:
        view = arena.view(slot)
    except ValueError:
        raise Nonsense("a shape that cannot be") from None
    return view.copy() if copy else view


def check(slot: Slot, size: int) -> None:
    """Hold a slot against the arena's size before the arena is touched.

    Raises:
        Nonsense: it is no tensor, or lies outside.
    """
    if len(slot.shape) > RANK or any(side < 0 for side in slot.shape):
        raise Nonsense(f"a tensor of shape {slot.shape[:RANK]}")
    if slot.start < 0 or slot.start % _LINE or slot.size < 0 or slot.start + slot.size > size:
        raise Nonsense(f"a tensor at {slot.start} of {slot.size} bytes in an arena of {size}")
    if slot.dtype == "object":
        if math.prod(slot.shape) > STRINGS:
            raise Nonsense(f"more than {STRINGS} byte strings")
    elif slot.dtype not in DTYPES:
        raise Nonsense(f"an element type {slot.dtype[:20]!r}")
    elif math.prod(slot.shape) * np.dtype(slot.dtype).itemsize != slot.size:
        raise Nonsense(f"{slot.size} bytes for {slot.dtype} of shape {slot.shape}")


def agree(slots: Sequence[Slot], outputs: Sequence[Tensor]) -> None:
    """Hold an answer against the outputs that the model declared: names, types, numbers of axes.

    Sizes along an axis are not held: many exporters write wrong ones into a file, and engines take
    them for a hint.

    Raises:
        Nonsense: they differ.
    """
    if [slot.name for slot in slots] != [one.name for one in outputs]:
        raise Nonsense("outputs other than the model declares")
    for slot, one in zip(slots, outputs, strict=True):
        if slot.dtype != one.dtype or len(slot.shape) != len(one.shape):
            raise Nonsense(
                f"{slot.dtype} of {len(slot.shape)} axes where {one.dtype} of {len(one.shape)} "
                "was declared"
            )


def pack_strings(strings: NDArray[Any]) -> bytes:
    """An array of bytes or text as one run of bytes: every length in four bytes, then them all."""
    flat = [one if isinstance(one, bytes) else str(one).encode() for one in strings.ravel()]
    return struct.pack(f"<{len(flat)}I", *map(len, flat)) + b"".join(flat)


def unpack_strings(packed: bytes, shape: tuple[int, ...]) -> NDArray[Any]:
    """The array of byte strings that `pack_strings` packed.

    Raises:
        Nonsense: lengths and bytes do not agree.
    """
    count = math.prod(shape)
    if 4 * count > len(packed):
        raise Nonsense("more byte strings than bytes")
    lengths = struct.unpack_from(f"<{count}I", packed)
    if sum(lengths) != len(packed) - 4 * count:
        raise Nonsense("byte strings of other lengths than was said")
    flat = np.empty(count, object)
    start = 4 * count
    for at, length in enumerate(lengths):
        flat[at] = packed[start : start + length]
        start += length
    try:
        return flat.reshape(shape)
    except ValueError:
        raise Nonsense("a shape that cannot be") from None


class Line:
    """One end of a channel's socket pair: messages, each with the number of the turn it belongs to.

    Args:
        sock: of type `SOCK_SEQPACKET`.
        seconds: longest wait for the other side; 0 waits for ever.
    """

    def __init__(self, sock: socket.socket, seconds: float = 0.0) -> None:
        self.sock = sock
        self._buffer = bytearray(_TURN + MESSAGE_BYTES)
        self._view = memoryview(self._buffer)
        self.patience(seconds)

    def patience(self, seconds: float) -> None:
        """Set the longest wait. The kernel holds it, which saves a `poll` for each message."""
        timeout = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeout)

    def send(self, turn: int, body: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send one message, and memory files with it.

        Raises:
            Absent: nobody is there.
            TimeoutError: nobody takes it.
        """
        said = turn.to_bytes(_TURN, "little") + body
        try:
            if descriptors:
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
                self.sock.sendmsg([said], [rights])
            else:
                self.sock.send(said)
        except BlockingIOError:
            raise TimeoutError from None
        except OSError:
            raise Absent from None

    def hear(self, turn: int) -> bytes:
        """The worker's next message. Memory files that came with it are dropped.

        Raises:
            Gone, TimeoutError: as their names say.
            Nonsense: it belongs to another turn.
        """
        try:
            size = self.sock.recv_into(self._buffer)
        except BlockingIOError:
            raise TimeoutError from None
        except OSError:
            raise Gone from None
        if not size:
            raise Gone
        if int.from_bytes(self._view[:_TURN], "little") != turn:
            raise Nonsense("something out of turn")
        return bytes(self._view[_TURN:size])

    def listen(self) -> tuple[int, bytes, list[int]]:
        """The server's next message: its turn, what it says, the memory files that came with it.

        Raises:
            Gone: the server is not there any more.
        """
        room = socket.CMSG_SPACE(2 * array.array("i").itemsize)
        try:
            size, ancillary, _, _ = self.sock.recvmsg_into([self._buffer], room)
        except OSError:
            raise Gone from None
        if not size:
            raise Gone
        came = array.array("i")
        for _, _, rights in ancillary:
            came.frombytes(rights)
        turn = int.from_bytes(self._view[:_TURN], "little")
        return turn, bytes(self._view[_TURN:size]), came.tolist()

    def close(self) -> None:
        """Hang up."""
        self.sock.close()
