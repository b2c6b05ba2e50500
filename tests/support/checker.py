"""The independent checker: holds what a client saw against what the server has kept.

    python tests/support/checker.py CLIENT_LOG DATABASE [--audit EXPORT]

It imports nothing of the server's and needs Python 3.11 alone, so that a mistake of the server's
cannot be repeated here. It reads a log that the client has written, a copy of the SQLite file and,
if there is one, an export of the audit log. It prints a line for each violation, `I-05 …`, and ends
with 1 if there is any. The log is one JSON object a line, on disk before the client goes on:

    {"what": "ask", "call": "7", "workspace": "ws_…", "model": "simple", "key": "", …}
        before a question is sent; `key` is its Idempotency-Key; any of TEXTS and MEASURES is held
        against the ledger; `answers` says how many rows it makes (1)
    {"what": "answer", "call": "7", "status": 200, "ok": true, "pred": "pred_…", "digest": "…",
     "bytes": 321, "cost": "0.000120 EUR", "again": false}
        what came: its id where the protocol tells one, SHA-256 and length of its body, what it says
        it costs, whether it was a replay
    {"what": "lost", "call": "7", "why": "…"}
        nothing came, or the server has said that it does not know whether its commit was made
    {"what": "limit", "holder": "ws_…", "since_ms": 1}    a limit that was set at that time
    {"what": "usage", "workspace": "…", "from_ms": 0, "to_ms": 9, "totals": {"calls": 3}}
    {"what": "invoice", "number": "…", "digest": "…"}     as the usage API and an invoice were told

Covered: I-01 to I-12 and I-19, as far as these sources tell. Not covered: re-rating with tiers and
plans (I-08 is held for quantities, and for the amounts of lines with one price), and signatures of
checkpoints, which the audit log's own verifier checks; here only what they were signed over.
The length of this file is the price of its being one file.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import shutil
import sqlite3
import sys
import tempfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

TEXTS, MEASURES = ("version", "task"), ("images", "rows", "pixels", "bytes_in")
_SUMS = ("images", "rows", "pixels", "run_us", "bytes_in", "bytes_out")
_WEEK_MS = 7 * 24 * 3600 * 1000
_SPANS_MS = {"second": 1000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ONE_PRICE = re.compile(r"[0-9]+(\.[0-9]+)?")
_LIST = 5
Row = dict[str, Any]


class Violation(NamedTuple):
    """Something that must not be: the invariant's number, and what was found."""

    id: str
    text: str


class Seen(NamedTuple):
    """What the client saw.

    Attributes:
        asks: what it asked, by call.
        answers: what came back; `lost` where nothing did.
        notes: everything else it was told.
    """

    asks: dict[str, Row]
    answers: dict[str, Row]
    lost: set[str]
    notes: list[Row]


def read_log(path: Path) -> Seen:
    """A client's log; a last line that was cut off with the client is left out."""
    seen = Seen({}, {}, set(), [])
    lines = path.read_bytes().split(b"\n")[:-1]
    for line in map(json.loads, lines):
        match line["what"]:
            case "ask":
                seen.asks[line["call"]] = line
            case "answer":
                seen.answers[line["call"]] = line
            case "lost":
                seen.lost.add(line["call"])
            case _:
                seen.notes.append(line)
    # The client ended between asking and hearing: that is no answer either.
    seen.lost.update(seen.asks.keys() - seen.answers.keys())
    return seen


