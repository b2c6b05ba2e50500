"""One import, from a path to a drafted package: the sentence that the other files are words of."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from heliograph.registry.importing.companions import read_companions
from heliograph.registry.importing.draft import Answers
from heliograph.registry.importing.files import mapped
from heliograph.registry.importing.finding import find_model
from heliograph.registry.importing.infer import infer
from heliograph.registry.importing.package import (
    check_name,
    discard,
    draft_package,
    suggest_name,
    workshop,
)
from heliograph.registry.importing.signature import read_facts
from heliograph.registry.importing.staging import refuse_format, stage
from heliograph.registry.importing.unbatched import with_batch_axis
from heliograph.registry.importing.values import Evidence, Format, Found, Inferred, Staged
from heliograph.registry.values import ModelPackage

_PLAIN_NAMES = {"model", "saved_model", "frozen_inference_graph", "model_quantized", "best"}


@dataclass(frozen=True, slots=True)
class Brought:
    """A model that was brought in and drafted, but is not in service yet.

    Attributes:
        found: where it was.
        staged: our checked copy.
        evidence: what is known about it.
        inferred: what it would be served as.
        package: the drafted package; None while questions are open.
        home: the workshop: a data folder with only this model in it.
    """

    found: Found
    staged: Staged
    evidence: Evidence
    inferred: Inferred
    package: ModelPackage | None
    home: Path


def look(source: Path, home: Path, *, allow: Collection[Format] = ()) -> Brought:
    """Find, copy and check a model, and read what it says about itself.

    Args:
        source: a file or folder.
        home: the data folder.
        allow: unsafe formats that the operator allows.

    Raises:
        HeliographError: why it is refused.
    """
    scratch = workshop(home)
    try:
        unpacked = scratch / "unpacked"
        unpacked.mkdir()
        found = find_model(source, unpacked)
        refuse_format(found.format, allow)
        folder = scratch / "models" / "draft" / "1"
        folder.mkdir(parents=True)
        staged = stage(found, folder, allow)
        evidence = Evidence(found.format, read_facts(staged), read_companions(found))
    except BaseException:
        discard(scratch)
        raise
    return Brought(found, staged, evidence, Inferred(), None, scratch)


def decide(
    brought: Brought, answers: Answers, *, name: str, source: str, about: Mapping[str, str]
) -> Brought:
    """Infer what the model is served as and, unless something must be asked, draft its package.

    Raises:
        HeliographError: `validation` for an answer or a name that cannot be, `model_invalid`.
    """
    chosen = check_name(name or _name(brought.found, source))
    inferred = infer(brought.evidence, answers)
    staged, package = brought.staged, None
    if not inferred.questions:
        folder = brought.home / "models" / chosen / "1"
        if folder != staged.folder:
            folder.parent.mkdir(exist_ok=True)
            staged.folder.rename(folder)
        staged = Staged(staged.format, folder, staged.file, staged.parts)
        if inferred.unbatched:
            _add_batch_axis(staged, brought.evidence.facts.inputs[0].name)
        said = {
            "licence": brought.evidence.beside.licence,
            "description": brought.evidence.facts.metadata.get("description", "")[:500],
            "provenance": f"imported from {source}",
        }
        given = {key: value for key, value in about.items() if value}
        package = draft_package(staged, brought.evidence, inferred, name=chosen, about=said | given)
    return Brought(brought.found, staged, brought.evidence, inferred, package, brought.home)


def _add_batch_axis(staged: Staged, name: str) -> None:
    with mapped(staged.main) as data:
        made = with_batch_axis(data, name)
    staged.main.write_bytes(made)


def _name(found: Found, source: str) -> str:
    """A name from what was typed: the file's, or the folder's where the file's says nothing."""
    stem = found.main.stem
    if source.startswith("hf:"):
        return suggest_name(source.removeprefix("hf:").split("/")[1].partition("@")[0])
    typed = source.rstrip("/").rpartition("/")[2]
    if stem in _PLAIN_NAMES or found.main.is_dir() or found.around:
        stem = Path(typed).stem if Path(typed).suffix == ".zip" else typed or stem
    return suggest_name(stem)
