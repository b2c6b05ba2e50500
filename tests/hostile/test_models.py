"""Rows B90, B91, B98, B100 and B103: formats that carry programs, names that lie, hostile archives.

Every refusal is by what the file is. The import runs in this process under an audit hook: no pickle
looks up a class, no process is started, and the marker that the payload would write is never there.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.values import Format
from support import foreign
from support.imports import bring, put, refused

_heard: list[str] = []


def _hear(event: str, args: tuple[Any, ...]) -> None:
    if event in {"pickle.find_class", "os.system", "subprocess.Popen"}:
        _heard.append(f"{event} {args}")


sys.addaudithook(_hear)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Nothing is unpickled, run or loaded, whatever the file."""
    _heard.clear()
    yield
    assert _heard == []


@pytest.fixture
def marker(tmp_path: Path) -> Iterator[Path]:
    there = tmp_path / "pwned"
    yield there
    assert not there.exists()


# --- B90, B91, B103: pickles ----------------------------------------------------------------------

PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zip": lambda data: foreign.zipped({"model.bin": data}),
    "zip-deflated": lambda data: foreign.zipped({"a/b/model": data}, zipfile.ZIP_DEFLATED),
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model"])
def test_pickles_of_every_protocol_and_packing(
    tmp_path: Path, marker: Path, name: str, protocol: int, packing: str
) -> None:
    data = PACKINGS[packing](foreign.pickled(marker, protocol))
    refused(put(tmp_path, name, data), Code.UNSAFE_FORMAT, "not opened")


def _gadgets(marker: Path) -> dict[str, bytes]:
    """Shapes that scanners passed: no os, no subprocess, no builtins.eval by name."""
    text = str(marker).encode()
    write = b"__import__('pathlib').Path('" + text + b"').touch()"
    return {
        # Published bypasses: standard-library callables that evaluate or import their argument.
        "timeit": b"ctimeit\ntimeit\n(V" + write + b"\ntR.",
        "cProfile": b"ccProfile\nrun\n(V" + write + b"\ntR.",
        "pdb": b"cpdb\nrun\n(V" + write + b"\ntR.",
        "bdb": b"cbdb\nrun\n(V" + write + b"\ntR.",
        "doctest": b"cdoctest\ndebug_script\n(V" + write + b"\ntR.",
        "asyncio": b"casyncio.unix_events\n_UnixSubprocessTransport._start\n(Vtouch "
        + text
        + b"\ntR.",
        "pip": b"cpip\nmain\n(lV--version\natR.",
        "idlelib": b"cidlelib.run\nExecutive.runcode\n(V" + write + b"\ntR.",
        "ensurepip": b"censurepip._uninstall\n_main\n(lVx\natR.",
        "profile": b"cprofile\nProfile.run\n(V" + write + b"\ntR.",
        "numpy": b"cnumpy.testing._private.utils\nrunstring\n(V" + write + b"\n}tR.",
        "operator": b"coperator\nattrgetter\n(Vsystem\ntR.",
        "functools": b"cfunctools\nreduce\n(tR.",
        "inst": b"(V" + write + b"\nibuiltins\neval\n.",
        "importlib": b"cimportlib\nimport_module\n(Vos\ntR.",
        "code": b"ccode\nInteractiveInterpreter\n(tR.",
        "types": b"ctypes\nCodeType\n(tR.",
        "ctypes": b"cctypes\nCDLL\n(Vlibc.so.6\ntR.",
        "runpy": b"crunpy\n_run_code\n(V" + write + b"\ntR.",
        "marshal": b"cmarshal\nloads\n(Vx\ntR.",
    }


@pytest.mark.parametrize("which", list(_gadgets(Path("x"))))
def test_gadgets_that_scanners_pass_are_refused_by_their_format(
    tmp_path: Path, marker: Path, which: str
) -> None:
    data = _gadgets(marker)[which]
    refused(put(tmp_path, "model.pkl", data), Code.UNSAFE_FORMAT)
    refused(put(tmp_path, "model.pkl", b"\x80\x02" + data), Code.UNSAFE_FORMAT)


