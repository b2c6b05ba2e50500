"""Read a PyTorch state dict without PyTorch and without trusting its pickle.

A recipe turns a file from a package index into a servable file; when that file is a ``.pth``, this
is the first step: names and arrays out, nothing executed.

Covered: a pickle that names any callable but the four kinds below is refused before it is called;
storages are read with numpy and every tensor is checked to lie inside its storage, without
repeating elements. Not covered: a pickle made to exhaust memory (a memo index of two thousand
million, say). Recipes read files whose SHA-256 is pinned; do not hand this a stranger's upload.

Source of both layouts: ``torch/serialization.py`` (``_legacy_load``, ``_load``) of PyTorch 2.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias, cast

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.generic]

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_DTYPES: Mapping[str, str] = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}


@dataclass(frozen=True, slots=True)
class _Kind:
    """What ``torch.FloatStorage`` and its sisters become: a dtype, not callable."""

    dtype: np.dtype[np.generic]


@dataclass(frozen=True, slots=True)
class _Storage:
    """A flat run of elements, named now and read later."""

    key: str
    dtype: np.dtype[np.generic]
    length: int


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A strided view of a storage; strides and offset count elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(path: Path) -> dict[str, Array]:
    """Read every tensor of a ``torch.save``-d state dict.

    Args:
        path: a ``.pth`` file in the zip layout (PyTorch 1.6 and later) or the older one.

    Returns:
        Name to array, in the file's order; own memory, C-contiguous, the file's dtype.

    Raises:
        ValueError: the file is damaged, is not a flat mapping of names to tensors, or names a
            global that a state dict of weights has no need for.
    """
    try:
        tensors, read = _from_zip(path) if zipfile.is_zipfile(path) else _from_legacy(path)
        return {name: _materialise(name, tensor, read) for name, tensor in tensors.items()}
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, LookupError) as error:
        raise ValueError(f"{path.name} is not a readable state dict: {error}") from error
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path.name} holds a malformed pickle: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


class _Unpickler(pickle.Unpickler):
    """An unpickler that knows four names and refuses the rest."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Map the four kinds of allowed names to our own harmless objects."""
        if (module_name, global_name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module_name, global_name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module_name == "torch" and global_name in _DTYPES:
            return _Kind(np.dtype(_DTYPES[global_name]))
        raise ValueError(
            f"the pickle asks for {module_name}.{global_name}; a state dict of weights may hold "
            "only tensors, so the file is refused"
        )

    def persistent_load(self, pid: Any, /) -> _Storage:
        """Turn ``("storage", kind, key, device, length[, view])`` into a storage to read later."""
        match pid:
            case ("storage", _Kind(dtype), str(key), str(), int(length)) | (
                "storage",
                _Kind(dtype),
                str(key),
                str(),
                int(length),
                None,
            ) if length >= 0:
                return _Storage(key, dtype, length)
            case _:
                raise ValueError(f"unknown persistent id in the state dict: {pid!r:.120}")


def _rebuild_tensor(
    storage: object, offset: object, shape: object, strides: object, *_hooks: object
) -> _Tensor:
    match storage, offset, shape, strides:
        case _Storage(), int(), tuple(), tuple():
            sizes, steps = cast("tuple[object, ...]", shape), cast("tuple[object, ...]", strides)
        case _:
            raise ValueError("a tensor in the state dict is not described by storage and numbers")
    if len(sizes) != len(steps):
        raise ValueError(f"a tensor has {len(sizes)} dimensions but {len(steps)} strides")
    return _Tensor(storage, offset, _naturals(sizes), _naturals(steps))


def _naturals(values: tuple[object, ...]) -> tuple[int, ...]:
    numbers = tuple(value for value in values if isinstance(value, int) and value >= 0)
    if len(numbers) != len(values):
        raise ValueError(f"a tensor's shape or strides are not natural numbers: {values!r:.120}")
    return numbers


def _from_zip(path: Path) -> tuple[dict[str, _Tensor], Callable[[_Storage], bytes]]:
    with zipfile.ZipFile(path) as archive:
        index = next((name for name in archive.namelist() if name.endswith("/data.pkl")), "")
        folder = index.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist():
            order = archive.read(f"{folder}byteorder")
            if order != b"little":
                raise ValueError(f"expected a little-endian state dict, got {order!r:.20}")
        tensors = _named_tensors(_load(io.BytesIO(archive.read(index))))
        keys = {tensor.storage.key for tensor in tensors.values()}
        blobs = {key: archive.read(f"{folder}data/{key}") for key in keys}
    return tensors, lambda storage: blobs[storage.key]


def _from_legacy(path: Path) -> tuple[dict[str, _Tensor], Callable[[_Storage], bytes]]:
    with path.open("rb") as file:
        if _load(file) != _LEGACY_MAGIC or _load(file) != _LEGACY_PROTOCOL:
            raise ValueError("neither of the layouts of torch.save")
        system = _load(file)
        if not isinstance(system, dict) or system.get("little_endian") is not True:  # pyright: ignore[reportUnknownMemberType]
            raise ValueError("expected a little-endian state dict")
        tensors = _named_tensors(_load(file))
        sizes = {
            t.storage.key: t.storage.length * t.storage.dtype.itemsize for t in tensors.values()
        }
        blobs: dict[str, bytes] = {}
        for key in cast("list[str]", _load(file)):
            file.seek(8, io.SEEK_CUR)  # the length again, in elements
            blobs[key] = file.read(sizes[key])
    return tensors, lambda storage: blobs[storage.key]


def _load(file: IO[bytes]) -> object:
    return _Unpickler(file).load()


def _named_tensors(loaded: object) -> dict[str, _Tensor]:
    if not isinstance(loaded, dict):
        got = type(loaded).__name__
        raise ValueError(f"expected names and tensors, got {got}")  # noqa: TRY004 - one error for all
    items = cast("dict[object, object]", loaded).items()
    tensors = {n: t for n, t in items if isinstance(n, str) and isinstance(t, _Tensor)}
    if len(tensors) != len(items):
        raise ValueError("the state dict holds something besides named tensors")
    return tensors


def _materialise(name: str, tensor: _Tensor, read: Callable[[_Storage], bytes]) -> Array:
    storage = tensor.storage
    flat = np.frombuffer(read(storage), storage.dtype)
    if flat.size != storage.length:
        raise ValueError(
            f"{name}: expected {storage.length} elements in its storage, got {flat.size}"
        )
    count = int(np.prod(tensor.shape, dtype=object))
    last = tensor.offset + sum(
        (size - 1) * step for size, step in zip(tensor.shape, tensor.strides, strict=True)
    )
    if tensor.offset < 0 or count > flat.size or (count and last >= flat.size):
        raise ValueError(f"{name}: shape {tensor.shape} does not fit its storage of {flat.size}")
    if count == 0:
        return np.empty(tensor.shape, storage.dtype)
    steps = tuple(step * storage.dtype.itemsize for step in tensor.strides)
    return as_strided(flat[tensor.offset :], tensor.shape, steps, writeable=False).copy(order="C")
