"""The page `/docs`: the OpenAPI document, and the verbs of a pipeline, for people to read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from typing import Any

from heliograph.edge.http.pages import block, frame, prose, words
from heliograph.vision.verbs import TABLE, Parameter, Verb

_OPTIONS = '<div class="wide"><table><thead><tr><th>Parameter<th>Takes<th>Meaning</thead><tbody>'
_MEMBERS = '<div class="wide"><table><thead><tr><th>Member<th>Is<th>Meaning</thead><tbody>'
_STEPS = '<div class="wide"><table><thead><tr><th>Step<th>Does<th>Takes</thead><tbody>'
_END = "</tbody></table></div>"
_REQUIRED = ' <span class="chip">required</span>'


def render(document: dict[str, Any]) -> str:
    """The whole page."""
    operations = [
        (path, verb, about)
        for path, verbs in document["paths"].items()
        for verb, about in verbs.items()
        if verb != "parameters"
    ]
    parts, aside = [prose(document["info"]["description"])], list[str]()
    for tag in document["tags"]:
        mine = [one for one in operations if tag["name"] in one[2]["tags"]]
        name = escape(tag["name"])
        parts.append(f'<h2 id="{name}">{words(tag["name"])}</h2>{prose(tag["description"])}')
        parts += [_operation(document, *one) for one in mine]
        aside.append(
            _links(tag["name"].title(), ((one["operationId"], path) for path, _, one in mine))
        )
    shapes = document["components"]["schemas"]
    parts += [_pipeline(), '<h2 id="shapes">Shapes</h2>']
    parts += [_shape(name, shape) for name, shape in shapes.items()]
    aside.append(_links("Operations", [("steps", "Steps of process")]))
    aside.append(_links("Shapes", ((f"shape-{name}", name) for name in shapes)))
    return frame("The API", "/docs", "".join(parts), "".join(aside))


def _links(title: str, links: Iterable[tuple[str, str]]) -> str:
    items = "".join(f'<li><a href="#{escape(to)}">{escape(name)}</a>' for to, name in links)
    return f"<h2>{escape(title)}</h2><ul>{items}</ul>"


def _operation(document: dict[str, Any], path: str, verb: str, about: dict[str, Any]) -> str:
    name = escape(about["operationId"])
    parameters = [*document["paths"][path].get("parameters", ()), *about.get("parameters", ())]
    open_ = "" if about.get("security") != [] else '<span class="chip">no key needed</span>'
    return (
        f'<section class="operation" id="{name}"><h3>'
        f'<span class="verb {verb}">{verb.upper()}</span>'
        f'<a class="plain" href="#{name}"><code>{escape(path)}</code></a>{open_}</h3>'
        f"<p><strong>{words(about['summary'])}</strong> {words(about.get('description', ''))}</p>"
        f'<div class="sides"><div>{_parameters(parameters)}{_body(about)}</div>'
        f"<div>{block(curl(path, verb, about), 'curl')}{_answer(about)}</div></div>"
        f"{_refusals(about)}</section>"
    )


def _parameters(parameters: list[dict[str, Any]]) -> str:
    if not parameters:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code>{_REQUIRED if one.get('required') else ''}"
        f"<td>{_kind(one['schema'])}<td>{words(one.get('description', ''))}"
        for one in parameters
    )
    return f"{_OPTIONS}{rows}{_END}"


def _body(about: dict[str, Any]) -> str:
    body = about.get("requestBody")
    if body is None:
        return ""
    kinds = "".join(f"<li><code>{escape(kind)}</code>" for kind in body["content"])
    about_it = words(body.get("description", ""))
    return f"<h4>Body</h4><p>{about_it}</p><ul class=kinds>{kinds}</ul>"


def _answer(about: dict[str, Any]) -> str:
    status, good = next(iter(about["responses"].items()))
    content = good.get("content")
    if content is None:
        return block("(nothing)", status)
    kind, said = next(iter(content.items()))
    example = said.get("example", next(iter(said.get("examples", {}).values()), {}).get("value"))
    plain = isinstance(example, str) or example is None
    text = (example or "(a file)") if plain else json.dumps(example, indent=2)
    schema = said["schema"]
    kinds = schema.get("anyOf", [schema])
    shapes = ", or ".join(_kind(one) for one in kinds if "$ref" in one)
    others = ", ".join(f"<code>{escape(one)}</code>" for one in content if one != kind)
    note = f"<p class=note>{shapes}{'; or ' + others if others else ''}</p>" if shapes else ""
    return block(text, f"{status} · {kind}") + note


def _refusals(about: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(status)}<td>{_codes(one['description'])}"
        for status, one in about["responses"].items()
        if not status.startswith("2")
    )
    return (
        "<details><summary>How it refuses</summary><table><thead><tr><th>HTTP<th>Codes</thead>"
        f"<tbody>{rows}</tbody></table></details>"
    )


def _codes(text: str) -> str:
    codes = [escape(one.strip("` ")) for one in text.split(",")]
    return ", ".join(f'<a href="/docs/errors#{one}"><code>{one}</code></a>' for one in codes)


def curl(path: str, verb: str, about: dict[str, Any]) -> str:
    """The command that calls an operation, for a shell."""
    address = "http://127.0.0.1:8000" + path.replace("{name}", "ssd-mobilenet-v2-coco")
    key = [] if about.get("security") == [] else ['-H "Authorization: Bearer $HELIOGRAPH_KEY"']
    if "requestBody" not in about:
        method = [] if verb == "get" else [f"-X {verb.upper()}"]
        return " \\\n  ".join([" ".join(["curl", *key]), *method, address])
    body = about["requestBody"]["content"]
    if list(body) == ["application/json"]:
        text = json.dumps(body["application/json"]["example"])
        sent = [f"-X {verb.upper()}", "-H 'Content-Type: application/json'", f"-d '{text}'"]
        return " \\\n  ".join([" ".join(["curl", *key]), *sent, address])
    given = [
        f"{one['name']}={one['example']}"
        for one in about.get("parameters", ())
        if one.get("required") and "example" in one
    ]
    query = f"?{'&'.join(given)}" if given else ""
    # A picture as answer would fill the terminal with bytes.
    save = ["-o answer.png"] if about.get("x-pictured") else []
    first, *rest = [*key, "--data-binary @photo.jpg", *save, f"'{address}{query}'"]
    return " \\\n  ".join([f"curl {first}", *rest])


def _shape(name: str, shape: dict[str, Any]) -> str:
    head = (
        f'<section class="shape" id="shape-{escape(name)}"><h3><a class="plain" '
        f'href="#shape-{escape(name)}">{escape(name)}</a></h3>'
        f"<p>{words(shape.get('description', ''))}</p>"
    )
    if "properties" not in shape:
        return f"{head}<p>{_kind(shape)}</p></section>"
    rows = "".join(
        f"<tr><td><code>{escape(member)}</code><td>{_kind(about)}"
        f"{'' if member in shape.get('required', ()) else ' <span class=chip>optional</span>'}"
        f"<td>{words(about.get('description', ''))}"
        for member, about in shape["properties"].items()
    )
    return f"{head}{_MEMBERS}{rows}{_END}</section>"


def _kind(schema: dict[str, Any]) -> str:
    """What a schema takes, in words; HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#shape-{name}">{name}</a>'
    kinds = schema.get("anyOf") or schema.get("oneOf")
    if kinds:
        return " or ".join(_kind(one) for one in kinds)
    if "enum" in schema:
        said = ", ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    elif schema.get("type") == "array":
        said = f"list of {_kind(schema.get('items', {}))}"
    else:
        said = escape({"object": "JSON object", "null": "null"}.get(schema.get("type", ""), ""))
        said = said or escape(str(schema.get("type", "any")) + _range(schema))
    default = schema.get("default", "")
    return said + (f"<br><small>default {escape(str(default))}</small>" if default != "" else "")


