"""Samples: what is in memory and in store at the moment that somebody looks."""

from __future__ import annotations

from typing import NamedTuple

NOBODY = ""
"""The workspace of what nobody pays for."""


class Copy(NamedTuple):
    """What a process has loaded of one version of a model.

    Attributes:
        model: name; `version` likewise.
        device: class of the device that it runs on.
        replicas: how many are in memory.
        busy_us: microseconds that they have run since the process began, all together; a batch
            counts once.
    """

    model: str
    version: str
    device: str
    replicas: int
    busy_us: int


class Sample(NamedTuple):
    """A stretch of time that replicas were in memory, as one workspace pays for it.

    Attributes:
        workspace: whose; `NOBODY` for what is not charged to anybody.
        node: which machine; `boot` which process on it.
        model: name; `version` and `device` likewise.
        from_ms: when the stretch began; `to_ms` when it ended.
        replica_ms: time times replicas, or the workspace's part of it.
        busy_ms: of that, while they ran; the rest they were idle.
    """

    workspace: str
    node: str
    boot: str
    model: str
    version: str
    device: str
    from_ms: int
    to_ms: int
    replica_ms: int
    busy_ms: int
