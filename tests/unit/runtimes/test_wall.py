from __future__ import annotations

import json
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from heliograph.runtimes import seccomp, wall

ALLOWED, KILLED, REFUSED, ABSENT, PRETENDED = (
    0x7FFF0000, 0x80000000, 0x00050001, 0x00050026, 0x00050000,
)  # fmt: skip
X86, ARM = 0xC000003E, 0xC00000B7
PID = 4242


def decide(machine: str, architecture: int, number: int, *arguments: int) -> int:
    """What the kernel would do: the filter, run by hand."""
    code = seccomp.assemble(machine, PID)
    assert code is not None
    padded = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *padded)
    held, at = 0, 0
    while True:
        operation, yes, no, value = struct.unpack_from("=HBBI", code, 8 * at)
        at += 1
        if operation == 0x20:
            held = struct.unpack_from("=I", data, value)[0]
        elif operation == 0x06:
            return value
        else:
            tests = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}
            at += yes if tests[operation] else no


@pytest.mark.parametrize(
    ("number", "arguments", "decision"),
    [
        (0, (), ALLOWED),  # read
        (59, (), REFUSED),  # execve
        (57, (), REFUSED),  # fork
        (56, (0x11,), REFUSED),  # clone of a process
        (56, (0x3D0F00,), ALLOWED),  # clone of a thread
        (435, (), ABSENT),  # clone3
        (41, (2, 1, 0), REFUSED),  # socket
        (62, (PID, 9), ALLOWED),
        (62, (PID - 1, 9), REFUSED),
        (62, (0xFFFFFFFF, 9), REFUSED),  # everybody
        (234, (PID, PID, 6), ALLOWED),  # abort
        (234, (PID - 1, PID - 1, 6), REFUSED),
        (302, (0, 7), ALLOWED),
        (302, (PID, 7), ALLOWED),
        (302, (1, 7), REFUSED),
        (157, (1, 0), REFUSED),  # unset the signal of the parent's death
        (157, (15, 0), ALLOWED),  # name a thread
        (9, (0, 4096, 3, 0x22), ALLOWED),  # private memory
        (9, (0, 4096, 3, 0x21), REFUSED),  # shared, without a file
        (9, (0, 4096, 3, 0x01, 5), ALLOWED),  # shared, of a file
        (9, (0, 4096, 3, 0x122), REFUSED),  # a stack that grows
        (203, (1, 128, 0), PRETENDED),  # sched_setaffinity
        (319, (), REFUSED),  # memfd_create
        (452, (), ABSENT),  # fchmodat2, younger than the list
        (0x40000000 + 59, (), KILLED),  # x32
    ],
)
def test_the_filter_decides(number: int, arguments: tuple[int, ...], decision: int) -> None:
    assert decide("x86_64", X86, number, *arguments) == decision


@pytest.mark.parametrize(
    ("number", "arguments", "decision"),
    [
        (63, (), ALLOWED),  # read
        (221, (), REFUSED),  # execve
        (220, (0x11,), REFUSED),
        (220, (0x3D0F00,), ALLOWED),
        (198, (), REFUSED),  # socket
        (129, (PID - 1, 9), REFUSED),
        (222, (0, 4096, 3, 0x21), REFUSED),
        (122, (), PRETENDED),
    ],
)
def test_the_filter_of_arm_decides(number: int, arguments: tuple[int, ...], decision: int) -> None:
    assert decide("aarch64", ARM, number, *arguments) == decision


def test_another_architecture_is_killed_and_an_unknown_one_has_no_filter() -> None:
    assert decide("x86_64", 0x40000003, 0) == KILLED
    assert decide("aarch64", X86, 63) == KILLED
    assert seccomp.assemble("riscv64", PID) is None


def test_no_number_stands_for_two_calls() -> None:
    for column in (0, 1):
        tables = (*seccomp._REFUSED.items(), *seccomp._PRETENDED.items())
        numbers = [one[column] for _, one in tables if one[column] is not None]
        assert len(numbers) == len(set(numbers))
        assert max(filter(None, numbers)) < seccomp._NEWEST


def test_the_report_names_every_part() -> None:
    said = wall.report()
    assert set(said) == set(wall.PARTS)
    assert set(wall.ESSENTIAL) < set(wall.PARTS)
    assert wall.missing({"files": "x", "network": ""}, ("files", "network", "memory")) == (
        "network",
        "memory",
    )


def test_the_wall_is_refused_where_it_would_not_hold_every_thread() -> None:
    assert _python(
        """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
try:
    wall.raise_wall([], parent=os.getppid(), memory_bytes=1 << 30)
except RuntimeError as error:
    print(error)
"""
    ).startswith("the wall was to be raised after threads")


def test_a_worker_whose_server_is_gone_does_not_begin() -> None:
    said = _python(
        """
try:
    wall.raise_wall([], parent=1 << 22, memory_bytes=1 << 30)
except RuntimeError as error:
    print(error)
"""
    )
    assert "parent went away" in said


@pytest.mark.skipif(os.getuid() != 0, reason="needs to become somebody else")
def test_without_privileges_it_holds_as_well(tmp_path: Path) -> None:
    said = _python(
        f"""
import json
import socket
os.setgid(65534); os.setuid(65534)
said = wall.raise_wall([], parent=os.getppid(), memory_bytes=1 << 30, scratch_bytes=1 << 20)
try:
    socket.socket()
except OSError:
    said["socket"] = "refused"
try:
    open({str(tmp_path / "file")!r}, "w")
except OSError:
    said["file"] = "refused"
print(json.dumps(said))
"""
    )
    found = json.loads(said)
    assert not wall.missing(found, [*wall.ESSENTIAL, "privileges", "socket", "file"])


@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="no filter here")
def test_a_part_that_the_kernel_lacks_is_told() -> None:
    said = _python(
        """
import json
wall._landlock = lambda *_, **__: 0
wall._leave_namespaces = lambda: 0
print(json.dumps(wall.raise_wall([], parent=os.getppid(), memory_bytes=1 << 30)))
"""
    )
    found = json.loads(said)
    assert not found["files"]
    assert found["network"] == "a system call filter"
    assert wall.missing(found, wall.ESSENTIAL) == ("files",)


def _python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", f"import os\nfrom heliograph.runtimes import wall\n{program}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
