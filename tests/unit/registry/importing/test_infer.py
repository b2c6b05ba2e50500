"""What is inferred of exports of well-known tools, with its reason, and that the answer is right.

Each model is brought in whole: found, copied, checked, read, inferred, and then asked about a
picture by the serving path.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from heliograph.cli.trial import try_package
from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.answers import parse_answers
from heliograph.registry.importing.bringing import Brought, decide, look
from heliograph.registry.importing.draft import SCALINGS, Answers
from heliograph.registry.importing.package import discard
from support import foreign, models

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


class Import:
    """Models brought in, and their workshops removed at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.homes = folder, list[Path]()

    def __call__(self, made: ModelProto, answers: Answers | None = None, **beside: Any) -> Brought:
        """Bring in a model; `beside` are files around it, `_` for a dot in their names."""
        folder = self.folder / f"m{len(self.homes)}"
        folder.mkdir()
        models.save(made, folder / "model.onnx")
        for name, content in beside.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name.replace("__", ".")).write_text(text, "utf-8")
        brought = look(folder, self.folder / "home")
        self.homes.append(brought.home)
        return decide(
            brought, answers or Answers(), name="model-under-test", source=str(folder), about={}
        )

    def ask(self, brought: Brought) -> list[dict[str, Any]]:
        """What the drafted package answers about a drawn picture."""
        assert brought.package is not None, brought.inferred.questions
        found: list[dict[str, Any]] = try_package(brought.home, brought.package, None)[
            "predictions"
        ]
        return found


@pytest.fixture
def bring(tmp_path: Path) -> Iterator[Import]:
    made = Import(tmp_path)
    yield made
    for home in made.homes:
        discard(home)


def reasons(brought: Brought) -> dict[str, str]:
    return {one.field: one.reason for one in brought.inferred.decisions}


def asked(brought: Brought) -> list[str]:
    assert brought.package is None
    return [one.field for one in brought.inferred.questions]


# --- plain tensors --------------------------------------------------------------------------------


def test_a_model_that_is_no_image_task_asks_nothing(tmp_path: Path) -> None:
    brought = look(foreign.add(tmp_path / "add.onnx"), tmp_path / "home")
    brought = decide(brought, Answers(), name="", source="add.onnx", about={})
    assert brought.package is not None
    assert (brought.package.name, brought.package.task) == ("add", "tensors")
    assert brought.package.input is None
    assert brought.package.foreign
    assert "no image task" in reasons(brought)["task"]
    trial = try_package(brought.home, brought.package, None)
    assert trial["outputs"]["sum"] == {"dtype": "float32", "shape": [1, 4], "first": ["0.0"] * 4}
    discard(brought.home)


def test_tensors_are_served_where_the_operator_says_so(bring: Import) -> None:
    brought = bring(foreign.classifier(ends="Softmax"), Answers(task="tensors"))
    assert brought.inferred.task == "tensors"
    assert reasons(brought)["task"] == "as you said"


@pytest.mark.parametrize(
    "made",
    [
        foreign.constant_model(
            {"x": (1, 3, 16, 16), "y": (1,)}, {"z": np.ones((1, 9), np.float32)}
        ),
        foreign.constant_model({"x": (1, 16)}, {"z": np.ones((1, 1000), np.float32)}),
        foreign.constant_model({"x": (1, 3, 16, 16)}, {"z": np.ones((1, 64), np.float32)}),
        foreign.constant_model({"x": (1, 3, 16, 16)}, {"z": np.ones((1, 3, 16, 16), np.float32)}),
        foreign.constant_model(
            {"x": (1, 3, 16, 16)}, {"z": np.ones((1, 1000), np.float32)}, dtype=TensorProto.INT64
        ),
    ],
    ids=["two inputs", "no picture", "perhaps an embedding", "perhaps a picture", "integers"],
)
def test_without_a_sign_nothing_is_guessed(bring: Import, made: ModelProto) -> None:
    assert bring(made).inferred.task == "tensors"


# --- classifiers ----------------------------------------------------------------------------------


