"""Step 3: the tensor runs on its model's lane and its own arrays come back."""

from __future__ import annotations

from heliograph.serving.admit import Ticket
from heliograph.serving.batch import Item
from heliograph.serving.values import Prepared
from heliograph.vision.tasks.base import Raw


def run_model(ticket: Ticket, prepared: Prepared) -> Raw:
    """Run a prepared picture; books the waiting as `batch` and the running as `run`."""
    entry = ticket.entry
    began = ticket.timings.total_ms()
    item = entry.model.lane.run(Item(prepared.tensor, ticket.check))
    waited = ticket.timings.total_ms() - began - item.ran_ms
    ticket.timings.split("batch", max(0.0, waited))
    ticket.batch = item.batch
    if item.arrays is None:
        raise AssertionError("a lane returned an item that is not done; this is a bug")
    return item.arrays
