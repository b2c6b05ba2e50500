"""The shapes of every answer, as types: what `schemas.py` turns into the document's schemas.

Nothing is encoded with these types (the answers are made where they arise, `predict.py` and
`models.py`); `tests/unit/edge/test_openapi.py` holds that every answer fits its shape.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from heliograph.edge.http.errors import Problem
from heliograph.registry.releases import Gates, Shadow
from heliograph.registry.values import Metric
from heliograph.vision.prepare import InputSpec

Score = Annotated[float, Meta(ge=0, le=1)]
Pixels = Annotated[int, Meta(ge=1)]
Milliseconds = Annotated[float, Meta(ge=0)]
State = Literal["unloaded", "loading", "ready", "unloading", "failed"]
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


class Price(Struct):
    """What one call costs by the price list, before taxes, tiers and free amounts.

    Attributes:
        amount: in units of the currency, as a decimal number in a text.
        currency: its code of ISO 4217.
    """

    amount: str
    currency: str


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


class Mask(Struct):
    """Some pixels of the upright picture, as COCO's tools write and read them.

    Attributes:
        size: height and width of the picture, in this order.
        counts: how many pixels are not and are in the mask, in turn, column by column, compressed;
            `pycocotools.mask.decode` takes the whole object.
    """

    size: Annotated[list[int], Meta(min_length=2, max_length=2)]
    counts: str


class Segment(Struct, omit_defaults=True):
    """Everything in the picture that is of one class.

    Attributes:
        label: the class.
        class_id: the label's number in the model's list.
        area: how many pixels it covers.
        share: which part of the picture it covers.
        mask: which pixels.
        score: how sure the model is, on the mean; missing where it does not say.
    """

    label: str
    class_id: int
    area: Pixels
    share: Score
    mask: Mask
    score: Score | UnsetType = UNSET


class Instance(Detection):
    """One object and its pixels.

    Attributes:
        area: how many pixels it covers.
        mask: which pixels.
    """

    area: Annotated[int, Meta(ge=0)]
    mask: Mask


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


class Point(Struct):
    """A point of the upright picture.

    Attributes:
        x: pixels from its left edge.
        y: pixels from its upper edge.
    """

    x: float
    y: float


class TextLine(Struct):
    """One line of text.

    Attributes:
        text: what it says; empty from models that only find lines.
        score: how sure the model is, on average over its characters.
        box: around it.
        quad: its corners, clockwise from the upper left as the text reads.
    """

    text: str
    score: Score
    box: Box
    quad: Annotated[list[Point], Meta(min_length=4, max_length=4)]


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


class EnhancedImage(ProcessedImage):
    """A better picture.

    Attributes:
        scale: how many times as wide as the one that was sent.
    """

    scale: Annotated[float, Meta(gt=0)]


class Vector(Struct):
    """A picture as a point on a sphere.

    Attributes:
        embedding: its coordinates, of length 1 together; with `encoding=base64` 32-bit floats,
            lowest byte first, in base64.
        dimensions: how many there are.
    """

    embedding: list[float] | Base64
    dimensions: Annotated[int, Meta(ge=1)]


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
        cost: what the call costs, where prices are set.
        file: the file's name, in answers to several files only.
    """

    id: str
    model: str
    version: str
    image: ImageSize
    timings_ms: Timings
    cost: Price | UnsetType = UNSET
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


class Segments(Answer, tag="segmentation", kw_only=True):
    """The classes of a picture's pixels, the largest first; no two share a pixel."""

    predictions: list[Segment]


class Instances(Answer, tag="instances", kw_only=True):
    """The objects of a picture and their pixels, best first."""

    predictions: list[Instance]


class Embedding(Answer, tag="embedding", kw_only=True):
    """Where a picture lies among all pictures."""

    predictions: Annotated[list[Vector], Meta(min_length=1, max_length=1)]


