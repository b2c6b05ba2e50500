"""The OpenAPI document: valid, complete, and true about what the code answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from heliograph.core.errors import TABLE, Code
from heliograph.edge.http import pages, reference, schemas
from heliograph.edge.http.examples import EXAMPLES
from heliograph.edge.http.openapi import describe
from heliograph.edge.http.shapes import ANSWERS
from heliograph.vision.tasks import TASKS

DOCUMENT = describe()
OPERATIONS = [
    (path, verb, about)
    for path, verbs in DOCUMENT["paths"].items()
    for verb, about in verbs.items()
    if verb != "parameters"
]
BY_TASK = {about["x-task"]: about for _, _, about in OPERATIONS if "x-task" in about}


def check(schema: dict[str, Any], value: Any) -> None:
    """Raise unless the value is what the schema says; references are the document's."""
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


def media() -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every example of the document with its schema."""
    for _, _, about in OPERATIONS:
        bodies = [about.get("requestBody", {}), *about["responses"].values()]
        for body in bodies:
            for said in body.get("content", {}).values():
                examples = [one["value"] for one in said.get("examples", {}).values()]
                for example in [*examples, *([said["example"]] if "example" in said else [])]:
                    yield about["operationId"], said["schema"], example


def test_document_is_valid_openapi() -> None:
    validate(DOCUMENT)


def test_operation_ids_are_unique_identifiers() -> None:
    ids = [about["operationId"] for _, _, about in OPERATIONS]
    assert max(Counter(ids).values()) == 1
    assert all(re.fullmatch("[a-z][A-Za-z]+", one) for one in ids)


def test_every_task_has_an_address_and_an_answer() -> None:
    assert set(BY_TASK) == set(TASKS) == set(ANSWERS)
    for name, task in TASKS.items():
        assert DOCUMENT["paths"][f"/api/v1/{task.verb}"]["post"] is BY_TASK[name]


def test_examples_fit_their_schemas() -> None:
    seen = [check(schema, example) for _, schema, example in media()]
    assert len(seen) > len(OPERATIONS)
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            check({"$ref": schemas.REF.format(name=name)}, example)


def test_parameter_examples_and_defaults_fit() -> None:
    for _, _, about in OPERATIONS:
        for one in about.get("parameters", ()):
            values = [one[key] for key in ("example",) if key in one]
            for value in [*values, one["schema"].get("default")]:
                if value is not None:
                    check(one["schema"], value)


@pytest.mark.parametrize("task", TASKS)
def test_answers_of_the_code_fit_their_schema(task: str) -> None:
    name = ANSWERS[task].__name__
    example = EXAMPLES[name]
    answered = TASKS[task].restore(example["predictions"]).predictions()
    assert answered
    for ref in (name, "Prediction"):
        check({"$ref": schemas.REF.format(name=ref)}, {**example, "predictions": answered})


@pytest.mark.parametrize("task", TASKS)
def test_options_are_those_of_the_code(task: str) -> None:
    documented = {one["name"]: one for one in BY_TASK[task]["parameters"]}
    for common in ("version", "format", "X-Sticky-Key"):
        del documented[common]
    assert set(documented) == set(TASKS[task].options.__struct_fields__)
    given = {name: one["example"] for name, one in documented.items() if one["required"]}
    made = TASKS[task].options(**given)
    for name, one in documented.items():
        assert one["description"], name
        default = one["schema"].get("default", one.get("example"))
        assert getattr(made, name) == default


def test_options_by_model_promise_no_default() -> None:
    about = DOCUMENT["paths"]["/api/v1/models/{name}/predict"]["post"]
    assert not any("default" in one["schema"] for one in about["parameters"])
    top_k = next(one for one in about["parameters"] if one["name"] == "top_k")
    assert "For detection: at most this many objects" in top_k["description"]


def test_refusals_are_listed_with_their_status_and_headers() -> None:
    listed: set[str] = set()
    for _, _, about in OPERATIONS:
        for status, response in about["responses"].items():
            if status == "200":
                continue
            codes = re.findall("`([a-z_]+)`", response["description"])
            assert codes
            assert {TABLE[Code(one)].status for one in codes} == {int(status)}
            assert "X-Request-Id" in response["headers"]
            assert ("Retry-After" in response["headers"]) == (status in {"429", "503"})
            listed.update(codes)
    assert set(Code) == listed
    predict = DOCUMENT["paths"]["/api/v1/models/{name}/predict"]["post"]["responses"]
    said = " ".join(one.get("description", "") for one in predict.values())
    for code in (Code.CONFLICT, Code.MODEL_INVALID, Code.STORAGE_FULL):
        assert f"`{code}`" not in said, "what only a change of the house may meet"


def test_changes_are_shown_as_json_to_send() -> None:
    about = DOCUMENT["paths"]["/api/v1/models/{name}/promote"]["post"]
    said = reference.curl("/api/v1/models/{name}/promote", "post", about)
    assert "-X POST" in said
    assert "-H 'Content-Type: application/json'" in said
    assert '"version": "canary"' in said
    assert "photo.jpg" not in said


def test_every_member_of_every_shape_is_described() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert schema.get("description"), name
        for member, about in schema.get("properties", {}).items():
            assert about.get("description"), f"{name}.{member}"


class Resources(HTMLParser):
    """What a page loads, names and links to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.inline: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.update({given["id"]} if "id" in given else ())
        if tag == "a":
            self.links.add(given["href"])
        elif tag in {"script", "link", "img", "iframe"}:
            self.loaded.add(given.get("src", "") or given.get("href", ""))
        if tag == "style" or "style" in given or any(name.startswith("on") for name in given):
            self.inline.append(tag)


@pytest.mark.parametrize("html", [reference.render(DOCUMENT), pages.errors()])
def test_pages_load_nothing_from_outside_and_their_anchors_exist(html: str) -> None:
    page = Resources(html)
    assert page.loaded
    assert all(one.startswith("/assets/") for one in page.loaded)
    assert not page.inline
    assert {one[1:] for one in page.links if one.startswith("#")} - {"content"} <= page.ids


def test_reference_names_every_operation_and_step() -> None:
    page = Resources(reference.render(DOCUMENT))
    assert {about["operationId"] for _, _, about in OPERATIONS} <= page.ids
    assert {"steps", "step-resize", "shape-Detections"} <= page.ids
    codes = Resources(pages.errors()).ids
    assert set(Code) <= codes
    for link in page.links:
        if link.startswith("/docs/errors#"):
            assert link.partition("#")[2] in codes


def test_text_becomes_text() -> None:
    hostile = '<img src=x onerror="alert(1)">`<b>`'
    assert pages.prose(hostile) == (
        "<p>&lt;img src=x onerror=&quot;alert(1)&quot;&gt;<code>&lt;b&gt;</code></p>"
    )
    assert "<img src=x" not in pages.frame(hostile, "/", "") + pages.block(hostile, hostile)