class Kept:
    """The tables of a database that is read by nobody's code but SQLite's.

    Args:
        path: the file, of a server that has ended. A copy is read, with what its log holds: to read
            a database in that mode is to write beside it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with tempfile.TemporaryDirectory(prefix="checker-") as folder:
            for one in (path, path.with_name(path.name + "-wal")):
                if one == path or one.exists():
                    shutil.copy(one, folder)
            self._read(Path(folder, path.name))

    def _read(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.row_factory = sqlite3.Row
            names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            self._tables = {
                name: [dict(row) for row in connection.execute(f'SELECT * FROM "{name}"')]
                for (name,) in names.fetchall()
                if not name.startswith("sqlite_")
            }
            self.sound = [row[0] for row in connection.execute("PRAGMA integrity_check")]
            self.dangling = len(connection.execute("PRAGMA foreign_key_check").fetchall())

    def __getitem__(self, table: str) -> list[Row]:
        return self._tables.get(table, [])


def check(log: Path, database: Path, export: Path | None = None) -> list[Violation]:
    """Every violation.

    Args:
        log: the client's.
        database: the SQLite file. Checkpoints are looked for in `audit/checkpoints` beside it.
        export: of the audit log, a folder or a zip file.
    """
    seen, kept = read_log(log), Kept(database)
    found = [
        *Answers(seen, kept).check(),
        *replies(seen, kept),
        *quotas(seen, kept),
        *usage(seen, kept),
        *invoices(seen, kept),
        *months(kept),
        *journal(kept),
        *audit(kept, export),
    ]
    if kept.sound != ["ok"] or kept.dangling:
        found.append(
            Violation("I-19", f"integrity: {kept.sound[:_LIST]}, {kept.dangling} dangling")
        )
    return found


# --- I-01, I-03, I-04, I-05: answers and rows ----------------------------------------------------


class Answers:
    """Holds every answer against its row, and every row against an answer.

    Args:
        seen: by the client.
        kept: by the server.
    """

    def __init__(self, seen: Seen, kept: Kept) -> None:
        self._seen = seen
        self._rows: dict[str, Row] = {}
        self._free: dict[str, list[str]] = defaultdict(list)
        self._keyed: dict[tuple[str, str], list[Row]] = defaultdict(list)
        self._twice = [
            one for one, n in Counter(row["id"] for row in kept["ledger"]).items() if n > 1
        ]
        for row in kept["ledger"]:
            self._rows[row["id"]] = row
            if row["idempotency"]:
                self._keyed[_name(row)].append(row)
            else:
                self._free[row["result_digest"]].append(row["id"])
        self._claimed: dict[str, str] = {}

    def check(self) -> Iterator[Violation]:
        """What is wrong."""
        for one in self._twice:
            yield Violation("I-01", f"two rows have the id {one}")
        by_key: dict[tuple[str, str], list[str]] = defaultdict(list)
        for call, ask in self._seen.asks.items():
            if ask.get("key"):
                by_key[_asked(ask)].append(call)
            elif self._ok(call):
                yield from self._alone(call)
        for name, calls in by_key.items():
            yield from self._under_key(name, calls)
        yield from self._unseen(by_key.keys())

    def _ok(self, call: str) -> bool:
        return bool(self._seen.answers.get(call, {}).get("ok"))

    def _alone(self, call: str) -> Iterator[Violation]:
        """An answer to a question without a key has a row of its own."""
        ask, answer = self._seen.asks[call], self._seen.answers[call]
        wanted = int(ask.get("answers", 1))
        ids = [answer["pred"]] if answer.get("pred") in self._rows else []
        left = self._free[answer["digest"]]
        ids += [one for one in left if one not in ids and one not in self._claimed]
        ids = [one for one in ids if one not in self._claimed][:wanted]
        if len(ids) < wanted:
            yield Violation(
                "I-01", f"call {call} was answered, but has {len(ids)} of {wanted} rows"
            )
        yield from self._compare(call, [self._rows[one] for one in ids])

    def _under_key(self, name: tuple[str, str], calls: list[str]) -> Iterator[Violation]:
        """All answers under one key are one answer, with one set of rows."""
        rows = self._keyed.get(name, [])
        good = [call for call in calls if self._ok(call)]
        wanted = max(int(self._seen.asks[call].get("answers", 1)) for call in calls)
        if len({self._seen.answers[call]["digest"] for call in good}) > 1:
            yield Violation("I-05", f"key {name[1]} was answered with different bytes")
        if len(rows) > wanted:
            yield Violation("I-05", f"key {name[1]} has {len(rows)} rows: {_ids(rows)}")
        if good and len(rows) < wanted:
            yield Violation("I-01", f"key {name[1]} was answered, but has {len(rows)} rows")
        if good:
            yield from self._compare(good[0], rows[:wanted])
        elif rows and not any(call in self._seen.lost for call in calls):
            yield Violation("I-04", f"key {name[1]} was only refused, but has {_ids(rows)}")
        for row in rows:
            self._claimed[row["id"]] = calls[0]

    def _compare(self, call: str, rows: list[Row]) -> Iterator[Violation]:
        ask, answer = self._seen.asks[call], self._seen.answers[call]
        if not rows:
            return
        for row in rows:
            self._claimed[row["id"]] = call
            for name in ("workspace", "model", *TEXTS):
                if row[name] != ask.get(name, row[name]):
                    yield Violation("I-01", f"{row['id']}: {name} is {row[name]}, not {ask[name]}")
            if row["result_digest"] != answer["digest"]:
                yield Violation("I-01", f"{row['id']} was made for other bytes than were answered")
            if not answer.get("again") and answer.get("pred", row["id"]) not in ("", row["id"]):
                yield Violation("I-01", f"{row['id']} is there for {answer['pred']}")
        told = {name: ask[name] for name in MEASURES if name in ask}
        told["bytes_out"] = answer["bytes"]
        for name, value in told.items():
            if (there := sum(row[name] for row in rows)) != value:
                yield Violation("I-01", f"{_ids(rows)}: {name} is {there}, not {value}")
        cost = int(Fraction(answer["cost"].split()[0]) * 1_000_000) if answer.get("cost") else 0
        if (there := sum(row["cost"] for row in rows)) != cost:
            yield Violation("I-01", f"{_ids(rows)}: cost is {there}, told was {cost}")

    def _unseen(self, keys: Iterable[tuple[str, str]]) -> Iterator[Violation]:
        """Rows that nobody was answered for: no more than calls of unknown outcome."""
        refused = {
            one["pred"] for one in self._seen.answers.values() if not one["ok"] and one["pred"]
        }
        claimed = {self._rows[one]["result_digest"] for one in self._claimed}
        lost = Counter(
            (ask["workspace"], ask["model"])
            for call, ask in self._seen.asks.items()
            if call in self._seen.lost and not ask.get("key")
        )
        over: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in self._rows.values():
            if row["id"] in self._claimed:
                continue
            place = row["workspace"], row["model"]
            if row["id"] in refused:
                yield Violation("I-04", f"{row['id']} was refused, but has a row")
            elif row["result_digest"] in claimed:
                yield Violation("I-01", f"{row['id']} is a second row of one answer")
            elif row["idempotency"] and _name(row) not in keys:
                yield Violation("I-03", f"{row['id']} has a key that nobody sent")
            elif lost[place]:
                lost[place] -= 1
            else:
                over[place].append(row)
        for place, rows in over.items():
            yield Violation("I-03", f"{place}: rows that no call explains: {_ids(rows)}")


def _name(row: Row) -> tuple[str, str]:
    """Whose key a row was made under: a person's own or its workspace's programs'."""
    holder = f"{row['workspace']}/{row['person']}" if row["person"] else row["workspace"]
    return holder, row["idempotency"]