def test_a_bare_classifier_asks_how_pixels_become_numbers(bring: Import) -> None:
    brought = bring(foreign.classifier(1000))
    assert asked(brought) == ["--scaling"]
    assert brought.inferred.questions[0].choices == tuple(SCALINGS)
    said = bring(foreign.classifier(1000, best=7), parse_answers({"scaling": "imagenet"}, None))
    assert said.package is not None
    assert said.package.input is not None
    assert said.package.input.mean == (123.675, 116.28, 103.53)
    assert bring.ask(said)[0]["class_id"] == 7


def test_a_size_that_is_free_is_asked_for(bring: Import) -> None:
    made = foreign.constant_model({"x": ("N", 3, "h", "w")}, {"y": np.ones((1, 1000), np.float32)})
    answers = parse_answers({"scaling": "0-1"}, None)
    assert asked(bring(made, answers)) == ["--size"]
    brought = bring(made, parse_answers({"size": "32x24"}, None, answers))
    assert brought.package is not None
    assert brought.package.input is not None
    assert (brought.package.input.width, brought.package.input.height) == (32, 24)


@pytest.mark.parametrize(
    ("ends", "activation"), [("Softmax", "none"), ("Sigmoid", "none"), ("", "softmax")]
)
def test_the_last_operation_tells_scores_from_logits(
    bring: Import, ends: str, activation: str
) -> None:
    brought = bring(foreign.classifier(ends=ends), Answers(scaling="0-1"), labels__txt="a\nb\nc\n")
    assert brought.inferred.output["activation"] == activation
    assert brought.inferred.labels == ("a", "b", "c")
    best = bring.ask(brought)[0]
    assert best["label"] == "b"
    expected = np.exp([0.0, 4.0, 0.0]) / np.exp([0.0, 4.0, 0.0]).sum()
    if ends == "Sigmoid":
        expected = 1 / (1 + np.exp(-np.array([0.0, 4.0, 0.0])))
    assert best["score"] == pytest.approx(expected[1], abs=1e-4)


def test_a_network_that_scales_its_input_itself_needs_no_answer(bring: Import) -> None:
    nodes = [
        helper.make_node("Div", ["images", "n"], ["x"]),
        helper.make_node("ReduceMean", ["x"], ["scores"], axes=[2, 3], keepdims=0),
    ]
    made = models.model(
        nodes,
        models.floats("images", "N", 3, 8, 8),
        models.floats("scores", "N", 3),
        {"n": np.array(255, np.float32)},
    )
    brought = bring(made, labels__txt="r\ng\nb\n")
    assert "first operation is Div" in reasons(brought)["scaling"]
    assert bring.ask(brought)


def test_uint8_needs_no_answer(bring: Import) -> None:
    made = foreign.classifier(1000, dtype=TensorProto.UINT8)
    assert "uint8" in reasons(bring(made))["scaling"]


def test_labels_of_another_length_are_refused_where_they_were_named(
    bring: Import, tmp_path: Path
) -> None:
    labels = tmp_path / "two.txt"
    labels.write_text("a\nb\n", "utf-8")
    with pytest.raises(HeliographError) as failed:
        bring(foreign.classifier(3, ends="Softmax"), parse_answers({"scaling": "0-1"}, labels))
    assert failed.value.code is Code.VALIDATION
    assert "2 lines" in failed.value.detail


# --- Hugging Face ---------------------------------------------------------------------------------


def test_transformers_classifier(bring: Import) -> None:
    scores = np.array([[0.0, 3.0, 0.0]], np.float32)
    made = foreign.constant_model({"pixel_values": ("N", 3, "h", "w")}, {"logits": scores})
    config = {
        "architectures": ["ViTForImageClassification"],
        "id2label": {"0": "cat", "1": "dog", "2": "eel"},
    }
    preprocessor = IMAGENET | {
        "do_resize": True,
        "size": {"shortest_edge": 256},
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "resample": 3,
        "do_normalize": True,
        "rescale_factor": 1 / 255,
    }
    brought = bring(
        made,
        config__json=config,
        preprocessor_config__json=preprocessor,
        README__md="---\nlicense: apache-2.0\n---\nhello\n",
    )
    package = brought.package
    assert package is not None
    assert package.input is not None
    assert (package.input.width, package.input.height, package.input.fit) == (224, 224, "crop")
    assert package.input.crop_fraction == pytest.approx(0.875)
    assert package.input.resample == "bicubic"
    assert package.input.mean == pytest.approx((123.675, 116.28, 103.53))
    assert package.licence == "apache-2.0"
    assert reasons(brought)["task"] == "config.json says ViTForImageClassification"
    assert bring.ask(brought)[0]["label"] == "dog"


