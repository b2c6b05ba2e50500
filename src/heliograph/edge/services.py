"""What every edge is given by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from heliograph.registry.catalog import Catalog
from heliograph.serving.path import Path
from heliograph.serving.values import Gate, Model
from heliograph.telemetry.meter import TelemetryMeter


@dataclass(slots=True)
class Services:
    """The use cases behind the routes.

    Attributes:
        path: the inference path.
        catalog: what is in service.
        gate: who may call.
        meter: has what `/metrics` shows.
        most_files: most pictures in one multipart call.
        hosts: accepted Host names besides loopback names and addresses; `*` for any.
        draining: set once a graceful stop has begun.
        openapi: the OpenAPI document, made on first demand.
    """

    path: Path
    catalog: Catalog[Model]
    gate: Gate
    meter: TelemetryMeter
    most_files: int
    hosts: frozenset[str]
    draining: bool = False
    openapi: dict[str, Any] = field(default_factory=dict[str, Any])
