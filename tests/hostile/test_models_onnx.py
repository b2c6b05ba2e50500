"""Rows B92-B94, B96, B101 and B104: ONNX files (and safetensors) that lie, reach out or exhaust."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.bringing import decide, look
from heliograph.registry.importing.draft import Answers
from heliograph.registry.importing.onnx_file import DEEPEST, read_onnx
from heliograph.registry.importing.package import discard
from heliograph.registry.importing.values import Format
from support import foreign, models
from support.imports import bring, outcome, part, put, refused, varint
from support.models import floats

# --- B92: weights in other files ------------------------------------------------------------------

WEIGHT = np.arange(4, dtype=np.float32).tobytes()


@pytest.mark.parametrize(
    "location",
    [
        "../w.bin",
        "a/../../w.bin",
        "a/w.bin",
        "./w.bin",
        "/etc/passwd",
        "/proc/self/environ",
        "",
        ".",
        "..",
        "w.bin\0.txt",
        "C:w.bin",
        "a\\w.bin",
        " w.bin",
        "w\n.bin",
        "*/_ORT_MEM_ADDR_/*",
        "_ORT_MEM_ADDR_",
        "x" * 300,
    ],
)
def test_weights_outside_by_name(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    (tmp_path / "deep" / "w.bin").write_bytes(WEIGHT)
    (folder / "w.bin").write_bytes(WEIGHT)
    path = models.save(foreign.outside(location), folder / "m.onnx")
    refused(path, Code.MODEL_EXTERNAL_DATA)


def _link(folder: Path, secret: Path) -> None:
    (folder / "w.bin").symlink_to(secret)


def _hardlink(folder: Path, secret: Path) -> None:
    os.link(secret, folder / "w.bin")


def _fifo(folder: Path, secret: Path) -> None:
    os.mkfifo(folder / "w.bin")


def _directory(folder: Path, secret: Path) -> None:
    (folder / "w.bin").mkdir()


def _missing(folder: Path, secret: Path) -> None:
    return None


@pytest.mark.parametrize("trick", [_link, _hardlink, _fifo, _directory, _missing])
def test_weights_outside_by_a_trick_of_the_file_system(
    tmp_path: Path, trick: Callable[[Path, Path], None]
) -> None:
    secret = put(tmp_path, "secret", WEIGHT)
    folder = tmp_path / "model"
    folder.mkdir()
    trick(folder, secret)
    models.save(foreign.outside("w.bin"), folder / "m.onnx")
    refused(folder / "m.onnx", Code.MODEL_EXTERNAL_DATA, "w.bin")


@pytest.mark.parametrize(
    ("offset", "length"), [(4, 16), (-16, 16), (0, 8), (0, 1 << 62), (1 << 62, 16)]
)
def test_weights_outside_of_the_file_they_lie_in(tmp_path: Path, offset: int, length: int) -> None:
    put(tmp_path, "w.bin", WEIGHT)
    made = foreign.outside("w.bin", offset=offset, length=length)
    refused(models.save(made, tmp_path / "m.onnx"), Code.MODEL_EXTERNAL_DATA)


def test_external_data_says_a_thing_once(tmp_path: Path) -> None:
    put(tmp_path, "w.bin", WEIGHT)
    made = foreign.outside("w.bin")
    again = made.graph.initializer[0].external_data.add()
    again.key, again.value = "location", "../w.bin"
    refused(models.save(made, tmp_path / "m.onnx"), Code.MODEL_EXTERNAL_DATA)


def test_weights_in_a_plain_file_beside_the_model_are_taken(tmp_path: Path) -> None:
    put(tmp_path, "w.bin", WEIGHT)
    brought = bring(models.save(foreign.outside("w.bin"), tmp_path / "m.onnx"))
    assert brought.staged.parts == ("w.bin",)


def test_a_weight_hidden_in_an_attribute_of_a_subgraph(tmp_path: Path) -> None:
    weight = foreign.outside("/etc/passwd").graph.initializer[0]
    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["v"], value=weight)], "inner", [], [floats("v", 4)]
    )
    graph = helper.make_graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)],
        "outer",
        [helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [floats("y", 4)],
    )
    refused(models.save(foreign.graph_model(graph), tmp_path / "m.onnx"), Code.MODEL_EXTERNAL_DATA)


# --- B93: operations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "op"),
    [
        ("ai.onnx.contrib", "PythonOp"),
        ("my.ops", "Read"),
        ("ai.onnx.training", "Adam"),
        ("com.microsoft", "EPContext"),
        ("com.microsoft", "PyOp"),
    ],
)
def test_operations_that_need_a_library(tmp_path: Path, domain: str, op: str) -> None:
    node = helper.make_node(op, ["x"], ["y"], domain=domain)
    graph = helper.make_graph([node], "g", [floats("x", 1)], [floats("y", 1)])
    made = foreign.graph_model(graph, opsets=[helper.make_opsetid(domain, 1)])
    refused(models.save(made, tmp_path / "m.onnx"), Code.MODEL_OP_FORBIDDEN, op)


def _with_functions(calls: dict[str, list[str]], root: str) -> Any:
    functions = [
        helper.make_function(
            "local",
            name,
            ["a"],
            ["b"],
            [
                helper.make_node(one, ["a"], [f"v{number}"], domain="local")
                for number, one in enumerate(inner)
            ]
            + [helper.make_node("Identity", ["a"], ["b"])],
            [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)],
        )
        for name, inner in calls.items()
    ]
    node = helper.make_node(root, ["x"], ["y"], domain="local")
    graph = helper.make_graph([node], "g", [floats("x", 1)], [floats("y", 1)])
    return foreign.graph_model(graph, opsets=[helper.make_opsetid("local", 1)], functions=functions)


def test_functions_that_call_themselves(tmp_path: Path) -> None:
    for number, calls in enumerate([{"f": ["f"]}, {"f": ["g"], "g": ["h"], "h": ["f"]}]):
        made = _with_functions(calls, "f")
        path = models.save(made, tmp_path / f"m{number}.onnx")
        refused(path, Code.MODEL_OP_FORBIDDEN, "calls itself")


def test_functions_that_grow_without_measure(tmp_path: Path) -> None:
    calls = {f"f{n}": [f"f{n + 1}"] * 10 for n in range(12)} | {"f12": []}
    made = _with_functions(calls, "f0")
    refused(models.save(made, tmp_path / "m.onnx"), Code.MODEL_RESOURCE_LIMIT, "unfolded")


def test_honest_functions_are_taken(tmp_path: Path) -> None:
    bring(models.save(_with_functions({"f": ["g", "g"], "g": []}, "f"), tmp_path / "m.onnx"))


# --- B94: bombs -----------------------------------------------------------------------------------

MUCH = np.array([1_000_000, 1_000_000], np.int64)
LITTLE = np.array([2, 2], np.int64)


@pytest.mark.parametrize(
    "made",
    [
        foreign.bomb("ConstantOfShape", MUCH),
        foreign.bomb("Expand", np.float32(1), MUCH),
        foreign.bomb("Tile", np.ones((1, 1), np.float32), MUCH),
        foreign.bomb("Range", np.int64(0), np.int64(1 << 40), np.int64(1)),
        foreign.bomb("Pad", np.ones(1, np.float32), np.array([0, 1 << 40], np.int64)),
        foreign.bomb("OneHot", np.zeros(1, np.int64), np.int64(1 << 40), np.zeros(2, np.float32)),
        foreign.bomb("RandomNormal", shape=[1_000_000, 1_000_000]),
    ],
    ids=["ConstantOfShape", "Expand", "Tile", "Range", "Pad", "OneHot", "RandomNormal"],
)
def test_constants_that_a_few_bytes_make_enormous(tmp_path: Path, made: Any) -> None:
    refused(models.save(made, tmp_path / "m.onnx"), Code.MODEL_RESOURCE_LIMIT, "elements")


def test_a_bomb_of_several_steps(tmp_path: Path) -> None:
    """10^4 x 10^4 is allowed; a thousand times that is not; nor is arithmetic that hides it."""
    side = np.array([10_000], np.int64)
    cases = {
        "tiled": [
            helper.make_node("ConstantOfShape", ["both"], ["square"]),
            helper.make_node("Tile", ["square", "repeats"], ["big"]),
        ],
        "computed": [
            helper.make_node("Mul", ["side", "side"], ["much"]),
            helper.make_node("Mul", ["much", "side"], ["more"]),
            helper.make_node("ConstantOfShape", ["more"], ["big"]),
        ],
        "joined": [
            helper.make_node("Concat", ["side", "side", "side"], ["shape"], axis=0),
            helper.make_node("ConstantOfShape", ["shape"], ["big"]),
        ],
        "joined doubling": [
            helper.make_node("ConstantOfShape", ["both"], ["v0"]),
            *(helper.make_node("Concat", [f"v{n}"] * 8, [f"v{n + 1}"], axis=0) for n in range(8)),
        ],
    }
    kept = {
        "side": side,
        "both": np.array([10_000, 10_000], np.int64),
        "repeats": np.array([1000, 1], np.int64),
    }
    for name, nodes in cases.items():
        node = helper.make_node("Identity", ["x"], ["y"])
        made = models.model([*nodes, node], floats("x", 1), floats("y", 1), kept)
        path = models.save(made, tmp_path / f"{name.replace(' ', '-')}.onnx")
        refused(path, Code.MODEL_RESOURCE_LIMIT, "elements")


def test_what_is_large_but_honest_is_taken(tmp_path: Path) -> None:
    bring(models.save(foreign.bomb("ConstantOfShape", LITTLE), tmp_path / "a.onnx"))
    many = np.array([10_000, 10_000], np.int64)
    bring(models.save(foreign.bomb("ConstantOfShape", many), tmp_path / "b.onnx"))


def test_a_bomb_in_a_branch_whose_shape_is_outside_of_it(tmp_path: Path) -> None:
    inner = helper.make_graph(
        [helper.make_node("ConstantOfShape", ["much"], ["v"])], "inner", [], [floats("v", "a", "b")]
    )
    nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner)]
    kept: dict[str, Any] = {"much": MUCH, "yes": np.array(True)}
    made = models.model(nodes, floats("x", 1), floats("y", "a", "b"), kept)
    refused(models.save(made, tmp_path / "m.onnx"), Code.MODEL_RESOURCE_LIMIT)


# --- B96: declared sizes --------------------------------------------------------------------------


def _weight(**changes: Any) -> bytes:
    made = foreign.bomb("Identity", np.arange(4, dtype=np.float32))
    (weight,) = made.graph.initializer
    if "dims" in changes:
        del weight.dims[:]
        weight.dims.extend(changes.pop("dims"))
    for name, value in changes.items():
        setattr(weight, name, value)
    return made.SerializeToString()


@pytest.mark.parametrize(
    "data",
    [
        _weight(dims=[1_000_000]),
        _weight(dims=[2]),
        _weight(dims=[-4]),
        _weight(dims=[1 << 31, 1 << 31, 1 << 2]),
        _weight(raw_data=b"\0" * 15),
        _weight(raw_data=b""),
        _weight(data_type=TensorProto.DOUBLE),
        _weight(data_type=TensorProto.STRING),
        _weight(data_type=99),
    ],
)
def test_onnx_weights_that_are_not_what_they_declare(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(HeliographError) as failed:
        bring(put(tmp_path, "m.onnx", data))
    assert failed.value.code in {Code.MODEL_INVALID, Code.MODEL_RESOURCE_LIMIT}


def test_onnx_numbers_in_typed_fields_are_counted(tmp_path: Path) -> None:
    for kind, field, values, good in [
        (TensorProto.FLOAT, "float_data", [1.0] * 3, [1.0] * 4),
        (TensorProto.INT64, "int64_data", [-1, 300, 7], [-1, 300, 7, 1 << 40]),
        (TensorProto.UINT8, "int32_data", [255, 0, 1], [255, 0, 1, 2]),
        (TensorProto.DOUBLE, "double_data", [1.0] * 5, [1.0] * 4),
    ]:
        for given, fine in ((values, False), (good, True)):
            made = foreign.bomb("Identity", np.arange(4, dtype=np.float32))
            (weight,) = made.graph.initializer
            weight.ClearField("raw_data")
            weight.data_type = kind
            getattr(weight, field).extend(given)
            path = models.save(made, tmp_path / "m.onnx")
            if fine:
                bring(path)
            else:
                refused(path, Code.MODEL_INVALID, "declared")


GOOD = {"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}


@pytest.mark.parametrize(
    ("header", "data", "code"),
    [
        (GOOD, WEIGHT, Code.UNSUPPORTED),
        ({"w": GOOD["w"] | {"data_offsets": [0, 32]}}, WEIGHT, Code.MODEL_INVALID),
        ({"w": GOOD["w"] | {"data_offsets": [16, 0]}}, WEIGHT, Code.MODEL_INVALID),
        ({"w": GOOD["w"] | {"data_offsets": [-16, 0]}}, WEIGHT, Code.MODEL_INVALID),
        ({"w": GOOD["w"] | {"shape": [5]}}, WEIGHT, Code.MODEL_INVALID),
        ({"w": GOOD["w"] | {"shape": [1 << 40]}}, WEIGHT, Code.MODEL_INVALID),
        ({"w": GOOD["w"] | {"dtype": "F17"}}, WEIGHT, Code.MODEL_INVALID),
        (GOOD, WEIGHT + b"more", Code.MODEL_INVALID),
        (GOOD | {"v": GOOD["w"]}, WEIGHT, Code.MODEL_INVALID),
        (b'{"w":1,"w":2}', b"", Code.MODEL_INVALID),
        (b"{" * 50_000 + b"}" * 50_000, b"", Code.MODEL_INVALID),
        (b'{"w":', b"", Code.MODEL_INVALID),
    ],
)
def test_safetensors_headers_that_lie(
    tmp_path: Path, header: object, data: bytes, code: Code
) -> None:
    from heliograph.registry.importing.checks_safetensors import check
    from heliograph.registry.importing.values import Staged

    path = put(tmp_path, "m.safetensors", foreign.safetensors(header, data))
    refused(path, Code.UNSUPPORTED, "without their network")
    if code is Code.MODEL_INVALID:
        with pytest.raises(HeliographError) as failed:
            check(Staged(Format.SAFETENSORS, tmp_path, path.name))
        assert failed.value.code is code


def test_a_safetensors_header_longer_than_any(tmp_path: Path) -> None:
    refused(put(tmp_path, "m.safetensors", struct.pack("<Q", 1 << 60) + b"{}"), Code.MODEL_FORMAT)


# --- B101: names ----------------------------------------------------------------------------------

BAD_NAMES = ["../x", "..", " ", "", "x" * 256, "🙂", "a\nb", "a\0b", " a", "ü"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names_of_tensors(tmp_path: Path, name: str) -> None:
    refused(models.save(foreign.named([name], ["y"]), tmp_path / "i.onnx"), Code.MODEL_INVALID)
    if name:
        refused(models.save(foreign.named(["x"], [name]), tmp_path / "o.onnx"), Code.MODEL_INVALID)


@pytest.mark.parametrize("name", ["../x", "..", " ", "x" * 256, "con", "con.v2", "🙂", "a/b", "A"])
def test_bad_names_of_models(tmp_path: Path, name: str) -> None:
    source = foreign.add(tmp_path / "add.onnx")
    brought = look(source, tmp_path / "home")
    with pytest.raises(HeliographError) as failed:
        decide(brought, Answers(), name=name, source="add.onnx", about={})
    assert failed.value.code is Code.VALIDATION
    discard(brought.home)


def test_ten_thousand_inputs_go_and_one_more_does_not(tmp_path: Path) -> None:
    names = [f"x{number}" for number in range(10_001)]
    bring(models.save(foreign.named(names[1:], ["y"]), tmp_path / "m.onnx"))
    path = models.save(foreign.named(names, ["y"]), tmp_path / "n.onnx")
    refused(path, Code.MODEL_RESOURCE_LIMIT, "10,001 inputs")


def test_outputs_named_like_fields_of_ours_are_only_names(tmp_path: Path) -> None:
    names = ["id", "predictions", "timings_ms", "error", "__class__", "status"]
    brought = bring(models.save(foreign.named(["model"], names), tmp_path / "m.onnx"))
    assert [one.name for one in brought.evidence.facts.outputs] == names


# --- B104: size and depth -------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [DEEPEST + 1, 1000, 100_000])
def test_graphs_within_graphs(tmp_path: Path, depth: int) -> None:
    if depth > 10_000:
        data = b"\x08\x08" + part(7, b"\x0a" * depth)
        with pytest.raises(HeliographError):
            bring(put(tmp_path, "m.onnx", data))
        return
    refused(put(tmp_path, "m.onnx", foreign.nested(depth)), Code.MODEL_RESOURCE_LIMIT, "deeper")


def test_some_depth_is_fine() -> None:
    assert read_onnx(memoryview(foreign.nested(DEEPEST))).graph.nodes[0].op == "If"


def test_a_protobuf_of_more_than_two_gigabytes(tmp_path: Path) -> None:
    """A hole in a file costs no disk: a weight of 2.1 GB whose bytes are there, sparsely."""
    size = 2_100_000_000
    weight = b"\x08" + varint(size) + b"\x10\x02" + b"\x4a" + varint(size)
    graph_length = len(weight) + size
    head = b"\x08\x08" + b"\x3a" + varint(graph_length + 1 + len(varint(graph_length)))
    head += b"\x2a" + varint(graph_length) + weight
    path = put(tmp_path, "m.onnx", head)
    os.truncate(path, len(head) + size)
    refused(path, Code.MODEL_RESOURCE_LIMIT, "bytes")


def test_more_fields_than_anyone_needs(tmp_path: Path) -> None:
    data = b"\x08\x08" + part(7, b"\x12\x00" * 3_000_001)
    refused(put(tmp_path, "m.onnx", data), Code.MODEL_RESOURCE_LIMIT, "parts")


@pytest.mark.parametrize(
    "graph", [b"\xff\xff\xff\xff\x7f", b"\x05ab", b"\x02\x0b\x0c", b"\xff" * 20]
)
def test_damaged_protobufs(tmp_path: Path, graph: bytes) -> None:
    path = put(tmp_path, "m.onnx", b"\x08\x08\x3a" + graph)
    assert outcome(path) in {Code.MODEL_INVALID, Code.MODEL_FORMAT}


def test_mutated_models_never_do_worse_than_be_refused(tmp_path: Path) -> None:
    """Five hundred damaged copies of a good model: each is taken or refused, none breaks us."""
    good = foreign.yolo_v8(notes={"names": "{0: 'a', 1: 'b'}", "stride": "32"}).SerializeToString()
    rng = np.random.default_rng(7)
    codes: list[Code | None] = []
    for number in range(500):
        data = bytearray(good)
        for at in rng.integers(0, min(len(data), 4000), 1 + number % 8):
            data[at] = int(rng.integers(0, 256))
        if number % 3 == 0:
            del data[int(rng.integers(0, len(data))) :]
        codes.append(outcome(put(tmp_path, "m.onnx", bytes(data))))
    assert codes.count(None) < 400, "damage is found"
    assert set(codes) <= {
        None, Code.MODEL_INVALID, Code.MODEL_FORMAT, Code.MODEL_RESOURCE_LIMIT, Code.EMPTY_FILE,
        Code.MODEL_OP_FORBIDDEN, Code.MODEL_EXTERNAL_DATA, Code.UNSAFE_FORMAT,
    }  # fmt: skip