def _asked(ask: Row) -> tuple[str, str]:
    person = ask.get("person", "")
    return f"{ask['workspace']}/{person}" if person else ask["workspace"], ask["key"]


# --- I-02: kept answers --------------------------------------------------------------------------


def replies(seen: Seen, kept: Kept) -> Iterator[Violation]:
    """Every row has a result, and every kept answer of a call has a row."""
    newest = max((row["at_ms"] for row in kept["ledger"]), default=0)
    done = {(one["scope"], one["key"]) for one in kept["replies"] if one["status"]}
    booked = set(map(_name, kept["ledger"]))
    for row in kept["ledger"]:
        name = _name(row)
        if not _DIGEST.fullmatch(row["result_digest"]):
            yield Violation("I-02", f"{row['id']} has no digest of its result")
        if row["idempotency"] and name not in done and row["at_ms"] > newest - _WEEK_MS // 2:
            yield Violation("I-02", f"{row['id']} has a key, but its answer is not kept")
    asked = {_asked(ask) for ask in seen.asks.values() if ask.get("key")}
    for name in sorted(asked & done - booked):
        yield Violation("I-01", f"the answer of key {name[1]} is kept, but has no row")


# --- I-06, I-11: sums ----------------------------------------------------------------------------


def quotas(seen: Seen, kept: Kept) -> Iterator[Violation]:
    """What limits have counted is what the ledger says, and never more than they allow."""
    since = {one["holder"]: one["since_ms"] for one in seen.notes if one["what"] == "limit"}
    bounds = {(one["holder"], one["meter"], one["period"]): one["most"] for one in kept["limits"]}
    for one in kept["keys"]:
        for meter, period, most in map(_limit, json.loads(one["limits"] or "[]")):
            bounds[one["id"], meter, period] = most
    for one in kept["counters"]:
        begin = max(one["begin_ms"], since.get(one["holder"], 0))
        end = _end(one["period"], one["begin_ms"])
        there = sum(
            _amount(one["meter"], row)
            for row in kept["ledger"]
            if one["holder"] in (row["workspace"], row["key"]) and begin <= row["at_ms"] < end
        )
        name = one["holder"], one["meter"], one["period"]
        if there != one["used"]:
            yield Violation("I-06", f"{name}: counted {one['used']}, the ledger has {there}")
        unit = 1_000_000 if one["meter"] == "megapixels" else 1
        if name in bounds and max(there, one["used"]) > bounds[name] * unit:
            yield Violation("I-11", f"{name}: {max(there, one['used'])} used of {bounds[name]}")


