"""Writes the generated pages under docs/reference; `--check` only says whether they are current.

python tools/reference.py [--check]
"""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import Any, get_args

import click
import msgspec
from google.protobuf.descriptor_pb2 import FileDescriptorSet

import heliograph.edge
from heliograph.cli.main import cli
from heliograph.core.errors import TABLE, HeliographError
from heliograph.edge.http.openapi import describe
from heliograph.registry.importing.converting import RECIPES
from heliograph.registry.importing.staging import refuse_format
from heliograph.registry.importing.values import TITLES, Format
from heliograph.registry.values import Metric, ModelPackage, Weights
from heliograph.settings import Settings
from heliograph.vision.prepare import InputSpec
from heliograph.vision.tasks import TASKS, AnyDecoder
from heliograph.vision.tasks.pipelines import Alarm, Ask, Condition, Feature, Rules, Steps
from heliograph.vision.verbs import TABLE as VERBS

PAGES = Path(__file__).parent.parent / "docs" / "reference"
NOTE = "<!-- made by tools/reference.py; edit the code, not this page -->\n\n"


def described(kind: type) -> dict[str, str]:
    """The `Attributes:` section of a class's docstring, by field."""
    found: dict[str, str] = {}
    name = ""
    section = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
    for line in section.splitlines():
        match = re.match(r" {4}(\w+): (.*)", line)
        if match:
            name = match[1]
            found[name] = match[2]
        elif name and line.startswith("        "):
            found[name] += " " + line.strip()
        elif line.strip() and not line.startswith(" "):
            break
    return found


def summary(kind: type) -> str:
    """The first sentence of a docstring."""
    return (inspect.getdoc(kind) or "").partition("\n")[0]


def kind_of(schema: dict[str, Any]) -> str:
    """A JSON schema in a few words."""
    if "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(kind_of(one) for one in schema["anyOf"]))
    if "$ref" in schema:
        return "a table"
    said = str(schema.get("type", "value"))
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None or high is not None:
        bounds = f"{low:g} to {high:g}" if high is not None and low is not None else ""
        said += f", {bounds or (f'{low:g} or more' if high is None else f'at most {high:g}')}"
    return said


def fields(kind: type) -> str:
    """A table of a struct's fields: name, what it takes, default, meaning."""
    _, parts = msgspec.json.schema_components([kind], schema_hook=lambda _: {"type": "path"})
    schema = parts[kind.__name__]
    meaning = described(kind)
    for parent in kind.__mro__[1:]:
        meaning = described(parent) | meaning
    lines = ["| field | takes | default | meaning |", "| --- | --- | --- | --- |"]
    for name, about in schema["properties"].items():
        if name in {"decoder", "folder", "verb"}:
            continue
        default = about.get("default", "*required*" if name in schema.get("required", ()) else "")
        plain = isinstance(default, str) and default in {"", "*required*"}
        shown = default if plain else f"`{msgspec.json.encode(default).decode()}`"
        lines.append(f"| `{name}` | {kind_of(about)} | {shown} | {meaning.get(name, '')} |")
    return "\n".join(lines)


def settings() -> str:
    parts = [
        "# Settings\n",
        "From the command line, the environment (`HELIOGRAPH_BRANCH_FIELD`), `heliograph.toml`",
        "in the data folder (a table per branch), or the default; the first that says something",
        "counts. An unknown name or a value out of range stops the start. `HELIOGRAPH_HOME`",
        "chooses the data folder.\n",
    ]
    for branch, kind in Settings.__annotations__.items():
        if branch == "home":
            continue
        resolved = inspect.get_annotations(Settings, eval_str=True)[branch]
        parts += [f"## [{branch}]\n", summary(resolved) + "\n", fields(resolved) + "\n"]
        del kind
    return "\n".join(parts)


def errors() -> str:
    lines = [
        "# Errors\n",
        "Every refusal is problem JSON (RFC 9457) with one of these codes; `detail` says what was",
        "expected, what came and what to do.\n",
    ]
    for code, row in sorted(TABLE.items()):
        lines += [f"## {code}\n", f"{row.title}. HTTP {row.status}, gRPC {row.grpc}.\n"]
    return "\n".join(lines)


def commands() -> str:
    parts = ["# Commands\n"]

    def add(command: click.Command, path: str) -> None:
        context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
        parts.append(f"## {path}\n\n```text\n{command.get_help(context)}\n```\n")
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                sub = command.get_command(context, name)
                if sub is not None:
                    add(sub, f"{path} {name}")

    add(cli, "heliograph")
    return "\n".join(parts)