@pytest.mark.parametrize(
    ("preprocessor", "mean", "std"),
    [
        ({"do_rescale": False, "do_normalize": False}, (0.0,), (1.0,)),
        ({"do_normalize": False}, (0.0,), (255.0,)),
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}, (127.5,) * 3, (127.5,) * 3),
        (
            {"rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
            (127.5,) * 3,
            (127.5,) * 3,
        ),
    ],
)
def test_every_way_of_scaling_that_a_preprocessor_says(
    bring: Import, preprocessor: dict[str, Any], mean: Any, std: Any
) -> None:
    made = foreign.constant_model(
        {"pixel_values": (1, 3, 32, 32)}, {"logits": np.ones((1, 5), np.float32)}
    )
    brought = bring(
        made,
        config__json={"architectures": ["ResNetForImageClassification"]},
        preprocessor_config__json=preprocessor | {"size": 32},
    )
    assert brought.inferred.input["mean"] == pytest.approx(list(mean), rel=1e-5)
    assert brought.inferred.input["std"] == pytest.approx(list(std), rel=1e-5)


def test_several_labels_at_once_are_read_with_a_sigmoid(bring: Import) -> None:
    made = foreign.constant_model(
        {"pixel_values": (1, 3, 32, 32)}, {"logits": np.ones((1, 5), np.float32)}
    )
    config = {
        "architectures": ["ViTForImageClassification"],
        "problem_type": "multi_label_classification",
    }
    brought = bring(made, config__json=config, preprocessor_config__json=IMAGENET)
    assert brought.inferred.output["activation"] == "sigmoid"


def _queries(classes: int) -> dict[str, Any]:
    logits = np.full((1, 4, classes), -9.0, np.float32)
    logits[0, 0, 1] = 9.0
    logits[0, 1:, -1] = 9.0
    boxes = np.full((1, 4, 4), 0.5, np.float32)
    return {"logits": logits, "pred_boxes": boxes}


@pytest.mark.parametrize(
    ("model_type", "activation", "classes"), [("detr", "softmax", 4), ("rt_detr", "sigmoid", 3)]
)
def test_detection_transformers(
    bring: Import, model_type: str, activation: str, classes: int
) -> None:
    gives = _queries(classes)
    if activation == "sigmoid":
        gives["logits"][0, 1:] = -9.0
    made = foreign.constant_model({"pixel_values": (1, 3, 64, 64)}, gives)
    brought = bring(
        made,
        config__json={
            "architectures": ["XForObjectDetection"],
            "model_type": model_type,
            "id2label": {"0": "a", "1": "b", "2": "c"},
        },
        preprocessor_config__json=IMAGENET | {"size": {"height": 64, "width": 64}},
    )
    assert brought.inferred.output["activation"] == activation
    (found,) = bring.ask(brought)
    assert found["label"] == "b"


def test_detr_by_its_outputs_alone(bring: Import) -> None:
    gives = _queries(4)
    gives["pred_logits"] = gives.pop("logits")
    made = foreign.constant_model({"images": (1, 3, 64, 64)}, gives)
    brought = bring(made, Answers(scaling="imagenet"))
    assert brought.inferred.output["decoder"] == "detr"
    assert bring.ask(brought)[0]["class_id"] == 1


def test_semantic_segmentation(bring: Import) -> None:
    maps = np.zeros((1, 4, 16, 16), np.float32)
    maps[0, 2] = 5.0
    config = {"architectures": ["SegformerForSemanticSegmentation"], "id2label": {"2": "road"}}
    brought = bring(
        foreign.constant_model({"pixel_values": (1, 3, 64, 64)}, {"logits": maps}),
        config__json=config,
        preprocessor_config__json=IMAGENET | {"size": {"height": 64, "width": 64}},
    )
    assert brought.inferred.task == "segmentation"
    assert bring.ask(brought)[0]["label"] == "road"
    by_shape = foreign.constant_model({"input": (1, 3, 64, 64)}, {"out": maps, "aux": maps})
    brought = bring(by_shape, Answers(scaling="imagenet"))
    assert (brought.inferred.task, brought.inferred.output["output"]) == ("segmentation", "out")
    assert bring.ask(brought)[0]["class_id"] == 2


