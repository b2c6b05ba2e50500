"""What was used: `/api/v1/usage`, sums for charts and bills, and the calls behind them.

What has fractions (megapixels, milliseconds, money) is written as the decimal number that it is, so
that a reader who wants no float can have one.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta, field

from heliograph.billing.invoices.values import moment
from heliograph.billing.usage.as_csv import as_csv, calls_as_csv, told
from heliograph.billing.usage.service import Call, Usage
from heliograph.billing.usage.values import Sums, read_by
from heliograph.core.errors import Code
from heliograph.core.money import short, written
from heliograph.core.permissions import Permission
from heliograph.edge.http.doors import Asked, Door, Reply

_TAG = "Usage"
_Time = Annotated[str, Meta(max_length=40)]
_CSV = "text/csv; charset=utf-8"


class UsageAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which usage, and how to group it.

    Attributes:
        from: the first moment, as ISO 8601 writes it (UTC unless it says otherwise) or
            in milliseconds since 1970; left out, the beginning of this month.
        to: the first moment after it; left out, the end of this month.
        group_by: a list with commas of `hour`, `day`, `month` (of UTC), `model`, `version`, `key`,
            `task` and `device`; empty for totals alone.
        format: `json` or `csv`.
    """

    from_: _Time = field(default="", name="from")
    to: _Time = ""
    group_by: Annotated[str, Meta(max_length=120)] = ""
    format: Literal["json", "csv"] = "json"


class CallsAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which calls.

    Attributes:
        from: the first moment; see `/api/v1/usage`.
        to: the first moment after it.
        after: id of the last one seen; empty to begin.
        limit: most to be told.
        format: `json` or `csv`.
    """

    from_: _Time = field(default="", name="from")
    to: _Time = ""
    after: Annotated[str, Meta(max_length=80)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 100
    format: Literal["json", "csv"] = "json"


class UsageSums(msgspec.Struct, frozen=True, kw_only=True):
    """What was used.

    Attributes:
        calls: answers.
        images: pictures decoded.
        megapixels: of the upright pictures, exact to the pixel.
        bytes_in: of the questions.
        bytes_out: of the answers.
        run_ms: milliseconds that models ran.
        cost: by the price list, as the answers told it, in units of the currency.
    """

    calls: int
    images: int
    megapixels: float
    bytes_in: int
    bytes_out: int
    run_ms: float
    cost: float


class UsageGroup(UsageSums, frozen=True, kw_only=True):
    """What was used in one group.

    Attributes:
        by: the group's names: `{"day": "2026-08-01", "model": "detector"}`.
    """

    by: dict[str, str]


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """Usage in a span of time.

    Attributes:
        from_ms: the first millisecond, since 1970.
        to_ms: the first after it.
        currency: that costs are in; `XXX` while no prices are set.
        group_by: as asked.
        totals: of everything in the span.
        groups: in the order of their names; they sum to the totals. Groups without a call are left
            out.
    """

    from_ms: int
    to_ms: int
    currency: str
    group_by: list[str]
    totals: UsageSums
    groups: list[UsageGroup]


class CallCard(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, as it is billed.

    Attributes:
        id: the call's.
        at_ms: when it was answered, in milliseconds since 1970; `at` the same as text.
        key: id of the API key that it came with; empty for none.
        person: id of the person who called; empty for none.
        model: name.
        version: of the model.
        digest: of the version's files.
        task: that the model is for.
        images: pictures decoded; 0 for plain tensors.
        rows: pictures or rows of tensors that the model ran on.
        megapixels: of the upright pictures.
        bytes_in: of the question.
        bytes_out: of the answer.
        run_ms: milliseconds that the model ran.
        device: class of the device that it ran on.
        price_version: of the prices it was told; 0 while there are none.
        cost: as the answer told it.
        currency: that the cost is in.
        result_sha256: SHA-256 of the answer's body, in hex.
        idempotency_key: that the client sent; empty for none.
        retention: what is kept of the answer.
    """

    id: str
    at_ms: int
    at: str
    key: str
    person: str
    model: str
    version: str
    digest: str
    task: str
    images: int
    rows: int
    megapixels: float
    bytes_in: int
    bytes_out: int
    run_ms: float
    device: str
    price_version: int
    cost: float
    currency: str
    result_sha256: str
    idempotency_key: str
    retention: str