def test_torch_pickles_and_torchscript(tmp_path: Path, marker: Path) -> None:
    pickled = foreign.pickled(marker, 2)
    weights = foreign.zipped({"archive/data.pkl": pickled, "archive/version": b"3\n"})
    refused(put(tmp_path, "model.pt", weights), Code.UNSAFE_FORMAT, "PyTorch pickle")
    refused(put(tmp_path, "model.pth", weights), Code.UNSAFE_FORMAT)
    refused(put(tmp_path, "old.pth", pickled), Code.MODEL_FORMAT)
    script = foreign.zipped({
        "net/data.pkl": pickled,
        "net/constants.pkl": pickled,
        "net/code/__torch__/net.py": b"def forward(self, x):\n  return torch.load('/etc/passwd')\n",
    })  # fmt: skip
    refused(put(tmp_path, "script.pt", script), Code.UNSAFE_FORMAT, "TorchScript", "--allow")
    # Allowed pickles do not exist: the permission is for TorchScript alone.
    refused(put(tmp_path, "m.pt", weights), Code.UNSAFE_FORMAT, allow=[Format.TORCHSCRIPT])


def test_an_exported_program_of_the_layout_with_pickles(tmp_path: Path, marker: Path) -> None:
    pickled = foreign.pickled(marker, 2)
    entries = {"serialized_exported_program.json": b"{}", "serialized_state_dict.pt": pickled}
    refused(put(tmp_path, "m.pt2", foreign.zipped(entries)), Code.UNSAFE_FORMAT, "older layout")


# --- B98: Keras -----------------------------------------------------------------------------------

LAYER = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2}}


def test_h5_is_refused_whatever_is_in_it(tmp_path: Path) -> None:
    for name in ("m.h5", "m.hdf5", "m"):
        data = b"\x89HDF\r\n\x1a\n" + bytes(64)
        refused(put(tmp_path, name, data), Code.UNSAFE_FORMAT, "HDF5")


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"class_name": "Lambda", "module": "keras.layers"}, Code.UNSAFE_FORMAT),
        ({"class_name": "TFSMLayer", "module": "keras.layers"}, Code.UNSAFE_FORMAT),
        ({"class_name": "keras>TFSMLayer"}, Code.UNSAFE_FORMAT),
        ({"class_name": "__lambda__", "config": {"value": "4wEA"}}, Code.UNSAFE_FORMAT),
        ({"class_name": "function", "config": "system", "module": "os"}, Code.UNSAFE_FORMAT),
        (
            {"module": "keras.config", "class_name": "enable_unsafe_deserialization"},
            Code.UNSAFE_FORMAT,
        ),
        ({"class_name": "Dense", "safe_mode": False}, Code.UNSAFE_FORMAT),
        ({"class_name": "Dense", "config": {"safe_mode": None}}, Code.UNSAFE_FORMAT),
        ({"class_name": "Popen", "module": "subprocess"}, Code.MODEL_OP_FORBIDDEN),
        ({"class_name": "X", "module": "keras_evil"}, Code.MODEL_OP_FORBIDDEN),
        ({"class_name": "X", "module": "os"}, Code.MODEL_OP_FORBIDDEN),
        ({"class_name": "X", "registered_name": "mine>X"}, Code.MODEL_OP_FORBIDDEN),
    ],
)
def test_keras_configurations_that_name_code(
    tmp_path: Path, config: dict[str, Any], code: Code
) -> None:
    whole = {"module": "keras", "class_name": "Sequential", "config": {"layers": [LAYER, config]}}
    refused(put(tmp_path, "m.keras", foreign.keras(whole)), code)


def test_keras_archives_with_more_than_a_model(tmp_path: Path, marker: Path) -> None:
    more = foreign.zipped({
        "config.json": b"{}", "metadata.json": b"{}", "extra.txt": b"hello",
    })  # fmt: skip
    refused(put(tmp_path, "m.keras", more), Code.MODEL_INVALID, "extra.txt")
    deep = foreign.zipped({"config.json": b"[" * 200_000, "metadata.json": b"{}"})
    refused(put(tmp_path, "deep.keras", deep), Code.MODEL_INVALID)


# --- B100: names that lie -------------------------------------------------------------------------


