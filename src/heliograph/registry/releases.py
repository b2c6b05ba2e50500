"""Releases: which version of a model answers; aliases, traffic split, shadow, gates. Pure rules.

A release is what an operator decided about one model; it lies as `release.json` beside the model's
versions. Versions never change; a release does, and only by making the next one of it.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

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
        loaded: versions that an operator keeps in memory beside those that the release names.
        unloaded: versions (or `*`) that an operator took out of service.
        history: earlier versions of `stable`, the latest last.
        reason: why it is as it is: who or which gate decided.
    """

    aliases: dict[str, str] = {}
    split: dict[str, Annotated[float, msgspec.Meta(ge=0)]] = {}
    shadow: Shadow | None = None
    gates: Gates | None = None
    loaded: tuple[str, ...] = ()
    unloaded: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    reason: str = ""

    @property
    def etag(self) -> str:
        """Names exactly this release, so that two who change it at once notice each other."""
        said = msgspec.json.encode(self, order="deterministic")
        return hashlib.blake2b(said, digest_size=8).hexdigest()

    def resolve(self, asked: str) -> str:
        """The version that a number or an alias stands for."""
        return self.aliases.get(asked, asked)

    def serves(self, version: str) -> bool:
        """Whether this version is not taken out of service."""
        return version not in self.unloaded and "*" not in self.unloaded

    def named(self) -> set[str]:
        """Every version that the release speaks of, so that it must be in memory."""
        shadow = [self.shadow.version] if self.shadow else []
        return set(self.aliases.values()) | {self.resolve(one) for one in [*self.split, *shadow]}


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an operator changes of a release; what is left out stays as it is.

    Attributes:
        aliases: version by name; null takes a name away. Without `stable` the latest version
            answers as soon as it is loaded.
        split: shares of versions by weight; null ends the split.
        shadow: a version that gets copies of calls; null ends it.
        gates: when a new version is taken back by itself; null for never.
        reason: why, for those who look later.
    """

    aliases: dict[str, str | None] | UnsetType = UNSET
    split: dict[str, Annotated[float, msgspec.Meta(ge=0)]] | UnsetType | None = UNSET
    shadow: Shadow | UnsetType | None = UNSET
    gates: Gates | UnsetType | None = UNSET
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


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
        A version; one that is not ready only if the release names no other; empty for none.
    """
    if release.split:
        return _draw(_weights(release, ready), sticky)
    return release.aliases.get(STABLE) or latest(ready)


def shares(release: Release, ready: Sequence[str]) -> dict[str, float]:
    """Which part of the calls that ask for no version each version gets, 0-1; sums to 1."""
    weights = _weights(release, ready) if release.split else {choose(release, ready): 1.0}
    total = sum(weights.values())
    return {version: weight / total for version, weight in weights.items() if version}


def _weights(release: Release, ready: Sequence[str]) -> dict[str, float]:
    """The weights of a split by version; of those that can answer, if there are any."""
    weights: dict[str, float] = {}
    for name, weight in release.split.items():
        version = release.resolve(name)
        weights[version] = weights.get(version, 0.0) + weight
    able = {version: weight for version, weight in weights.items() if version in ready}
    return able if any(able.values()) else weights


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
    shadow = release.shadow
    if shadow and release.resolve(shadow.version) == version:
        shadow = None
    return msgspec.structs.replace(
        release,
        aliases=aliases | {STABLE: version},
        split={},
        shadow=shadow,
        unloaded=tuple(one for one in release.unloaded if one not in {version, "*"}),
        history=history,
        reason=reason,
    )


def amend(release: Release, change: Change, before: str) -> Release:
    """The release with an operator's change.

    Args:
        release: as it was.
        change: what is to be different.
        before: the version that answered until now, see `promote`.
    """
    made = msgspec.structs.replace(release, reason=change.reason)
    if change.aliases is not UNSET:
        for name, version in change.aliases.items():
            aliases = {one: to for one, to in made.aliases.items() if one != name}
            if version is not None and name == STABLE and version != before:
                made = promote(made, made.resolve(version), before, change.reason)
            else:
                kept = aliases if version is None else aliases | {name: made.resolve(version)}
                made = msgspec.structs.replace(made, aliases=kept)
    if change.split is not UNSET:
        made = msgspec.structs.replace(made, split=change.split or {})
    if change.shadow is not UNSET:
        made = msgspec.structs.replace(made, shadow=change.shadow)
    if change.gates is not UNSET:
        made = msgspec.structs.replace(made, gates=change.gates)
    return made


def pinned(release: Release, before: str) -> Release:
    """The release with a stable version, where it has a new one on trial.

    Without a stable version the latest one answers: the very one that a split tries, and that
    taking the split back would then give all calls to.

    Args:
        release: what is to be decided.
        before: the version that answered until now; empty for none.
    """
    tried = sum(share > 0 for share in release.split.values()) > 1 or release.shadow is not None
    if not tried or not before or STABLE in release.aliases:
        return release
    return msgspec.structs.replace(release, aliases=release.aliases | {STABLE: before})


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


def rollback(release: Release, versions: Sequence[str], reason: str) -> Release:
    """Take a running split back; without one, go back to the previous stable version.

    Args:
        release: as it was.
        versions: every version there is; a stable version of old that is no more is passed over.
        reason: who or what decided.

    Raises:
        HeliographError: `conflict` if there is nothing to go back to.
    """
    if release.split:
        aliases = {name: to for name, to in release.aliases.items() if name != CANARY}
        aliases[STABLE] = incumbent(release, versions)
        return msgspec.structs.replace(release, aliases=aliases, split={}, reason=reason)
    now = release.aliases.get(STABLE)
    history = [one for one in release.history if one in versions]
    while history and history[-1] == now:
        history.pop()
    if not history:
        raise HeliographError(
            Code.CONFLICT, "There is no earlier stable version here that one could go back to."
        )
    shadow = release.shadow
    if shadow and release.resolve(shadow.version) == history[-1]:
        shadow = None
    return msgspec.structs.replace(
        release,
        aliases=release.aliases | {STABLE: history[-1]},
        shadow=shadow,
        unloaded=tuple(one for one in release.unloaded if one not in {history[-1], "*"}),
        history=tuple(history[:-1]),
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
    weights = release.split.values()
    if weights and not (0 < sum(weights) < math.inf and min(weights) >= 0):
        raise HeliographError(
            Code.VALIDATION, "The weights of a split are 0 or more and sum to more than 0."
        )
    if release.shadow and not release.split:
        shadow = release.resolve(release.shadow.version)
        if shadow == release.aliases.get(STABLE):
            raise HeliographError(
                Code.VALIDATION,
                f"Version {shadow} answers the calls; only another one can be its shadow.",
            )
