"""What a model takes and gives, told by its engine, which opens it behind the wall of a process."""

from __future__ import annotations

from pathlib import Path

from heliograph.registry.importing.names import check_names
from heliograph.registry.importing.values import Facts, Format, Staged
from heliograph.runtimes.base import Plan, Runner
from heliograph.runtimes.choose import choose_engine
from heliograph.runtimes.host import HostRunner
from heliograph.runtimes.process import GuestLimits, Opener

_LIMITS = GuestLimits(memory_bytes=8 << 30, load_seconds=180.0)


def read_facts(staged: Staged) -> Facts:
    """Open the copy once in a worker process and ask.

    Raises:
        HeliographError: what the engine refuses, `model_unavailable` if it is not installed.
    """

    def load(path: Path, plan: Plan) -> Runner:
        unsafe = staged.format is Format.TORCHSCRIPT
        return HostRunner(
            path, plan, limits=_LIMITS, readable=[staged.folder], opener=Opener(unsafe=unsafe)
        )

    choice = choose_engine(staged.main, load=load)
    runner = load(staged.main, Plan(choice.engine))
    try:
        check_names([one.name for one in runner.inputs], [one.name for one in runner.outputs])
        return Facts(runner.inputs, runner.outputs, choice.engine, why_engine=choice.reason)
    finally:
        runner.close()
