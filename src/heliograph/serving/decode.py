"""Step 1: the file becomes a picture and a tensor; it fails alone, before any batch."""

from __future__ import annotations

from heliograph.serving.admit import Ticket
from heliograph.serving.values import Prepared
from heliograph.vision.decode import Limits, decode
from heliograph.vision.prepare import prepare


def decode_picture(ticket: Ticket, limits: Limits, *, exact: bool) -> Prepared:
    """Decode the ticket's file to what its model needs.

    Args:
        ticket: an admitted call.
        limits: checked from the header, before a pixel is decoded.
        exact: never let the JPEG decoder scale down.

    Raises:
        HeliographError: see `vision.decode.decode`.
    """
    spec = ticket.entry.model.input
    keep = exact or ticket.entry.pictured
    picture = decode(ticket.body, limits, None if keep else spec.need)
    ticket.pixels = picture.size.width * picture.size.height
    tensor, placement = prepare(picture, spec)
    return Prepared(picture, tensor, placement)
