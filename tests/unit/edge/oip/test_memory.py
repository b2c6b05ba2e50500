from __future__ import annotations

import os
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory as Posix
from pathlib import Path

import pytest

from heliograph.core.errors import Code, HeliographError
from heliograph.edge.oip.memory import SharedMemory
from heliograph.edge.oip.values import Region


@pytest.fixture
def posix() -> Iterator[Posix]:
    made = Posix(f"heliograph_unit_{os.getpid()}", create=True, size=64)
    yield made
    made.close()
    made.unlink()


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    made = SharedMemory(on=True)
    yield made
    made.close()


def code_of(memory: SharedMemory, *args: object) -> Code:
    with pytest.raises(HeliographError) as caught:
        memory.register(*args)  # type: ignore[arg-type]
    return caught.value.code


def test_bytes_come_and_go(memory: SharedMemory, posix: Posix) -> None:
    memory.register("r", "/" + posix.name, 8, 32)
    assert posix.buf is not None
    posix.buf[8:12] = b"abcd"
    assert memory.read(Region("r", 0, 4)) == b"abcd"
    memory.write(Region("r", 4, 8), b"12345678")
    assert bytes(posix.buf[12:20]) == b"12345678"
    assert [one.name for one in memory.status("")] == ["r"]
    memory.unregister("r")
    memory.unregister("r")
    with pytest.raises(HeliographError, match="Unable to find shared memory region: 'r'"):
        memory.read(Region("r", 0, 4))


@pytest.mark.parametrize(
    "key",
    ["", "/", "..", "/..", "../etc/passwd", "/../../etc/passwd", "/a/b", "a\x00b", ".x", "a" * 300],
)
def test_only_plain_names_are_opened(memory: SharedMemory, key: str) -> None:
    assert code_of(memory, "r", key, 0, 8) is Code.VALIDATION


def test_links_and_folders_are_not_opened(memory: SharedMemory, posix: Posix) -> None:
    link, folder = Path(f"/dev/shm/link_{os.getpid()}"), Path(f"/dev/shm/folder_{os.getpid()}")
    link.symlink_to(f"/dev/shm/{posix.name}")
    folder.mkdir()
    try:
        for path in (link, folder):
            assert code_of(memory, "r", f"/{path.name}", 0, 8) is Code.VALIDATION
    finally:
        link.unlink()
        folder.rmdir()


@pytest.mark.parametrize(("offset", "size"), [(0, 0), (0, 65), (60, 8), (-1, 8), (1 << 63, 8)])
def test_a_region_lies_within_its_object(
    memory: SharedMemory, posix: Posix, offset: int, size: int
) -> None:
    assert code_of(memory, "r", posix.name, offset, size) is Code.VALIDATION


def test_a_part_lies_within_its_region(memory: SharedMemory, posix: Posix) -> None:
    memory.register("r", posix.name, 0, 32)
    assert code_of(memory, "r", posix.name, 0, 32) is Code.CONFLICT
    for region in (Region("r", 30, 4), Region("r", 1 << 40, 1)):
        with pytest.raises(HeliographError, match=r"Invalid offset \+ byte size"):
            memory.read(region)
    with pytest.raises(HeliographError, match="should be at least 5 bytes"):
        memory.write(Region("r", 0, 4), b"12345")


def test_an_object_that_shrinks_is_an_error_and_no_crash(
    memory: SharedMemory, posix: Posix
) -> None:
    memory.register("r", posix.name, 0, 64)
    os.truncate(f"/dev/shm/{posix.name}", 16)
    for act in (lambda: memory.read(Region("r", 0, 64)), lambda: write(memory)):
        with pytest.raises(HeliographError, match=r"Invalid offset \+ byte size"):
            act()


def write(memory: SharedMemory) -> None:
    memory.write(Region("r", 0, 64), bytes(64))


def test_switched_off_says_so() -> None:
    memory = SharedMemory(on=False)
    assert code_of(memory, "r", "x", 0, 8) is Code.UNSUPPORTED
    with pytest.raises(HeliographError, match=r"oip\.shared_memory"):
        memory.status("")
    memory.close()
