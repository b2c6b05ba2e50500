"""Scripts that use the real clients of the protocols, run where those are installed.

The clients pin other versions than ours, so that they have an environment of their own
(`requirements/clients.txt`, in `.venv-clients`). A script prints one JSON object of what it saw.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "tests" / "clients"
PYTHON = Path(os.environ.get("HELIOGRAPH_CLIENTS", ROOT / ".venv-clients")) / "bin" / "python"
_SECONDS = 100.0


def run_client(script: str, *arguments: object) -> dict[str, Any]:
    """Run `tests/clients/SCRIPT.py ARGUMENTS…`; what it saw.

    Without the clients' environment the test is skipped.
    """
    if not PYTHON.exists():
        pytest.skip("the real clients are not here: make .venv-clients of requirements/clients.txt")
    done = subprocess.run(
        [str(PYTHON), str(SCRIPTS / f"{script}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
        # Only what the scripts need: a proxy of this machine is not the tests'.
        env={"PATH": os.environ.get("PATH", ""), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert not done.returncode, f"{script} failed:\n{done.stderr[-6000:]}"
    return json.loads(done.stdout.strip().rpartition("\n")[2])
