"""A version swap under load: does a call fail, and how much longer do calls take?

    python -m bench.swap [--seconds 20] [--swaps 4] [--connections 16] [--write]

One server with two versions of EfficientNet-Lite0 (the second is a copy of the first under its own
number). Its peak is measured in a closed loop; then requests leave on a fixed schedule at 70 % of
that peak, and latency counts from the intended sending time. Once nothing else happens; once the
other version is promoted again and again, each time loaded anew while calls go on.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench import machine
from bench.load import Open, Request, closed, overload
from bench.provision import default_cache
from bench.running import running
from bench.servers import heliograph
from heliograph.registry.catalog import BUILTIN

MODEL = "efficientnet-lite0"
_SHARE = 0.7
_DEADLINE = 2.0
_RESULT = Path(__file__).parent / "results" / "swap.md"


def second_version(home: Path) -> None:
    """Version 2: the built-in version 1 under another number."""
    made = home / "models" / MODEL / "2"
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(BUILTIN / MODEL, made)
    toml = (made / "model.toml").read_text("utf-8")
    (made / "model.toml").write_text(re.sub(r"(?m)^version = 1$", "version = 2", toml), "utf-8")
    (home / "models" / MODEL / "release.json").write_text('{"aliases": {"stable": "1"}}')


def order(port: int, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask for a change, or for the release."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/models/{MODEL}/{verb}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.loads(reply.read())


def swapping(port: int, swaps: int, seconds: float, took: list[float]) -> None:
    """Promote the other version `swaps` times in `seconds`, each time out of its being unloaded."""
    begin = time.monotonic()
    for turn in range(swaps):
        time.sleep(max(0.0, begin + (turn + 0.5) * seconds / swaps - time.monotonic()))
        began = time.monotonic()
        order(port, "promote", {"version": str(2 - turn % 2)})
        took.append(time.monotonic() - began)


def phase(port: int, request: Request, per_second: float, seconds: float, swaps: int) -> Open:
    """The open loop, with or without swaps beside it."""
    took: list[float] = []
    thread = threading.Thread(target=swapping, args=(port, swaps, seconds, took))
    thread.start()
    found = overload(port, request, per_second, seconds)
    thread.join()
    if took:
        said = ", ".join(f"{one:.2f}" for one in took)
        print(f"  swaps took {said} s", file=sys.stderr)
    return found


def failed(found: Open) -> int:
    """Calls that were not answered with status 200."""
    return found["sent"] - found["statuses"].get("200", 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--swaps", type=int, default=4)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--picture", type=Path, required=True, help="A JPEG, e.g. 640x480.")
    parser.add_argument("--write", action="store_true", help=f"Keep it as {_RESULT.name}.")
    options = parser.parse_args()
    server = heliograph()
    request = server.request(options.picture.read_bytes())
    # A version leaves after the longest call: a short deadline lets each swap load anew.
    environment = {"HELIOGRAPH_SERVING_DEADLINE": str(_DEADLINE)}
    with tempfile.TemporaryDirectory(prefix="swap-") as scratch:
        home = Path(scratch)
        (home / "cache").symlink_to(_cache())
        second_version(home)
        with running(server, Path(sys.executable), environment, home, request) as found:
            port = found.port
            closed(port, request, options.connections, 2.0)
            peak = closed(port, request, options.connections, max(3.0, options.seconds / 3))
            rate = _SHARE * peak["per_second"]
            calm = phase(port, request, rate, options.seconds, 0)
            swaps = phase(port, request, rate, options.seconds, options.swaps)
            after = phase(port, request, rate, options.seconds, 0)
            answering = order(port, "release")["version"]
    text = report(peak["per_second"], rate, calm, swaps, after, options)
    print(text, f"\nVersion {answering} answers at the end.")
    if options.write:
        _RESULT.write_text(text, "utf-8")
    if failed(calm) + failed(swaps) + failed(after):
        sys.exit("calls were lost")


def _cache() -> Path:
    made = default_cache() / "swap-cache"
    made.mkdir(parents=True, exist_ok=True)
    return made


def report(
    peak: float, rate: float, calm: Open, swaps: Open, after: Open, options: argparse.Namespace
) -> str:
    """The table."""
    rows = {"before": calm, f"during {options.swaps} swaps": swaps, "after": after}
    lines = [
        "# A version swap under load\n",
        "Made by `python -m bench.swap`; what it does stands there.\n",
        machine.line() + "\n",
        f"Peak {peak:.1f} requests/s at {options.connections} connections; offered "
        f"{rate:.1f}/s ({_SHARE:.0%}) for {options.seconds:g} s each.\n",
        "| | sent | failed | p50 ms | p99 ms | p99 to before |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {one['sent']} | {failed(one)} | {one['good_p50_ms']:.1f} | "
        f"{one['good_p99_ms']:.1f} | {one['good_p99_ms'] / calm['good_p99_ms']:.2f} |"
        for name, one in rows.items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
