"""Figures of a session -> ratios -> a JSON file and a Markdown table."""

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.limit import Limit
from bench.load import Closed, Open
from bench.measure import Spread, spread

PEER_VARIANT = "documented"


@dataclass(slots=True)
class Row:
    """One server's figures; `failures` says why a turn came to nothing.

    Attributes:
        closed: payload -> connections -> one result per round.
        cpu_ms: likewise: processor time of the server's tree per request, milliseconds.
        first_answer: seconds, one per round.
        memory: bytes after load, one per round.
    """

    name: str
    variant: str
    command: list[str] = field(default_factory=list[str])
    environment: dict[str, str] = field(default_factory=dict[str, str])
    versions: dict[str, str] = field(default_factory=dict[str, str])
    closed: dict[str, dict[int, list[Closed]]] = field(
        default_factory=dict[str, dict[int, list[Closed]]]
    )
    cpu_ms: dict[str, dict[int, list[float]]] = field(
        default_factory=dict[str, dict[int, list[float]]]
    )
    first_answer: list[float] = field(default_factory=list[float])
    memory: list[int] = field(default_factory=list[int])
    processes: int = 0
    agrees: dict[str, bool] = field(default_factory=dict[str, bool])
    overload: dict[str, Any] = field(default_factory=dict[str, Any])
    failures: list[str] = field(default_factory=list[str])

    @property
    def title(self) -> str:
        """As the table names it."""
        return self.name if self.variant == "own" else f"{self.name} ({self.variant})"

    def rate(self, payload: str, connections: int) -> Spread | None:
        """Requests per second over the rounds."""
        return _over(self, payload, connections, "per_second")

    def milliseconds(self, payload: str, connections: int, key: str) -> Spread | None:
        """A percentile of latency over the rounds."""
        return _over(self, payload, connections, key)


def _over(row: Row, payload: str, connections: int, key: str) -> Spread | None:
    rounds = row.closed.get(payload, {}).get(connections, [])
    return spread([float(found[key]) for found in rounds]) if rounds else None  # type: ignore[literal-required]


@dataclass(slots=True)
class Session:
    """Everything one run of the benchmark found."""

    name: str
    date: str
    commit: str
    options: dict[str, Any]
    machine: dict[str, Any]
    payload_bytes: dict[str, int]
    model_sha256: str
    limits: dict[str, dict[str, list[Limit]]]
    limits_pillow: dict[str, dict[str, list[Limit]]]
    rows: list[Row]


def busy() -> list[float]:
    """The load averages of 1, 5 and 15 minutes: who else is at work."""
    return [float(word) for word in Path("/proc/loadavg").read_text().split()[:3]]