def _range(schema: dict[str, Any]) -> str:
    if schema.get("contentEncoding"):
        return f", {schema['contentEncoding']}"
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum")
    if low is None:
        return ""
    return f" from {low:g}" if high is None else f", {low:g} to {high:g}"


def _pipeline() -> str:
    rows = "".join(
        f'<tr id="step-{verb.name}"><td><code>{verb.name}</code><td>{words(verb.meaning)}'
        f"<td>{_takes(verb)}"
        for verb in TABLE
    )
    return (
        '<h2 id="steps">Steps of process</h2><p>The parameter <code>ops</code> of '
        '<a href="#process">process</a>: steps in the order they happen, with commas between. '
        "Values follow a colon, in order or by name: <code>resize:320x240:cover</code>, "
        "<code>resize:width=320:fit=pad</code>. An output format may stand last.</p>"
        f"{block('grayscale,resize:640,sharpen,jpeg:85', 'ops')}{_STEPS}{rows}{_END}"
    )


def _takes(verb: Verb) -> str:
    return "".join(f"<div>{_parameter(one)}</div>" for one in verb.parameters) or "nothing"


def _parameter(one: Parameter) -> str:
    left = f", default {one.default}" if one.default not in {None, ""} else ""
    needed = ", required" if one.required else left
    return (
        f"<code>{escape(one.name)}</code> <small>{escape(one.meaning)}: "
        f"{escape(one.expected + needed)}</small>"
    )
