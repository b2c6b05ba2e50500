"""The shapes of every answer, as types: what `openapi.py` turns into the document's schemas.

Nothing is encoded with these types (the answers are made where they arise, `predict.py` and
`models.py`); `tests/unit/edge/test_openapi.py` holds that every answer fits its shape. Descriptions
come from the docstrings, here and in the task files, so that they are written once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from heliograph.core.errors import Code
from heliograph.edge.http.errors import Problem
from heliograph.edge.http.examples import EXAMPLES
from heliograph.registry.values import Metric
from heliograph.vision.prepare import InputSpec

REF = "#/components/schemas/{name}"

Score = Annotated[float, Meta(ge=0, le=1)]
Pixels = Annotated[int, Meta(ge=1)]
Milliseconds = Annotated[float, Meta(ge=0)]
Base64 = Annotated[str, Meta(extra_json_schema={"contentEncoding": "base64"})]


class ImageSize(Struct):
    """The size of the upright picture, as it was sent.

    Attributes:
        width: pixels.
        height: pixels.
    """

    width: Pixels
    height: Pixels


class Timings(Struct):
    """Where the time went, in milliseconds; the same numbers are in the Server-Timing header.

    Attributes:
        queue: waiting for a thread.
        decode: reading the file and preparing the model's input.
        batch: waiting for an instance of the model, and for company where batching helps.
        run: inside the model.
        finish: turning its outputs into the answer, drawing included.
        total: all of them.
    """

    queue: Milliseconds
    decode: Milliseconds
    batch: Milliseconds
    run: Milliseconds
    finish: Milliseconds
    total: Milliseconds


class Box(Struct):
    """A rectangle in pixels of the upright picture.

    Attributes:
        x: left edge.
        y: upper edge.
        width: to the right.
        height: downwards.
    """

    x: float
    y: float
    width: float
    height: float


class Detection(Struct):
    """One object.

    Attributes:
        label: what it is.
        score: how sure the model is.
        class_id: the label's number in the model's list.
        box: where it is.
    """

    label: str
    score: Score
    class_id: int
    box: Box


class Class(Struct):
    """One class that the picture may show.

    Attributes:
        label: its name.
        score: how sure the model is.
        class_id: the label's number in the model's list.
    """

    label: str
    score: Score
    class_id: int


class Keypoint(Struct):
    """One joint.

    Attributes:
        name: e.g. `left_elbow`; left and right are the person's own.
        x: pixels from the left edge of the upright picture.
        y: pixels from its upper edge.
        score: how sure the model is.
    """

    name: str
    x: float
    y: float
    score: Score


class Pose(Struct):
    """One person.

    Attributes:
        label: always `person`.
        score: how sure the model is.
        box: around the joints that were found.
        keypoints: the joints that were found.
    """

    label: str
    score: Score
    box: Box
    keypoints: list[Keypoint]


class ProcessedImage(Struct):
    """A picture that came out.

    Attributes:
        image: the file in base64.
        format: how it is written.
        width: pixels.
        height: pixels.
    """

    image: Base64
    format: Literal["png", "jpeg", "webp"]
    width: Pixels
    height: Pixels


class EdgeImage(ProcessedImage):
    """Edges in white on black.

    Attributes:
        edge_fraction: share of the pixels that are edges.
    """

    edge_fraction: Score


class Answer(Struct, tag_field="task", kw_only=True):
    """What every answer has.

    Attributes:
        id: the call's id, also in the X-Request-Id header; quote it when asking for help.
        model: which model answered.
        version: which version of it.
        task: what kind of answer this is; it decides what `predictions` holds.
        image: the size of the upright picture.
        predictions: the answer, best first.
        timings_ms: milliseconds of each step.
        file: the file's name, in answers to several files only.
    """

    id: str
    model: str
    version: str
    image: ImageSize
    timings_ms: Timings
    file: str | UnsetType = UNSET


class Detections(Answer, tag="detection", kw_only=True):
    """The objects of a picture, best first."""

    predictions: list[Detection]


class Classes(Answer, tag="classification", kw_only=True):
    """What a picture shows, best first."""

    predictions: list[Class]


class Poses(Answer, tag="keypoints", kw_only=True):
    """The people of a picture and their joints, best first."""

    predictions: list[Pose]


class Edges(Answer, tag="edges", kw_only=True):
    """Where a picture's brightness changes, as a picture of lines."""

    predictions: Annotated[list[EdgeImage], Meta(min_length=1, max_length=1)]


class Processed(Answer, tag="process", kw_only=True):
    """A picture after a pipeline."""

    predictions: Annotated[list[ProcessedImage], Meta(min_length=1, max_length=1)]


class Failure(Struct):
    """One file of several that could not be answered; its neighbours are not touched.

    Attributes:
        file: its name.
        error: why.
    """

    file: str
    error: Problem


class ModelLine(Struct):
    """A model in a line.

    Attributes:
        name: what addresses call it.
        version: the version in service.
        title: what people call it.
        task: what kind of question it answers.
        default: whether it answers for its task when no model is named.
        state: whether calls are taken.
        licence: SPDX identifier of its weights.
    """

    name: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9._-]{0,62}$")]
    version: str
    title: str
    task: str
    default: bool
    state: Literal["loading", "ready", "failed"]
    licence: str


