"""The independent checker catches every defect that is put into a good run's books."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from heliograph.audit.export import export
from heliograph.audit.service import Audit
from heliograph.billing.invoices.corrections import Correction
from heliograph.storage.database import FILE
from support import checker, usage
from support.databases import opened
from support.invoices import AUGUST, House, house, operator
from support.ledgerload import PROTOCOLS, Load, introduce, serving
from support.ledgerload import opened as way

HOUR = 3_600_000
FLAT = """
currency = "EUR"
seller = {name="Sun Ltd", address=["1 Long Lane"], country="DE", tax_id="DE1"}

[[rates]]
meter = "run_ms"
price = "0.0021"

[[rates]]
meter = "images"
price = "0.015"

[[taxes]]
name = "VAT"
rate = 1900
countries = ["", "DE"]
"""


class Books(NamedTuple):
    """A run's papers."""

    log: Path
    database: Path
    export: Path

    def check(self) -> list[checker.Violation]:
        return checker.check(self.log, self.database, self.export)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Books:
    """Calls over every protocol, some sent twice, some refused; then two months with invoices."""
    folder = tmp_path_factory.mktemp("good")
    home = folder / "home"
    load = Load(folder / "log", "ws_default", 1)
    with serving(home, "server") as server:
        limit = {"meter": "calls", "period": "month", "most": 12}
        introduce(load, server, [limit], prices=False)
        with way(server) as door:
            asked = [load.question(PROTOCOLS[n % 5], keyed=n < 7) for n in range(14)]
            said = [load.ask(door, one) for one in asked]
            again = [load.ask(door, one) for one in asked[:3]]
            refused = load.ask(door, load.question("http", keyed=True))
    assert [one.ok for one in said] == [True] * 12 + [False] * 2, said
    assert all(one.ok and one.again for one in again)
    assert refused.code == "quota_exceeded"
    with opened("", home) as database:
        audit = Audit(database, lambda: AUGUST.from_ms, home / "audit")
        books = house(database, sheet=FLAT)
        for n, at_ms in enumerate([AUGUST.from_ms + HOUR, AUGUST.next().from_ms + HOUR] * 3):
            _answer(load, books, "ws_1" if n < 4 else "ws_2", at_ms, n)
        books.close()
        _answer(load, books, "ws_1", AUGUST.to_ms - HOUR, 9)  # a late one
        books.close(AUGUST.next())
        bill = books.invoice("ws_1")
        books.invoices.corrections.issue(
            operator(), bill["number"], "credit_note", "Goodwill", [Correction(1, "0.01")]
        )
        load.note("invoice", number=bill["number"], digest=_digest(bill))
        audit.seals.checkpoint()
        export(audit, folder / "export", "admin")
        audit.seals.checkpoint()
    load.close()
    return Books(folder / "log", home / FILE, folder / "export")


def _answer(load: Load, books: House, workspace: str, at_ms: int, number: int) -> None:
    """An answer of another month, as a client of then saw it."""
    digest = hashlib.sha256(f"answer {number}".encode()).hexdigest()
    row = usage.answer(workspace, at_ms, result_digest=digest, run_us=12_345 + number)
    books.answer(row)
    call = f"old {number}"
    load.note("ask", call=call, workspace=workspace, model="detector", key="", images=1)
    told = {"status": 200, "ok": True, "pred": row["id"], "digest": digest, "bytes": 900}
    load.note("answer", call=call, **told, cost="", again=False)


def _digest(document: Any) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def books(good: Books, tmp_path: Path) -> Books:
    """A copy of the run, to be spoilt."""
    shutil.copytree(good.database.parent, tmp_path / "home")
    return Books(good.log, tmp_path / "home" / good.database.name, good.export)


def test_a_good_run_has_no_violation(good: Books) -> None:
    assert good.check() == []


def test_it_imports_nothing_of_ours() -> None:
    tree = ast.parse(Path(checker.__file__).read_text("utf-8"))
    names = {
        one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names
    }
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_it_runs_alone(good: Books, books: Books) -> None:
    def run(one: Books) -> tuple[int, str]:
        words = [
            sys.executable,
            "-I",
            checker.__file__,
            one.log,
            one.database,
            "--audit",
            one.export,
        ]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
        assert not done.stderr
        return done.returncode, done.stdout

    assert run(good) == (0, "Nothing is wrong.\n")
    with closing(sqlite3.connect(books.database)) as connection:
        connection.execute("DELETE FROM ledger WHERE seq = 1")
        connection.commit()
    code, said = run(books)
    assert code == 1
    assert "I-01 " in said