class Enhanced(Answer, tag="enhancement", kw_only=True):
    """A better picture of the same."""

    predictions: Annotated[list[EnhancedImage], Meta(min_length=1, max_length=1)]


class Processed(Answer, tag="process", kw_only=True):
    """A picture after a pipeline."""

    predictions: Annotated[list[ProcessedImage], Meta(min_length=1, max_length=1)]


class TextLines(Answer, tag="text", kw_only=True):
    """What is written in a picture, line by line in reading order."""

    predictions: list[TextLine]


class Findings(Answer, tag="pipeline", kw_only=True):
    """What several models found together: the first one's predictions.

    What a later step says of a prediction is in it, under the step's name.
    """

    predictions: list[dict[str, Any]]


class Failure(Struct):
    """One file of several that could not be answered; its neighbours are not touched.

    Attributes:
        file: its name.
        error: why.
    """

    file: str
    error: Problem


class ModelVersion(Struct):
    """One version of a model.

    Attributes:
        version: its number.
        state: whether it is in memory.
        reason: why it failed; empty if it did not.
        digest: names exactly these weights, this input and this reading of the outputs; empty for
            a version that cannot be read.
        memory: bytes that it takes now, as far as they are known.
        share: which part of the calls that ask for no version it gets.
        aliases: further names of it; `stable` answers the calls that ask for no version.
        shadow: whether it gets copies of calls that others answer.
    """

    version: str
    state: State
    reason: str
    digest: Annotated[str, Meta(pattern="^(sha256:[0-9a-f]{64})?$")]
    memory: Annotated[int, Meta(ge=0)]
    share: Score
    aliases: list[str]
    shadow: bool


class ModelLine(Struct):
    """A model in a line.

    Attributes:
        name: what addresses call it.
        version: the version that answers calls which ask for none, whatever a split tries.
        title: what people call it.
        task: what kind of question it answers.
        default: whether it answers for its task when no model is named.
        state: whether that version is in memory.
        licence: SPDX identifier of its weights.
        versions: every version, lowest number first.
    """

    name: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9._-]{0,62}$")]
    version: str
    title: str
    task: str
    default: bool
    state: State
    licence: str
    versions: list[ModelVersion]


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
        input: what it is fed; the server does this for you. Null for a model of plain tensors.
        output: how its raw outputs are read: a decoder's name and parameters; null likewise.
        labels: by class id; empty while it is loading.
        plan: how it runs here; null while it is loading.
    """

    reason: str
    description: str
    provenance: str
    digest: Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]
    metrics: list[Metric]
    input: InputSpec | None
    output: dict[str, Any] | None
    labels: list[str]
    plan: Plan | None


class ReleaseCard(Struct):
    """Which version of a model answers, as it was decided.

    Attributes:
        name: the model.
        version: the version that answers calls which ask for none, whatever a split tries.
        aliases: version by name; without `stable` the latest version answers once it is loaded.
        split: shares of versions (numbers or aliases) by weight; empty while there is no split.
        shadow: a version that gets copies of calls and whose answers nobody sees; null for none.
        gates: when the new version of a split is taken back by itself; null for never.
        loaded: versions that are kept in memory besides.
        unloaded: versions that are out of service; `*` for all.
        history: earlier stable versions, the latest last: where a rollback goes.
        reason: why it is as it is: who or which gate decided.
        versions: every version, lowest number first.
    """

    name: str
    version: str
    aliases: dict[str, str]
    split: dict[str, float]
    shadow: Shadow | None
    gates: Gates | None
    loaded: list[str]
    unloaded: list[str]
    history: list[str]
    reason: str
    versions: list[ModelVersion]


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
    "embedding": Embedding,
    "enhancement": Enhanced,
    "instances": Instances,
    "keypoints": Poses,
    "pipeline": Findings,
    "process": Processed,
    "segmentation": Segments,
    "text": TextLines,
}
"""The answer of each task; a test holds that no task is missing."""
