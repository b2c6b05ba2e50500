"""Shapes as JSON Schema, with the words of their docstrings, so that these are written once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

import msgspec
from msgspec import Struct

from heliograph.core.errors import Code
from heliograph.edge.http import shapes
from heliograph.edge.http.errors import Problem
from heliograph.edge.http.examples import EXAMPLES
from heliograph.edge.http.releases import Place, Promotion, Rollback
from heliograph.registry.releases import Change, Gates, Shadow
from heliograph.registry.values import Metric
from heliograph.vision.prepare import InputSpec

REF = "#/components/schemas/{name}"

_OTHERS: tuple[type[Struct], ...] = (
    shapes.Box,
    shapes.Class,
    shapes.Detection,
    shapes.EdgeImage,
    shapes.EnhancedImage,
    shapes.ImageSize,
    shapes.Instance,
    shapes.Keypoint,
    shapes.Mask,
    Metric,
    shapes.ModelLine,
    shapes.ModelVersion,
    shapes.Plan,
    shapes.Pose,
    shapes.Price,
    shapes.Failure,
    shapes.Health,
    Change,
    Gates,
    InputSpec,
    Place,
    Promotion,
    shapes.ReleaseCard,
    Rollback,
    Shadow,
    shapes.ModelCard,
    shapes.ModelList,
    shapes.Point,
    Problem,
    shapes.ProcessedImage,
    shapes.Segment,
    shapes.TextLine,
    shapes.Timings,
    shapes.Vector,
)


def components() -> dict[str, Any]:
    """Every schema of the document, by name."""
    kinds: list[type[Struct]] = [*shapes.ANSWERS.values(), *_OTHERS]
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
    mapping = {task: REF.format(name=kind.__name__) for task, kind in shapes.ANSWERS.items()}
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
