"""TensorFlow's data types and numpy's: one row a type."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from heliograph.core.errors import Code, HeliographError


class Dtype(NamedTuple):
    """One data type.

    Attributes:
        number: of the enum `tensorflow.DataType`.
        label: its name there.
        word: what TensorFlow calls it in texts.
        numpy: the element type of its arrays; `object` is byte strings.
        field: the field of a TensorProto that holds its values one by one.
        stored: the element type of that field.
    """

    number: int
    label: str
    word: str
    numpy: str
    field: str
    stored: str


DTYPES = (
    Dtype(1, "DT_FLOAT", "float", "float32", "float_val", "float32"),
    Dtype(2, "DT_DOUBLE", "double", "float64", "double_val", "float64"),
    Dtype(3, "DT_INT32", "int32", "int32", "int_val", "int32"),
    Dtype(4, "DT_UINT8", "uint8", "uint8", "int_val", "int32"),
    Dtype(5, "DT_INT16", "int16", "int16", "int_val", "int32"),
    Dtype(6, "DT_INT8", "int8", "int8", "int_val", "int32"),
    Dtype(7, "DT_STRING", "string", "object", "string_val", "object"),
    Dtype(8, "DT_COMPLEX64", "complex64", "complex64", "scomplex_val", "float32"),
    Dtype(9, "DT_INT64", "int64", "int64", "int64_val", "int64"),
    Dtype(10, "DT_BOOL", "bool", "bool", "bool_val", "bool"),
    Dtype(17, "DT_UINT16", "uint16", "uint16", "int_val", "int32"),
    Dtype(18, "DT_COMPLEX128", "complex128", "complex128", "dcomplex_val", "float64"),
    Dtype(19, "DT_HALF", "half", "float16", "half_val", "int32"),
    Dtype(22, "DT_UINT32", "uint32", "uint32", "uint32_val", "uint32"),
    Dtype(23, "DT_UINT64", "uint64", "uint64", "uint64_val", "uint64"),
)
_BY_NUMBER = {one.number: one for one in DTYPES}
_BY_NUMPY = {one.numpy: one for one in DTYPES}


def numbered(number: int, name: str) -> Dtype:
    """The type of a number; `name` is the tensor's, for the refusal.

    Raises:
        HeliographError: `unsupported`; the type is not one of the rows above.
    """
    found = _BY_NUMBER.get(number)
    if found is None:
        raise HeliographError(
            Code.UNSUPPORTED, f"Tensor '{name[:80]}': data type {number} is not served here."
        )
    return found


def of_numpy(dtype: np.dtype[np.generic] | str) -> Dtype:
    """The type of a numpy element type.

    Raises:
        HeliographError: `unsupported`; TensorFlow has no such type.
    """
    found = _BY_NUMPY.get(dtype if isinstance(dtype, str) else dtype.name)
    if found is None:
        raise HeliographError(
            Code.UNSUPPORTED, f"TensorFlow Serving's clients have no data type for {dtype}."
        )
    return found
