"""Loading steps back behind calls; what is loaded does not."""

from __future__ import annotations

import os
from pathlib import Path

from heliograph.runtimes.host import HostRunner
from support import models
from support.serving import house


def test_a_worker_of_an_imported_model_has_the_priority_of_the_server(tmp_path: Path) -> None:
    models.colour_package(tmp_path, foreign=True)
    with house(tmp_path, "colour") as wired:
        copies = wired.app.catalog.find("colour").lane.resident.take()
        wired.app.catalog.find("colour").lane.resident.give()
        assert isinstance(copies.runner, HostRunner)
        worker = os.getpriority(os.PRIO_PROCESS, copies.runner.pid)
        assert worker == os.getpriority(os.PRIO_PROCESS, 0)
