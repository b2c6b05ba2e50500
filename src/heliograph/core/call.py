"""The values that travel with one call: Credentials, Caller, Timings, Usage, Comparison.

The stopwatch rides with the call: the reply, the `Server-Timing` header, the log line and the
histograms all read the same `Timings`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple

from heliograph.core.permissions import Permission

STEPS = ("queue", "decode", "batch", "run", "finish")
"""The timed steps of a call, in order (see `serving/path.py`)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says of its sender; nothing of it is believed before a Gate has looked.

    Attributes:
        key: of `Authorization: Bearer …`: an API key, a signed token or the administrator's key.
        session: of the console's cookie; the edge has checked that the request is our own page's.
        workspace: which workspace the sender means, if it says so (`Heliograph-Workspace`).
        address: the sender's address, without its port; empty where there is none.
        origin: of the header `Origin`.
    """

    key: str = ""
    session: str = ""
    workspace: str = ""
    address: str = ""
    origin: str = ""


NO_CREDENTIALS = Credentials()


class Limit(NamedTuple):
    """At most so many of something in a stretch of time.

    Attributes:
        holder: the id of the key or workspace that it holds for.
        meter: `calls`, `images`, `megapixels` or `cost` (in millionths of the currency).
        period: `second`, `minute`, `hour`, `day` or `month`, in UTC; by the server's clock.
        most: the bound, inclusive.
    """

    holder: str
    meter: str
    period: str
    most: int


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling, as the Gate found out.

    Attributes:
        name: what logs and the audit call it: the id of a key or a person, `admin`, `anyone`.
        workspace: id of the workspace whose usage it is; empty where nobody keeps accounts.
        key: id of the API key, if it came with one.
        person: id of the person, if it is one.
        operator: it runs this server: it may see and do everything, in every workspace.
        permissions: what it may do.
        models: names of models that it may call, `*` and `?` as in a shell; empty for all.
        limits: what an Allowance holds it to.
        share: its workspace's weight when the server is full.
    """

    name: str
    workspace: str = ""
    key: str = ""
    person: str = ""
    operator: bool = False
    permissions: frozenset[Permission] = frozenset()
    models: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    share: float = 1.0


@dataclass(slots=True)
class Timings:
    """Milliseconds of each step of one call; written by the step that ends, read by everyone.

    Attributes:
        ms: finished steps, by name from `STEPS`; a step that was never reached is absent.
    """

    ms: dict[str, float] = field(default_factory=dict[str, float])
    began: float = field(default_factory=time.perf_counter)
    _mark: float = field(default_factory=time.perf_counter)

    def lap(self, step: str) -> None:
        """End `step` now: it lasted since the previous lap."""
        now = time.perf_counter()
        self.ms[step] = (now - self._mark) * 1000.0
        self._mark = now

    def split(self, step: str, ms: float) -> None:
        """Book `ms` of the time since the previous lap on `step`; the rest goes to the next lap."""
        self.ms[step] = ms
        self._mark += ms / 1000.0

    def total_ms(self) -> float:
        """Milliseconds since the call was admitted."""
        return (time.perf_counter() - self.began) * 1000.0

    def rounded(self) -> dict[str, float]:
        """The steps and their `total`, rounded to a microsecond, for replies and logs."""
        out = {step: round(ms, 3) for step, ms in self.ms.items()}
        out["total"] = round(sum(self.ms.values()), 3)
        return out


@dataclass(frozen=True, slots=True)
class Usage:
    """What one admitted call used: made exactly once per ticket, success or failure.

    Attributes:
        id: the call's id.
        caller: who called.
        model: the model's name; `version` and `digest` say exactly which, `task` what it is for.
        outcome: `ok` or an error code from `core.errors.Code`.
        bytes_in: size of the picture's file, or of the tensors, in bytes.
        pixels: width x height of the upright pictures; 0 if none was decoded.
        rows: pictures or rows of tensors that it brought to the model; 0 if it never came so far.
        batch: how many rows ran together, others' among them.
        timings: milliseconds by step.
    """

    id: str
    caller: Caller
    model: str
    version: str
    digest: str
    task: str
    outcome: str
    bytes_in: int
    pixels: int
    rows: int
    batch: int
    timings: dict[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a shadow answered beside the answer that its caller got.

    Attributes:
        model: name; `version` the one that answered the caller, `shadow` the other one.
        agrees: whether both say the same; False as well if the shadow failed.
        outcome: `ok`, the shadow's error code, or `skipped`.
        ms: the caller's whole call in milliseconds.
        shadow_ms: the shadow's; 0 if it was left out.
    """

    model: str
    version: str
    shadow: str
    agrees: bool
    outcome: str
    ms: float
    shadow_ms: float
