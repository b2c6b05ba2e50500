"""Load, infer, unload, again and again: does the memory come back?

    python -m bench.cycles --picture PHOTO.jpg [--cycles 100] [--around none,all] [--write]

For each wall (`none`: the model runs in the server's process; `all`: in one of its own) a fresh
process loads EfficientNet-Lite0, answers three pictures and unloads it, over and over. Memory is
the proportional set size (PSS) of the process and all it started, taken with the model loaded and
after it was unloaded; growth is the median of the last ten cycles against that of cycles 6-15,
since the first few fill caches that stay (imports, thread stacks, allocator arenas).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import machine
from bench.provision import default_cache
from bench.running import _pss, tree

MODEL = "efficientnet-lite0"
_RESULT = Path(__file__).parent / "results" / "cycles.md"


def cycle(around: str, cycles: int, picture: Path) -> list[dict[str, int]]:
    """In this process: bytes after loading and after unloading, for each cycle."""
    from heliograph.accounts.key import OpenGate
    from heliograph.app import build
    from heliograph.serving.values import Head
    from heliograph.settings import read_settings

    cache = default_cache() / "cycles-cache"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cycles-") as scratch:
        home = Path(scratch)
        (home / "cache").symlink_to(cache)
        settings = read_settings(home, {"walls": {"around": around}})
        app = build(settings, gate=OpenGate(), only=[MODEL])
        shelf = app.catalog.shelf(MODEL)
        jpeg = picture.read_bytes()
        found: list[dict[str, int]] = []
        for _ in range(cycles):
            shelf.model.load()
            entry = app.path.enter(Head(model=MODEL, form="json"))
            for _ in range(3):
                app.path.submit(entry, jpeg).result(60)
            loaded = weigh()
            shelf.model.unload()
            found.append({"loaded": loaded, "unloaded": weigh()})
        app.close()
    return found


def weigh() -> int:
    """PSS of this process and all of its children."""
    import os

    # A worker process takes a moment to be reaped.
    time.sleep(0.02)
    return sum(_pss(pid) for pid in tree(os.getpid(), "none of these"))


def growth(found: list[dict[str, int]], key: str) -> tuple[float, float]:
    """Early and late median, MiB."""
    values = [one[key] / (1 << 20) for one in found]
    early = values[5:15] if len(values) >= 30 else values[len(values) // 3 : len(values) // 2 + 1]
    return statistics.median(early), statistics.median(values[-10:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--around", default="none,all")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help=f"Keep it as {_RESULT.name}.")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(cycle(options.one, options.cycles, options.picture)))
        return
    lines = [
        f"# {options.cycles} cycles of load, infer, unload\n",
        "Made by `python -m bench.cycles`; what it does stands there.\n",
        machine.line() + "\n",
        "| walls.around | loaded, early | late | growth | unloaded, early | late | growth |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    worst = 0.0
    for around in options.around.split(","):
        command = [sys.executable, "-m", "bench.cycles", "--one", around]
        command += ["--picture", str(options.picture), "--cycles", str(options.cycles)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        cells: list[str] = []
        for key in ("loaded", "unloaded"):
            early, late = growth(found, key)
            worst = max(worst, late / early - 1)
            cells += [f"{early:.1f} MiB", f"{late:.1f} MiB", f"{late / early - 1:+.2%}"]
        lines.append(f"| {around} | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        _RESULT.write_text(text, "utf-8")
    if worst >= 0.02:
        sys.exit("memory grows by 2 % or more")


if __name__ == "__main__":
    main()
