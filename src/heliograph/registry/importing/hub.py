"""Fetching a model: `hf:ORG/NAME[@REVISION][/FILE]` from a hub, or from an `https:` address.

`HF_ENDPOINT` names another hub, a token comes from `HF_TOKEN`. Only files that can be served
are asked for: the network, what lies beside it, and the notes. Redirects lead only to hosts that
were named; the token goes to the hub alone. A download that breaks off goes on where it stopped,
also in a later run, and is held against the size and SHA-256 that the hub tells.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.importing.download import Download, Reach, Told

_SOURCE = re.compile(
    r"hf:(?P<repo>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})"
    r"(?:@(?P<rev>[A-Za-z0-9][\w.-]{0,127}))?(?:/(?P<file>[\w./ +=-]{1,500}))?",
    re.ASCII,
)
_NOTES = ("config.json", "preprocessor_config.json", "README.md", "labels.txt", "cvexport.manifest")
_FIRST = (
    "model.onnx", "onnx/model.onnx", "model.pt2", "openvino_model.xml",
    "openvino/openvino_model.xml", "model.tflite", "saved_model.pb", "model.keras",
)  # fmt: skip
_NETWORKS = (".onnx", ".pt2", ".xml", ".tflite", ".keras", ".pb")
_WEIGHTS_ONLY = (".safetensors",)
_UNSAFE = (".bin", ".ckpt", ".h5", ".joblib", ".pickle", ".pkl", ".pt", ".pth")
_HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class Remote:
    """A file on a hub.

    Attributes:
        path: in its repository.
        size: bytes; 0 if the hub does not tell.
        sha256: empty if the hub does not tell.
    """

    path: str
    size: int = 0
    sha256: str = ""


class Fetched(NamedTuple):
    """What was fetched: where it lies now, and the address that always gives the same again."""

    path: Path
    origin: str


def is_remote(source: str) -> bool:
    """Whether a source is fetched rather than read from a disk."""
    return source.startswith(("hf:", "https:", "http:"))


def fetch(source: str, folder: Path, told: Told, *, cache: Path) -> Fetched:
    """Fetch a source.

    Args:
        source: see the module's text.
        folder: an empty folder of ours.
        told: called with a file's name, the bytes so far and all its bytes (0 for unknown).
        cache: where unfinished downloads are kept.

    Returns:
        The file or folder to import, and where exactly it is from.

    Raises:
        HeliographError: `validation` for an address that cannot be, `not_found`, `forbidden`,
            `model_unavailable` when the hub cannot be reached, `model_resource_limit`,
            `model_invalid` for content that is not what the hub told.
    """
    if source.startswith("hf:"):
        return _from_hub(source, folder, told, cache)
    address = urlsplit(source)
    with Download(Reach.of(source), cache=cache) as download:
        name = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePosixPath(address.path).name).strip("-.")
        target = folder / (name or "model")
        download.file(source, target, Remote(name or "model"), told)
        return Fetched(target, source.partition("?")[0])


def _from_hub(source: str, folder: Path, told: Told, cache: Path) -> Fetched:
    match = _SOURCE.fullmatch(source)
    if not match:
        raise HeliographError(
            Code.VALIDATION, f"{source[:100]!r} is not hf:ORG/NAME, hf:ORG/NAME@REVISION/FILE."
        )
    repo, revision, file = match["repo"], match["rev"] or "main", match["file"] or ""
    base = (os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/")
    with Download(Reach.of(base, os.environ.get("HF_TOKEN", "")), cache=cache) as download:
        about = download.json(f"{base}/api/models/{quote(repo)}/revision/{revision}?blobs=true")
        # A branch may move between two files; the commit does not.
        commit = str(about.get("sha") or revision)
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,128}", commit):
            raise HeliographError(Code.MODEL_INVALID, "The hub names a commit that cannot be one.")
        chosen = choose(_listing(about), file)
        for one in chosen:
            place = folder / one.path
            place.parent.mkdir(parents=True, exist_ok=True)
            address = f"{base}/{quote(repo)}/resolve/{commit}/{quote(one.path)}"
            download.file(address, place, one, told)
    return Fetched(folder, f"hf:{repo}@{commit}" + (f"/{file}" if file else ""))


def _listing(about: Mapping[str, Any]) -> list[Remote]:
    """The files of a repository; names that climb or are absolute are not there for us."""
    found: list[Remote] = []
    siblings = about.get("siblings")
    for one in siblings[:100_000] if isinstance(siblings, list) else []:
        path = str(one.get("rfilename", "")) if isinstance(one, Mapping) else ""
        if not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            continue
        if "\\" in path or not path.isprintable():
            continue
        large: Any = one.get("lfs") or {}
        size = large.get("size") or one.get("size") or 0
        digest = str(large.get("sha256") or large.get("oid") or "").removeprefix("sha256:")
        known = digest if re.fullmatch(r"[0-9a-f]{64}", digest) else ""
        found.append(Remote(path, size if isinstance(size, int) else 0, known))
    return found


def choose(files: list[Remote], wanted: str = "") -> list[Remote]:
    """Which files of a repository are fetched: one network, what it needs, and the notes.

    Args:
        files: all there are.
        wanted: the file that was named; empty for the best.

    Raises:
        HeliographError: `not_found`, `unsafe_format`, `unsupported`, or `validation` where several
            would do.
    """
    by_path = {one.path: one for one in files}
    main = wanted or _best(by_path)
    if main not in by_path:
        raise HeliographError(Code.NOT_FOUND, f"The repository has no file {main[:100]!r}.")
    beside = PurePosixPath(main).parent
    stem = str(beside / PurePosixPath(main).stem)
    needed = {main, *_NOTES, *(str(beside / note) for note in _NOTES)}
    if main.endswith(".onnx"):
        needed |= {one for one in by_path if one.startswith((f"{main}_data", f"{main}.data"))}
    if main.endswith(".xml"):
        needed.add(f"{stem}.bin")
    if main.endswith("saved_model.pb"):
        inside = (f"{beside}/variables/", f"{beside}/assets/")
        inside = inside if str(beside) != "." else ("variables/", "assets/")
        needed |= {one for one in by_path if one.startswith(inside)}
    return [one for path, one in by_path.items() if path in needed]


def _best(files: Mapping[str, Remote]) -> str:
    for name in _FIRST:
        if name in files:
            return name
    networks = [one for one in files if one.endswith(_NETWORKS)]
    if len(networks) == 1:
        return networks[0]
    if networks:
        raise HeliographError(
            Code.VALIDATION,
            f"The repository has several models: {', '.join(networks[:8])}. Name one: "
            f"hf:ORG/NAME/{networks[0]}.",
        )
    if any(one.endswith(_WEIGHTS_ONLY) for one in files):
        raise HeliographError(
            Code.UNSUPPORTED,
            "The repository holds weights without their network (safetensors). Export the model to "
            "ONNX or with torch.export first.",
        )
    if any(one.endswith(_UNSAFE) for one in files):
        raise HeliographError(
            Code.UNSAFE_FORMAT,
            "The repository holds pickles only; opening one runs whatever its author wrote. Export "
            "the model to ONNX first.",
        )
    raise HeliographError(Code.MODEL_FORMAT, "The repository holds no model that is known here.")