@pytest.mark.parametrize(
    ("gives", "output", "pool"),
    [
        ({"image_embeds": np.ones((1, 8), np.float32)}, "image_embeds", "none"),
        ({"last_hidden_state": np.ones((1, 5, 8), np.float32)}, "last_hidden_state", "first"),
    ],
)
def test_features(bring: Import, gives: Any, output: str, pool: str) -> None:
    made = foreign.constant_model({"pixel_values": (1, 3, 32, 32)}, gives)
    brought = bring(
        made,
        config__json={"architectures": ["Dinov2Model"]},
        preprocessor_config__json=IMAGENET | {"size": 32},
    )
    assert brought.inferred.task == "embedding"
    assert brought.inferred.output == {"decoder": "embedding", "output": output, "pool": pool}
    assert len(bring.ask(brought)) == 1


def test_timm(bring: Import) -> None:
    config = {
        "architecture": "resnet50",
        "num_classes": 3,
        "pretrained_cfg": {
            "input_size": [3, 16, 16],
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "interpolation": "bicubic",
            "crop_pct": 0.95,
            "crop_mode": "center",
            "label_names": ["n1", "n2", "n3"],
        },
    }
    brought = bring(foreign.classifier(3, best=2), config__json=config)
    assert "resnet50" in reasons(brought)["task"]
    assert brought.inferred.input["crop_fraction"] == 0.95
    assert brought.inferred.input["std"] == pytest.approx([58.395, 57.12, 57.375])
    assert bring.ask(brought)[0]["label"] == "n3"


# --- detectors ------------------------------------------------------------------------------------

NOTES = {"names": "{0: 'cat', 1: \"bird's nest\"}", "stride": "32", "imgsz": "[64, 64]"}


@pytest.mark.parametrize("noted", [True, False])
def test_yolo_v8_with_and_without_its_notes(bring: Import, noted: bool) -> None:
    made = foreign.yolo_v8(notes=NOTES | {"task": "detect"} if noted else None)
    brought = bring(made)
    assert brought.inferred.output["decoder"] == "yolo-v8"
    assert (brought.inferred.input["fit"], brought.inferred.input["pad"]) == ("contain", 114)
    (found,) = bring.ask(brought)
    assert found["label"] == ("bird's nest" if noted else "1")
    # A 640 x 480 picture in 64 x 64: the box of 16 is 160 wide, in the picture's middle.
    assert found["box"] == pytest.approx({"x": 240, "y": 160, "width": 160, "height": 160})


def test_yolo_v5_and_end_to_end(bring: Import) -> None:
    rows = 3 * (64 + 16 + 4)
    table = np.zeros((1, rows, 7), np.float32)
    table[0, 0] = 32, 32, 16, 16, 0.95, 0.0, 0.99
    five = foreign.constant_model({"images": (1, 3, 64, 64)}, {"output": table})
    for notes in (None, NOTES):
        helper.set_model_props(five, notes or {})
        brought = bring(five)
        assert brought.inferred.output["decoder"] == "yolo-v5"
        assert bring.ask(brought)[0]["class_id"] == 1
    chosen = np.zeros((1, 300, 6), np.float32)
    chosen[0, 0] = 24, 24, 40, 40, 0.9, 1
    ten = foreign.constant_model({"images": (1, 3, 64, 64)}, {"output0": chosen}, notes=NOTES)
    brought = bring(ten)
    assert brought.inferred.output["decoder"] == "yolo-end2end"
    assert bring.ask(brought)[0]["label"] == "bird's nest"


