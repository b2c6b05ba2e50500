"""`python -m bench`: run the session and write its results. See README.md.

Rounds are outermost and servers innermost, so that a slow minute of the machine falls on everyone;
each round starts one place further along. A server is started for its turn and stopped after it,
so that no idle server takes from another, and every round gives one more start and one more weight.
The limit takes several turns per round.
"""

import argparse
import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import load, provision, report
from bench.limit import Limit
from bench.report import Row, Session
from bench.running import Running, StartError, running
from bench.servers import VARIANTS, Server, everyone

_ROOT = Path(__file__).resolve().parents[1]
_LIMIT_EVERY = 4
_WARM, _TRIES, _DRAINS = 1.0, 2, 3
Limits = dict[str, dict[str, list[Limit]]]


class Bench:
    """One session: its options, its inputs and what it has found so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Make or find everything that the session needs."""
        self.options = options
        self.cache: Path = options.cache
        self.payloads = {
            name: path
            for name, path in provision.payloads(options.data, self.cache).items()
            if name in options.payload
        }
        self.model: Path = options.model or provision.model(self.cache, say)
        self.environment = {
            "BENCH_MODEL": str(self.model),
            "PYTHONPATH": os.pathsep.join([str(_ROOT), str(_ROOT / "src")]),
            "PYTHONUNBUFFERED": "1",
        }
        self.limits: Limits = {}
        self.limits_pillow: Limits = {}
        self.rows = {server.title: Row(server.name, server.variant) for server in options.servers}

    def run(self) -> Session:
        """All rounds, then the overload of those it was asked for."""
        info = report.machine()
        began = dt.datetime.now(dt.UTC)
        pythons = self._environments()
        self.measure_limit("documented", self.limits_pillow)
        for number in range(self.options.rounds):
            say(f"round {number + 1} of {self.options.rounds}")
            able = [s for s in self.options.servers if s.title in pythons]
            first = number % max(1, len(able))
            servers = able[first:] + able[:first]
            for place, server in enumerate(servers):
                if place % _LIMIT_EVERY == 0:
                    self.measure_limit("our-decoder", self.limits)
                self.turn(server, pythons[server.title])
        for server in self.options.servers:
            if server.name in self.options.overload and server.title in pythons:
                self.overload(server, pythons[server.title])
        kept = ("rounds", "seconds", "connections", "overload", "overload_seconds")
        options: dict[str, Any] = {name: getattr(self.options, name) for name in kept}
        return Session(
            name=self.options.name,
            date=began.isoformat(timespec="seconds"),
            commit=_commit(),
            options={**options, "minutes": round(_minutes(began), 1)},
            machine=info,
            payload_bytes={name: path.stat().st_size for name, path in self.payloads.items()},
            model_sha256=hashlib.sha256(self.model.read_bytes()).hexdigest(),
            limits=self.limits,
            limits_pillow=self.limits_pillow,
            rows=list(self.rows.values()),
        )

    def _environments(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for server in self.options.servers:
            row = self.rows[server.title]
            python = Path(sys.executable)
            if server.requirements:
                try:
                    python = provision.environment(
                        server.name, server.requirements, self.cache, say
                    )
                except (OSError, subprocess.CalledProcessError) as error:
                    row.failures.append(f"its environment could not be made: {error}")
                    say(f"{server.title}: {row.failures[-1]}")
                    continue
            found[server.title] = python
            row.versions = provision.versions(python)
            row.environment = dict(server.environment)
        return found

    def measure_limit(self, variant: str, into: Limits) -> None:
        """One turn of the limit, in a process of its own."""
        command = [sys.executable, "-m", "bench.limit", "--seconds", str(self.options.seconds / 2)]
        command += ["--payload", *map(str, self.payloads.values())]
        variables = {**os.environ, **self.environment, "BENCH_VARIANT": variant}
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=variables, cwd=_ROOT
        )
        found: dict[str, dict[str, Limit]] = json.loads(done.stdout)
        for payload, kinds in found.items():
            for kind, limit in kinds.items():
                into.setdefault(payload, {}).setdefault(kind, []).append(limit)
        rates = ", ".join(f"{p} {k['all']['per_second']:.1f}/s" for p, k in found.items())
        say(f"limit ({variant}): {rates}")

    def turn(self, server: Server, python: Path) -> None:
        """Start, check, load, weigh, stop."""
        row = self.rows[server.title]
        for _ in range(_TRIES):
            failed = self.try_turn(server, python, row)
            if not failed:
                say(
                    f"{server.title}: first answer {row.first_answer[-1]:.2f} s, "
                    f"{row.memory[-1] / 1e6:.0f} MB"
                )
                return
            row.failures.append(self.without_paths(failed))
            say(f"{server.title}: {row.failures[-1]}")

    def try_turn(self, server: Server, python: Path, row: Row) -> str:
        """A turn, or the reason why it came to nothing."""
        try:
            with self.start(server, python) as live:
                row.command = live.command
                self.check(server, live, row)
                for payload, path in self.payloads.items():
                    self.press(server, live, row, payload, server.request(path.read_bytes()))
                row.first_answer.append(live.first_answer)
                row.memory.append(live.pss())
                row.processes = live.processes()
        except StartError as error:
            return f"did not start: {error}"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def without_paths(self, text: str) -> str:
        """Results are kept in the repository, and folders of this machine are not."""
        for folder, name in ((self.cache, "CACHE"), (_ROOT, "ROOT"), (Path.home(), "HOME")):
            text = text.replace(str(folder), name)
        return text

    def start(self, server: Server, python: Path) -> Any:
        """A running server that has answered the smallest payload."""
        first = server.request(next(iter(self.payloads.values())).read_bytes())
        variables = {**self.environment, "BENCH_VARIANT": server.variant}
        home = self.cache / "home" / server.name
        home.mkdir(parents=True, exist_ok=True)
        return running(server, python, variables, home, first)

    def check(self, server: Server, live: Running, row: Row) -> None:
        """Each payload once: the same class as the limit found."""
        for payload, path in self.payloads.items():
            top = live.ask(server, server.request(path.read_bytes()))
            wanted = self.limits[payload]["all"][0]["index"]
            row.agrees[payload] = top in {str(wanted), *provision.labels(wanted)}
            if not row.agrees[payload]:
                say(f"{server.title}: {payload}: answers {top!r}, the limit {wanted}")

    def press(
        self, server: Server, live: Running, row: Row, payload: str, request: load.Request
    ) -> None:
        """Warm, then measure at each number of connections."""
        for count in self.options.connections:
            load.closed(live.port, request, count, _WARM)
            # Most servers go on with what the warming abandoned; that must not cost them here.
            for _ in range(_DRAINS):
                live.ask(server, request)
            used = live.cpu()
            found = load.closed(live.port, request, count, self.options.seconds)
            used = (live.cpu() - used) * 1e3 / max(1, found["requests"])
            row.cpu_ms.setdefault(payload, {}).setdefault(count, []).append(used)
            row.closed.setdefault(payload, {}).setdefault(count, []).append(found)
            wrong = f", {found['bad_status'] + found['broken']} ERRORS"
            say(
                f"{server.title}: {payload} @{count}: {found['per_second']:.1f}/s, "
                f"p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms, CPU {used:.1f} ms"
                + (wrong if found["bad_status"] or found["broken"] else "")
            )

    def overload(self, server: Server, python: Path) -> None:
        """Peak, then three times the peak on a fixed schedule, then the peak again."""
        row = self.rows[server.title]
        request = server.request(next(iter(self.payloads.values())).read_bytes())
        try:
            with self.start(server, python) as live:
                load.closed(live.port, request, 16, _WARM)
                peak = load.closed(live.port, request, 16, 5)["per_second"]
                flood = load.overload(live.port, request, 3 * peak, self.options.overload_seconds)
                after = load.closed(live.port, request, 16, 2)["per_second"]
        except Exception as error:
            say(f"{server.title}: overload: {type(error).__name__}: {error}")
            return
        row.overload = {"peak": peak, "open": flood, "recovered": after}
        say(
            f"{server.title}: overload: {flood['good_per_second']:.1f}/s good of peak {peak:.1f}, "
            f"{flood['refused']} refused, p99 {flood['refused_p99_ms']:.1f} ms, then {after:.1f}/s"
        )


