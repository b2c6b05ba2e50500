"""Step 4: raw arrays become typed values in pixels of the caller's picture, drawn if asked for."""

from __future__ import annotations

from typing import cast

from heliograph.serving.admit import Ticket
from heliograph.serving.values import Answer, Entry, Prepared
from heliograph.vision.encode import Encoded, Encoding, Format
from heliograph.vision.tasks.base import Pictured, Raw, Result


def finish(ticket: Ticket, prepared: Prepared, raw: Raw) -> Answer:
    """Decode a model's outputs and make the answer.

    Raises:
        HeliographError: `bad_shape` if the model's outputs are not what its decoder expects.
    """
    entry, model = ticket.entry, ticket.entry.model
    result = model.decoder.decode(raw, prepared.placement, model.labels, entry.options)
    return Answer(
        ticket.id,
        model.name,
        model.version,
        model.task.name,
        prepared.picture.size,
        result,
        ticket.timings,
        _draw(entry, prepared, result) if entry.pictured else None,
    )


def _draw(entry: Entry, prepared: Prepared, result: Result) -> Encoded:
    """The answer as a file: the picture it is, or the caller's picture with it drawn on."""
    own = isinstance(result, Pictured)
    if own and entry.form == "":
        return result.encode()
    pixels = result.picture() if own else result.draw(prepared.picture.pixels)
    form: Format = "png" if entry.form in {"", "json"} else cast("Format", entry.form)
    return Encoding(form).encode(pixels)
