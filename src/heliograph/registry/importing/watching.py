"""Following a watched place: what appears there is imported and served, what goes is let go.

    look -> group -> (unchanged over two looks) -> fetch -> adopt -> try -> put in its place

Nothing is taken while somebody writes it, and nothing that is served makes way for what is refused.
A version goes out of service when it is gone over two looks, and comes back when it is there again;
a place that cannot be read has lost nothing. What was decided is kept in the data folder, and one
process of all that serve from it does the work.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from heliograph.core.errors import Code, HeliographError
from heliograph.registry.catalog import Catalog
from heliograph.registry.importing.adopting import Adopted, adopt
from heliograph.registry.importing.files import remove
from heliograph.registry.importing.package import publish_as, standing
from heliograph.registry.importing.places import Moved, Place, Sighting, fetch, group
from heliograph.registry.importing.values import Format
from heliograph.registry.importing.withdrawing import restore, withdraw
from heliograph.registry.signing import trusted_keys, verify
from heliograph.registry.values import ModelPackage

Trial = Callable[[Path, ModelPackage], object]
"""Tries a package in a data folder with only it; raises `HeliographError`."""

log = logging.getLogger("heliograph.registry")
_SCRATCH = ".watching-"
# These are matters of the moment: tried again after a while, although nothing has changed.
_PASSING = {Code.FORBIDDEN, Code.MODEL_UNAVAILABLE, Code.OVERLOADED, Code.STORAGE_FULL}
_PAUSE, _LONGEST_PAUSE = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator says about the models of a watched place.

    Attributes:
        allow: unsafe formats that are taken.
        signed: only what a trusted key has signed is taken.
        only: names of models; empty for all.
    """

    allow: frozenset[Format] = frozenset()
    signed: bool = False
    only: frozenset[str] = frozenset()


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided about one version.

    Attributes:
        taken: the fingerprint of what is served under its number; empty for nothing.
        refused: the mark of what was refused last; empty for nothing.
        there: it lies in the place.
        out: it went out of service because it does not.
    """

    taken: str = ""
    refused: str = ""
    there: bool = True
    out: bool = False


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept between two runs.

    Attributes:
        place: of which place.
        rules: under which rules; what was refused under other ones is asked again.
        versions: by `NAME/NUMBER`.
    """

    place: str = ""
    rules: str = ""
    versions: dict[str, Known] = {}


@dataclass(slots=True)
class _Patience:
    """When something that failed for the moment is tried again."""

    until: float
    pause: float


