"""The classification extension: an output told as its best classes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.oip.datatypes import Array


def best_classes(
    name: str, array: Array, count: int, labels: Sequence[str], *, batched: bool
) -> Array:
    """The best classes of each row as byte strings `value:index[:label]`, best first.

    Args:
        name: the output's, for errors.
        array: values by class; with a batch axis if `batched`.
        count: how many are asked for.
        labels: by class; may be shorter.
        batched: whether the first axis is the batch.

    Returns:
        [batch, min(count, classes)], or [min(count, classes)] without a batch.

    Raises:
        HeliographError: `validation`; the output has no numbers to compare.
    """
    if array.dtype == object:
        raise HeliographError(
            Code.VALIDATION, f"class result not available for output '{name}': it holds no numbers"
        )
    rows = array.reshape(len(array), -1) if batched else array.reshape(1, -1)
    count = min(count, rows.shape[1])
    order = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, :count]
    told = np.empty((len(rows), count), object)
    for at, row in enumerate(rows):
        told[at] = [_say(row[index], int(index), labels) for index in order[at]]
    return told if batched else told[0]


def _say(value: Any, index: int, labels: Sequence[str]) -> bytes:
    number = f"{value:f}" if isinstance(value, np.floating) else str(int(value))
    label = f":{labels[index]}" if index < len(labels) and labels[index] else ""
    return f"{number}:{index}{label}".encode()
