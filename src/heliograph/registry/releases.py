"""Releases: which version of a model answers; aliases, traffic split, shadow, gates. Pure rules.

A release is what an operator decided about one model; it lies as `release.json` beside the model's
versions. Versions never change; a release does, and only by making the next one of it.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec

from heliograph.core.errors import Code, HeliographError

STABLE, CANARY = "stable", "canary"
_KEPT = 20
# TensorFlow Serving's labels are aliases, too, and may have capitals and underscores.
_ALIAS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")
_Share = Annotated[float, msgspec.Meta(gt=0, le=1)]


class Shadow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A version that gets copies of calls and whose answers only we see.

    Attributes:
        version: which one.
        share: the share of calls that are copied, 0-1.
    """

    version: str
    share: _Share = 1.0


class Gates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When the new version of a split is taken back by itself; None switches a gate off.

    Attributes:
        errors: most failures per call of the new version, 0-1; the caller's own faults excepted.
        slower: most times its 95th percentile of run time may be that of the stable version.
        disagree: most disagreements per call of the shadow with the version in service, 0-1.
        calls: judge only after this many calls of the new version.
    """

    errors: _Share | None = 0.05
    slower: Annotated[float, msgspec.Meta(gt=1)] | None = None
    disagree: _Share | None = None
    calls: Annotated[int, msgspec.Meta(ge=1)] = 50


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was decided about one model.

    Attributes:
        aliases: version by name; `stable` is the one that answers when none is asked for.
        split: shares of versions (numbers or aliases) by weight; empty for all to `stable`.
        shadow: see `Shadow`.
        gates: see `Gates`.
        unloaded: versions (or `*`) that an operator took out of service.
        history: earlier versions of `stable`, the latest last.
        reason: why it is as it is: who or which gate decided.
    """

    aliases: dict[str, str] = {}
    split: dict[str, Annotated[float, msgspec.Meta(ge=0)]] = {}
    shadow: Shadow | None = None
    gates: Gates | None = None
    unloaded: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    reason: str = ""

    def resolve(self, asked: str) -> str:
        """The version that a number or an alias stands for."""
        return self.aliases.get(asked, asked)

    def serves(self, version: str) -> bool:
        """Whether this version is not taken out of service."""
        return version not in self.unloaded and "*" not in self.unloaded

    def named(self) -> set[str]:
        """Every version that the release speaks of, so that it must be in memory."""
        shadow = [self.shadow.version] if self.shadow else []
        return {self.resolve(one) for one in [*self.aliases.values(), *self.split, *shadow]}


def latest(versions: Sequence[str]) -> str:
    """The highest number; empty if there is none."""
    return max(versions, key=int, default="")


def choose(release: Release, ready: Sequence[str], sticky: str = "") -> str:
    """The version that answers a call which asks for none.

    Args:
        release: what was decided.
        ready: versions that can answer now.
        sticky: calls with the same text get the same version as long as the split is the same.

    Returns:
        A version, which may be one that is not ready if the release names it; empty for none.
    """
    if release.split:
        return release.resolve(_draw(release.split, sticky))
    return release.aliases.get(STABLE) or latest(ready)


def _draw(split: Mapping[str, float], sticky: str) -> str:
    total = sum(split.values())
    point = _point(sticky) * total
    for name, weight in sorted(split.items()):
        point -= weight
        if point < 0:
            return name
    return max(split, key=lambda one: split[one])


def _point(sticky: str) -> float:
    """Where on 0-1 a call falls: by chance, or by its sticky text."""
    if not sticky:
        return random.random()  # noqa: S311 - shares of traffic are no secret
    digest = hashlib.blake2b(sticky.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def promote(release: Release, version: str, before: str, reason: str) -> Release:
    """`version` becomes stable; a split and a canary end.

    Args:
        release: as it was.
        version: the new stable one.
        before: the version that answered until now; empty for none.
        reason: who or what decided.
    """
    history = release.history
    if before and before != version:
        history = (*history, before)[-_KEPT:]
    aliases = {name: to for name, to in release.aliases.items() if name != CANARY}
    return msgspec.structs.replace(
        release,
        aliases=aliases | {STABLE: version},
        split={},
        unloaded=tuple(one for one in release.unloaded if one not in {version, "*"}),
        history=history,
        reason=reason,
    )


def incumbent(release: Release, versions: Sequence[str]) -> str:
    """The version that new ones are held against: the stable one, else the heaviest of the split.

    Args:
        release: what was decided.
        versions: every version there is; the highest answers where nothing else is said.
    """
    if STABLE in release.aliases:
        return release.aliases[STABLE]
    if release.split:
        return release.resolve(max(release.split, key=lambda one: release.split[one]))
    return latest(versions)


def take_back(release: Release, versions: Sequence[str], reason: str) -> Release:
    """End a split and a shadow in favour of the incumbent: what a gate does."""
    aliases = {name: to for name, to in release.aliases.items() if name != CANARY}
    aliases[STABLE] = incumbent(release, versions)
    return msgspec.structs.replace(release, aliases=aliases, split={}, shadow=None, reason=reason)


def rollback(release: Release, reason: str) -> Release:
    """Take a running split back; without one, go back to the previous stable version.

    Raises:
        HeliographError: `conflict` if there is nothing to go back to.
    """
    if release.split:
        aliases = {name: to for name, to in release.aliases.items() if name != CANARY}
        return msgspec.structs.replace(release, aliases=aliases, split={}, reason=reason)
    if not release.history:
        raise HeliographError(
            Code.CONFLICT, "There is no earlier version to go back to: nothing was promoted yet."
        )
    return msgspec.structs.replace(
        release,
        aliases=release.aliases | {STABLE: release.history[-1]},
        history=release.history[:-1],
        reason=reason,
    )


def check(release: Release, versions: Sequence[str]) -> None:
    """Refuse a release that names what is not there.

    Raises:
        HeliographError: `validation`, naming the alias or version.
    """
    for name in release.aliases:
        if not _ALIAS.fullmatch(name) or name.isdigit():
            raise HeliographError(
                Code.VALIDATION, f"An alias is a name such as stable, not {name[:60]!r}."
            )
    for version in sorted(release.named()):
        if version not in versions:
            raise HeliographError(
                Code.VALIDATION,
                f"There is no version {version[:60]!r}; there are {', '.join(versions)}.",
            )
    if release.split and sum(release.split.values()) <= 0:
        raise HeliographError(Code.VALIDATION, "The weights of a split must sum to more than 0.")
