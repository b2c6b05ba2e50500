"""Step 4: raw arrays become typed values in pixels of the caller's picture, drawn if asked for."""

from __future__ import annotations

from typing import cast

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.base import Arrays
from heliograph.serving.admit import Ticket
from heliograph.serving.values import Answer, Entry, Prepared, Sight
from heliograph.vision.encode import MEDIA_TYPES, Encoded, Encoding, Format
from heliograph.vision.tasks.base import Pictured, Raw, Result


def read_arrays(ticket: Ticket, seen: Sight, prepared: Prepared, arrays: Arrays) -> Result:
    """Decode a model's outputs.

    Args:
        ticket: an admitted call.
        seen: the task and decoder of its model.
        prepared: the picture.
        arrays: the model's outputs by name.

    Raises:
        HeliographError: `model_crashed` if an output lacks its batch axis; `bad_shape` if the
            outputs are not what the decoder expects.
    """
    raw = _alone(arrays) if seen.decoder.batched else arrays
    entry = ticket.entry
    return seen.decoder.decode(raw, prepared.placement, entry.model.labels, entry.options)


def finish(ticket: Ticket, seen: Sight, prepared: Prepared, result: Result) -> Answer:
    """Make the answer of a result, drawn if it goes out as a picture."""
    entry, model = ticket.entry, ticket.entry.model
    return Answer(
        ticket.id,
        model.name,
        model.version,
        seen.task.name,
        prepared.picture.size,
        result,
        ticket.timings,
        _draw(entry, prepared, result) if entry.pictured else None,
    )


def _alone(arrays: Arrays) -> Raw:
    """The outputs of the one picture that ran."""
    for name, array in arrays.items():
        if array.shape[:1] != (1,):
            raise HeliographError(
                Code.MODEL_CRASHED,
                f"The model's output {name!r} should have one row for one picture; its shape is "
                f"{list(array.shape)}.",
            )
    return {name: array[0] for name, array in arrays.items()}


def _draw(entry: Entry, prepared: Prepared, result: Result) -> Encoded:
    """The answer as a file: the picture it is, or the caller's picture with it drawn on."""
    form: Format = "png" if entry.form in {"", "json"} else cast("Format", entry.form)
    if not isinstance(result, Pictured):
        return Encoding(form).encode(result.draw(prepared.picture.pixels))
    file = result.encode()
    if entry.form == "" or file.media_type == MEDIA_TYPES[form]:
        return file
    return Encoding(form).encode(result.picture())