Spoil = Callable[[sqlite3.Connection], object]
COPIED = (
    "at_ms, workspace, key, person, model, version, digest, task, images, rows, pixels, bytes_in, "
    "bytes_out, run_us, device, price_version, cost"
)


def sql(*statements: str) -> Spoil:
    """Statements, each of which must change something."""

    def work(connection: sqlite3.Connection) -> None:
        for one in statements:
            assert connection.execute(one).rowcount > 0, one

    return work


def twice(key: str, seq: int = 1, digest: str = "result_digest") -> str:
    """A second row of an answer, with another id."""
    return (
        f"INSERT INTO ledger (id, idempotency, result_digest, {COPIED}) "
        f"SELECT 'pred_x', {key}, {digest}, {COPIED} FROM ledger WHERE seq = {seq}"
    )


def amend(change: Callable[[dict[str, Any]], object], *, sealed: bool) -> Spoil:
    """Change the first final invoice; `sealed`: with its digest and its columns."""

    def work(connection: sqlite3.Connection) -> None:
        id_, text = connection.execute(
            "SELECT id, document FROM invoices WHERE number IS NOT NULL AND workspace = 'ws_2'"
        ).fetchone()
        document = json.loads(text)
        change(document)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        connection.execute("UPDATE invoices SET document = ? WHERE id = ?", (text, id_))
        if sealed:
            connection.execute(
                "UPDATE invoices SET digest = ?, total = ? WHERE id = ?",
                (hashlib.sha256(text.encode()).hexdigest(), document["total"], id_),
            )

    return work


def round_up(document: dict[str, Any]) -> None:
    """One line is a cent dearer, and every sum with it."""
    line = next(one for one in document["lines"] if one["meter"] == "run_ms")
    line["amount"] += 1
    for part in line.get("parts", [])[:1]:
        part["amount"] += 1
    document["heads"][line["head"]] += 1
    for name in ("net", "gross", "total"):
        document[name] += 1
    document["taxes"][0]["base"] += 1


def more_usage(document: dict[str, Any]) -> None:
    document["usage"][0]["images"] += 1


def fraction(document: dict[str, Any]) -> None:
    document["total"] = float(document["total"])


