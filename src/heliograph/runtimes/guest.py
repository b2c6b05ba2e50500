"""A model worker: the process behind the wall that opens one model and runs it when told.

    wall -> libraries -> model -> (inputs -> run -> outputs)*

Started by `runtimes/process.py` as `python -I -B -m heliograph.runtimes.guest ORDER`, with one
socket for each run at the same time and nothing else of the server's: no environment, no files, no
keys. This file imports the standard library only, so that the wall stands before anything that
starts threads; `runtimes/desk.py` does the work behind it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heliograph.runtimes import wall


def main(order: Mapping[str, Any]) -> None:
    """Raise the wall, then open the model and run it until the server hangs up.

    Args:
        order: an `Order` of `runtimes/process.py`, as JSON has it.
    """
    parts = wall.raise_wall(
        [Path(one) for one in order["readable"]],
        parent=order["parent"],
        memory_bytes=order["memory_bytes"],
        scratch_bytes=order["scratch_bytes"],
        accelerator=order["accelerator"],
    )
    # Not before: numpy starts threads, and those would stand outside.
    from heliograph.runtimes.desk import work

    work(order, parts)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
