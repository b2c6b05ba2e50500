"""The statistics extension: the meter's numbers in the protocol's form."""

from __future__ import annotations

import dataclasses
from typing import Any

from heliograph.core.errors import HeliographError
from heliograph.edge.oip.dialect import Dialect
from heliograph.edge.oip.errors import unknown
from heliograph.registry.catalog import Shelf
from heliograph.serving.values import Model
from heliograph.telemetry.statistics import Duration, ModelStatistics

_COMPUTE = ("compute_input", "compute_infer", "compute_output")


def statistics(dialect: Dialect, name: str = "", version: str = "") -> list[dict[str, Any]]:
    """The statistics of a model's versions, of one version, or of all models.

    Raises:
        HeliographError: `not_found`.
    """
    counted = dialect.services.meter.statistics()
    return [
        _tell(
            counted.get((shelf.package.name, shelf.version))
            or ModelStatistics(shelf.package.name, shelf.version),
            shelf.model.lane.resident.memory,
        )
        for shelf in _shelves(dialect, name, version)
    ]


def _shelves(dialect: Dialect, name: str, version: str) -> list[Shelf[Model]]:
    catalog = dialect.services.catalog
    if not name:
        return [one for one in catalog.shelves if one.model.takes_calls]
    try:
        return [catalog.shelf(name, version)] if version else _loaded(dialect, name)
    except HeliographError as error:
        raise unknown(error, name, version) from error


def _loaded(dialect: Dialect, name: str) -> list[Shelf[Model]]:
    dialect.find(name)
    product = dialect.services.catalog.product(name)
    return [product.shelves[version] for version in product.able()]


def _tell(one: ModelStatistics, memory: int) -> dict[str, Any]:
    none = Duration()
    steps = {step: dataclasses.asdict(getattr(one, step)) for step in _COMPUTE}
    outcome = {"success": dataclasses.asdict(one.success), "fail": dataclasses.asdict(one.fail)}
    used = [{"type": "CPU", "id": 0, "byte_size": memory}] if memory else []
    silent = {name: dataclasses.asdict(none) for name in ("cache_hit", "cache_miss")}
    return {
        "name": one.name,
        "version": one.version,
        "last_inference": one.last_inference,
        "inference_count": one.inference_count,
        "execution_count": one.execution_count,
        "inference_stats": outcome | {"queue": dataclasses.asdict(one.queue)} | steps | silent,
        "response_stats": {
            "0": {
                **{step: steps[step] for step in _COMPUTE[1:]},
                **outcome,
                "empty_response": dataclasses.asdict(none),
                "cancel": dataclasses.asdict(one.cancel),
            }
        },
        "batch_stats": [
            {"batch_size": batch.batch_size}
            | {step: dataclasses.asdict(getattr(batch, step)) for step in _COMPUTE}
            for batch in one.batches
        ],
        "memory_usage": used,
    }