DEFECTS: dict[str, tuple[str, Spoil]] = {
    "double insert with another id": ("I-01", sql(twice("''", 8))),
    "lost row": ("I-01", sql("DELETE FROM ledger WHERE seq = 9")),
    "lost row of a key": ("I-01", sql("DELETE FROM ledger WHERE seq = 2")),
    "row of another workspace": ("I-01", sql("UPDATE ledger SET workspace = 'ws_1' WHERE seq = 8")),
    "wrong model": ("I-01", sql("UPDATE ledger SET model = 'dear' WHERE seq = 8")),
    "wrong units": ("I-01", sql("UPDATE ledger SET pixels = pixels + 1 WHERE seq = 1")),
    "wrong bytes": ("I-01", sql("UPDATE ledger SET bytes_out = bytes_out - 1 WHERE seq = 8")),
    "wrong cost": ("I-01", sql("UPDATE ledger SET cost = cost + 1 WHERE seq = 8")),
    "row of other bytes": (
        "I-01",
        sql(f"UPDATE ledger SET result_digest = '{'a' * 64}' WHERE seq = 1"),
    ),
    "no digest of the result": ("I-02", sql("UPDATE ledger SET result_digest = '' WHERE seq = 8")),
    "kept answer lost": ("I-02", sql("DELETE FROM replies WHERE key = 'k1-1'")),
    "row that nobody asked for": ("I-03", sql(twice("''", 8, f"'{'b' * 64}'"))),
    "row of a key that nobody sent": ("I-03", sql(twice("'other'", 8, f"'{'b' * 64}'"))),
    "two rows for one key": ("I-05", sql(twice("idempotency"))),
    "quota counter off by one": ("I-06", sql("UPDATE counters SET used = used + 1")),
    "quota counter behind": ("I-06", sql("UPDATE counters SET used = used - 1")),
    "more than the quota": (
        "I-11",
        sql(
            "UPDATE keys SET limits = '[[\"calls\", \"month\", 11]]' WHERE limits LIKE '%12%'",
        ),
    ),
    "rounding up on a line": ("I-07", amend(round_up, sealed=True)),
    "total that is no sum": ("I-07", amend(lambda d: d.update(total=d["total"] + 1), sealed=True)),
    "tax that is no part": ("I-07", amend(lambda d: d["taxes"][0].update(amount=0), sealed=True)),
    "a number that is not whole": ("I-07", amend(fraction, sealed=True)),
    "invoice of usage that was not": ("I-08", amend(more_usage, sealed=True)),
    "changed final invoice": ("I-09", amend(lambda d: d.update(terms="none"), sealed=False)),
    "gap in the numbers": (
        "I-09",
        sql("DELETE FROM invoices WHERE number LIKE '%-000001'"),
    ),
    "last number lost": ("I-09", sql("UPDATE invoice_series SET last = last + 1 WHERE last > 0")),
    "note on nothing": ("I-09", sql("UPDATE invoice_notes SET invoice = 'inv_x'")),
    "row after its month was closed": (
        "I-10",
        sql(f"UPDATE invoice_seals SET ledger = ledger - 1 WHERE month = '{AUGUST.next()}'"),
    ),
    "workspace without an invoice": ("I-10", sql("DELETE FROM invoices WHERE workspace = 'ws_2'")),
    "one side of an entry": ("I-11", sql("DELETE FROM journal WHERE seq = 1")),
    "credit from nowhere": (
        "I-11",
        sql("INSERT INTO prepaid_balances (workspace, currency, amount) VALUES ('ws_1', 'EUR', 5)"),
    ),
    "edited audit event": (
        "I-12",
        sql("UPDATE audit SET body = replace(body, 'admin', 'nimda') WHERE body LIKE '%admin%'"),
    ),
    "edited column of an audit event": ("I-12", sql("UPDATE audit SET actor = 'x' WHERE seq = 2")),
    "deleted audit event": ("I-12", sql("DELETE FROM audit WHERE seq = 2")),
    "audit log cut off": (
        "I-12",
        sql("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)"),
    ),
    "audit log cut off with its head": (
        "I-12",
        sql(
            "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)",
            "UPDATE audit_head SET seq = (SELECT max(seq) FROM audit), "
            "hash = (SELECT hash FROM audit ORDER BY seq DESC LIMIT 1)",
        ),
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_caught(books: Books, defect: str) -> None:
    invariant, spoil = DEFECTS[defect]
    with closing(sqlite3.connect(books.database)) as connection:
        spoil(connection)
        connection.commit()
    assert invariant in {one.id for one in books.check()}, books.check()


def test_a_row_for_a_refused_call_is_caught(books: Books) -> None:
    seen = checker.read_log(books.log)
    refused = [
        ask["key"] for call, ask in seen.asks.items() if ask["key"] and not seen.answers[call]["ok"]
    ]
    with closing(sqlite3.connect(books.database)) as connection:
        sql(twice(f"'{refused[0]}'", 8, f"'{'c' * 64}'"))(connection)
        connection.commit()
    assert "I-04" in {one.id for one in books.check()}


def test_an_answer_that_was_never_booked_is_caught(good: Books, tmp_path: Path) -> None:
    log = tmp_path / "log"
    shutil.copy(good.log, log)
    more = Load(log, "ws_default")
    more.note("ask", call="x", workspace="ws_default", model="simple", key="")
    told = {"status": 200, "ok": True, "pred": "", "digest": "d" * 64, "bytes": 1}
    more.note("answer", call="x", **told, cost="", again=False)
    more.close()
    found = checker.check(log, good.database)
    assert [one.id for one in found] == ["I-01"], found


def test_a_replay_with_other_bytes_is_caught(good: Books, tmp_path: Path) -> None:
    log = tmp_path / "log"
    text = good.log.read_text("utf-8")
    seen = checker.read_log(good.log)
    call = next(call for call, one in seen.answers.items() if one["again"])
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        if line.get("call") == call and line["what"] == "answer":
            line["digest"] = "e" * 64
    log.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    assert "I-05" in {one.id for one in checker.check(log, good.database)}
