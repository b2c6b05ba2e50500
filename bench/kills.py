"""Kill -9 at every step of the ledger's path, seed after seed, and what the checker says.

    python -m bench.kills --seeds 200 [--minutes 60] [--results bench/results]

A seed arms one step (in turn, so that every step is met equally often) to end the server the n-th
time it is reached, `n` and the number of clients by chance; every tenth kills from outside at a
random moment instead, of two workers first one. All seeds share a data folder: a start is always
the recovery from the end before it, and the checker holds the whole of it after each. See
`tests/support/kills.py` for what a seed does, `tests/support/checker.py` for what must hold.
"""

import argparse
import datetime as dt
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from random import Random

_ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(_ROOT / "tests"))


from bench import machine  # noqa: E402
from support.kills import SITES, End, Kills  # noqa: E402

_RANDOM_EVERY = 10


def one(kills: Kills, seed: int) -> End:
    """One seed."""
    chance = Random(seed)
    if seed % _RANDOM_EVERY == 0:
        return kills.anywhen(chance, workers=chance.choice((1, 1, 2)), threads=3)
    site = SITES[seed % len(SITES)]
    threads = chance.choice((1, 1, 3))
    times = chance.randint(1, 40) if site.startswith("writer") else chance.randint(1, 12)
    return kills.at(site, times, threads=threads)


def report(ends: list[End], asked: int, kills: Kills, seconds: float) -> str:
    """The run in Markdown."""
    met: dict[str, list[End]] = defaultdict(list)
    for end in ends:
        met[end.site].append(end)
    said = Counter(found.ok for _, found in kills.load.outcomes)
    again = sum(found.again for _, found in kills.load.outcomes)
    wrong = [one for end in ends for one in end.violations]
    rows = [
        f"| {site} | {len(there)} | {sum(one.starting for one in there)} "
        f"| {sum(one.lost for one in there)} | {sum(len(one.violations) for one in there)} |"
        for site, there in sorted(met.items())
    ]
    passed = sum(not end.violations for end in ends)
    told = [
        "# Kills at every step of the ledger's path",
        "",
        "Made by `python -m bench.kills`; what it does stands there.",
        "",
        machine.line(),
        "",
        f"{passed} of {len(ends)} seeds passed ({asked} were asked for) in {seconds:.0f} s on "
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}: {said[True]} answers, {again} of them replays, "
        f"{said[False]} calls without one, {len(wrong)} violations.",
        "",
        "| where it ended | ends | while starting | unknown outcomes | violations |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        *(f"\n{one.id} {one.text}" for one in wrong[:50]),
    ]
    return "\n".join(told) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--results", type=Path, default=_ROOT / "bench" / "results")
    asked = parser.parse_args()
    began, ends = time.monotonic(), list[End]()
    with tempfile.TemporaryDirectory(prefix="heliograph-kills-") as folder:
        kills = Kills(Path(folder), asked.first)
        for seed in range(asked.first, asked.first + asked.seeds):
            if time.monotonic() - began > asked.minutes * 60:
                break
            end = one(kills, seed)
            ends.append(end)
            print(seed, end.site, end.lost, end.violations or "", flush=True)
            if end.violations:
                break
        ends.append(End("(the end)", starting=False, lost=0, violations=kills.settle()))
        text = report(ends[:-1], asked.seeds, kills, time.monotonic() - began)
        if ends[-1].violations:
            text += f"\nAt the end: {ends[-1].violations}\n"
    asked.results.mkdir(parents=True, exist_ok=True)
    (asked.results / "kills.md").write_text(text, "utf-8")
    print(text)
    return int(any(end.violations for end in ends))


if __name__ == "__main__":
    os.nice(10)
    sys.exit(main())