def test_yolo_masks(bring: Import) -> None:
    cells = 64 + 16 + 4
    table = np.zeros((1, 4 + 2 + 3, cells), np.float32)
    table[0, :, 0] = 32, 32, 16, 16, 0.0, 0.9, 5.0, 0.0, 0.0
    protos = np.ones((1, 3, 16, 16), np.float32)
    made = foreign.constant_model(
        {"images": (1, 3, 64, 64)},
        {"output0": table, "output1": protos},
        notes=NOTES | {"task": "segment"},
    )
    brought = bring(made)
    assert brought.inferred.task == "instances"
    assert brought.inferred.output["decoder"] == "yolo-v8-masks"
    (found,) = bring.ask(brought)
    assert found["label"] == "bird's nest"


def test_yolo_poses_are_not_taken_for_boxes(bring: Import) -> None:
    table = np.zeros((1, 56, 84), np.float32)
    made = foreign.constant_model(
        {"images": (1, 3, 64, 64)}, {"output0": table}, notes=NOTES | {"task": "pose"}
    )
    assert bring(made).inferred.task == "tensors"


def test_tensorflow_object_detection(bring: Import) -> None:
    label_map = (
        'item { id: 1 name: "cat" }\nitem {\n  id: 2\n  name: "d"\n  display_name: "dog"\n}\n'
    )
    brought = bring(foreign.tf_detection(), mscoco_label_map__pbtxt=label_map)
    assert "TensorFlow Object Detection API" in reasons(brought)["task"]
    assert brought.inferred.labels == ("", "cat", "dog")
    (found,) = bring.ask(brought)
    assert found["label"] == "dog"
    assert found["box"] == pytest.approx({"x": 160, "y": 120, "width": 320, "height": 240})
    plain = bring(foreign.tf_detection(), labels__txt="cat\ndog\n")
    assert bring.ask(plain)[0]["label"] == "dog", "a plain list begins at id 1"


@pytest.mark.parametrize("takes", [(1, 3, 16, 16), (3, 16, 16), (3, "h", "w")])
@pytest.mark.parametrize("names", [("boxes", "labels", "scores"), ("2767", "2781", "2779")])
def test_torchvision(bring: Import, takes: Any, names: tuple[str, str, str]) -> None:
    box = (100.0, 100.0, 300.0, 200.0) if "h" in takes else (4.0, 4.0, 12.0, 12.0)
    made = foreign.chosen_boxes(takes, names, box=box)
    brought = bring(made, labels__txt="background\ncat\n")
    assert "torchvision" in reasons(brought)["task"]
    (found,) = bring.ask(brought)
    assert found["label"] == "cat"
    if "h" in takes:
        # Such a model resizes by itself: a picture that is not huge goes in as it is.
        assert found["box"] == {"x": 100, "y": 100, "width": 200, "height": 100}


@pytest.mark.parametrize("names", [("a", "b", "c"), ("pred_boxes", "pred_classes", "scores")])
def test_detectron(bring: Import, names: tuple[str, str, str]) -> None:
    made = foreign.chosen_boxes((3, 16, 16), names, sized=True, label=0)
    brought = bring(made, labels__txt="cat\ndog\n")
    assert "Detectron2" in reasons(brought)["task"]
    assert brought.inferred.input["channels"] == "BGR"
    (found,) = bring.ask(brought)
    assert found["label"] == "cat"


# --- Azure Custom Vision --------------------------------------------------------------------------