def test_content_decides_not_the_name(tmp_path: Path, marker: Path) -> None:
    pickled = foreign.pickled(marker, 4)
    onnx = foreign.classifier().SerializeToString()
    cases = {
        "pickle.onnx": pickled,
        "gzip.onnx": gzip.compress(pickled),
        "pickle.tflite": pickled,
        "pickle.keras": pickled,
        "zip.safetensors": foreign.zipped({"a": b"b"}),
        "zip.onnx": foreign.zipped({"model.onnx": onnx}),
        "onnx.tflite": onnx,
        "onnx.pkl": onnx,
        "h5.keras": b"\x89HDF\r\n\x1a\n" + bytes(64),
        "text.onnx": b"this is not a model\n",
        "picture.onnx": b"\xff\xd8\xff\xe0" + bytes(64),
        "program.onnx": b"\x7fELF" + bytes(64),
        "tar.onnx": gzip.compress(b"x" * 1000),
        "gguf.onnx": b"GGUF" + bytes(64),
        "nothing.onnx": bytes(64),
    }
    for name, data in cases.items():
        refused(put(tmp_path, name, data), Code.MODEL_FORMAT)
    refused(put(tmp_path, "empty.onnx", b""), Code.EMPTY_FILE)


def test_a_pickle_behind_a_model_does_not_change_what_it_is(tmp_path: Path, marker: Path) -> None:
    """A polyglot: ONNX first, a zip with a pickle behind it. It is refused as damaged ONNX."""
    both = foreign.classifier().SerializeToString() + foreign.zipped(
        {"data.pkl": foreign.pickled(marker, 2)}
    )
    with pytest.raises(HeliographError) as failed:
        bring(put(tmp_path, "m.onnx", both))
    assert failed.value.code in {Code.MODEL_INVALID, Code.MODEL_FORMAT}


# --- archives -------------------------------------------------------------------------------------

ONNX = foreign.classifier().SerializeToString()


@pytest.mark.parametrize(
    "name", ["../m.onnx", "/m.onnx", "a/../../m.onnx", "a\\m.onnx", "C:m.onnx", "m\n.onnx"]
)
def test_archives_that_unpack_elsewhere(tmp_path: Path, name: str) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        about = zipfile.ZipInfo("x")
        about.filename = name
        archive.writestr(about, ONNX)
    refused(put(tmp_path, "m.zip", file.getvalue()), Code.MODEL_INVALID, "no plain relative path")


def test_archives_with_links_bombs_and_doubles(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        link = zipfile.ZipInfo("model.onnx")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    refused(put(tmp_path, "link.zip", file.getvalue()), Code.MODEL_INVALID, "link")

    bomb = foreign.zipped({"model.onnx": bytes(500 << 20)}, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 20
    refused(put(tmp_path, "bomb.zip", bomb), Code.MODEL_RESOURCE_LIMIT, "grow")

    many = foreign.zipped({f"{n}": b"" for n in range(10_001)})
    refused(put(tmp_path, "many.zip", many), Code.MODEL_RESOURCE_LIMIT, "entries")

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.onnx", ONNX)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("model.onnx", ONNX)
    refused(put(tmp_path, "twice.zip", file.getvalue()), Code.MODEL_INVALID, "twice")


def test_archives_whose_entries_share_bytes(tmp_path: Path) -> None:
    """Two entries of the directory that lead to the same local header."""
    good = foreign.zipped({"a.onnx": ONNX, "b.onnx": ONNX})
    at = good.rfind(b"PK\x01\x02")
    shared = good[: at + 42] + struct.pack("<I", 0) + good[at + 46 :]
    refused(put(tmp_path, "m.zip", shared), Code.MODEL_INVALID)


def test_a_directory_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    end = b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 65535, 65535, 1 << 30, 0, 0)
    data = b"PK\x03\x04" + bytes(100) + end
    refused(put(tmp_path, "m.zip", data), Code.MODEL_RESOURCE_LIMIT, "directory")


def test_a_good_archive_is_unpacked_and_taken(tmp_path: Path) -> None:
    made = foreign.zipped({"model.onnx": ONNX, "labels.txt": b"a\nb\nc\n"})
    brought = bring(put(tmp_path, "m.zip", made))
    assert (brought.found.format, brought.evidence.beside.labels) == (Format.ONNX, ("a", "b", "c"))
