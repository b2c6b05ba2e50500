"""Step 3: the tensors run on their model's lane and their own arrays come back."""

from __future__ import annotations

from heliograph.runtimes.base import Arrays
from heliograph.serving.admit import Ticket
from heliograph.serving.batch import Item


def run_model(ticket: Ticket, item: Item) -> Arrays:
    """Run a prepared item; books the waiting as `batch` and the running as `run`."""
    began = ticket.timings.total_ms()
    ticket.rows = item.rows
    ticket.entry.model.lane.run(item)
    waited = ticket.timings.total_ms() - began - item.ran_ms
    ticket.timings.split("batch", max(0.0, waited))
    ticket.batch = item.batch
    if item.arrays is None:
        raise AssertionError("a lane returned an item that is not done; this is a bug")
    return item.arrays
