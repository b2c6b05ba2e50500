"""Step 3 where one call runs models more than once, all under its one ticket.

A chain asks several models, each on its own lane; a picture in tiles goes through one of them tile
by tile.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from numpy.typing import NDArray

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Arrays
from heliograph.serving.admit import Ticket
from heliograph.serving.batch import Item
from heliograph.serving.values import Catalog, Model, Prepared, Sight, sight
from heliograph.vision.tasks.base import Raw, Result
from heliograph.vision.tasks.chain import Chain, Stage
from heliograph.vision.tiles import Tiled


def walk(ticket: Ticket, seen: Sight, prepared: Prepared, catalog: Catalog) -> Result:
    """Have a decoder that runs models itself answer for a prepared picture.

    Args:
        ticket: an admitted call.
        seen: how its model sees.
        prepared: the picture, decoded at its full size.
        catalog: has a chain's models.

    Raises:
        HeliographError: `model_unavailable` or `not_found` for a model of a chain; what they raise.
    """
    if isinstance(seen.decoder, Chain):
        return _walk_chain(ticket, seen.decoder, prepared, catalog)
    if isinstance(seen.decoder, Tiled):
        return _walk_tiles(ticket, seen.decoder, prepared, seen)
    raise AssertionError("a decoder that runs models is a chain or tiled; this is a bug")


def _walk_chain(ticket: Ticket, chain: Chain, prepared: Prepared, catalog: Catalog) -> Result:
    def stage(name: str) -> Stage[Any]:
        try:
            model = catalog.find(*name.split("@", 1))
        except HeliographError as error:
            words = f"{ticket.entry.model.name!r} asks {name!r}: {error.detail}"
            raise HeliographError(error.code, words, retry_after=error.retry_after) from error
        return _stage(ticket, model)

    ticket.rows = ticket.batch = 1
    return chain.walk(prepared.picture, stage, ticket.entry.options)


def _walk_tiles(ticket: Ticket, tiled: Tiled, prepared: Prepared, seen: Sight) -> Result:
    model = ticket.entry.model

    def run(tensor: NDArray[Any]) -> Raw:
        return {name: array[0] for name, array in _run(ticket, model, tensor[None]).items()}

    ticket.rows = ticket.batch = 1
    raw = tiled.piecewise(prepared.picture.pixels, seen.input, run)
    return seen.decoder.decode(raw, prepared.placement, model.labels, ticket.entry.options)


def _run(ticket: Ticket, model: Model, batch: NDArray[Any]) -> Arrays:
    ticket.check()
    item = model.lane.run(Item({"": batch}, ticket.check, len(batch)))
    if item.arrays is None:
        raise AssertionError("a lane returned an item that is not done; this is a bug")
    return item.arrays


def _stage(ticket: Ticket, model: Model) -> Stage[Any]:
    seen = sight(model)
    if isinstance(seen.decoder, Chain):
        raise HeliographError(
            Code.UNSUPPORTED, f"{model.name!r} is a pipeline; a pipeline asks models only."
        )

    return Stage(
        seen.input,
        seen.decoder,
        partial(_run, ticket, model),
        model.labels,
        seen.task.options,
        model.lane.plan.max_batch,
    )