def model_toml() -> str:
    parts = [
        "# model.toml\n",
        summary(ModelPackage) + "\n",
        fields(ModelPackage) + "\n",
        "## [weights]\n",
        fields(Weights) + "\n",
        "## [[metrics]]\n",
        fields(Metric) + "\n",
        "## [input]\n",
        fields(InputSpec) + "\n",
        "## [output]\n",
        "`decoder` names one of these; the other fields are its own.\n",
    ]
    for kind in get_args(AnyDecoder):
        parts += [f"### {kind.__struct_config__.tag}\n", summary(kind) + "\n", fields(kind) + "\n"]
        if kind is Steps:
            for step in (Feature, Ask, Rules):
                tag = step.__struct_config__.tag
                parts += [f"#### A step of the kind {tag}\n", summary(step) + "\n"]
                parts += [fields(step) + "\n"]
            parts += ["#### A condition\n", summary(Condition) + "\n", fields(Condition) + "\n"]
            parts += ["#### An alarm\n", summary(Alarm) + "\n", fields(Alarm) + "\n"]
    return "\n".join(parts)


def addresses() -> str:
    """Our own HTTP addresses, and every method of the gRPC port."""
    parts = [
        "# Addresses\n",
        "## Our own API, on the HTTP port\n",
        "Told in full by `/docs` and `/openapi.json` of a running server.\n",
        "| address | does |\n| --- | --- |",
    ]
    for path, about in describe()["paths"].items():
        parts += [
            f"| `{method.upper()} {path}` | {one['summary']} |"
            for method, one in about.items()
            if method in {"get", "post", "patch", "put", "delete"}
        ]
    parts += [
        "\n## Other protocols, on the HTTP port\n",
        "`/v2…`: [the Open Inference Protocol](open-inference-protocol.md). `/v1/models…`, also of",
        "KServe v1, and `/monitoring/…`: [TensorFlow Serving](tensorflow-serving.md).",
        "\n## The gRPC port\n",
        "| service | methods |\n| --- | --- |",
    ]
    edges = Path(heliograph.edge.__path__[0])
    for made in sorted(edges.glob("*/*.binpb")):
        for file in FileDescriptorSet.FromString(made.read_bytes()).file:
            for service in file.service:
                methods = ", ".join(
                    f"`{one.name}`" + (" (stream)" if one.server_streaming else "")
                    for one in service.method
                )
                parts.append(f"| `{file.package}.{service.name}` | {methods} |")
    return "\n".join(parts)


def formats() -> str:
    """What `heliograph import` makes of every format that it knows."""
    lines = [
        "# Formats\n",
        "What a file is, is told by its content. How each is brought in:",
        "[import a model](../howto/import-a-model.md).\n",
        "| format | what happens |\n| --- | --- |",
    ]
    for kind, title in sorted(TITLES.items()):
        try:
            refuse_format(kind)
        except HeliographError as error:
            said = f"refused, `{error.code}`: {error.detail}"
        else:
            said = "converted to ONNX" if kind in RECIPES else "served as it is"
        if kind is Format.ZIP:
            said = "unpacked: an export of Azure Custom Vision, or a folder with a model"
        lines.append(f"| {title.removeprefix('an ').removeprefix('a ')} | {said} |")
    return "\n".join(lines)


def tasks() -> str:
    parts = ["# Tasks and their options\n", "Options are query parameters of the task's address.\n"]
    for task in TASKS.values():
        parts += [f"## {task.name}\n", f"`POST /api/v1/{task.verb}`\n", fields(task.options) + "\n"]
    parts += ["## Operations of `process`\n", operations()]
    return "\n".join(parts)


def operations() -> str:
    lines = [
        "`ops=` is a list of steps, with `,` or `|` between them, done in the order written. A",
        "step is `verb`, or `verb:value:value`, or `verb:name=value`.\n",
    ]
    for verb in VERBS:
        lines += [f"### {verb.name}\n", summary(verb.step) + "\n", fields(verb.step) + "\n"]
    return "\n".join(lines)


def main() -> None:
    pages = {
        "addresses.md": addresses(),
        "formats.md": formats(),
        "settings.md": settings(),
        "errors.md": errors(),
        "commands.md": commands(),
        "model-toml.md": model_toml(),
        "tasks.md": tasks(),
    }
    stale: list[str] = []
    for name, text in pages.items():
        path, made = PAGES / name, NOTE + text.rstrip() + "\n"
        if path.exists() and path.read_text("utf-8") == made:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.write_text(made, "utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"docs/reference is stale: {', '.join(stale)}. Run: python tools/reference.py")
    print(f"docs/reference: {len(pages)} pages, {len(stale)} written")


if __name__ == "__main__":
    main()