@dataclass(slots=True)
class Watcher:
    """Follows one place.

    Attributes:
        place: where models are put.
        called: what the place is called in settings and states.
        home: the data folder.
        catalog: what is in service.
        trial: how a model is tried before it is taken.
        rules: see `Rules`.
        stopped: whether the server stops.
    """

    place: Place
    called: str
    home: Path
    catalog: Catalog[Any]
    trial: Trial
    rules: Rules = Rules()
    stopped: Callable[[], bool] = lambda: False
    _turn: Any = None
    _known: dict[str, Known] = field(default_factory=dict[str, Known])
    _seen: dict[str, str] | None = None
    _waiting: dict[str, _Patience] = field(default_factory=dict[str, _Patience])
    _told: dict[str, str] = field(default_factory=dict[str, str])
    _failure: str = ""

    def look(self) -> None:
        """Look once, and do what follows from it; what fails is logged, not raised."""
        if not self._is_mine():
            return
        try:
            sightings = {one.key: one for one in self._all()}
        except HeliographError as error:
            # A folder may go in the very moment; twice the same is worth a line.
            if self._failure == error.detail:
                self._tell("", f"[{error.code}] {error.detail} What is served stays so.")
            self._failure = error.detail
            return
        self._failure = ""
        self._told.pop("", None)
        before, self._seen = self._seen, {key: one.mark for key, one in sightings.items()}
        if before is None:
            return
        for key, one in sightings.items():
            if before.get(key) == self._seen[key] and not self.stopped():
                self._settle(one)
        for key, known in list(self._known.items()):
            gone = key not in before and key not in sightings
            if known.there and gone and self._is_asked(key.rpartition("/")[0]):
                self._leave(key, known)

    def close(self) -> None:
        """Let another process have the turn."""
        if self._turn is not None:
            self._turn.close()
            self._turn = None

    # --- one version -------------------------------------------------------------------------

    def _settle(self, one: Sighting) -> None:
        """Do what is to be done about a version that is whole."""
        known = self._known.get(one.key, Known())
        if known.taken == one.fingerprint and self._is_kept(one):
            if not known.there or known.out:
                self._return(one, known)
        elif known.refused != one.mark and not self._is_patient(one):
            self._take(one, known)

    def _take(self, one: Sighting, known: Known) -> None:
        try:
            adopted, fresh = self._import(one)
        except Moved:
            return
        except HeliographError as error:
            self._refuse(one, known, error)
            return
        except Exception:
            # A fault of ours over one model must not stop the others.
            log.exception("watched %s cannot be imported", one.key)
            self._refuse(
                one, known, HeliographError(Code.MODEL_UNAVAILABLE, "an error of ours, see above")
            )
            return
        self._waiting.pop(one.key, None)
        self._told.pop(one.key, None)
        # One that was out of service is put back at the next look.
        self._keep(one.key, Known(taken=one.fingerprint, out=known.out))
        if fresh:
            log.info(
                "watched %s is in place: %s, task %s", one.key, adopted.what, adopted.package.task
            )
        if adopted.open:
            log.warning(
                "watched %s is served as plain tensors: nothing says %s; `heliograph import` takes "
                "them as options",
                one.key,
                ", ".join(adopted.open),
            )

    def _import(self, one: Sighting) -> tuple[Adopted, bool]:
        """Fetch, check, try and publish a version; False if this very one was there already."""
        one.check()
        models = self.home / "models"
        models.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=models))
        try:
            given = scratch / "given"
            given.mkdir()
            folder = fetch(self.place, one, given, self.stopped)
            source = f"{one.name}/{one.folders[0]} of a watched place"
            adopted = adopt(folder, one.folders[0], scratch, source=source, allow=self.rules.allow)
            if standing(adopted.package, self.home, one.number) is not None:
                return adopted, False
            draft = Path(adopted.package.folder)
            if self.rules.signed:
                verify(draft, trusted_keys(self.home))
            self.trial(adopted.home, adopted.package)
            if self.stopped():
                raise Moved
            return adopted, publish_as(draft, self.home, one.number).fresh
        finally:
            remove(scratch)

    def _refuse(self, one: Sighting, known: Known, error: HeliographError) -> None:
        self._tell(one.key, f"is refused [{error.code}]: {error.detail}", one.mark)
        if error.code in _PASSING:
            last = self._waiting.get(one.key)
            pause = min(2 * last.pause, _LONGEST_PAUSE) if last else _PAUSE
            self._waiting[one.key] = _Patience(time.monotonic() + pause, pause)
        else:
            self._keep(one.key, msgspec.structs.replace(known, refused=one.mark, there=True))

    def _leave(self, key: str, known: Known) -> None:
        """A version is gone from the place."""
        name, _, version = key.rpartition("/")
        if not known.taken:
            self._keep(key, None)
            return
        try:
            out = withdraw(self.catalog, name, version)
        except HeliographError as error:
            self._tell(key, f"is gone, but stays in service [{error.code}]: {error.detail}")
            return
        out = out or known.out
        self._keep(key, msgspec.structs.replace(known, refused="", there=False, out=out))
        log.info("watched %s is gone%s", key, "; it is out of service" if out else "")

    def _return(self, one: Sighting, known: Known) -> None:
        """A version is there again."""
        try:
            done = not known.out or restore(self.catalog, one.name, str(one.number))
        except HeliographError as error:
            self._tell(one.key, f"is back, but not in service [{error.code}]: {error.detail}")
            return
        if done:
            self._told.pop(one.key, None)
            self._keep(one.key, msgspec.structs.replace(known, there=True, out=False))
            log.info("watched %s is back", one.key)

    # --- what it knows -----------------------------------------------------------------------

    def _all(self) -> list[Sighting]:
        return [one for one in group(self.place.look()) if self._is_asked(one.name)]

    def _is_asked(self, name: str) -> bool:
        return not self.rules.only or name in self.rules.only

    def _is_kept(self, one: Sighting) -> bool:
        return (self.home / "models" / one.name / str(one.number) / "model.toml").exists()

    def _is_patient(self, one: Sighting) -> bool:
        waiting = self._waiting.get(one.key)
        return waiting is not None and time.monotonic() < waiting.until

    def _tell(self, key: str, text: str, mark: str = "") -> None:
        """Log trouble, once for as long as it is the same."""
        if self._told.get(key) != mark + text:
            self._told[key] = mark + text
            log.error("%s %s", f"watched {key}" if key else "the watched place:", text)

    def _is_mine(self) -> bool:
        """Whether this process has the turn; of several the first one has it until it ends."""
        if self._turn is not None:
            return True
        self.home.mkdir(parents=True, exist_ok=True)
        # Kept open: the lock lasts as long as the process.
        file = (self.home / "watched.lock").open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._turn = file
        for left in (self.home / "models").glob(f"{_SCRATCH}*"):
            # Of a process that was killed over it.
            remove(left)
        self._known = self._read()
        return True

    def _read(self) -> dict[str, Known]:
        try:
            state = msgspec.json.decode((self.home / "watched.json").read_bytes(), type=State)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError):
            log.warning("watched.json cannot be read: everything is looked at anew")
            return {}
        if state.place != self.called:
            return {}
        if state.rules == self._said():
            return dict(state.versions)
        return {
            key: msgspec.structs.replace(one, refused="") for key, one in state.versions.items()
        }

    def _keep(self, key: str, known: Known | None) -> None:
        """Note what was decided, before anything else is."""
        if known is None:
            self._known.pop(key, None)
        else:
            self._known[key] = known
        state = State(place=self.called, rules=self._said(), versions=self._known)
        made = self.home / ".watched.json"
        with made.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(state)))
            file.flush()
            os.fsync(file.fileno())
        made.replace(self.home / "watched.json")

    def _said(self) -> str:
        """The rules in words: what they refuse, other ones may not."""
        from importlib.metadata import version

        keys: Collection[Path] = trusted_keys(self.home) if self.rules.signed else ()
        return " ".join(
            [version("heliograph"), *sorted(self.rules.allow), *(f"key:{one.name}" for one in keys)]
        )
