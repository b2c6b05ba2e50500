"""The same model through every engine, on real photos: do the answers agree?

    python -m bench.agreement --data ../shared/data

Two networks (EfficientNet-Lite0 of our recipe, and a small random one) are written as ONNX, IR,
SavedModel, Keras, frozen graph, TFLite, `.pt2` and TorchScript by `bench/formats.py`, and each file
is run by each engine that reads it. Told are the largest difference of any probability and of any
logit (centred logarithm, of those classes above one in a million) to ONNX Runtime's, and how often
the first label is the same. Writes `bench/results/agreement.md`; the tolerances are `TOLERANCES`,
which `tests/unit/runtimes/test_agreement.py` holds. Needs the extras `torch` and `tensorflow`; what
is not installed is left out of the table and said to be.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench import formats, provision
from bench.machine import line as machine
from heliograph.runtimes.base import Plan
from heliograph.runtimes.choose import scratch_environment
from heliograph.runtimes.engines import open_runner
from heliograph.vision.decode import decode
from heliograph.vision.prepare import InputSpec, prepare

TOLERANCES = {"probability": 2e-5, "logit": 2e-4}
"""Largest differences that float32 kernels of several libraries may have on one picture.

float32 keeps 24 bits; a network of fifty layers adds thousands of products in another order, and
what was measured on 2026-11-21 is a tenth of these.
"""

_SEEN = 1e-6


class Row(NamedTuple):
    """One file through one engine, against ONNX Runtime on the ONNX file."""

    model: str
    format: str
    engine: str
    probability: float
    logit: float
    same: int
    pictures: int


def say(text: str) -> None:
    print(text, file=sys.stderr)


def write_all(path: Path, folder: Path) -> dict[str, tuple[Path, bool]]:
    """Every format that can be made here: name -> (file, whether it takes NHWC)."""
    made = {"ONNX": (path, False), "IR": (_ir(path, folder), False)}
    if importlib.util.find_spec("torch"):
        made |= _torch(path, folder)
    if importlib.util.find_spec("tensorflow"):
        made |= _tensorflow(path, folder)
    return made


def _ir(path: Path, folder: Path) -> Path:
    import openvino

    openvino.save_model(openvino.convert_model(path), folder / "ir.xml", compress_to_fp16=False)
    return folder / "ir.xml"


def _torch(path: Path, folder: Path) -> dict[str, tuple[Path, bool]]:
    import torch

    network = formats.torch_module(path)
    graph, _ = formats.load(path)
    side = graph.input[0].type.tensor_type.shape.dim[2].dim_value
    example = torch.zeros(2, 3, side, side)
    batch = {"images": {0: torch.export.Dim("batch")}}
    program = torch.export.export(network, (example,), dynamic_shapes=batch)
    torch.export.save(program, folder / "model.pt2")
    script = folder / "script"
    script.mkdir()
    torch.jit.trace(network, example, strict=False).save(str(script / "model.pt"))
    classes = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    said = {
        "inputs": [{"name": "images", "dtype": "float32", "shape": [-1, 3, side, side]}],
        "outputs": [{"name": "probabilities", "dtype": "float32", "shape": [-1, classes]}],
    }
    (script / "signature.json").write_text(json.dumps(said), "utf-8")
    return {"pt2": (folder / "model.pt2", False), "TorchScript": (script / "model.pt", False)}


def _tensorflow(path: Path, folder: Path) -> dict[str, tuple[Path, bool]]:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    network = formats.keras_model(path)
    network.save(folder / "model.keras")
    network.export(folder / "saved", verbose=False)
    loaded = tf.saved_model.load(str(folder / "saved"))
    fixed = convert_variables_to_constants_v2(loaded.signatures["serving_default"])
    (folder / "frozen.pb").write_bytes(fixed.graph.as_graph_def().SerializeToString())
    lite = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved")).convert()
    (folder / "model.tflite").write_bytes(lite)
    return {
        "keras": (folder / "model.keras", True),
        "SavedModel": (folder / "saved", True),
        "frozen graph": (folder / "frozen.pb", True),
        "TFLite": (folder / "model.tflite", True),
    }


ENGINES = {
    "ONNX": ("onnx", "openvino"),
    "IR": ("openvino",),
    "pt2": ("torch",),
    "TorchScript": ("torch",),
    "keras": ("tensorflow",),
    "SavedModel": ("openvino", "tensorflow"),
    "frozen graph": ("openvino", "tensorflow"),
    "TFLite": ("openvino",),
}


def answers(path: Path, engine: str, pictures: Any, *, nhwc: bool) -> Any:
    """Probabilities [pictures, classes], in batches of one so that TFLite can follow."""
    runner = open_runner(path, Plan(engine), **({"unsafe": True} if engine == "torch" else {}))
    (given,) = runner.inputs
    turned = pictures.transpose(0, 2, 3, 1) if nhwc else pictures
    rows = [next(iter(runner.run({given.name: one[None]}).values()))[0] for one in turned]
    runner.close()
    return np.stack(rows)


def compare(name: str, path: Path, pictures: Any) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        made = write_all(path, Path(folder))
        expected = answers(path, "onnx", pictures, nhwc=False)
        for kind, (file, nhwc) in made.items():
            for engine in ENGINES[kind]:
                found = answers(file, engine, pictures, nhwc=nhwc)
                rows.append(_row(name, kind, engine, found, expected))
                say(f"{rows[-1]}")
    return rows


def _row(name: str, kind: str, engine: str, found: Any, expected: Any) -> Row:
    seen = (expected > _SEEN) & (found > _SEEN)
    logits = [np.log(np.where(seen, one, 1.0)) for one in (found, expected)]
    centred = [one - one.sum(1, keepdims=True) / seen.sum(1, keepdims=True) for one in logits]
    apart = np.abs(centred[0] - centred[1])[seen].max()
    same = int((found.argmax(1) == expected.argmax(1)).sum())
    worst = float(np.abs(found - expected).max())
    return Row(name, kind, engine, worst, float(apart), same, len(expected))


def photos(folder: Path, side: int) -> Any:
    """Every photo as the model wants it: [n, 3, side, side], (pixel - 127) / 128."""
    spec = InputSpec(
        name="images", width=side, height=side, fit="crop", resample="bicubic", mean=(127.0,),
        std=(128.0,),
    )  # fmt: skip
    files = sorted(folder.rglob("*.jpg"))
    return np.stack([prepare(decode(one.read_bytes(), None, None), spec)[0] for one in files])


def measure(data: Path) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        small = formats.small_cnn(Path(folder) / "small.onnx")
        rows = compare("small random network", small, photos(data / "photos", 32))
        model = provision.model(Path(folder), say)
        return rows + compare("EfficientNet-Lite0", model, photos(data / "photos", 224))


def table(rows: list[Row]) -> str:
    missing = [one for one in ("torch", "tensorflow") if not importlib.util.find_spec(one)]
    return "\n".join(
        [
            "Answers of each file and engine against ONNX Runtime's, on "
            f"{rows[0].pictures} photos. {machine()}",
            *([f"Not installed and left out: {', '.join(missing)}."] if missing else []),
            "",
            f"Tolerances: {TOLERANCES['probability']:g} of a probability, "
            f"{TOLERANCES['logit']:g} of a logit, and the same first label.",
            "",
            "| model | format | engine | probability differs by | logit | same first label |",
            "| --- | --- | --- | --: | --: | --: |",
            *(
                f"| {one.model} | {one.format} | {one.engine} | {one.probability:.1e} "
                f"| {one.logit:.1e} | {one.same} of {one.pictures} |"
                for one in rows
            ),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", action="store_true", help="rows as JSON, and no file is written")
    options = parser.parse_args()
    os.environ.update(scratch_environment())
    rows = measure(options.data)
    if options.json:
        print(json.dumps([one._asdict() for one in rows]))
        return
    print(table(rows))
    (Path(__file__).parent / "results" / "agreement.md").write_text(table(rows), "utf-8")


if __name__ == "__main__":
    main()
