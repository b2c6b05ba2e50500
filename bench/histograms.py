"""What the histograms of `/metrics` cost: throughput with and without, in turns.

    python -m bench.histograms [--rounds 8] [--seconds 4] [--write]

Two servers run side by side, one with `log.histograms` off; only one is asked at a time, in turns
that change round by round. EfficientNet-Lite0, 640x480, 16 connections, closed loop.
"""

import argparse
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path

from bench import machine
from bench.load import closed
from bench.provision import default_cache, payloads
from bench.running import running
from bench.servers import heliograph

_RESULT = Path(__file__).parent / "results" / "histograms.md"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=8)
    options.add_argument("--seconds", type=float, default=4.0)
    options.add_argument("--data", type=Path, default=Path("../shared/data"))
    options.add_argument("--write", action="store_true", help="keep the table in bench/results")
    asked = options.parse_args()
    server = heliograph()
    picture = payloads(asked.data, default_cache())["640x480"]
    request = server.request(picture.read_bytes())
    found: dict[str, list[float]] = {"on": [], "off": []}
    with ExitStack() as stack:
        ports: dict[str, int] = {}
        for how in found:
            environment = {"HELIOGRAPH_LOG_HISTOGRAMS": "true" if how == "on" else "false"}
            home = default_cache() / "home"
            started = running(server, Path(sys.executable), environment, home, request)
            ports[how] = stack.enter_context(started).port
            closed(ports[how], request, 16, 2.0)
        for number in range(asked.rounds):
            for how in sorted(found, reverse=bool(number % 2)):
                rate = closed(ports[how], request, 16, asked.seconds)["per_second"]
                found[how].append(rate)
                print(f"round {number + 1}: histograms {how:3}  {rate:7.1f}/s", flush=True)
    table = report(found, asked)
    print(table)
    if asked.write:
        _RESULT.write_text(table, "utf-8")


def report(found: dict[str, list[float]], asked: argparse.Namespace) -> str:
    middle = {how: statistics.median(rates) for how, rates in found.items()}
    pairs = [on / off for on, off in zip(found["on"], found["off"], strict=True)]
    lines = [
        "# What histograms cost",
        "",
        f"Machine: {machine.line()}",
        f"Command: `python -m bench.histograms --rounds {asked.rounds} "
        f"--seconds {asked.seconds:g}`.",
        "",
        "| histograms | requests/s, median | every round |",
        "| --- | ---: | --- |",
    ]
    for how, rates in found.items():
        every = ", ".join(f"{rate:.0f}" for rate in rates)
        lines.append(f"| {how} | {middle[how]:.1f} | {every} |")
    lines += [
        "",
        f"On against off, pair by pair: median {statistics.median(pairs):.3f}, "
        f"{min(pairs):.3f} to {max(pairs):.3f}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
