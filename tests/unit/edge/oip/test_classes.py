from __future__ import annotations

import numpy as np
import pytest

from heliograph.core.errors import HeliographError
from heliograph.edge.oip.classes import best_classes

LABELS = ("cat", "dog", "")


def test_the_best_classes_of_each_row() -> None:
    rows = np.array([[0.1, 0.7, 0.2, 0.0], [4, 3, 2, 1]], np.float32)
    told = best_classes("y", rows, 3, LABELS, batched=True)
    assert told.tolist() == [
        [b"0.700000:1:dog", b"0.200000:2", b"0.100000:0:cat"],
        [b"4.000000:0:cat", b"3.000000:1:dog", b"2.000000:2"],
    ]


def test_more_classes_than_there_are_and_no_batch() -> None:
    told = best_classes("y", np.array([3, 9], np.int32), 5, (), batched=False)
    assert told.tolist() == [b"9:1", b"3:0"]


def test_equal_values_keep_their_order() -> None:
    told = best_classes("y", np.zeros((1, 3), np.uint8), 3, (), batched=True)
    assert told.tolist() == [[b"0:0", b"0:1", b"0:2"]]


def test_texts_have_no_best() -> None:
    with pytest.raises(HeliographError, match="holds no numbers"):
        best_classes("y", np.array([[b"a"]], object), 1, (), batched=True)