def machine() -> dict[str, Any]:
    """What this is: processor, cores, memory, kernel, Python, load from others."""
    lscpu = _output("lscpu")
    fields = dict(line.split(":", 1) for line in lscpu.splitlines() if ":" in line)
    memory = Path("/proc/meminfo").read_text().split("\n", 1)[0].split()[1]
    return {
        "processor": fields.get("Model name", platform.processor()).strip(),
        "cores": int(fields.get("CPU(s)", "0")),
        "memory_gib": round(int(memory) / 2**20, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "wrk": _output("wrk", "-v").split("\n", 1)[0].split(" Copyright")[0],
        "load_average_before": busy(),
    }


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout
    except OSError:
        return ""


def limit_rate(session: Session, payload: str, connections: int) -> Spread | None:
    """The limit to compare with: one thread for one connection, all cores for more."""
    rounds = session.limits.get(payload, {}).get("one" if connections == 1 else "all", [])
    return spread([found["per_second"] for found in rounds]) if rounds else None


def best_peer(session: Session, payload: str, connections: int) -> tuple[str, float] | None:
    """The fastest peer as its documentation recommends."""
    rates = [
        (row.name, rate["median"])
        for row in session.rows
        if row.variant == PEER_VARIANT and (rate := row.rate(payload, connections))
    ]
    return max(rates, key=lambda pair: pair[1], default=None)


def save(session: Session, folder: Path) -> tuple[Path, str]:
    """Write `DATE-NAME.json` and `.md`; returns the JSON's path and the Markdown."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{session.date[:10]}-{session.name}.json"
    path.write_text(json.dumps(asdict(session), indent=1) + "\n")
    text = markdown(session)
    path.with_suffix(".md").write_text(text)
    return path, text


def markdown(session: Session) -> str:
    """The whole session as tables."""
    info = session.machine
    about = (
        f"{info['processor']}, {info['cores']} cores, {info['memory_gib']} GiB, Linux "
        f"{info['kernel']}, Python {info['python']}; EfficientNet-Lite0 FP32 on ONNX Runtime's CPU "
        f"provider; commit {session.commit or 'none'}; {session.options['minutes']} minutes. "
        f"{session.options['rounds']} rounds of {session.options['seconds']} s, interleaved: "
        "medians, [least-greatest]. The load generator runs on the same cores. CPU ms: processor "
        "time of all of the server's processes per request; other work on the machine disturbs it "
        "less than the rest.\n"
    )
    parts = [f"# Benchmark of {session.date[:10]}: {session.name}\n", about]
    parts += [_throughput(session, payload) for payload in session.payload_bytes]
    parts.append(_footprint(session))
    if any(row.overload for row in session.rows):
        parts.append(_overload(session))
    if failed := [row for row in session.rows if row.failures]:
        parts.append("## Turns that came to nothing\n")
        head = ["server", "turns measured", "failed tries", "why, the last time"]
        parts.append(_table(head, [_failure(row) for row in failed]))
    return "\n".join(parts)


def _failure(row: Row) -> list[str]:
    return [row.title, str(len(row.memory)), str(len(row.failures)), _cell(row.failures[-1])]


def _throughput(session: Session, payload: str) -> str:
    columns: Sequence[int] = session.options["connections"]
    head = ["server"]
    for count in columns:
        head += [
            f"requests/s @{count}",
            "of limit",
            "of best peer",
            "p50 ms",
            "p99 ms",
            "p99/p50",
            "CPU ms",
        ]
    rows: list[list[str]] = []
    for title, limits in (
        ("limit (our decoder, no server)", session.limits),
        ("limit (Pillow, no server)", session.limits_pillow),
    ):
        if payload in limits:
            rows.append([title, *_limit_cells(session, payload, columns, limits[payload])])
    most = max(columns)
    for row in sorted(
        session.rows, key=lambda row: -(row.rate(payload, most) or spread([0.0]))["median"]
    ):
        cells = _row_cells(session, row, payload, columns) if row.closed.get(payload) else []
        rows += [[row.title, *cells]] if cells else []
    size = session.payload_bytes[payload]
    return f"## {payload} ({size:,} bytes)\n\n" + _table(head, rows)


def _limit_cells(
    session: Session, payload: str, columns: Sequence[int], limits: Mapping[str, list[Limit]]
) -> list[str]:
    cells: list[str] = []
    for count in columns:
        rounds = limits["one" if count == 1 else "all"]
        rate = spread([found["per_second"] for found in rounds])
        p50 = spread([found["p50_ms"] for found in rounds])["median"]
        p99 = spread([found["p99_ms"] for found in rounds])["median"]
        cells += _cells(session, payload, count, rate, p50, p99)
        cells.append(f"{spread([found['cpu_ms'] for found in rounds])['median']:.1f}")
    return cells


def _row_cells(session: Session, row: Row, payload: str, columns: Sequence[int]) -> list[str]:
    cells: list[str] = []
    for count in columns:
        rate = row.rate(payload, count)
        p50 = row.milliseconds(payload, count, "p50_ms")
        p99 = row.milliseconds(payload, count, "p99_ms")
        if rate and p50 and p99:
            cells += _cells(session, payload, count, rate, p50["median"], p99["median"])
            cells.append(f"{spread(row.cpu_ms[payload][count])['median']:.1f}")
        else:
            cells += ["-"] * 7
    return cells


def _cells(
    session: Session, payload: str, count: int, rate: Spread, p50: float, p99: float
) -> list[str]:
    limit, best = limit_rate(session, payload, count), best_peer(session, payload, count)
    return [
        f"{rate['median']:.1f} [{rate['low']:.1f}-{rate['high']:.1f}]",
        _ratio(rate["median"], limit["median"] if limit else 0),
        _ratio(rate["median"], best[1] if best else 0),
        f"{p50:.1f}",
        f"{p99:.1f}",
        _ratio(p99, p50),
    ]


def _footprint(session: Session) -> str:
    peers = [row for row in session.rows if row.variant == PEER_VARIANT and row.memory]
    least = min((spread(row.memory)["median"] for row in peers), default=0)
    soonest = min((spread(row.first_answer)["median"] for row in peers), default=0)
    rows: list[list[str]] = []
    for row in sorted(session.rows, key=lambda row: spread(row.memory or [0])["median"]):
        if row.memory:
            memory, start = spread(row.memory)["median"], spread(row.first_answer)["median"]
            agrees = "yes" if all(row.agrees.values()) else "NO"
            rows.append(
                [
                    row.title,
                    f"{memory / 1e6:.0f}",
                    _ratio(memory, least),
                    str(row.processes),
                    f"{start:.2f}",
                    _ratio(start, soonest),
                    agrees,
                    str(sum(_errors(row))),
                ]
            )
    head = ["server", "memory MB (PSS)", "of lightest peer", "processes"]
    head += ["start to first answer s", "of quickest peer", "same class as limit", "errors"]
    return "## Memory after load, start, answers\n\n" + _table(head, rows)


def _errors(row: Row) -> list[int]:
    return [
        found["bad_status"] + found["broken"]
        for by_count in row.closed.values()
        for rounds in by_count.values()
        for found in rounds
    ]


def _overload(session: Session) -> str:
    head = ["server", "peak/s", "offered/s", "good/s", "of peak", "good p99 ms", "refused"]
    head += ["refusal p50 ms", "refusal p99 ms", "with Retry-After", "other", "recovered to"]
    rows: list[list[str]] = []
    for row in session.rows:
        if row.overload:
            found: Open = row.overload["open"]
            peak = row.overload["peak"]
            rows.append(
                [
                    row.title,
                    f"{peak:.1f}",
                    f"{found['offered_per_second']:.0f}",
                    f"{found['good_per_second']:.1f}",
                    _ratio(found["good_per_second"], peak),
                    f"{found['good_p99_ms']:.0f}",
                    str(found["refused"]),
                    f"{found['refused_p50_ms']:.1f}",
                    f"{found['refused_p99_ms']:.1f}",
                    str(found["refused_with_retry_after"]),
                    str(found["broken"]),
                    _ratio(row.overload["recovered"], peak),
                ]
            )
    return "## Overload (open loop)\n\n" + _table(head, rows)


def _ratio(value: float, base: float) -> str:
    return f"{value / base:.2f}" if base else "-"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:400]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