class ModelList(Struct):
    """What is in service.

    Attributes:
        models: by name.
    """

    models: list[ModelLine]


class Plan(Struct):
    """How a model runs on this machine.

    Attributes:
        engine: what runs it.
        threads: inside one run.
        instances: runs at the same time.
        max_batch: most pictures in one run.
        max_wait_ms: how long a batch that is not full waits for more.
        reason: why it runs so, with the evidence.
    """

    engine: str
    threads: int
    instances: int
    max_batch: int
    max_wait_ms: float
    reason: str


class ModelCard(ModelLine):
    """Everything one should know before relying on a model.

    Attributes:
        reason: why it is not in service; empty when it is.
        description: a sentence or two.
        provenance: who trained it, on what.
        digest: names exactly these weights, this input and this reading of the outputs.
        metrics: published or measured figures.
        input: what it is fed; the server does this for you.
        output: how its raw outputs are read: a decoder's name and parameters.
        labels: by class id; empty while it is loading.
        plan: how it runs here; null while it is loading.
    """

    reason: str
    description: str
    provenance: str
    digest: Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]
    metrics: list[Metric]
    input: InputSpec
    output: dict[str, Any]
    labels: list[str]
    plan: Plan | None


class Health(Struct):
    """How the server is.

    Attributes:
        status: `live` or `ready`.
    """

    status: Literal["live", "ready"]


ANSWERS: dict[str, type[Answer]] = {
    "classification": Classes,
    "detection": Detections,
    "edges": Edges,
    "keypoints": Poses,
    "process": Processed,
}
"""The answer of each task; a test holds that no task is missing."""

_PARTS = (Box, Class, Detection, EdgeImage, ImageSize, Keypoint, Metric, ModelLine, Plan, Pose)
_WHOLE = (Failure, Health, InputSpec, ModelCard, ModelList, Problem, ProcessedImage, Timings)


def components() -> dict[str, Any]:
    """Every schema of the document, by name."""
    kinds: list[type[Struct]] = [*ANSWERS.values(), *_WHOLE, *_PARTS]
    _, made = msgspec.json.schema_components(kinds, ref_template=REF)
    for kind in kinds:
        explain(made[kind.__name__], kind)
    problem = made["Problem"]["properties"]
    problem["code"]["x-extensible-enum"] = sorted(Code)
    problem["retry_after"] = _plain(problem["retry_after"])
    _said_in_full(made["InputSpec"])
    made |= _unions()
    for name, example in EXAMPLES.items():
        made[name]["examples"] = [example]
    # Through JSON and back: msgspec leaves defaults that are tuples.
    return msgspec.json.decode(msgspec.json.encode(dict(sorted(made.items()))))


def _said_in_full(schema: dict[str, Any]) -> None:
    """Of a type that people write too: in an answer nothing is left out, defaults included."""
    schema["required"] = list(schema["properties"])
    for field in schema["properties"].values():
        field.pop("default", None)


def _unions() -> dict[str, Any]:
    """The two shapes that are one of several; written by hand, since types cannot say them."""
    mapping = {task: REF.format(name=kind.__name__) for task, kind in ANSWERS.items()}
    either = [{"$ref": REF.format(name=name)} for name in ("Prediction", "Failure")]
    return {
        "Prediction": {
            "description": "An answer; `task` says which kind.",
            "oneOf": [{"$ref": ref} for ref in mapping.values()],
            "discriminator": {"propertyName": "task", "mapping": mapping},
        },
        "PredictionList": {
            "title": "PredictionList",
            "description": "Answers to several files, in their order.",
            "type": "object",
            "properties": {
                "results": {
                    "type": "array",
                    "description": "For each file its answer, or why it has none.",
                    "items": {"anyOf": either},
                }
            },
            "required": ["results"],
        },
    }


def parameters(kind: type[Struct]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The fields of a task's options as query parameters: name and schema, described."""
    _, made = msgspec.json.schema_components([kind])
    schema = made[kind.__name__]
    explain(schema, kind)
    for name, field in schema["properties"].items():
        yield name, _plain(field)


def _plain(field: dict[str, Any]) -> dict[str, Any]:
    """A field without its null: a query leaves out what is not given."""
    kinds = [one for one in field.get("anyOf", ()) if one.get("type") != "null"]
    if len(kinds) != 1:
        return field
    rest = {key: value for key, value in field.items() if key not in {"anyOf", "default"}}
    return kinds[0] | rest


def explain(schema: dict[str, Any], kind: type[Struct]) -> None:
    """Give a schema and its members the words of its class's docstring."""
    schema["description"] = " ".join(cleandoc(kind.__doc__ or "").partition("\n\n")[0].split())
    words: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        words |= dict(_attributes(one.__doc__ or ""))
    for name, field in schema["properties"].items():
        if name in words:
            # A $ref may have siblings (OpenAPI 3.1); they describe this use of it.
            field["description"] = words[name]


def _attributes(doc: str) -> Iterator[tuple[str, str]]:
    """Name and meaning of each entry of a docstring's `Attributes` section."""
    section = cleandoc(doc).partition("\nAttributes:\n")[2].partition("\n\n")[0]
    for entry in re.split(r"\n(?=    \S)", "\n" + section):
        name, colon, meaning = entry.strip().partition(": ")
        if colon and name.isidentifier():
            yield name, " ".join(meaning.split())

