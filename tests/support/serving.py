"""The inference path in this process, over tiny models, with a meter that keeps its rows."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from heliograph.accounts.key import OpenGate
from heliograph.app import App, build
from heliograph.core.call import NO_CREDENTIALS, Usage
from heliograph.core.permissions import Permission
from heliograph.registry.repository import find_packages
from heliograph.runtimes.base import Plan
from heliograph.runtimes.tune import write_plan
from heliograph.serving.admit import Seats, parse_options
from heliograph.serving.values import Entry, Head
from heliograph.settings import ServingSettings, Settings
from heliograph.vision.tasks import TASKS


@dataclass(slots=True)
class Kept:
    """A meter that keeps what it is given."""

    rows: list[Usage] = field(default_factory=list[Usage])

    def record(self, usage: Usage) -> None:
        self.rows.append(usage)


@dataclass(frozen=True, slots=True)
class House:
    """A wired application and its meter."""

    app: App
    kept: Kept

    @property
    def seats(self) -> Seats:
        return self.app.path._desk.seats

    def enter(self, model: str, **options: str) -> Entry:
        return self.app.path.enter(Head(model=model, options=options, form="json"))

    def enter_unseated(self, model: str) -> Entry:
        """An entry even while no seat is free: as for a call whose body took its time."""
        return Entry(
            self.app.gate.check(NO_CREDENTIALS, Permission.MODELS_CALL),
            self.app.catalog.find(model),
            parse_options(TASKS["classification"].options, {}),
            "json",
            lambda: True,
            time.perf_counter() + 30.0,
        )

    def ask(self, model: str, body: bytes, **options: str) -> str:
        """The best label of a picture."""
        answer = self.app.path.answer(self.enter(model, **options), body)
        return str(answer.result.predictions()[0]["label"])


@contextmanager
def house(
    home: Path, *models: str, plan: Plan | None = None, seats: int = 64, deadline: float = 30.0
) -> Generator[House]:
    """Wire the application over packages in `home/models`, on `plan` or the default one."""
    if plan is not None:
        for name, package in find_packages([home / "models"]).items():
            if name in models:
                write_plan(home / "plans", package.digest, plan, [])
    settings = Settings(home=home, serving=ServingSettings(seats=seats, deadline=deadline))
    kept = Kept()
    app = build(settings, gate=OpenGate(), meter=kept, only=models)
    app.catalog.load_all()
    assert not app.catalog.why_not_ready()
    try:
        yield House(app, kept)
    finally:
        app.close()


def late(entry: Entry) -> Entry:
    """The same call past its deadline."""
    return replace(entry, deadline=0.0)


def gone(entry: Entry) -> Entry:
    """The same call after its caller has hung up."""
    return replace(entry, alive=lambda: False)