def say(text: str) -> None:
    """A progress line."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        check=False,
        capture_output=True,
        text=True,
        cwd=_ROOT,
    )
    return done.stdout.strip()


def _minutes(began: dt.datetime) -> float:
    return (dt.datetime.now(dt.UTC) - began).total_seconds() / 60


def _names(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Heliograph beside other servers and the limit."
    )
    say_names = ", ".join(dict.fromkeys(server.name for server in everyone()))
    parser.add_argument("--only", type=_names, metavar="NAME,...", help=f"of {say_names}")
    parser.add_argument("--variant", type=_names, default=list(VARIANTS), metavar="VARIANT,...")
    parser.add_argument(
        "--payload", type=_names, default=list(provision.PAYLOADS), metavar="SIZE,..."
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one measurement")
    parser.add_argument(
        "--connections", type=lambda t: [int(n) for n in _names(t)], default=[1, 16]
    )
    parser.add_argument("--quick", action="store_true", help="one round of 2 s, one payload")
    parser.add_argument(
        "--overload", type=_names, default=[], metavar="NAME,...", help="offer 3 x its peak"
    )
    parser.add_argument("--overload-seconds", type=float, default=30.0)
    parser.add_argument("--name", default="bench", help="of the results: DATE-NAME.json")
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    parser.add_argument("--cache", type=Path, default=provision.default_cache())
    parser.add_argument("--model", type=Path, help="another ONNX file of the same shape")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("results"))
    options = parser.parse_args(words)
    if options.quick:
        options.rounds, options.seconds, options.payload = 1, 2.0, options.payload[:1]
    options.servers = [
        server
        for server in everyone()
        if server.variant in (*options.variant, "own")
        and (not options.only or server.name in options.only)
    ]
    return options


def main() -> None:
    """Run, save, print."""
    options = arguments()
    session = Bench(options).run()
    path, text = report.save(session, options.results)
    print(text)
    say(f"written: {path.name} and {path.stem}.md in {path.parent.name}/")


if __name__ == "__main__":
    main()