CUSTOM_VISION = {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"}


def test_custom_vision_detection(bring: Import) -> None:
    made = foreign.constant_model(
        {"image_tensor": (1, 3, 64, 64)},
        {
            "detected_boxes": np.array([[[0.25, 0.25, 0.75, 0.75]]], np.float32),
            "detected_classes": np.array([[1]], np.int64),
            "detected_scores": np.array([[0.9]], np.float32),
        },
        notes=CUSTOM_VISION,
    )
    manifest = {"DomainType": "ObjectDetection", "Platform": "ONNX", "Flavor": "ONNX12"}
    brought = bring(made, cvexport__manifest=manifest, labels__txt="fork\nscissors\n")
    assert brought.inferred.input["channels"] == "BGR"
    assert "cvexport.manifest" in reasons(brought)["task"]
    (found,) = bring.ask(brought)
    assert brought.inferred.input["mean"] == [0.0]
    assert brought.inferred.input["std"] == [1.0]
    assert found["label"] == "scissors"
    assert found["box"] == pytest.approx({"x": 160, "y": 120, "width": 320, "height": 240})


def test_custom_vision_raw_grid(bring: Import) -> None:
    grid = np.zeros((1, 5 * (5 + 2), 13, 13), np.float32)
    grid[0, 4::7] = -9.0
    # Anchor 4 of the middle cell: sure of class 1, half a cell in, as large as 9.77 x 9.17 cells.
    grid[0, 28:35, 6, 6] = 0.5, 0.5, 0.0, 0.0, 9.0, -9.0, 9.0
    made = foreign.constant_model(
        {"data": (1, 3, 64, 64)}, {"model_outputs0": grid}, notes=CUSTOM_VISION
    )
    brought = bring(made, labels__txt="fork\nscissors\n")
    assert brought.inferred.output["decoder"] == "custom-vision-grid"
    (found,) = bring.ask(brought)
    assert found["label"] == "scissors"
    wide, high = 640 * 9.77 / 13, 480 * 9.17 / 13
    assert found["box"] == pytest.approx(
        {"x": 320 - wide / 2, "y": 240 - high / 2, "width": wide, "height": high}, abs=0.02
    )


def test_custom_vision_classification(bring: Import) -> None:
    scores = np.array([[0.1, 0.9]], np.float32)
    made = foreign.constant_model({"data": (1, 3, 16, 16)}, {"loss": scores}, notes=CUSTOM_VISION)
    brought = bring(made, labels__txt="hemlock\ncherry\n")
    assert brought.inferred.output["activation"] == "none"
    best = bring.ask(brought)[0]
    assert (best["label"], best["score"]) == ("cherry", pytest.approx(0.9))


# --- answers --------------------------------------------------------------------------------------


def test_answers_come_before_everything(bring: Import) -> None:
    answers = parse_answers(
        {
            "channels": "BGR",
            "mean": "1,2,3",
            "std": "4",
            "fields": ["input.fit=crop", "input.crop_fraction=0.5", "output.activation=sigmoid"],
        },
        None,
    )
    brought = bring(foreign.classifier(1000, ends="Softmax"), answers)
    assert brought.package is not None
    assert brought.package.input is not None
    assert brought.package.input.channels == "BGR"
    assert brought.package.input.mean == (1.0, 2.0, 3.0)
    assert brought.package.input.crop_fraction == 0.5
    assert brought.inferred.output["activation"] == "sigmoid"
    assert reasons(brought)["channels"] == "as you said"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"size": "0x5"}, "--size"),
        ({"size": "big"}, "--size"),
        ({"mean": "1,2"}, "--mean"),
        ({"std": "x"}, "--std"),
        ({"decoder": "tea leaves"}, "--decoder"),
        ({"scaling": "loud"}, "--scaling"),
        ({"fields": ["input"]}, "--set"),
    ],
)
def test_answers_that_cannot_be(given: dict[str, Any], says: str) -> None:
    with pytest.raises(HeliographError) as failed:
        parse_answers(given, None)
    assert failed.value.code is Code.VALIDATION
    assert failed.value.detail.startswith(says)


@pytest.mark.parametrize(
    ("answers", "code", "says"),
    [
        (Answers(task="telepathy"), Code.VALIDATION, "--task"),
        (Answers(task="text"), Code.VALIDATION, "--decoder"),
        (Answers(width=5, height=5, scaling="0-1"), Code.VALIDATION, "--size"),
        (Answers(scaling="0-1", set={"input.widht": 3}), Code.MODEL_INVALID, "widht"),
        (Answers(scaling="0-1", set={"weights.file": "x"}), Code.VALIDATION, "--set"),
    ],
)
def test_answers_that_the_model_cannot_have(
    bring: Import, answers: Answers, code: Code, says: str
) -> None:
    with pytest.raises(HeliographError) as failed:
        bring(foreign.classifier(1000), answers)
    assert failed.value.code is code
    assert says in failed.value.detail


def test_a_task_and_a_decoder_make_a_model_of_what_nobody_recognises(bring: Import) -> None:
    made = foreign.constant_model({"x": (1, 3, 16, 16)}, {"z": np.ones((1, 1, 16, 16), np.float32)})
    brought = bring(made, Answers(task="edges", decoder="edge-map", scaling="0-1"))
    assert brought.package is not None
    assert brought.package.task == "edges"
