"""Row B99: TensorFlow graphs that read and write files."""

from __future__ import annotations

from pathlib import Path

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.files import plain_files
from heliograph.registry.importing.values import Format
from support.imports import bring, part, put, refused

# --- B99: TensorFlow ------------------------------------------------------------------------------


def _tf_node(name: str, op: str, *inputs: str, calls: str = "") -> bytes:
    node = part(1, name.encode()) + part(2, op.encode())
    node += b"".join(part(3, one.encode()) for one in inputs)
    if calls:
        node += part(5, part(1, b"f") + part(2, part(10, part(1, calls.encode()))))
    return node


def _tf_function(name: str, *nodes: bytes) -> bytes:
    return part(1, part(1, name.encode())) + b"".join(part(3, one) for one in nodes)


def _saved_model(nodes: list[bytes], functions: list[bytes], output: str) -> bytes:
    graph = b"".join(part(1, one) for one in nodes)
    if functions:
        graph += part(2, b"".join(part(1, one) for one in functions))
    signature = part(2, part(1, b"y") + part(2, part(1, f"{output}:0".encode())))
    entry = part(5, part(1, b"serving_default") + part(2, signature))
    return b"\x08\x01" + part(2, part(2, graph) + entry)


CONST = _tf_node("path", "Const")
SAVER = _tf_function("__inference__traced_save_12", _tf_node("s", "SaveV2"))


OUTSIDE = (
    "ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "RestoreV2", "SaveV2", "TextLineDataset",
    "PrintV2", "MatchingFiles",
)  # fmt: skip


@pytest.mark.parametrize("op", OUTSIDE)
def test_saved_models_that_reach_outside(tmp_path: Path, op: str) -> None:
    cases = {
        "straight": _saved_model([CONST, _tf_node("y", op, "path")], [], "y"),
        "behind": _saved_model([CONST, _tf_node("r", op, "path"), _tf_node("y", "Identity", "r")],
                               [], "y"),
        "control": _saved_model([_tf_node("r", op), _tf_node("y", "Const", "^r")], [], "y"),
        "function": _saved_model(
            [_tf_node("y", "StatefulPartitionedCall", calls="f")],
            [_tf_function("f", _tf_node("r", op)), SAVER], "y",
        ),
        "function of a function": _saved_model(
            [_tf_node("y", "PartitionedCall", calls="f")],
            [_tf_function("f", _tf_node("c", "PartitionedCall", calls="g")),
             _tf_function("g", _tf_node("r", op))], "y",
        ),
        "the saver's name as a disguise": _saved_model(
            [_tf_node("y", "PartitionedCall", calls="__inference__traced_save_1")],
            [_tf_function("__inference__traced_save_1", _tf_node("r", op))], "y",
        ),
    }  # fmt: skip
    for name, data in cases.items():
        folder = tmp_path / name.replace(" ", "-").replace("'", "")
        folder.mkdir()
        put(folder, "saved_model.pb", data)
        with pytest.raises(HeliographError) as failed:
            bring(folder)
        assert failed.value.code is Code.MODEL_OP_FORBIDDEN, name
        assert op in failed.value.detail


def test_frozen_graphs_that_reach_outside(tmp_path: Path) -> None:
    graph = part(1, _tf_node("y", "ReadFile", "path")) + part(1, CONST)
    refused(put(tmp_path, "m.pb", graph), Code.MODEL_OP_FORBIDDEN, "ReadFile")


def test_the_savers_own_functions_are_let_be(tmp_path: Path) -> None:
    from heliograph.registry.importing.checks_tensorflow import check
    from heliograph.registry.importing.values import Staged

    put(tmp_path, "saved_model.pb", _saved_model([_tf_node("y", "Const")], [SAVER], "y"))
    check(Staged(Format.SAVED_MODEL, tmp_path.parent, tmp_path.name))


def _loading(body: str, name: str) -> bytes:
    """A SavedModel whose restore operation, which TensorFlow runs as it loads, calls a function."""
    nodes = [_tf_node("y", "Const"), _tf_node("r", "StatefulPartitionedCall", calls=name)]
    graph = b"".join(part(1, one) for one in nodes)
    graph += part(2, part(1, _tf_function(name, _tf_node("inner", body))))
    signature = part(2, part(1, b"y") + part(2, part(1, b"y:0")))
    entry = part(5, part(1, b"serving_default") + part(2, signature))
    return b"\x08\x01" + part(2, part(2, graph) + part(3, part(3, b"r")) + entry)


def test_what_runs_as_a_saved_model_is_loaded_may_restore_only(tmp_path: Path) -> None:
    from heliograph.registry.importing.checks_tensorflow import check
    from heliograph.registry.importing.values import Staged

    put(tmp_path, "saved_model.pb", _loading("RestoreV2", "__inference__traced_restore_1"))
    check(Staged(Format.SAVED_MODEL, tmp_path.parent, tmp_path.name))
    for op in ("SaveV2", "WriteFile", "MergeV2Checkpoints"):
        put(tmp_path, "saved_model.pb", _loading(op, "__inference__traced_restore_1"))
        refused(tmp_path, Code.MODEL_OP_FORBIDDEN, op)


def test_a_sparse_output_of_a_signature_counts_too(tmp_path: Path) -> None:
    nodes = [_tf_node("y", "Const"), _tf_node("s", "RestoreV2")]
    graph = b"".join(part(1, one) for one in nodes)
    info = part(4, part(1, b"s:0") + part(2, b"y:0") + part(3, b"y:0"))
    entry = part(5, part(1, b"x") + part(2, part(2, part(1, b"o") + part(2, info))))
    put(tmp_path, "saved_model.pb", b"\x08\x01" + part(2, part(2, graph) + entry))
    refused(tmp_path, Code.MODEL_OP_FORBIDDEN, "RestoreV2")


def test_a_link_in_a_saved_model(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    (folder / "variables").mkdir(parents=True)
    put(folder, "saved_model.pb", _saved_model([_tf_node("y", "Const")], [], "y"))
    (folder / "variables" / "variables.index").symlink_to("/etc/passwd")
    refused(folder, Code.MODEL_EXTERNAL_DATA)
    with pytest.raises(HeliographError):
        plain_files(folder)
