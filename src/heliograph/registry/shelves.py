"""What the catalog is made of: a shelf is one version of a model, a product all of its versions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from heliograph.core.errors import Code, HeliographError
from heliograph.registry import releases
from heliograph.registry.releases import STABLE, Release
from heliograph.registry.values import ModelPackage


class Servable(Protocol):
    """A model that can be brought into memory and let go."""

    @property
    def state(self) -> str:
        """`unloaded`, `loading`, `ready`, `unloading` or `failed`."""
        ...

    @property
    def reason(self) -> str:
        """Why it failed."""
        ...

    @property
    def takes_calls(self) -> bool:
        """Whether a call that comes now will find it."""
        ...

    def refusal(self) -> HeliographError:
        """Why a call cannot have it now."""
        ...

    def load(self) -> None:
        """Bring it into memory; raises `HeliographError`."""
        ...

    def unload(self) -> None:
        """Let its calls finish and give its memory back."""
        ...


M = TypeVar("M", bound=Servable)


@dataclass(frozen=True, slots=True)
class Shelf(Generic[M]):
    """One version of one model.

    Attributes:
        package: what it is.
        model: what serves it.
        mark: changes with the files of the package.
    """

    package: ModelPackage
    model: M
    mark: int = 0

    @property
    def version(self) -> str:
        """Its number as text."""
        return str(self.package.version)

    @property
    def state(self) -> str:
        """How far its loading is; see `Servable.state`."""
        return self.model.state

    @property
    def reason(self) -> str:
        """Why it failed to load; empty if it did not."""
        return self.model.reason


@dataclass(slots=True)
class Product(Generic[M]):
    """A model by name: its versions and its release."""

    name: str
    shelves: dict[str, Shelf[M]] = field(default_factory=dict[str, "Shelf[M]"])
    release: Release = field(default_factory=Release)

    @property
    def versions(self) -> list[str]:
        """Every version, lowest number first."""
        return list(self.shelves)

    def pick(self, asked: str = "", sticky: str = "") -> Shelf[M] | None:
        """The version that answers a call; None if there is no such version."""
        if asked:
            return self.shelves.get(self.release.resolve(asked))
        version = releases.choose(self.release, self.able() or self._hopeful(), sticky)
        return self.shelves.get(version)

    def answering(self) -> Shelf[M] | None:
        """The version that answers a call which asks for none, whatever a split tries."""
        version = self.release.aliases.get(STABLE)
        if version is None and self.release.split:
            version = releases.incumbent(self.release, self.versions)
        return self.shelves.get(version or releases.latest(self.able() or self._hopeful()))

    def shares(self) -> dict[str, float]:
        """Which part of the calls that ask for no version each version gets, 0-1."""
        return releases.shares(self.release, self.able() or self._hopeful())

    def wanted(self) -> list[str]:
        """The versions that must be in memory."""
        named = self.release.named() | set(self.release.loaded)
        if STABLE not in self.release.aliases and not self.release.split:
            named.add(releases.latest(self._hopeful()))
        return [one for one in self.versions if one in named and self.release.serves(one)]

    def able(self) -> list[str]:
        """The versions that can answer a call now."""
        return [
            version
            for version, shelf in self.shelves.items()
            if shelf.model.takes_calls and self.release.serves(version)
        ]

    def idle(self) -> list[Shelf[M]]:
        """The versions that nobody asks for; what answers now stays until another one can."""
        answering, wanted = self.answering(), self.wanted()
        return [
            shelf
            for version, shelf in self.shelves.items()
            if version not in wanted and shelf is not answering
        ]

    def answers(self) -> bool:
        """Whether a call that asks for no version is answered now."""
        shelf = self.pick()
        return shelf is not None and shelf.model.takes_calls

    def _hopeful(self) -> list[str]:
        """The versions that may come to answer: served, and not known to be broken."""
        served = [one for one in self.versions if self.release.serves(one)]
        whole = [one for one in served if self.shelves[one].state != "failed"]
        return whole or served or self.versions


def alike(release: Release, product: Product[M]) -> None:
    """Refuse to share calls between versions that answer different questions.

    Raises:
        HeliographError: `validation`.
    """
    names = [name for name, share in release.split.items() if share]
    if release.shadow:
        names += [release.shadow.version, STABLE]
    versions = sorted({release.resolve(one) for one in names} & set(product.versions))
    tasks = {version: product.shelves[version].package.task for version in versions}
    if len(set(tasks.values())) > 1:
        said = ", ".join(f"version {version} is for {task}" for version, task in tasks.items())
        raise HeliographError(
            Code.VALIDATION, f"Versions of different tasks cannot share calls: {said}."
        )
