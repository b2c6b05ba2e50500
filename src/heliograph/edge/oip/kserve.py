"""KServe's own protocol, v1, where it shares addresses with others: what its clients look for.

`/v1` is routed by the TensorFlow Serving edge, whose `:predict` has the same bodies; `/` is our
front page (`edge/http/docs.py`), which tells programs that ask for no HTML that we are alive.
"""

from __future__ import annotations

from typing import Any

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.services import Services
from heliograph.serving.values import Model


def kserve_models(services: Services) -> dict[str, Any]:
    """`GET /v1/models`: the names of all models."""
    return {"models": list(services.catalog.products)}


def kserve_ready(model: Model) -> dict[str, Any]:
    """`GET /v1/models/M`: the members that say it takes calls; one that does not is answered 503.

    Raises:
        HeliographError: `model_unavailable`.
    """
    if not model.takes_calls:
        raise HeliographError(Code.MODEL_UNAVAILABLE, f"Model {model.name} is not ready.")
    return {"name": model.name, "ready": True}