class CallPage(msgspec.Struct, frozen=True, kw_only=True):
    """Calls, the oldest first.

    Attributes:
        calls: at most as many as were asked for.
        after: the id to go on after; empty if there are no more.
    """

    calls: list[CallCard]
    after: str


_DIGEST = (
    "The answer itself is not kept; its SHA-256 is, for as long as this row: whoever holds the "
    "answer can show that it is this one."
)
_REPLAY = (
    "The answer is kept under its idempotency key for as long as retries are answered from it; "
    "then only its SHA-256 is."
)


def doors(usage: Usage) -> list[Door]:
    """The addresses; everybody sees the usage of one workspace."""
    use = _Use(usage)
    read, at = Permission.USAGE_READ, "/api/v1/usage"
    codes = (Code.UNKNOWN_FILTER, Code.VALIDATION)
    return [
        Door("GET", at, read, use.report, "Sums of usage, by groups", _TAG, gives=UsageReport,
             query=UsageAsked, codes=codes),
        Door("GET", f"{at}/calls", read, use.calls, "The calls behind the sums", _TAG,
             gives=CallPage, query=CallsAsked, codes=(*codes, Code.NOT_FOUND)),
        Door("GET", f"{at}/calls/{{call}}", read, use.call, "One call", _TAG, gives=CallCard,
             codes=(Code.NOT_FOUND,)),
    ]  # fmt: skip


class _Use:
    """The use cases behind the addresses."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage

    def report(self, asked: Asked) -> UsageReport | Reply:
        """Totals and groups."""
        query: UsageAsked = asked.query
        by = read_by(query.group_by)
        span = self._usage.span(query.from_, query.to)
        found = self._usage.report(asked.caller.workspace, span, by)
        currency = self._usage.currency()
        if query.format == "csv":
            return _file("usage.csv", as_csv(found, currency))
        return UsageReport(
            from_ms=span.from_ms,
            to_ms=span.to_ms,
            currency=currency,
            group_by=[one.value for one in by],
            totals=UsageSums(**_sums(found.totals)),
            groups=[
                UsageGroup(**_sums(one.sums), by=_by(query.group_by, one.by))
                for one in found.groups
            ],
        )

    def calls(self, asked: Asked) -> CallPage | Reply:
        """Rows of the ledger."""
        query: CallsAsked = asked.query
        span = self._usage.span(query.from_, query.to)
        found = self._usage.calls(asked.caller.workspace, span, query.after, query.limit)
        currency = self._usage.currency()
        if query.format == "csv":
            return _file("calls.csv", calls_as_csv(found, currency))
        more = len(found) == query.limit
        return CallPage(
            calls=[_card(one, currency) for one in found], after=found[-1]["id"] if more else ""
        )

    def call(self, asked: Asked) -> CallCard:
        """One of them."""
        found = self._usage.call(asked.caller.workspace, asked.path["call"])
        return _card(found, self._usage.currency())


def _by(group_by: str, names: tuple[str, ...]) -> dict[str, str]:
    return dict(zip((one.strip() for one in group_by.split(",")), names, strict=True))


def _sums(sums: Sums) -> dict[str, Any]:
    said = told(sums).items()
    return {name: _exact(value) if isinstance(value, str) else value for name, value in said}


def _exact(digits: str) -> float:
    """A decimal number, written into the JSON digit by digit: no float comes near it here."""
    return cast("float", msgspec.Raw(digits.encode()))


def _file(name: str, body: bytes) -> Reply:
    disposition = {"content-disposition": f'attachment; filename="{name}"'}
    return Reply(body, media=_CSV, headers=disposition)


def _card(one: Call, currency: str) -> CallCard:
    same = ("id", "at_ms", "key", "person", "model", "version", "digest", "task", "images", "rows",
            "bytes_in", "bytes_out", "device", "price_version")  # fmt: skip
    return CallCard(
        **{name: one[name] for name in same},
        at=moment(one["at_ms"]),
        megapixels=_exact(short(one["pixels"], 6)),
        run_ms=_exact(short(one["run_us"], 3)),
        cost=_exact(written(one["cost"], 6)),
        currency=currency,
        result_sha256=one["result_digest"],
        idempotency_key=one["idempotency"],
        retention=_REPLAY if one["idempotency"] else _DIGEST,
    )
