"""What accounts cost: throughput with gate, prices, ledger and audit, against `--open`, in turns.

    python -m bench.accounts [--rounds 8] [--seconds 4] [--write]

Two servers run side by side; only one is asked at a time, in turns that change round by round.
EfficientNet-Lite0, 640x480, 16 connections, closed loop. Every answer of the one with accounts is
a row of its ledger, on disk before it leaves; at the end rows and answers are counted.
"""

import argparse
import contextlib
import statistics
from contextlib import ExitStack
from pathlib import Path

from sqlalchemy import func, select

from bench import machine
from bench.keeping import PYTHON, furnished, signed, with_accounts
from bench.load import Request, closed
from bench.provision import default_cache, payloads
from bench.running import running
from bench.servers import Server, heliograph
from heliograph.billing.ledger.store import LEDGER
from heliograph.house import open_house
from heliograph.settings import read_settings

_RESULT = Path(__file__).parent / "results" / "accounts.md"
CONNECTIONS = 16


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=8)
    options.add_argument("--seconds", type=float, default=4.0)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--write", action="store_true", help="keep the table in bench/results")
    asked = options.parse_args()
    picture = payloads(asked.data, default_cache())["640x480"]
    plain = heliograph().request(picture.read_bytes())
    folder = default_cache() / "home-accounts"
    found: dict[str, list[float]] = {"accounts": [], "open": []}
    answered = 0
    with furnished(folder, default_cache() / "home", ["one"]) as keys:
        with ExitStack() as stack:
            ports: dict[str, int] = {}
            kinds: dict[str, tuple[Server, Path, Request]] = {
                "accounts": (with_accounts(), folder, signed(plain, keys["one"])),
                "open": (heliograph(), default_cache() / "home", plain),
            }
            for how, (server, home, request) in kinds.items():
                started = stack.enter_context(running(server, PYTHON, {}, home, request))
                ports[how] = started.port
                warmed = closed(started.port, request, CONNECTIONS, 2.0)
                answered += warmed["requests"] + 1 if how == "accounts" else 0
            for number in range(asked.rounds):
                for how in sorted(found, reverse=bool(number % 2)):
                    seen = closed(ports[how], kinds[how][2], CONNECTIONS, asked.seconds)
                    answered += seen["requests"] if how == "accounts" else 0
                    found[how].append(seen["per_second"])
                    print(f"round {number + 1}: {how:8}  {seen['per_second']:7.1f}/s", flush=True)
        rows = _rows(folder)
    table = report(found, rows, answered, asked)
    print(table)
    if asked.write:
        _RESULT.write_text(table, "utf-8")


def _rows(folder: Path) -> int:
    house = open_house(read_settings(folder))
    with contextlib.closing(house), house.database.read() as connection:
        return connection.scalar(select(func.count()).select_from(LEDGER)) or 0


def report(
    found: dict[str, list[float]], rows: int, answered: int, asked: argparse.Namespace
) -> str:
    pairs = [on / off for on, off in zip(found["accounts"], found["open"], strict=True)]
    lines = [
        "# What accounts cost",
        "",
        f"Machine: {machine.line()}",
        f"Command: `python -m bench.accounts --rounds {asked.rounds} --seconds {asked.seconds:g}`.",
        "",
        "| server | requests/s, median | every round |",
        "| --- | ---: | --- |",
    ]
    for how, rates in found.items():
        every = ", ".join(f"{rate:.0f}" for rate in rates)
        lines.append(f"| {how} | {statistics.median(rates):.1f} | {every} |")
    lines += [
        "",
        f"Accounts against open, pair by pair: median {statistics.median(pairs):.3f}, "
        f"{min(pairs):.3f} to {max(pairs):.3f}.",
        "",
        f"Answers that the generator counted: {answered}; rows in the ledger: {rows}. A generator "
        "that stops at the end of its time leaves up to one answer a connection uncounted in each "
        f"of {asked.rounds + 1} turns.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
