"""Which names a model's inputs and outputs may have: they go into JSON, headers and logs."""

from __future__ import annotations

from collections.abc import Sequence

from heliograph.core.errors import Code, HeliographError

MOST = 10_000
LONGEST = 255
DEVICES = {"con", "prn", "aux", "nul", *(f"{a}{n}" for a in ("com", "lpt") for n in range(1, 10))}
"""Not for a model: its name is a folder's, and some systems have these as devices."""


def check_names(inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Refuse inputs and outputs that could not be addressed.

    Raises:
        HeliographError: `model_resource_limit` for too many, `model_invalid` for a bad name.
    """
    for kind, names in (("inputs", inputs), ("outputs", outputs)):
        if len(names) > MOST:
            raise HeliographError(
                Code.MODEL_RESOURCE_LIMIT,
                f"The model has {len(names):,} {kind}; at most {MOST:,} can be served.",
            )
        if len(set(names)) != len(names):
            raise HeliographError(Code.MODEL_INVALID, f"Two of the model's {kind} share a name.")
        for name in names:
            why = _wrong(name)
            if why:
                raise HeliographError(
                    Code.MODEL_INVALID,
                    f"One of the model's {kind} is named {printable(name)}: {why}. Rename it.",
                )


def printable(text: str) -> str:
    """A hostile name, fit for a message: quoted, escaped and cut."""
    return ascii(text[:60])


def _wrong(name: str) -> str:
    if not name or not name.strip() or name != name.strip():
        return "it is empty or has spaces around it"
    if len(name) > LONGEST:
        return f"it has {len(name)} characters, {LONGEST} are allowed"
    if not name.isprintable() or not name.isascii():
        return "it has characters other than printable ASCII"
    # Names such as `StatefulPartitionedCall:0` and `head/logits` are common; climbing is not.
    if ".." in name.split("/") or (name.startswith("/") and ".." in name):
        return "it reads as a path that climbs"
    return ""
