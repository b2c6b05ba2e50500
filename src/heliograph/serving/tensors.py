"""Tensor calls: what a client sent against what the model takes; files become the wanted tensor.

Where the model wants a picture's tensor and the client sent byte strings instead, each is taken
for a file (JPEG, PNG …) and goes through the decoding of every other picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Tensor
from heliograph.serving.admit import Ticket
from heliograph.serving.batch import Item
from heliograph.serving.values import Model

Feeds = Mapping[str, NDArray[Any]]
"""Tensors by input name, with the batch axis, as a client sent them; dtype object = strings."""

_PICTURE_DTYPES = {"float32", "uint8"}


def gather_feeds(ticket: Ticket, feeds: Feeds, tensor_of: Callable[[bytes], NDArray[Any]]) -> Item:
    """Check a call's tensors against its model's signature and make its item.

    Args:
        ticket: an admitted call.
        feeds: what came.
        tensor_of: decodes a file into the model's tensor.

    Raises:
        HeliographError: `bad_shape` or `unknown_field`, naming the input, what was expected and
            what came; what decoding raises.
    """
    model = ticket.entry.model
    wanted = {one.name: one for one in model.signature.inputs}
    _check_names(model, wanted, feeds)
    ready: dict[str, NDArray[Any]] = {}
    for name, array in feeds.items():
        given = array
        if _is_file(model, wanted[name], array):
            given = _decode(ticket, name, array, tensor_of)
        check_tensor(model.name, wanted[name], given)
        ready[name] = given
    rows = {one.shape[0] if one.ndim else 1 for one in ready.values()}
    if model.signature.batched and len(rows) != 1:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"The inputs of model '{model.name}' must agree in their first size; got "
            f"{', '.join(str(one) for one in sorted(rows))}.",
        )
    batched = model.signature.batched
    return Item(ready, ticket.check, rows.pop() if batched else 1, alone=not batched)


def _check_names(model: Model, wanted: Mapping[str, Tensor], feeds: Feeds) -> None:
    strange = sorted(set(feeds) - set(wanted))
    if strange:
        raise HeliographError(
            Code.UNKNOWN_FIELD,
            f"unexpected inference input '{strange[0][:80]}' for model '{model.name}'; its inputs "
            f"are {', '.join(wanted)}",
        )
    missing = sorted(set(wanted) - set(feeds))
    if missing:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"expected {len(wanted)} inputs but got {len(feeds)} inputs for model "
            f"'{model.name}'. Got input(s) {sorted(feeds)}, but missing required input(s) "
            f"{missing}. Please provide all required input(s).",
        )


def check_tensor(model: str, wanted: Tensor, array: NDArray[Any]) -> None:
    """Compare one tensor with what an input takes.

    Raises:
        HeliographError: `bad_shape`, with both data types or both shapes.
    """
    # numpy has no bfloat16: such a tensor travels as float32, and its runner rounds it.
    dtype = "float32" if wanted.dtype == "bfloat16" else wanted.dtype
    if array.dtype.name != dtype:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"unexpected data type for input '{wanted.name}' for model '{model}'. Expected "
            f"{dtype}, got {array.dtype.name}",
        )
    fits = array.ndim == len(wanted.shape) and all(
        want in (-1, size) for want, size in zip(wanted.shape, array.shape, strict=True)
    )
    if not fits:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"unexpected shape for input '{wanted.name}' for model '{model}'. Expected "
            f"{_shape(wanted.shape)}, got {_shape(array.shape)}",
        )


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ",".join(str(size) for size in shape) + "]"


def _is_file(model: Model, wanted: Tensor, array: NDArray[Any]) -> bool:
    return (
        array.dtype == object
        and wanted.dtype in _PICTURE_DTYPES
        and model.input is not None
        and model.input.name in ("", wanted.name)
    )


def _decode(
    ticket: Ticket, name: str, files: NDArray[Any], tensor_of: Callable[[bytes], NDArray[Any]]
) -> NDArray[Any]:
    """Files to one tensor with a batch axis: [n] or [n, 1] byte strings -> [n, …]."""
    if files.size != (files.shape[0] if files.ndim else 1) or not files.size:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"Input '{name}' takes one picture file a row, [n] or [n, 1]; got "
            f"{_shape(files.shape)}.",
        )
    made: list[NDArray[Any]] = []
    for one in files.reshape(-1).tolist():
        ticket.check()
        made.append(tensor_of(one if isinstance(one, bytes) else str(one).encode()))
    if len({one.shape for one in made}) > 1:
        raise HeliographError(
            Code.BAD_SHAPE,
            f"The pictures of input '{name}' are of different sizes and this model takes each as "
            "it is: send one picture a call.",
        )
    return np.stack(made)