def _limit(one: Any) -> tuple[str, str, int]:
    """A key's limit, as an object or a list ending with meter, period and bound."""
    if isinstance(one, Mapping):
        return one["meter"], one["period"], one["most"]
    return tuple(one[-3:])


def _amount(meter: str, row: Row) -> int:
    return {"calls": 1, "images": row["images"], "megapixels": row["pixels"], "cost": row["cost"]}[
        meter
    ]


def _end(period: str, begin_ms: int) -> int:
    if period in _SPANS_MS:
        return begin_ms + _SPANS_MS[period]
    return month_span(datetime.fromtimestamp(begin_ms // 1000, UTC).strftime("%Y-%m"))[1]


def month_span(month: str) -> tuple[int, int]:
    """First millisecond of a month such as `2026-08`, and the first after it."""
    year, number = map(int, month.split("-"))
    ends = (year, number), (year + number // 12, number % 12 + 1)
    begin, end = (int(datetime(*one, 1, tzinfo=UTC).timestamp()) * 1000 for one in ends)
    return begin, end


def usage(seen: Seen, kept: Kept) -> Iterator[Violation]:
    """Sums by the hour, and what the usage API has told, are the ledger's."""
    upto = max((one["upto"] for one in kept["usage_marks"] if one["name"] == "ledger"), default=0)
    names = [
        name for name in (*_SUMS, "cost", "calls") if name in next(iter(kept["usage_hours"]), {})
    ]
    for name in names:
        there, hours = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for row in kept["ledger"]:
            if row["seq"] <= upto:
                there[row["workspace"], row["model"]] += 1 if name == "calls" else row[name]
        for one in kept["usage_hours"]:
            hours[one["workspace"], one["model"]] += one[name]
        for place in sorted(place for place in there | hours if there[place] != hours[place]):
            yield Violation(
                "I-06", f"{place}: {name} by the hour is {hours[place]}, not {there[place]}"
            )
    for one in (note for note in seen.notes if note["what"] == "usage"):
        rows = [
            row
            for row in kept["ledger"]
            if row["workspace"] == one["workspace"]
            and one["from_ms"] <= row["at_ms"] < one["to_ms"]
        ]
        for name, value in one["totals"].items():
            own = len(rows) if name == "calls" else sum(row[name] for row in rows)
            if own != value:
                yield Violation("I-06", f"{one['workspace']}: told {name} {value}, rows have {own}")


# --- I-07, I-08, I-09: invoices ------------------------------------------------------------------


def invoices(seen: Seen, kept: Kept) -> Iterator[Violation]:
    """Final invoices add up, have not changed, and are numbered without gaps."""
    final = {one["id"]: one for one in kept["invoices"] if one["number"]}
    notes = kept["invoice_notes"]
    told = {one["number"]: one["digest"] for one in seen.notes if one["what"] == "invoice"}
    for one in (*final.values(), *notes):
        yield from _unchanged(one, told.get(one["number"], one["digest"]))
    for one in final.values():
        for text in _sums(_document(one["document"])[0]):
            yield Violation("I-07", f"{one['number']}: {text}")
    for note in notes:
        if note["invoice"] not in final:
            yield Violation("I-09", f"note {note['number']} is on an invoice that is not there")
    yield from _series(kept, [one["number"] for one in (*final.values(), *notes)])


def _unchanged(one: Row, told: str) -> Iterator[Violation]:
    """A document is the one that was made and handed out, and of whole numbers."""
    number, text = one["number"], one["document"]
    if hashlib.sha256(text.encode()).hexdigest() != one["digest"]:
        yield Violation("I-09", f"{number} is not what it was when it became final")
    if told != one["digest"]:
        yield Violation("I-09", f"{number} is not the one that was handed out")
    document, fractions = _document(text)
    if fractions:
        yield Violation("I-07", f"{number} has numbers that are not whole: {fractions[:_LIST]}")
    if json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False) != text:
        yield Violation("I-08", f"{number} is not in canonical form")
    for name in ("id", "number", "workspace", "total"):
        if document[name] != one[name]:
            yield Violation("I-09", f"{number}: {name} is {one[name]}, told is {document[name]}")


def _document(text: str) -> tuple[Any, list[str]]:
    fractions: list[str] = []
    return json.loads(text, parse_float=lambda one: fractions.append(one) or one), fractions


def _sums(document: Row) -> Iterator[str]:
    lines, taxes = document["lines"], document["taxes"]
    net, tax = sum(one["amount"] for one in lines), sum(one["amount"] for one in taxes)
    credit = sum(one["amount"] for one in document["credits"])
    should = {
        "net": net,
        "tax": tax,
        "gross": net + tax,
        "credit": credit,
        "total": net + tax - credit,
    }
    for name, value in should.items():
        if document[name] != value:
            yield f"{name} is {document[name]}, its parts make {value}"
    for name, value in document["heads"].items():
        if value != (own := sum(one["amount"] for one in lines if one["head"] == name)):
            yield f"{name} is {value}, its lines make {own}"
    for one in taxes:
        base = sum(line["amount"] for line in lines if line["head"] in one["heads"])
        if one["base"] != base or one["amount"] != round(Fraction(base * one["rate"], 10_000)):
            yield f"{one['name']} of {one['base']} at {one['rate']} is not {one['amount']}"
    for line in lines:
        yield from _line(line, document["exponent"])


def _line(line: Row, exponent: int) -> Iterator[str]:
    parts = line.get("parts")
    if parts and sum(part["amount"] for part in parts) != line["amount"]:
        yield f"the parts of {line['name']!r} do not make {line['amount']}"
    if "late" in line or not _ONE_PRICE.fullmatch(line.get("price", "")):
        return
    billed = Fraction(line["quantity"]) - Fraction(line["free"])
    less = Fraction(10_000 - line.get("discount", 0), 10_000)
    exact = billed * Fraction(line["price"]) * less * 10**exponent
    # Python rounds a half to the even one, as an invoice must.
    if line["amount"] != round(exact):
        yield f"{line['name']!r} is {line['amount']}, not {round(exact)}"


def _series(kept: Kept, numbers: list[str]) -> Iterator[Violation]:
    """Each series counts from 1 to its last number."""
    there: dict[str, list[int]] = defaultdict(list)
    for number in numbers:
        series, _, count = number.rpartition("-")
        there[series].append(int(count))
    for one in kept["invoice_series"]:
        if one["last"] or one["series"] in there:
            there.setdefault(one["series"], [])
            if len(there[one["series"]]) != one["last"]:
                text = (
                    f"{one['series']} ends at {one['last']}, there are {len(there[one['series']])}"
                )
                yield Violation("I-09", text)
    for series, counts in there.items():
        gaps = sorted(set(range(1, max(counts, default=0) + 1)) - set(counts))
        if gaps:
            yield Violation("I-09", f"{series} has no {gaps[:_LIST]}")


# --- I-08, I-10: every row in one month ----------------------------------------------------------


def months(kept: Kept) -> Iterator[Violation]:
    """Invoices say what the ledger says, and every row is on exactly one."""
    final = {(one["workspace"], one["month"]): one for one in kept["invoices"] if one["number"]}
    seals = sorted(
        (one for one in kept["invoice_seals"] if one["done_ms"]), key=lambda s: s["month"]
    )
    before = 0
    billed: dict[str, Counter[str]] = defaultdict(Counter)
    for seal in seals:
        if seal["ledger"] < before:
            yield Violation(
                "I-10", f"{seal['month']} was sealed at an earlier row than the month before"
            )
        begin, end = month_span(seal["month"])
        rows = [
            r for r in kept["ledger"] if begin <= r["at_ms"] < end and r["seq"] <= seal["ledger"]
        ]
        for workspace in sorted(
            {row["workspace"] for row in rows} | {w for w, m in final if m == seal["month"]}
        ):
            mine = [row for row in rows if row["workspace"] == workspace]
            invoice = final.get((workspace, seal["month"]))
            if invoice is None:
                yield Violation(
                    "I-10", f"{workspace} has {len(mine)} rows and no invoice of {seal['month']}"
                )
                continue
            told = _document(invoice["document"])[0]["usage"]
            yield from _quantities(
                invoice["number"], mine, [one for one in told if "late" not in one]
            )
            for one in told:
                billed[workspace]["calls"] += one["calls"]
        before = seal["ledger"]
    yield from _everything(kept, seals, billed)


def _quantities(number: str, rows: list[Row], told: list[Row]) -> Iterator[Violation]:
    own: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        sums = own[row["model"], row["device"]]
        sums["calls"] += 1
        for name in _SUMS:
            sums[name] += row[name]
    said = {(one["model"], one["device"]): one for one in told}
    for place in sorted(own.keys() | said.keys()):
        for name in ("calls", *_SUMS):
            there, says = own[place][name], said.get(place, {}).get(name, 0)
            if there != says:
                yield Violation(
                    "I-08", f"{number}: {place} {name} is {says}, the ledger has {there}"
                )


def _everything(
    kept: Kept, seals: list[Row], billed: Mapping[str, Counter[str]]
) -> Iterator[Violation]:
    if not seals:
        return
    begin, end, upto = (
        month_span(seals[0]["month"])[0],
        month_span(seals[-1]["month"])[1],
        seals[-1]["ledger"],
    )
    there = Counter(
        row["workspace"]
        for row in kept["ledger"]
        if begin <= row["at_ms"] < end and row["seq"] <= upto
    )
    for workspace in sorted(there.keys() | billed.keys()):
        calls = billed[workspace]["calls"] if workspace in billed else 0
        if calls != there[workspace]:
            yield Violation(
                "I-10", f"{workspace}: invoices have {calls} of {there[workspace]} rows"
            )


# --- I-11: the journal ---------------------------------------------------------------------------


def journal(kept: Kept) -> Iterator[Violation]:
    """Both sides of every entry are equal; nobody has used more credit than there was."""
    entries, prepaid = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    booked = Counter[str]()
    for one in kept["journal"]:
        entries[one["entry"], one["currency"]] += one["debit"] - one["credit"]
        if one["account"] == "prepaid":
            prepaid[one["workspace"], one["currency"]] += one["credit"] - one["debit"]
        if one["account"] == "receivable":
            booked[one["document"]] += one["debit"] - one["credit"]
    for entry, off in entries.items():
        if off:
            yield Violation("I-11", f"entry {entry[0]} is off by {off}")
    balances = {(b["workspace"], b["currency"]): b["amount"] for b in kept["prepaid_balances"]}
    for place in sorted(prepaid.keys() | balances.keys()):
        if prepaid[place] != balances.get(place, 0) or prepaid[place] < 0:
            text = f"{place}: credit is {balances.get(place, 0)}, the journal has {prepaid[place]}"
            yield Violation("I-11", text)
    for one in (one for one in kept["invoices"] if one["number"]):
        if booked[one["id"]] != one["total"]:
            yield Violation(
                "I-11", f"{one['number']} is {one['total']}, booked is {booked[one['id']]}"
            )


# --- I-12: the audit log -------------------------------------------------------------------------


def audit(kept: Kept, export: Path | None) -> Iterator[Violation]:
    """The chain is whole, ends where it should, and is what its checkpoints were signed over."""
    events = sorted(kept["audit"], key=lambda one: one["seq"])
    folder = kept.path.parent / "audit" / "checkpoints"
    notes = {one.name: one.read_text("utf-8") for one in sorted(folder.glob("[0-9]*"))}
    yield from _chain("audit", events, notes)
    for one in events:
        body = json.loads(one["body"])
        wrong = [
            n for n in ("at_ms", "act", "actor", "workspace", "subject") if body.get(n) != one[n]
        ]
        if wrong:
            yield Violation("I-12", f"event {one['seq']} has another {wrong} in its columns")
    last = events[-1] if events else {"seq": 0, "hash": "0" * 64}
    for head in kept["audit_head"]:
        if (head["seq"], head["hash"]) != (last["seq"], last["hash"]):
            yield Violation(
                "I-12", f"the log ends with {last['seq']}, written last was {head['seq']}"
            )
    if export is not None:
        lines, more = _exported(export)
        yield from _chain("export", lines, more)
        here = {one["seq"]: one["hash"] for one in events}
        for one in lines:
            if here.get(one["seq"]) != one["hash"]:
                yield Violation("I-12", f"event {one['seq']} is not the one that was exported")


def _exported(path: Path) -> tuple[list[Row], dict[str, str]]:
    if path.is_dir():
        files = {
            str(one.relative_to(path)): one.read_bytes() for one in path.rglob("*") if one.is_file()
        }
    else:
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    lines = [json.loads(line) for line in files["audit.jsonl"].splitlines()]
    notes = {name: data.decode() for name, data in files.items() if name.startswith("checkpoints/")}
    return lines, dict(sorted(notes.items()))


def _chain(name: str, events: list[Row], notes: Mapping[str, str]) -> Iterator[Violation]:
    before = "0" * 64
    leaves: list[bytes] = []
    for at, one in enumerate(events, 1):
        if one["seq"] != at:
            yield Violation("I-12", f"{name}: event {at} is missing before {one['seq']}")
            return
        if one["prev"] != before:
            yield Violation("I-12", f"{name}: event {at} does not follow the one before it")
        made = hashlib.sha256(bytes.fromhex(one["prev"]) + one["body"].encode()).hexdigest()
        if made != one["hash"] or json.loads(one["body"]).get("seq") != at:
            yield Violation("I-12", f"{name}: event {at} was changed")
        before = one["hash"]
        leaves.append(hashlib.sha256(b"\x00" + bytes.fromhex(before)).digest())
    for note, text in notes.items():
        size, root = int(text.split("\n")[1]), base64.b64decode(text.split("\n")[2])
        if size > len(leaves):
            yield Violation(
                "I-12", f"{name}: {note} was signed over {size} events of {len(leaves)}"
            )
        elif _root(leaves[:size]) != root:
            yield Violation("I-12", f"{name}: {note} was signed over other events")


def _root(leaves: list[bytes]) -> bytes:
    """The Merkle tree's root (RFC 9162), as its definition has it."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashlib.sha256().digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + _root(leaves[:half]) + _root(leaves[half:])).digest()


def _ids(rows: list[Row]) -> str:
    more = f" and {len(rows) - _LIST} more" if len(rows) > _LIST else ""
    return ", ".join(row["id"] for row in rows[:_LIST]) + more


def main() -> int:
    """The script: 0 if all is well, 1 if something is not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("log", type=Path, help="what the client has written")
    parser.add_argument("database", type=Path, help="the SQLite file")
    parser.add_argument("--audit", type=Path, help="an export of the audit log")
    asked = parser.parse_args()
    found = check(asked.log, asked.database, asked.audit)
    for one in found:
        print(one.id, one.text)
    if not found:
        print("Nothing is wrong.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
