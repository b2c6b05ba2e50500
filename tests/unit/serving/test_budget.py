"""The budget: who goes, who is protected, and that it holds."""

from __future__ import annotations

import threading
import time

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.runtimes.identity import IdentityRunner
from heliograph.serving.budget import Budget
from heliograph.serving.resident import Copies, Resident


class Weighing(IdentityRunner):
    """A runner that knows what it takes."""

    def __init__(self, size: int) -> None:
        self._size = size

    def memory(self) -> int:
        return self._size


def resident(budget: Budget, size: int, *, on_demand: bool = True) -> Resident:
    return Resident(
        lambda: Copies(Weighing(size)), on_demand=on_demand, budget=budget, estimate=size
    )


def use(one: Resident) -> None:
    one.take()
    one.give()


def states(*all_of_them: Resident) -> list[str]:
    return [one.state for one in all_of_them]


def test_the_least_recently_used_goes_first() -> None:
    budget = Budget(100, protect=0.0)
    a, b, c = (resident(budget, 40) for _ in range(3))
    for one in (a, b, a):
        use(one)
        time.sleep(0.002)
    use(c)
    assert states(a, b, c) == ["ready", "unloaded", "ready"]
    assert (a.memory, b.memory, c.memory) == (40, 0, 40)
    use(b)
    assert states(a, b, c) == ["unloaded", "ready", "ready"]


def test_what_is_in_use_or_was_a_moment_ago_stays_and_the_newcomer_is_told_to_wait() -> None:
    budget = Budget(100, protect=30.0)
    a, b = resident(budget, 60), resident(budget, 60)
    a.take()
    for _ in range(2):
        with pytest.raises(HeliographError) as failed:
            use(b)
        assert failed.value.code is Code.MODEL_UNAVAILABLE
        assert failed.value.retry_after
        assert states(a, b) == ["ready", "unloaded"]
        if a.leases:
            a.give()
    a.used -= 31.0
    use(b)
    assert states(a, b) == ["unloaded", "ready"]


def test_a_model_larger_than_everything_says_so() -> None:
    large = resident(Budget(100 << 20), 101 << 20)
    with pytest.raises(HeliographError, match="needs 101 MiB") as failed:
        use(large)
    assert failed.value.code is Code.MODEL_RESOURCE_LIMIT


def test_many_threads_never_pass_the_bound_and_load_each_model_once_at_a_time() -> None:
    budget = Budget(100, protect=0.0)
    loading = threading.Lock()
    total = [0]
    worst = [0]

    class Counted(Weighing):
        def __init__(self) -> None:
            super().__init__(30)
            with loading:
                total[0] += 30
                worst[0] = max(worst[0], total[0])

        def close(self) -> None:
            with loading:
                total[0] -= 30

    models = [
        Resident(lambda: Copies(Counted()), on_demand=True, budget=budget, estimate=30)
        for _ in range(6)
    ]
    refused: list[HeliographError] = []

    def caller(seed: int) -> None:
        for turn in range(200):
            try:
                use(models[(seed * 7 + turn * 5) % 6])
            except HeliographError as error:
                refused.append(error)

    threads = [threading.Thread(target=caller, args=(seed,)) for seed in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert worst[0] <= 100
    assert {one.code for one in refused} <= {Code.MODEL_UNAVAILABLE}
    assert sum(one.state == "ready" for one in models) <= 3


def test_a_model_that_would_not_come_back_by_itself_is_never_let_go_for_another() -> None:
    budget = Budget(100, protect=0.0)
    fixed, other = resident(budget, 60, on_demand=False), resident(budget, 60)
    fixed.load()
    with pytest.raises(HeliographError) as failed:
        use(other)
    assert failed.value.code is Code.MODEL_UNAVAILABLE
    assert states(fixed, other) == ["ready", "unloaded"]
    fixed.retire()
    use(other)
    assert other.state == "ready"
