"""Step 1: the file becomes a picture and a tensor; it fails alone, before any batch."""

from __future__ import annotations

from heliograph.serving.admit import Ticket
from heliograph.serving.values import Prepared
from heliograph.vision.decode import Limits, decode
from heliograph.vision.prepare import InputSpec, prepare

_WHOLE = InputSpec()


def decode_picture(
    ticket: Ticket, body: bytes, spec: InputSpec, limits: Limits, *, exact: bool
) -> Prepared:
    """Decode a file to what the ticket's model needs.

    Args:
        ticket: an admitted call.
        body: the file.
        spec: what the model wants to be fed.
        limits: checked from the header, before a pixel is decoded.
        exact: never let the JPEG decoder scale down.

    Raises:
        HeliographError: see `vision.decode.decode`.
    """
    picture = decode(body, limits, None if exact else spec.need)
    ticket.pixels += picture.size.width * picture.size.height
    tensor, placement = prepare(picture, spec)
    return Prepared(picture, tensor, placement)


def decode_whole(ticket: Ticket, body: bytes, limits: Limits) -> Prepared:
    """Decode a file at its full size for a decoder that feeds models itself; makes no tensor."""
    picture = decode(body, limits, None)
    ticket.pixels += picture.size.width * picture.size.height
    return Prepared(picture, None, _WHOLE.placement(picture.size))
