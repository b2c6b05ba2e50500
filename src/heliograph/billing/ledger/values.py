"""A row of the ledger, and how a call's usage becomes one."""

from __future__ import annotations

from dataclasses import dataclass

from heliograph.core.call import Usage
from heliograph.core.money import Cost

DEVICE = "cpu"
"""The device class that the engines of this server run on."""


@dataclass(frozen=True, slots=True)
class Row:
    """One answer, as it is billed.

    Attributes:
        id: the call's, `pred_…`; there is never a second row with it.
        at_ms: when it was answered, by the server's clock: this decides its month.
        workspace: who pays; `key` and `person` say who called.
        model: name; `version` and `digest` say exactly which, `task` what it is for.
        images: pictures decoded; 0 for plain tensors.
        rows: pictures or rows of tensors that the model ran on.
        pixels: of the upright pictures.
        bytes_in: of the question; `bytes_out` of the answer.
        run_us: microseconds the model ran.
        device: class of the device it ran on.
        price_version: of the prices that it was told; 0 while there are none.
        cost: in millionths of the currency's unit, as told in the answer.
        result_digest: SHA-256 of the answer's body.
        idempotency: the key that the client sent; empty for none.
    """

    id: str
    at_ms: int
    workspace: str
    key: str
    person: str
    model: str
    version: str
    digest: str
    task: str
    images: int
    rows: int
    pixels: int
    bytes_in: int
    bytes_out: int
    run_us: int
    device: str
    price_version: int
    cost: int
    result_digest: str
    idempotency: str


def row(usage: Usage, cost: Cost, at_ms: int, bytes_out: int, digest: str, key: str) -> Row:
    """The row of a call that was answered with so many bytes."""
    caller = usage.caller
    return Row(
        usage.id,
        at_ms,
        caller.workspace,
        caller.key,
        caller.person,
        usage.model,
        usage.version,
        usage.digest,
        usage.task,
        usage.rows if usage.pixels else 0,
        usage.rows,
        usage.pixels,
        usage.bytes_in,
        bytes_out,
        round(usage.timings.get("run", 0.0) * 1000),
        DEVICE,
        cost.price_version,
        cost.amount_millionths,
        digest,
        key,
    )
