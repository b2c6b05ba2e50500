"""A noisy workspace: what others feel when one sends twenty times its share.

    python -m bench.fair [--seconds 10] [--rounds 3] [--write]

Four workspaces send at a fixed rate each (open loop), together 40 % of what the machine can do; in
every second turn a fifth sends twenty times as much as one of them. EfficientNet-Lite0, 640x480.
Latency counts from the moment at which a request should have left.
"""

import argparse
import asyncio
import statistics
from pathlib import Path

from bench import machine
from bench.keeping import PYTHON, furnished, signed, with_accounts
from bench.load import Open, Request, closed, open_loop
from bench.provision import default_cache, payloads
from bench.running import running
from bench.servers import heliograph

_RESULT = Path(__file__).parent / "results" / "fair.md"
QUIET = ("a", "b", "c", "d")
NOISE = 20
LOAD = 0.4


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=10.0)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--write", action="store_true", help="keep the table in bench/results")
    asked = options.parse_args()
    picture = payloads(asked.data, default_cache())["640x480"]
    plain = heliograph().request(picture.read_bytes())
    folder = default_cache() / "home-fair"
    turns: dict[str, list[dict[str, Open]]] = {"without": [], "with": []}
    with furnished(folder, default_cache() / "home", [*QUIET, "noisy"]) as keys:
        requests = {name: signed(plain, key) for name, key in keys.items()}
        server = with_accounts()
        with running(server, PYTHON, {}, folder, requests["a"]) as started:
            capacity = closed(started.port, requests["a"], 16, 5.0)["per_second"]
            rate = capacity * LOAD / len(QUIET)
            for number in range(asked.rounds):
                for how in sorted(turns, reverse=bool(number % 2)):
                    rates = dict.fromkeys(QUIET, rate)
                    if how == "with":
                        rates["noisy"] = rate * NOISE
                    seen = asyncio.run(_together(started.port, requests, rates, asked.seconds))
                    turns[how].append(seen)
                    print(how, _line(seen), flush=True)
    table = report(turns, capacity, rate, asked)
    print(table)
    if asked.write:
        _RESULT.write_text(table, "utf-8")


async def _together(
    port: int, requests: dict[str, Request], rates: dict[str, float], seconds: float
) -> dict[str, Open]:
    found = await asyncio.gather(
        *(open_loop(port, requests[name], rate, seconds, 256) for name, rate in rates.items())
    )
    return dict(zip(rates, found, strict=True))


def _line(seen: dict[str, Open]) -> str:
    return "  ".join(
        f"{name}: {one['good_per_second']:.1f}/s p99 {one['good_p99_ms']:.0f} ms "
        f"({one['refused']} refused)"
        for name, one in seen.items()
    )


def _jain(rates: list[float]) -> float:
    return sum(rates) ** 2 / (len(rates) * sum(rate * rate for rate in rates))


def _p99(turn: dict[str, Open]) -> float:
    return statistics.median(turn[name]["good_p99_ms"] for name in QUIET)


def report(
    turns: dict[str, list[dict[str, Open]]],
    capacity: float,
    rate: float,
    asked: argparse.Namespace,
) -> str:
    before, after = ([_p99(one) for one in turns[how]] for how in ("without", "with"))
    ratio = statistics.median(after) / statistics.median(before)
    fair = [_jain([one[name]["good_per_second"] for name in QUIET]) for one in turns["with"]]
    kept = [
        sum(one[name]["good_per_second"] for name in QUIET) / (rate * len(QUIET))
        for one in turns["with"]
    ]
    refused = sum(one[name]["refused"] for one in turns["with"] for name in QUIET)
    lines = [
        "# A noisy workspace",
        "",
        f"Machine: {machine.line()}",
        f"Command: `python -m bench.fair --seconds {asked.seconds:g} --rounds {asked.rounds}`.",
        "",
        f"Capacity {capacity:.0f}/s; four workspaces at {rate:.1f}/s each; the noisy one at "
        f"{rate * NOISE:.0f}/s.",
        "",
        "| the four, in each turn | p99 in ms |",
        "| --- | --- |",
        f"| without the noisy one | {', '.join(f'{one:.0f}' for one in before)} |",
        f"| with it | {', '.join(f'{one:.0f}' for one in after)} |",
        "",
        f"p99 with against without: {ratio:.2f}. Jain index of the four: {min(fair):.3f} or more. "
        f"They got {min(kept):.3f} or more of what they sent in time; {refused} of their calls "
        "were refused.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
